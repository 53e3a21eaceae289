//! Answers that the proxy gives itself, in the terms of the client: one that speaks gRPC gets HTTP status
//! 200 and a status of its own kind.

use wire::{Head, Request};

/// Whether the client speaks gRPC.
pub fn is_grpc(request: &Request) -> bool {
    request.get(b"content-type").is_some_and(crate::decide::is_grpc)
}

/// gRPC's own mapping of HTTP statuses.
pub fn grpc_status(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let mut request = Request::new(b"POST", b"a", b"/");
        assert!(!is_grpc(&request));
        for (kind, expected) in [("application/grpc+proto", true), ("application/grpc-web", false)]
        {
            request.fields.set(b"content-type", kind.as_bytes());
            assert_eq!(is_grpc(&request), expected, "{kind}");
        }
    }
}
