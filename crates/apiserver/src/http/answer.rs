//! Responses.

use std::convert::Infallible;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::error::ApiError;

pub type Body = UnsyncBoxBody<Bytes, Infallible>;

pub fn full(code: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    set(&mut response, CONTENT_TYPE, content_type);
    set(&mut response, hyper::header::CACHE_CONTROL, "no-cache, private");
    response
}

pub fn json(code: u16, value: &Value) -> Response<Body> {
    typed(code, "application/json", value)
}

/// JSON under another media type.
pub fn typed(code: u16, content_type: &str, value: &Value) -> Response<Body> {
    // A `Value` always serialises.
    full(code, content_type, serde_json::to_vec(value).unwrap_or_default())
}

pub fn text(text: &'static str) -> Response<Body> {
    full(200, "text/plain; charset=utf-8", text)
}

pub fn status(error: &ApiError, warnings: &[String]) -> Response<Body> {
    let mut response = json(error.code, &error.status());
    if error.code == 401 {
        set(&mut response, hyper::header::WWW_AUTHENTICATE, "Bearer realm=\"kubernetes\"");
    }
    if error.code == 429 {
        set(&mut response, hyper::header::RETRY_AFTER, "1");
    }
    add_warnings(&mut response, warnings);
    response
}

/// A body that ends when the sender is dropped.
pub fn streamed(content_type: &str, chunks: mpsc::Receiver<Bytes>) -> Response<Body> {
    let frames = stream::unfold(chunks, |mut chunks| async {
        let chunk = chunks.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(chunk)), chunks))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    set(&mut response, CONTENT_TYPE, content_type);
    response
}

pub fn empty(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *response.status_mut() = code;
    response
}

pub fn set(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// `Warning: 299 - "text"`, which kubectl shows to its user.
pub fn add_warnings(response: &mut Response<Body>, warnings: &[String]) {
    for warning in warnings {
        let printable: String = warning
            .chars()
            .map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' })
            .collect();
        let escaped = printable.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            response.headers_mut().append(hyper::header::WARNING, value);
        }
    }
}
