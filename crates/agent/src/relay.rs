//! Discovery for a data plane that is not ours: a Unix socket on which it speaks plain HTTP/2, and the
//! control plane beyond, over TLS with the pod's token as it is at that moment. The pod's own secrets
//! are answered here.

mod authority;

use crate::identity::{Authority, IdentityError};
use crate::sds::{self, Body};
use crate::secrets::Secrets;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixListener;

/// How often an idle stream is checked: the control plane may vanish without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("{0}")]
    Identity(#[from] IdentityError),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(String),
}

/// Listens on `socket` and relays until the task is dropped.
pub async fn serve(authority: Authority, secrets: Secrets, socket: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    // Whoever is in the pod may speak here, whatever user it is.
    std::fs::set_permissions(socket, Permissions::from_mode(0o666))?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (authority, secrets) = (authority.clone(), secrets.clone());
        let stream = authority::Readable::new(stream, socket);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (authority, secrets) = (authority.clone(), secrets.clone());
                async move {
                    Ok::<_, Infallible>(match request.uri().path() {
                        sds::PATH => sds::answer(secrets, request),
                        _ => answer(&authority, request).await,
                    })
                }
            });
            let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = http2.await {
                tracing::debug!(%error, "the data plane's discovery connection ended");
            }
        });
    }
}

/// The control plane's answer, or the gRPC status that makes the data plane try again.
async fn answer(authority: &Authority, request: Request<Incoming>) -> Response<Body> {
    match forward(authority, request).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(%error, "the control plane cannot be reached");
            let empty = http_body_util::Empty::new().map_err(|never| match never {});
            let mut response = Response::new(empty.boxed_unsync());
            let headers = response.headers_mut();
            headers.insert(
                "content-type",
                hyper::header::HeaderValue::from_static("application/grpc"),
            );
            // 14: unavailable.
            headers.insert("grpc-status", hyper::header::HeaderValue::from_static("14"));
            response
        }
    }
}

/// Each stream has a connection of its own: a data plane holds one stream for its life.
async fn forward(
    authority: &Authority,
    request: Request<Incoming>,
) -> Result<Response<Body>, RelayError> {
    let stream = authority.connect().await?;
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection);
    let say = |e: &dyn std::fmt::Display| RelayError::Request(e.to_string());
    let (mut head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    head.uri =
        format!("https://{}{path}", authority.address).parse::<Uri>().map_err(|e| say(&e))?;
    let bearer = format!("Bearer {}", authority.token()?).parse();
    head.headers.insert("authorization", bearer.map_err(|e| say(&e))?);
    head.headers.remove("host");
    let response = sender.send_request(Request::from_parts(head, body)).await?;
    Ok(response.map(BodyExt::boxed_unsync))
}
