//! Accept loops: plain or TLS, HTTP/1 or HTTP/2, a bounded number of connections, each drained when
//! the program ends.

use crate::shares::Shares;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

pub(crate) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// What is known of the peer when its connection is up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    pub tls: bool,
    /// On this machine's, that is this pod's, loopback.
    pub local: bool,
    /// Proven by a client certificate.
    pub identity: Option<base::SpiffeId>,
}

/// Answers requests. Cloned per request.
pub(crate) trait Serve: Clone + Send + 'static {
    fn serve(
        self,
        peer: Peer,
        request: http::Request<Incoming>,
    ) -> impl Future<Output = http::Response<Body>> + Send;
}

const MAX_CONNECTIONS: usize = 10_000;
/// From one address, other than this machine's own: a pod needs a few, and a hostile one must not take all.
const MAX_OF_ADDRESS: usize = 1_000;
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long open connections may take to end when the program does.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until `stop` turns true, then asks every connection to end and waits for them.
pub(crate) async fn serve<S: Serve + Sync>(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    service: S,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let shares = Shares::of(MAX_OF_ADDRESS);
    let acceptor = tls.map(TlsAcceptor::from);
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|s| *s) => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, from)) = accepted else {
            // Out of descriptors: let some connections end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let ip = from.ip().to_canonical();
        let local = ip.is_loopback();
        let share = shares.take(&ip);
        if share.is_none() && !local {
            tracing::debug!(%ip, "too many connections from one address");
            continue;
        }
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let _ = socket.set_nodelay(true);
        let (acceptor, service, stop) = (acceptor.clone(), service.clone(), stop.clone());
        tokio::spawn(async move {
            match acceptor {
                None => {
                    let peer = Peer { local, ..Peer::default() };
                    connection(socket, peer, service, stop).await;
                }
                Some(acceptor) => {
                    let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await;
                    match shaken {
                        Ok(Ok(stream)) => {
                            let peer = Peer { local, ..peer_of(stream.get_ref().1) };
                            connection(stream, peer, service, stop).await;
                        }
                        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
                        Err(_) => tracing::debug!("TLS handshake took too long"),
                    }
                }
            }
            drop((permit, share));
        });
    }
    drop(listener);
    let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(DRAIN, room.acquire_many(all)).await;
}

fn peer_of(session: &rustls::ServerConnection) -> Peer {
    let leaf = session.peer_certificates().and_then(|chain| chain.first());
    let identity = leaf.and_then(|c| tls::spiffe_ids(c).into_iter().next());
    Peer { tls: true, identity, ..Peer::default() }
}

async fn connection<I, S>(io: I, peer: Peer, service: S, mut stop: watch::Receiver<bool>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Serve + Sync,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(128);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    let serve = service_fn(move |request| {
        let (service, peer) = (service.clone(), peer.clone());
        async move { Ok::<_, std::convert::Infallible>(service.serve(peer, request).await) }
    });
    let connection = builder.serve_connection(TokioIo::new(io), serve);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return report(ended),
        _ = stop.wait_for(|s| *s) => connection.as_mut().graceful_shutdown(),
    }
    report(connection.await);
}

fn report(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
