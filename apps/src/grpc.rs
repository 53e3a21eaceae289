//! One message there and one back by gRPC, for services that are asked.

use bytes::Bytes;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request, Response, StatusCode};

use crate::web::{self, Reply};

const LARGEST_MESSAGE: usize = 1 << 20;

/// The message of a request, if there is one and it is not compressed.
pub async fn message(request: Request<Incoming>) -> Option<Bytes> {
    let body = Limited::new(request.into_body(), LARGEST_MESSAGE).collect().await;
    message_in(&body.ok()?.to_bytes())
}

/// The message of a body that was read whole.
pub fn message_in(body: &Bytes) -> Option<Bytes> {
    // One byte says whether it is compressed, four how long it is.
    (body.len() >= 5 && body[0] == 0).then(|| body.slice(5..))
}

/// Nothing but a status, in the head.
pub fn refuse(status: &str) -> Reply {
    let mut reply = web::text(StatusCode::OK, "application/grpc", Bytes::new());
    web::set(&mut reply, "grpc-status", status);
    reply
}

/// Nothing but a status and what there is to say about it.
pub fn fail(status: &str, message: &str) -> Reply {
    let mut reply = refuse(status);
    let plain = |b: u8| (b' '..=b'~').contains(&b) && b != b'%';
    let escaped = message.bytes().map(|b| match plain(b) {
        true => char::from(b).to_string(),
        false => format!("%{b:02X}"),
    });
    web::set(&mut reply, "grpc-message", &escaped.collect::<String>());
    reply
}

/// A message that is not compressed, with its length before it.
pub fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    Bytes::from([&[0], length.as_slice(), message].concat())
}

/// One message, and that all is well.
pub fn answer(message: &[u8]) -> Reply {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    // Frames and no length, as gRPC has it: a client that counts would not wait for the trailers.
    let frames = [Ok(Frame::data(framed(message))), Ok(Frame::trailers(trailers))];
    let mut reply = Response::new(StreamBody::new(futures::stream::iter(frames)).boxed());
    reply.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    reply
}
