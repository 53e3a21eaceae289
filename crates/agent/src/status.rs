//! The agent's own server on 15020, and readiness on 15021: ready with a complete configuration, the
//! application's probes, metrics of proxy and application in one page.

mod probe;

use crate::dial::Dial;
use crate::dns::Names;
use crate::fetch;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use ir::Resource;
pub use probe::Probes;
use serde::Deserialize;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// Whether traffic may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet: what is still missing.
    Waiting(String),
    Ready,
    /// Not any more.
    Draining,
}

/// Where the proxy's own metrics come from.
pub type Scrape = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = String> + Send>> + Send + Sync>;

/// Answers on 15020 and 15021.
#[derive(Clone)]
pub struct Status {
    pub readiness: watch::Receiver<Readiness>,
    pub probes: Probes,
    pub proxy_metrics: Scrape,
    pub application: Option<Application>,
    pub names: Option<Names>,
    pub dial: Dial,
    /// Turned true by `POST /quitquitquit` and `POST /drain`.
    pub quit: watch::Sender<bool>,
}

/// The application's own metrics, as its pod's annotations said before injection.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Application {
    #[serde(default)]
    pub path: String,
    #[serde(default)]
    pub port: String,
}

const MAX_CONNECTIONS: usize = 256;
const SCRAPE: Duration = Duration::from_secs(5);

/// Serves the proxy's own metrics alone, as Prometheus asks for them on 15090.
pub(crate) async fn serve_metrics(listener: TcpListener, metrics: Scrape) {
    serve(listener, move |_, request| {
        let metrics = metrics.clone();
        async move {
            match request.uri().path() {
                "/stats/prometheus" => text(200, metrics().await),
                _ => text(404, "not found\n"),
            }
        }
    })
    .await;
}

/// Accepts and answers until the task is dropped.
async fn serve<A, F>(listener: TcpListener, answer: A)
where
    A: Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Ok((socket, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answered = answer(peer, request);
                async move { Ok::<_, Infallible>(answered.await) }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
            let _ = http.serve_connection(TokioIo::new(socket), service).await;
            drop(permit);
        });
    }
}

impl Status {
    /// Serves until the task is dropped.
    pub async fn serve(self, listener: TcpListener) {
        serve(listener, move |peer, request| {
            let status = self.clone();
            async move { status.answer(peer, request).await }
        })
        .await;
    }

    async fn answer(&self, peer: SocketAddr, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        match path {
            "/healthz/ready" => self.ready(),
            "/stats/prometheus" | "/metrics" => text(200, self.metrics().await),
            "/debug/ndsz" => self.names(),
            "/quitquitquit" | "/drain" => self.quit(peer, request.method(), path),
            _ if path.starts_with("/app-health/") => match self.probes.run(path).await {
                Some(status) => text(status, ""),
                None => text(404, "no such probe in this pod\n"),
            },
            _ => text(404, "not found\n"),
        }
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        match &*self.readiness.borrow() {
            Readiness::Ready => text(200, ""),
            Readiness::Waiting(what) => text(503, format!("not ready: {what}\n")),
            Readiness::Draining => text(503, "not ready: draining\n"),
        }
    }

    /// What DNS answers, as Istio's agent shows it.
    fn names(&self) -> Response<Full<Bytes>> {
        match self.names.as_ref().map(Names::get) {
            None => text(404, "DNS is not captured in this pod\n"),
            Some(None) => text(503, "the control plane has not told names yet\n"),
            Some(Some(directory)) => {
                let names = Resource::Names(directory.table().clone());
                let json = xds::to_json(&xds::type_url_of(names.key().kind), &xds::encode(&names));
                text(200, json.unwrap_or_default().to_string())
            }
        }
    }

    fn quit(&self, peer: SocketAddr, method: &Method, path: &str) -> Response<Full<Bytes>> {
        // The node drains a native sidecar by a GET from outside the pod.
        let by_node = path == "/drain" && method == Method::GET;
        if !by_node && (method != Method::POST || !peer.ip().to_canonical().is_loopback()) {
            return text(405, "only POST from within the pod\n");
        }
        if path == "/quitquitquit" {
            self.quit.send_replace(true);
        }
        text(200, "OK\n")
    }

    /// The proxy's metrics and then the application's, whose failure is not ours.
    async fn metrics(&self) -> String {
        let mut page = (self.proxy_metrics)().await;
        page.extend(self.names.as_ref().map(Names::metrics));
        let Some(application) = &self.application else { return page };
        match tokio::time::timeout(SCRAPE, self.scrape(application)).await {
            Ok(Ok(own)) => {
                if !page.is_empty() && !page.ends_with('\n') {
                    page.push('\n');
                }
                // OpenMetrics ends with a mark, and nothing may follow it.
                page.push_str(own.trim_end().trim_end_matches("# EOF"));
                page.push('\n');
            }
            Ok(Err(error)) => tracing::debug!(error, "the application's metrics are not to be had"),
            Err(_) => tracing::debug!("the application's metrics took too long"),
        }
        page
    }

    async fn scrape(&self, application: &Application) -> Result<String, String> {
        let port: u16 = match application.port.as_str() {
            "" => 80,
            port => port.parse().map_err(|_| format!("{port:?} is not a port"))?,
        };
        let path = match application.path.as_str() {
            "" => "/metrics",
            path => path,
        };
        let target = SocketAddr::from(([127, 0, 0, 1], port));
        let socket = self.dial.to_own_pod(target, SCRAPE).await.map_err(|e| e.to_string())?;
        let request = Request::get(path)
            .header("host", target.to_string())
            .header("accept", "text/plain;version=0.0.4")
            .body(Full::new(Bytes::new()))
            .map_err(|e| e.to_string())?;
        let response = fetch::http1(socket, request).await.map_err(|e| e.to_string())?;
        if !response.status().is_success() {
            return Err(format!("status {}", response.status()));
        }
        String::from_utf8(response.into_body().to_vec()).map_err(|e| e.to_string())
    }
}

fn text(status: u16, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    let kind = hyper::header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests;
