//! One GET to another service: a connection of its own, one deadline for everything.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The largest answer that is read.
const LARGEST_BODY: usize = 4 << 20;

pub async fn get(
    authority: &str,
    path: &str,
    headers: &HeaderMap,
    timeout: Duration,
) -> anyhow::Result<(StatusCode, Bytes)> {
    tokio::time::timeout(timeout, fetch(authority, path, headers))
        .await
        .with_context(|| format!("{authority} did not answer within {timeout:?}"))?
}

async fn fetch(
    authority: &str,
    path: &str,
    headers: &HeaderMap,
) -> anyhow::Result<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(authority)
        .await
        .with_context(|| format!("cannot connect to {authority}"))?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::task::spawn_local(async move {
        // How the connection ends is seen by the request.
        let _ = connection.await;
    });
    let mut request = Request::get(path).header("host", authority).body(Empty::<Bytes>::new())?;
    request.headers_mut().extend(headers.clone());
    request.headers_mut().insert("connection", hyper::header::HeaderValue::from_static("close"));
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST_BODY).collect().await;
    driver.abort();
    let body = body.map_err(|error| anyhow::anyhow!("{authority} broke off: {error}"))?;
    Ok((status, body.to_bytes()))
}
