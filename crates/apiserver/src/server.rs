//! Starting and serving: TLS, HTTP/1.1 and HTTP/2, one task per connection.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::auth::{Authority, AuthorityError};
use crate::client::Client;
use crate::core::{Core, Resolver};
use crate::error::ApiError;
use crate::http;
use crate::kubelet::Kubelet;
use crate::store::{DiskError, Store};

/// Connections beyond which new ones wait.
const MAX_CONNECTIONS: usize = 4096;
/// A peer that has not finished its TLS handshake by then is dropped.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A request's head must arrive within this.
const HEADERS: Duration = Duration::from_secs(60);
/// Dead peers of HTTP/2 are found by pings at this interval.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

pub struct Options {
    pub state_dir: PathBuf,
    /// Already bound and non-blocking.
    pub listen: std::net::TcpListener,
    /// Names and addresses under which clients reach the server.
    pub advertised_names: Vec<String>,
    pub service_cidr: String,
    pub external_url: String,
    /// (namespace, service, port) to an address of the webhook's server.
    pub webhook_resolver: Resolver,
}

#[derive(Debug, Error)]
pub enum StartError {
    #[error("the state directory {path} cannot be made: {source}")]
    StateDir { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("the listening socket cannot be used: {0}")]
    Listen(#[from] std::io::Error),
    #[error("the cluster's first objects could not be created: {0}")]
    Bootstrap(#[from] ApiError),
}

pub struct Server;

/// Keeps the server running; dropping it stops the server.
pub struct ServerHandle {
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl ServerHandle {
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Server {
    /// Opens the state, creates what a cluster begins with, and serves.
    pub async fn start(
        options: Options,
        kubelet: Arc<dyn Kubelet>,
    ) -> Result<(Client, ServerHandle), StartError> {
        let dir = &options.state_dir;
        std::fs::create_dir_all(dir)
            .map_err(|source| StartError::StateDir { path: dir.clone(), source })?;
        let authority = Authority::open(dir)?;
        let mut tls = authority.server_config(&names(&options))?;
        tls.max_early_data_size = 0;
        let store = Store::open(&dir.join("cluster.db"))?;
        let core = Arc::new(Core::new(
            store,
            authority,
            kubelet,
            options.webhook_resolver.clone(),
            options.service_cidr.clone(),
            options.external_url.clone(),
        ));
        crate::bootstrap::bootstrap(&core).await?;
        options.listen.set_nonblocking(true)?;
        let listener = TcpListener::from_std(options.listen)?;
        let address = listener.local_addr()?;
        let tasks = vec![
            tokio::spawn(crate::background::run(core.clone())),
            tokio::spawn(crate::background::expire_events(core.clone())),
            tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), core.clone())),
        ];
        Ok((Client::new(core), ServerHandle { address, tasks }))
    }
}

fn names(options: &Options) -> Vec<String> {
    let standard = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        "::1",
        "10.96.0.1",
    ];
    let mut names: Vec<String> = standard.iter().map(|n| (*n).to_owned()).collect();
    names.extend(options.advertised_names.iter().cloned());
    names.dedup();
    names
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, core: Arc<Core>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (tls, core) = (tls.clone(), core.clone());
                tokio::spawn(async move {
                    serve(stream, tls, core).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors or a connection that is gone again: others go on.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, tls: TlsAcceptor, core: Arc<Core>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await else { return };
    let certificate = stream.get_ref().1.peer_certificates().and_then(|c| c.first());
    let user = certificate.and_then(|c| http::user_of_certificate(c)).map(Arc::new);
    let service = service_fn(move |request| {
        let (core, user) = (core.clone(), user.clone());
        async move { Ok::<_, std::convert::Infallible>(http::handle(core, user, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_streams(250)
        .max_header_list_size(64 * 1024);
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await
    {
        tracing::debug!(%error, "a connection ended badly");
    }
}
