//! One call by gRPC over a connection of its own, and the streams of discovery.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http2;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::web::LocalExecutor;

const LARGEST_MESSAGE: usize = 16 << 20;

/// The next whole message of what was read so far.
pub fn next(read: &mut BytesMut) -> anyhow::Result<Option<Bytes>> {
    let Some(head) = read.get(..5) else { return Ok(None) };
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if head[0] != 0 || length > LARGEST_MESSAGE {
        bail!("a message is compressed or longer than {LARGEST_MESSAGE} bytes");
    }
    if read.len() < 5 + length {
        return Ok(None);
    }
    read.advance(5);
    Ok(Some(read.split_to(length).freeze()))
}

/// Opens a stream on a connection; its body is what is sent.
pub async fn open<B>(
    io: impl AsyncRead + AsyncWrite + Unpin + 'static,
    authority: &str,
    path: &str,
    headers: HeaderMap,
    body: B,
) -> anyhow::Result<Response<Incoming>>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut sender, connection) =
        http2::Builder::new(LocalExecutor).handshake(TokioIo::new(io)).await?;
    tokio::task::spawn_local(async move {
        // How a connection ends is seen by its requests.
        let _ = connection.await;
    });
    let mut request = Request::post(format!("http://{authority}{path}")).body(body)?;
    *request.headers_mut() = headers;
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")] {
        request.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    }
    Ok(sender.send_request(request).await?)
}

/// A status that is not OK.
#[derive(Debug, thiserror::Error)]
#[error("rpc error: code = {code} desc = {message}")]
pub struct Failed {
    pub code: &'static str,
    pub message: String,
}

impl Failed {
    pub fn unavailable(why: impl std::fmt::Display) -> Failed {
        Failed { code: "Unavailable", message: why.to_string() }
    }
}

/// The one message of an answer that came whole.
pub async fn answer(response: Response<Incoming>, patience: Duration) -> Result<Bytes, Failed> {
    let head = response.headers().clone();
    let whole = tokio::time::timeout(patience, response.into_body().collect()).await;
    let late = |_| Failed { code: "DeadlineExceeded", message: format!("after {patience:?}") };
    let whole = whole.map_err(late)?.map_err(Failed::unavailable)?;
    let trailers = whole.trailers().cloned().unwrap_or_default();
    let of = |name: &str| trailers.get(name).or_else(|| head.get(name))?.to_str().ok();
    let code = code(of("grpc-status").unwrap_or("2"));
    if code != "OK" {
        let message = of("grpc-message").map(crate::web::unescape).unwrap_or_default();
        return Err(Failed { code, message });
    }
    let mut read = BytesMut::from(whole.to_bytes());
    let message = next(&mut read).and_then(|m| m.context("an answer without a message"));
    message.map_err(|e| Failed { code: "Internal", message: e.to_string() })
}

fn code(number: &str) -> &'static str {
    match number {
        "0" => "OK",
        "1" => "Canceled",
        "3" => "InvalidArgument",
        "4" => "DeadlineExceeded",
        "5" => "NotFound",
        "7" => "PermissionDenied",
        "8" => "ResourceExhausted",
        "12" => "Unimplemented",
        "13" => "Internal",
        "14" => "Unavailable",
        "16" => "Unauthenticated",
        _ => "Unknown",
    }
}
