//! Reading request bodies, within bounds.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::Incoming;
use serde_json::Value;

use crate::error::ApiError;

/// Kubernetes' bound.
pub const MAX_BODY: usize = 3 * 1024 * 1024;
/// serde_json refuses deeper JSON by itself; YAML is held to the same.
const MAX_DEPTH: usize = 127;

pub async fn read(request: Request<Incoming>) -> Result<Bytes, ApiError> {
    match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let message = format!("the request body is larger than {MAX_BODY} bytes");
            Err(ApiError::new(413, "RequestEntityTooLarge", message))
        }
        Err(error) => {
            Err(ApiError::bad_request(format!("the request body cannot be read: {error}")))
        }
    }
}

/// A body as JSON; YAML where the content type says so.
pub fn parse(content_type: &str, body: &[u8]) -> Result<Value, ApiError> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let yaml = media.ends_with("yaml");
    if media == "application/vnd.kubernetes.protobuf" {
        return objects::protobuf::decode(body).map_err(|e| ApiError::bad_request(e.to_string()));
    }
    if media == "application/cbor" {
        let message = format!("bodies of type {media} are not understood; send application/json");
        return Err(ApiError::new(415, "UnsupportedMediaType", message));
    }
    if body.is_empty() {
        return Err(ApiError::bad_request("the request body is empty; an object is expected"));
    }
    let parsed = match yaml {
        true => serde_yaml_ng::from_slice::<Value>(body).map_err(|e| e.to_string()),
        false => serde_json::from_slice::<Value>(body).map_err(|e| e.to_string()),
    };
    let value = parsed
        .map_err(|e| ApiError::bad_request(format!("the request body cannot be parsed: {e}")))?;
    if too_deep(&value, MAX_DEPTH) {
        return Err(ApiError::bad_request(format!(
            "the request body is nested deeper than {MAX_DEPTH}"
        )));
    }
    Ok(value)
}

/// A body that must be an object.
pub fn parse_object(content_type: &str, body: &[u8]) -> Result<Value, ApiError> {
    let value = parse(content_type, body)?;
    if !value.is_object() {
        return Err(ApiError::bad_request("the request body must be a JSON object"));
    }
    if value.get("metadata").is_some_and(|m| !m.is_object() && !m.is_null()) {
        return Err(ApiError::bad_request("metadata must be an object"));
    }
    Ok(value)
}

fn too_deep(value: &Value, left: usize) -> bool {
    match value {
        Value::Object(map) => left == 0 || map.values().any(|v| too_deep(v, left - 1)),
        Value::Array(list) => left == 0 || list.iter().any(|v| too_deep(v, left - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_bodies_are_the_senders_fault() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        for body in ["", "{", "[1", "\u{0}", deep.as_str(), "nul"] {
            let error = parse("application/json", body.as_bytes()).unwrap_err();
            assert_eq!(error.code, 400, "{body}");
        }
        assert_eq!(parse("application/vnd.kubernetes.protobuf", b"k8s").unwrap_err().code, 400);
        assert_eq!(parse("application/cbor", b"x").unwrap_err().code, 415);
        for body in ["[]", "1", "\"x\"", "{\"metadata\": 1}"] {
            assert_eq!(parse_object("application/json", body.as_bytes()).unwrap_err().code, 400);
        }
        assert!(parse_object("application/apply-patch+yaml", b"a: {b: 1}").is_ok());
    }
}
