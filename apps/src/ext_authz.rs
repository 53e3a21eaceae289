//! `ext-authz`: an authorization service to try CUSTOM policies with. It allows a request that carries
//! `x-ext-authz: allow` and refuses the others; asked over HTTP on 8000 and over gRPC on 9000.

mod check;

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request, Response, StatusCode};

use crate::flags::Flags;
use crate::web::{self, Call, Reply};

const ASKED: &str = "x-ext-authz";
const RESULT: &str = "x-ext-authz-check-result";
const RECEIVED: &str = "x-ext-authz-check-received";
const REFUSAL: &str =
    "denied by ext_authz for not found header `x-ext-authz: allow` in the request";
const LARGEST_MESSAGE: usize = 1 << 20;

pub async fn run(flags: &Flags) -> anyhow::Result<()> {
    let http = web::listen(flags.number("http", 8000)?).await?;
    let grpc = web::listen(flags.number("grpc", 9000)?).await?;
    tokio::try_join!(
        web::serve(http, |call| async move { over_http(&call) }),
        web::serve_raw(grpc, over_grpc),
    )?;
    Ok(())
}

fn over_http(call: &Call) -> Reply {
    let allowed = call.header(ASKED) == Some("allow");
    let mut reply = match allowed {
        true => web::text(StatusCode::OK, "", ""),
        false => web::text(StatusCode::FORBIDDEN, "text/plain", REFUSAL),
    };
    web::set(&mut reply, RESULT, if allowed { "allowed" } else { "denied" });
    web::set(&mut reply, RECEIVED, &format!("{} {}", call.method, call.path));
    if let Some(value) = call.header("x-ext-authz-additional-header-override") {
        web::set(&mut reply, "x-ext-authz-additional-header-override", value);
    }
    reply
}

async fn over_grpc(request: Request<Incoming>, _peer: IpAddr) -> Reply {
    if !request.uri().path().ends_with(".Authorization/Check") {
        return answer(Bytes::new(), "12"); // Unimplemented.
    }
    let body = Limited::new(request.into_body(), LARGEST_MESSAGE).collect().await;
    let message = body.ok().map(|body| body.to_bytes());
    // One byte says whether it is compressed, four how long it is.
    let message = message.filter(|m| m.len() >= 5 && m[0] == 0);
    match message.and_then(|message| check::respond(&message[5..])) {
        Some(response) => {
            let length = u32::try_from(response.len()).unwrap_or(u32::MAX).to_be_bytes();
            answer([&[0], length.as_slice(), &response].concat().into(), "0")
        }
        None => answer(Bytes::new(), "3"), // Invalid argument.
    }
}

fn answer(message: Bytes, status: &'static str) -> Reply {
    if message.is_empty() {
        // Nothing but a status stands in the head.
        let mut reply = web::text(StatusCode::OK, "application/grpc", message);
        web::set(&mut reply, "grpc-status", status);
        return reply;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    // Frames and no length, as gRPC has it: a client that counts would not wait for the trailers.
    let frames = [Ok(Frame::data(message)), Ok(Frame::trailers(trailers))];
    let mut reply = Response::new(StreamBody::new(futures::stream::iter(frames)).boxed());
    reply.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    reply
}
