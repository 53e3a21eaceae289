//! The little that the applications need of a web server: a listener for both IP families, requests
//! read whole (with a bound), replies, and an orderly end on SIGTERM.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// An error in a reply's body breaks the connection off, so that no client takes half for whole.
pub type Body = BoxBody<Bytes, std::io::Error>;
pub type Reply = Response<Body>;

/// The largest request body that is read whole.
const LARGEST_BODY: usize = 16 << 20;
/// Requests may still arrive for a moment after a pod was told to stop, until everybody knows.
const LAME_DUCK: Duration = Duration::from_millis(1500);
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A request, read whole.
pub struct Call {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub peer: IpAddr,
    pub body: Bytes,
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The path's parts: `/reviews/0` is `["reviews", "0"]`.
    pub fn parts(&self) -> Vec<&str> {
        self.path.trim_matches('/').split('/').collect()
    }

    pub fn query_pairs(&self) -> Vec<(String, String)> {
        form_pairs(&self.query)
    }

    pub fn query(&self, name: &str) -> Option<String> {
        self.query_pairs().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    pub fn cookies(&self) -> Vec<(String, String)> {
        let all = self.headers.get_all("cookie").iter().filter_map(|value| value.to_str().ok());
        all.flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()))
            .collect()
    }
}

pub fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()).map_err(|never| match never {}).boxed());
    *reply.status_mut() = status;
    if !content_type.is_empty() {
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    reply
}

pub fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    text(status, "application/json", value.to_string())
}

pub fn html(body: impl Into<Bytes>) -> Reply {
    text(StatusCode::OK, "text/html; charset=utf-8", body)
}

pub fn not_found() -> Reply {
    text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "404 not found\n")
}

/// A reply whose body is what is sent into the channel, piece by piece, as fast as it is read.
pub fn streamed(content_type: &'static str) -> (mpsc::Sender<Bytes>, Reply) {
    let (sender, receiver) = mpsc::channel(4);
    let mut reply = text(StatusCode::OK, content_type, Bytes::new());
    *reply.body_mut() = Pieces(receiver).boxed();
    (sender, reply)
}

struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Sets a header if its value may stand in one.
pub fn set(reply: &mut Reply, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

pub fn redirect(to: &str) -> Reply {
    let mut reply = text(StatusCode::FOUND, "text/html; charset=utf-8", Bytes::new());
    set(&mut reply, "location", to);
    reply
}

pub fn form_pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (unescape(&key.replace('+', " ")), unescape(&value.replace('+', " ")))
        })
        .collect()
}

/// Undoes percent-encoding; what is not valid stays as it is.
pub fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let hex = |index: usize| bytes.get(index).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        match (bytes[index], hex(index + 1), hex(index + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                index += 3;
            }
            (byte, ..) => {
                out.push(byte);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Listens on a port of both IP families, or of IPv4 alone where there is no IPv6.
pub async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    let both = TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, port)).await;
    let listener = match both {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, port)).await,
    };
    listener.map_err(|error| anyhow::anyhow!("cannot listen on port {port}: {error}"))
}

/// Serves whole requests.
pub async fn serve<F, R>(listener: TcpListener, handler: F) -> anyhow::Result<()>
where
    F: Fn(Call) -> R + 'static,
    R: Future<Output = Reply> + 'static,
{
    let handler = Rc::new(handler);
    serve_raw(listener, move |request, peer| answer(handler.clone(), request, peer)).await
}

async fn answer<F, R>(handler: Rc<F>, request: Request<Incoming>, peer: IpAddr) -> Reply
where
    F: Fn(Call) -> R,
    R: Future<Output = Reply>,
{
    match whole(request, peer).await {
        Ok(call) => handler(call).await,
        Err(reply) => reply,
    }
}

/// Reads a request to its end, or says why not.
pub async fn whole(request: Request<Incoming>, peer: IpAddr) -> Result<Call, Reply> {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, LARGEST_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let message = format!("the request's body cannot be read: {error}\n");
            return Err(text(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", message));
        }
    };
    Ok(Call {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        peer,
        body,
    })
}

