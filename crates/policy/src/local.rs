//! Answers in the terms of gRPC: what the proxy says itself to a client that speaks it is HTTP status 200
//! and a status of its own kind; what an endpoint says so is judged as an HTTP status.

use wire::{Head, Request, Response};

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

/// The status by which an endpoint is judged: where it says one of gRPC in the head, what that stands for.
pub fn judged_by(request: &Request, response: &Response) -> u16 {
    let said = response.get(b"grpc-status").filter(|_| is_grpc(request));
    let number = said.and_then(|s| std::str::from_utf8(s).ok()?.parse().ok());
    number.map_or(response.status, http_status)
}

/// The HTTP status that a gRPC status stands for.
fn http_status(grpc: u32) -> u16 {
    match grpc {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// As gRPC encodes messages: printable ASCII except `%` as it is.
pub fn percent_encoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if (0x20..0x7f).contains(&byte) && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
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

    #[test]
    fn endpoints_are_judged_by_what_they_say_in_the_head() {
        let mut grpc = Request::new(b"POST", b"a", b"/");
        grpc.fields.set(b"content-type", b"application/grpc");
        for (said, expected) in
            [("0", 200), ("1", 499), ("5", 404), ("13", 500), ("14", 503), ("99", 500), ("x", 200)]
        {
            let mut response = Response::new(200);
            response.fields.set(b"grpc-status", said.as_bytes());
            assert_eq!(judged_by(&grpc, &response), expected, "{said}");
            let plain = Request::new(b"POST", b"a", b"/");
            assert_eq!(judged_by(&plain, &response), 200, "nobody asked for gRPC");
        }
        assert_eq!(judged_by(&grpc, &Response::new(502)), 502);
    }
}
