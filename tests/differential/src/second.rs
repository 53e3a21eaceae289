//! HTTP/2 for this suite: a client, and upstreams that describe the request as those of HTTP/1 do.

use crate::client::{Body, Request, Response, TRAILER};
use crate::http::Headers;
use crate::upstream::{Seen, Wish, describe};
use crate::way::Way;
use ::h2::client::SendRequest;
use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Sends the request on a connection of its own.
pub fn send(way: &Way, request: &Request, id: &str) -> Response {
    let exchange = async {
        let limit = Duration::from_secs(5);
        let done = tokio::time::timeout(limit, connected(way, request, id)).await;
        done.unwrap_or_else(|_| Err("timed out".into()))
    };
    let result = runtime().map_err(|e| e.to_string()).and_then(|r| r.block_on(exchange));
    result.unwrap_or_else(|failure| Response { failure: Some(failure), ..Response::default() })
}

async fn connected(way: &Way, request: &Request, id: &str) -> Result<Response, String> {
    let stream = way.open_async().await.map_err(|e| closed(&e))?;
    match way.tls(b"h2").map_err(|e| e.to_string())? {
        None => exchange(stream, request, id).await,
        Some((config, name)) => {
            let connector = tokio_rustls::TlsConnector::from(config);
            let stream = connector.connect(name, stream).await.map_err(|e| closed(&e))?;
            exchange(stream, request, id).await
        }
    }
}

/// However the connection ended, it is closed; words about it differ from run to run.
fn closed(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        _ => "closed".to_owned(),
    }
}

async fn exchange<S>(stream: S, request: &Request, id: &str) -> Result<Response, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (send, connection) = ::h2::client::handshake(stream).await.map_err(|e| said(&e))?;
    tokio::spawn(connection);
    let mut send: SendRequest<Bytes> = send.ready().await.map_err(|e| said(&e))?;
    let body = match &request.body {
        Body::None => Vec::new(),
        Body::Length(body) | Body::Chunked(body) | Body::Trailed(body) => body.clone(),
    };
    let head = head(request, id, body.len())?;
    let (response, out) = send.send_request(head, body.is_empty()).map_err(|e| said(&e))?;
    if !body.is_empty() {
        tokio::spawn(send_all(out, body.into(), trailers(&request.body)));
    }
    let mut response = response;
    let mut interim = Vec::new();
    while let Some(head) = poll_fn(|cx| response.poll_informational(cx)).await {
        let (head, ()) = head.map_err(|e| said(&e))?.into_parts();
        interim.push(format!("{} {:?}", head.status.as_u16(), headers(&head.headers)));
    }
    let (parts, body) = response.await.map_err(|e| said(&e))?.into_parts();
    let (body, trailers) = read(body).await.map_err(|e| said(&e))?;
    Ok(Response {
        status: parts.status.as_u16(),
        headers: headers(&parts.headers),
        trailers: trailers.map(|t| headers(&t)).unwrap_or_default(),
        body,
        interim,
        ..Response::default()
    })
}

fn trailers(body: &Body) -> Option<HeaderMap> {
    let Body::Trailed(_) = body else { return None };
    let (name, value) = TRAILER;
    Some([(HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect())
}

/// Resets are compared by their reason.
fn said(error: &::h2::Error) -> String {
    error.reason().map_or_else(|| "closed".to_owned(), |reason| format!("reset: {reason:?}"))
}

fn head(request: &Request, id: &str, length: usize) -> Result<http::Request<()>, String> {
    let host = request.host.as_deref().unwrap_or("none");
    let mut head = http::Request::builder()
        .method(request.method.as_str())
        .uri(format!("http://{host}{}", request.target))
        .header("x-id", id);
    for (name, value) in &request.headers {
        head = head.header(name, value);
    }
    if let Body::Length(_) = request.body {
        head = head.header("content-length", length);
    }
    head.body(()).map_err(|e| e.to_string())
}

fn headers(map: &HeaderMap) -> Headers {
    let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    map.iter().map(|(n, v)| (n.to_string(), text(v))).collect()
}

pub(crate) async fn read(
    mut body: RecvStream,
) -> Result<(Vec<u8>, Option<HeaderMap>), ::h2::Error> {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        all.extend_from_slice(&data);
    }
    Ok((all, body.trailers().await?))
}

pub(crate) async fn send_all(
    mut out: ::h2::SendStream<Bytes>,
    mut body: Bytes,
    trailers: Option<HeaderMap>,
) -> Option<()> {
    while !body.is_empty() {
        out.reserve_capacity(body.len());
        let n = poll_fn(|cx| out.poll_capacity(cx)).await?.ok()?;
        let piece = body.split_to(n.min(body.len()));
        // The end goes with the last data, so that nobody can answer before it.
        let last = body.is_empty() && trailers.is_none();
        out.send_data(piece, last).ok()?;
    }
    if let Some(trailers) = trailers {
        out.send_trailers(trailers).ok()?;
    }
    Some(())
}

/// Starts an upstream on a free port of 127.0.0.1; it lives as long as the process.
pub fn start(name: &'static str, seen: Seen) -> io::Result<SocketAddr> {
    let runtime = runtime()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(name.to_owned(), stream, seen.clone()));
            }
        });
    });
    Ok(address)
}

pub(crate) async fn serve<S>(name: String, stream: S, seen: Seen)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(mut connection) = ::h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(name.clone(), request, respond, seen.clone()));
    }
}

async fn answer(
    name: String,
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    seen: Seen,
) -> Option<()> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("", |p| p.as_str());
    let line = format!("{} {path} HTTP/2", parts.method);
    let mut sent = headers(&parts.headers);
    sent.push((":authority".into(), parts.uri.authority().map(ToString::to_string)?));
    sent.push((":scheme".into(), parts.uri.scheme_str().unwrap_or_default().into()));
    let value = |n: &str| parts.headers.get(n).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let attempt = seen.note(value("x-id"), format!("{name} {line}"));
    let wish = Wish::parse(value("x-echo")).at(attempt);
    let (body, trailers) = read(body).await.ok()?;
    if let Some(delay) = wish.delay {
        tokio::time::sleep(delay).await;
    }
    if wish.reset || wish.garble {
        let reason = if wish.reset { Reason::REFUSED_STREAM } else { Reason::INTERNAL_ERROR };
        respond.send_reset(reason);
        return None;
    }
    if wish.early_hints {
        let hints =
            http::Response::builder().status(103).header("link", "</a.css>").body(()).ok()?;
        respond.send_informational(hints).ok()?;
    }
    let trailers = trailers.map(|t| headers(&t)).unwrap_or_default();
    let text = match wish.content() {
        Some(content) => content,
        None if wish.empty => Vec::new(),
        None => describe(&name, &line, &sent, &body, &trailers),
    };
    let mut response = http::Response::builder().status(wish.status.unwrap_or(200));
    for (name, value) in &wish.add {
        response = response.header(name, value);
    }
    let bodiless = parts.method == http::Method::HEAD
        || matches!(wish.status, Some(204 | 304))
        || (text.is_empty() && !wish.trailer);
    let out = respond.send_response(response.body(()).ok()?, bodiless).ok()?;
    if bodiless {
        return None;
    }
    let trailer = wish.trailer.then(|| {
        let name = HeaderName::from_static("grpc-status");
        HeaderMap::from_iter([(name, HeaderValue::from_static("0"))])
    });
    send_all(out, text.into(), trailer).await
}