/// Serves requests whose bodies the handler reads itself; HTTP/1.1 and HTTP/2 on the same port.
pub async fn serve_raw<F, R>(listener: TcpListener, handler: F) -> anyhow::Result<()>
where
    F: Fn(Request<Incoming>, IpAddr) -> R + 'static,
    R: Future<Output = Reply> + 'static,
{
    let local = tokio::task::LocalSet::new();
    local.run_until(accept(listener, Rc::new(handler))).await
}

async fn accept<F, R>(listener: TcpListener, handler: Rc<F>) -> anyhow::Result<()>
where
    F: Fn(Request<Incoming>, IpAddr) -> R + 'static,
    R: Future<Output = Reply> + 'static,
{
    let mut stop = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let graceful = GracefulShutdown::new();
    let mut end: Option<Pin<Box<tokio::time::Sleep>>> = None;
    loop {
        let over = async {
            match end.as_mut() {
                Some(sleep) => sleep.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            (stream, peer) = next(&listener) => connection(stream, peer, handler.clone(), &graceful),
            _ = stop.recv() => end = Some(Box::pin(tokio::time::sleep(LAME_DUCK))),
            _ = interrupt.recv() => return Ok(()),
            () = over => break,
        }
    }
    drop(listener);
    // What is not said by then stays unsaid: the pod's grace period is running.
    let _ = tokio::time::timeout(LAST_WORDS, graceful.shutdown()).await;
    Ok(())
}

/// The next connection.
async fn next(listener: &TcpListener) -> (TcpStream, IpAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A peer that is gone already will be noticed when reading.
                let _ = stream.set_nodelay(true);
                return (stream, peer.ip().to_canonical());
            }
            // Out of descriptors, most likely: leave room to those who end.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Serves connections that speak something else, until a moment after SIGTERM.
pub async fn each<F, R>(listener: TcpListener, handler: F) -> anyhow::Result<()>
where
    F: Fn(TcpStream, IpAddr) -> R,
    R: Future<Output = ()> + 'static,
{
    let mut stop = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let end = async {
        tokio::select! {
            _ = stop.recv() => tokio::time::sleep(LAME_DUCK).await,
            _ = interrupt.recv() => (),
        }
    };
    let serving = async {
        loop {
            let (stream, peer) = next(&listener).await;
            tokio::task::spawn_local(handler(stream, peer));
        }
    };
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            tokio::select! {
                () = serving => (),
                () = end => (),
            }
        })
        .await;
    Ok(())
}

fn connection<F, R>(stream: TcpStream, peer: IpAddr, handler: Rc<F>, graceful: &GracefulShutdown)
where
    F: Fn(Request<Incoming>, IpAddr) -> R + 'static,
    R: Future<Output = Reply> + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let reply = handler(request, peer);
        async move { Ok::<_, Infallible>(reply.await) }
    });
    let builder = protocols();
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let connection = graceful.watch(connection.into_owned());
    tokio::task::spawn_local(async move {
        // Connections end in many ways; none of them is ours to report.
        let _ = connection.await;
    });
}

/// Serves whole requests of one connection, whatever carries it, until it ends.
pub async fn serve_connection<I, F, R>(io: I, peer: IpAddr, handler: F) -> anyhow::Result<()>
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    F: Fn(Call) -> R + 'static,
    R: Future<Output = Reply> + 'static,
{
    let handler = Rc::new(handler);
    let service = hyper::service::service_fn(move |request| {
        let reply = answer(handler.clone(), request, peer);
        async move { Ok::<_, Infallible>(reply.await) }
    });
    let served = protocols().serve_connection(TokioIo::new(io), service).await;
    served.map_err(|error| anyhow::anyhow!("{error}"))
}

/// HTTP/1.1 and HTTP/2, whichever the client speaks.
fn protocols() -> Builder<LocalExecutor> {
    let mut builder = Builder::new(LocalExecutor);
    builder.http1().timer(TokioTimer::new()).max_buf_size(64 << 10);
    builder.http2().timer(TokioTimer::new());
    builder
}

#[derive(Clone)]
pub struct LocalExecutor;

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded() {
        assert_eq!(
            form_pairs("user=jason+b&x=%2Fy%zz&flag"),
            [("user", "jason b"), ("x", "/y%zz"), ("flag", "")]
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
        );
    }
}
