//! The admin port's socket: HTTP/1 for few and patient clients.

use super::{Process, answer};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// A client that has not sent its head by then is not waited for.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers on `listener` for as long as the future is polled.
pub async fn serve(listener: TcpListener, process: Arc<dyn Process>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let process = process.clone();
                tokio::spawn(async move {
                    serve_one(stream, process).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "admin: cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve_one(stream: TcpStream, process: Arc<dyn Process>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let process = process.clone();
        // The workers are asked for some answers, and others are long: neither may hold up what else runs
        // on this thread.
        let made = tokio::task::spawn_blocking(move || reply(&*process, &request));
        async move { Ok::<_, Infallible>(made.await.unwrap_or_else(|_| failed())) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admin: connection ended");
    }
}

fn failed() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}

fn reply(process: &dyn Process, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let target = request.uri().path_and_query().map_or("/", |p| p.as_str());
    let reply = answer(process, request.method().as_str(), target);
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    let fixed = hyper::header::HeaderValue::from_static;
    headers.insert("content-type", fixed(reply.content_type));
    headers.insert("cache-control", fixed("no-cache, max-age=0"));
    headers.insert("x-content-type-options", fixed("nosniff"));
    headers.insert("server", fixed("envoy"));
    response
}
