//! `fortio`'s echo servers, the peer that other services are tried with: HTTP on 8080 sends the body
//! back, gRPC on 8079 sends every message of any method back, TCP on 8078 every byte.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Request, Response, StatusCode};
use tokio::net::TcpStream;

use crate::flags::{Flags, pod_name};
use crate::web::{self, Reply};

/// The largest body that `?size=` makes.
const LARGEST: u64 = 1 << 30;
const PIECE: usize = 64 << 10;

pub async fn run(flags: &Flags) -> anyhow::Result<()> {
    let port = |name: &str, default| match flags.get(name) {
        Some(text) => text
            .trim_start_matches(':')
            .parse()
            .map_err(|_| anyhow::anyhow!("--{name} {text:?} is not a port number")),
        None => Ok(default),
    };
    let http = web::listen(port("http-port", 8080)?).await?;
    let grpc = web::listen(port("grpc-port", 8079)?).await?;
    let tcp = web::listen(port("tcp-port", 8078)?).await?;
    tokio::try_join!(
        web::serve_raw(http, http_echo),
        web::serve_raw(grpc, |request, _| async { grpc_echo(request) }),
        web::each(tcp, |stream, _| tcp_echo(stream)),
    )?;
    Ok(())
}

/// `?delay=100ms`, `?status=503` and `?size=1000000` change the answer.
async fn http_echo(request: Request<Incoming>, _peer: IpAddr) -> Reply {
    let pairs = web::form_pairs(request.uri().query().unwrap_or_default());
    let option = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str());
    if let Some(delay) = option("delay").and_then(duration) {
        tokio::time::sleep(delay).await;
    }
    let mut reply = match option("size").and_then(|text| text.parse().ok()) {
        Some(size) => sized(size),
        None => echo(request),
    };
    if let Some(status) = option("status").and_then(|text| text.parse().ok()) {
        *reply.status_mut() = status;
    }
    web::set(&mut reply, "x-served-by", &pod_name());
    reply
}

fn echo(request: Request<Incoming>) -> Reply {
    let content_type = request.headers().get("content-type").cloned();
    let length = request.body().size_hint().exact();
    let body = request.into_body().map_err(std::io::Error::other).boxed();
    let mut reply = Response::new(body);
    if let Some(content_type) = content_type {
        reply.headers_mut().insert("content-type", content_type);
    }
    if let Some(length) = length {
        reply.headers_mut().insert("content-length", HeaderValue::from(length));
    }
    reply
}

fn sized(size: u64) -> Reply {
    let size = size.min(LARGEST);
    let (sender, mut reply) = web::streamed("application/octet-stream");
    reply.headers_mut().insert("content-length", HeaderValue::from(size));
    tokio::task::spawn_local(async move {
        let piece = Bytes::from((0..PIECE).map(|i| (i % 251) as u8).collect::<Vec<u8>>());
        let mut left = size;
        while left > 0 {
            let length = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            left -= length as u64;
            if sender.send(piece.slice(..length)).await.is_err() {
                return; // The client has had enough.
            }
        }
    });
    reply
}

/// `150ms`, `2s`, `1.5s`, or plain seconds.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()
}

fn grpc_echo(request: Request<Incoming>) -> Reply {
    let health = request.uri().path() == "/grpc.health.v1.Health/Check";
    let body = if health {
        // A message of two bytes: status = SERVING.
        let serving = Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]);
        Echo { source: Source::Message(Some(serving)), trailers_sent: false }
    } else {
        Echo { source: Source::Request(request.into_body()), trailers_sent: false }
    };
    let mut reply = Response::new(body.boxed());
    *reply.status_mut() = StatusCode::OK;
    reply.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    web::set(&mut reply, "x-served-by", &pod_name());
    reply
}

/// Messages, then the trailers that say it went well.
struct Echo {
    source: Source,
    trailers_sent: bool,
}

enum Source {
    Request(Incoming),
    Message(Option<Bytes>),
}

impl hyper::body::Body for Echo {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        loop {
            let next = match &mut self.source {
                Source::Message(message) => message.take().map(|bytes| Ok(Frame::data(bytes))),
                Source::Request(body) => {
                    std::task::ready!(Pin::new(body).poll_frame(context))
                }
            };
            match next {
                // The frame that only ends the request holds nothing; sent back as it is it would be
                // one of the empty frames that HTTP/2 peers count against a connection.
                Some(Ok(frame)) if frame.data_ref().is_some_and(|data| !data.is_empty()) => {
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Some(Err(std::io::Error::other(error)))),
                None if self.trailers_sent => return Poll::Ready(None),
                None => {
                    self.trailers_sent = true;
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
            }
        }
    }
}

async fn tcp_echo(mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    // A connection that breaks is its client's affair.
    let _ = tokio::io::copy(&mut read, &mut write).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let table = [("150ms", Some(150)), ("2s", Some(2000)), ("1.5", Some(1500)), ("x", None)];
        for (text, expected) in table {
            assert_eq!(duration(text).map(|d| d.as_millis()), expected, "{text}");
        }
        assert_eq!(duration("-1s"), None);
    }
}
