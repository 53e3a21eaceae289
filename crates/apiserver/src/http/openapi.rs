//! The OpenAPI documents, in the forms that clients ask for.

use hyper::body::Incoming;
use hyper::header::{ETAG, IF_NONE_MATCH};
use hyper::{Request, Response, StatusCode};
use objects::kinds::Registry;
use serde_json::{Map, Value, json};

use super::Context;
use super::answer::{self, Body};
use crate::error::ApiError;

const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

pub fn v2(context: &Context, request: &Request<Incoming>) -> Result<Response<Body>, ApiError> {
    let registry = context.core.registry();
    let document = objects::openapi::v2(&registry);
    let protobuf = context.accept.contains("proto-openapi.spec.v2");
    let (content_type, body) = match protobuf {
        true => (PROTOBUF, objects::openapi::encode_v2(&document)),
        false => ("application/json", serde_json::to_vec(&document).unwrap_or_default()),
    };
    let tag = format!("\"{:x}\"", hash(&body));
    if request.headers().get(IF_NONE_MATCH).and_then(|v| v.to_str().ok()) == Some(tag.as_str()) {
        return Ok(answer::empty(StatusCode::NOT_MODIFIED));
    }
    let mut response = answer::full(200, content_type, body);
    answer::set(&mut response, ETAG, &tag);
    Ok(response)
}

pub fn v3_index(context: &Context) -> Result<Response<Body>, ApiError> {
    let index = context.core.openapi_index(|registry| {
        let mut paths = Map::new();
        for (group, version) in group_versions(registry) {
            let path = match group.as_str() {
                "" => format!("api/{version}"),
                group => format!("apis/{group}/{version}"),
            };
            let document = objects::openapi::v3(registry, &group, &version);
            let body = document.map(|d| d.to_string()).unwrap_or_default();
            let url = format!("/openapi/v3/{path}?hash={:X}", hash(body.as_bytes()));
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
        json!({"paths": Value::Object(paths)})
    });
    Ok(answer::json(200, &index))
}

fn group_versions(registry: &Registry) -> Vec<(String, String)> {
    let pairs = registry.groups().into_iter();
    pairs
        .flat_map(|(group, versions)| versions.into_iter().map(move |v| (group.clone(), v)))
        .collect()
}

pub fn v3(context: &Context, group: &str, version: &str) -> Result<Response<Body>, ApiError> {
    let registry = context.core.registry();
    let document =
        objects::openapi::v3(&registry, group, version).ok_or_else(ApiError::no_such_path)?;
    Ok(answer::json(200, &document))
}

/// FNV-1a; tells one document from another, nothing more.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
