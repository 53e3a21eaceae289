//! Step: accept. Connections from a listening socket, each in a task of its own.

use crate::io::{Io, Socket};
use crate::runtime::ChainRt;
use crate::runtime::ListenerRt;
use crate::view::View;
use crate::worker::Worker;
use crate::{admit, detect, http, identify, tcp};
use ir::Str;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A connection, and where it came from and was meant for.
#[derive(Debug)]
pub struct Accepted {
    pub worker: Rc<Worker>,
    pub view: Rc<View>,
    pub listener: Arc<ListenerRt>,
    pub io: Io,
    pub remote: SocketAddr,
    pub local: SocketAddr,
    /// Where it was meant for before it was redirected to us.
    pub original: Option<SocketAddr>,
}

/// How long accepting pauses when descriptors run out: connections that end give some back.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until told to stop; what then waits in the queue is still served.
pub async fn accept(
    worker: Rc<Worker>,
    name: Str,
    socket: TcpListener,
    mut stop: oneshot::Receiver<()>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = &mut stop => break,
        };
        match accepted {
            Ok((stream, remote)) => admit_to(&worker, &name, stream, remote),
            Err(e) if is_about_the_connection(&e) => {}
            Err(e) => {
                tracing::warn!("cannot accept on {name}: {e}; trying again in {PAUSE:?}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, remote)) = socket.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            admit_to(&worker, &name, stream, remote);
        }
    }
}

fn is_about_the_connection(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

fn admit_to(worker: &Rc<Worker>, name: &Str, stream: TcpStream, remote: SocketAddr) {
    let view = worker.view();
    let Some(listener) = view.runtime.listeners.get(name).cloned() else { return };
    let shard = &worker.shard;
    if worker.open_connections() >= worker.shared.limits.connections {
        shard.inc(listener.stats.cx_overflow);
        return;
    }
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let original = if listener.config.filters.original_dst || listener.config.use_original_dst {
        net::original_dst(&stream)
    } else {
        None
    };
    shard.inc(listener.stats.cx_total);
    shard.up(listener.stats.cx_active);
    let (canonical, io) = (net::sock::canonical, Socket::Tcp(stream));
    io.emptied();
    let io = Io::Plain(io);
    let (remote, local) = (canonical(remote), canonical(local));
    let (worker, stats) = (worker.clone(), listener.stats);
    let accepted = Accepted { worker: worker.clone(), view, listener, io, remote, local, original };
    let steps = Box::pin(establish(accepted));
    tokio::task::spawn_local(async move {
        let waker = std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone())).await;
        let _entered = worker.enter(waker);
        let served = steps.await;
        if let Some(served) = served {
            served.await;
        }
        worker.shard.down(stats.cx_active);
        worker.shard.inc(stats.cx_destroy);
    });
}

/// The life of a connection after its first steps. Boxed, so that an open connection carries nothing
/// but what serves it.
pub type Served = Pin<Box<dyn Future<Output = ()>>>;

/// The steps of a connection. Each takes what the one before it gives.
async fn establish(accepted: Accepted) -> Option<Served> {
    let detected = detect::detect(accepted).await?;
    let identified = identify::identify(detected).await?;
    let mut admitted = admit::admit(identified).await?;
    match admitted.chain() {
        ChainRt::Http(_) if admitted.denied().is_some() => None,
        ChainRt::Http(manager) => http::open(admitted, manager).await,
        ChainRt::Tcp(proxy) => Some(Box::pin(tcp::serve(admitted, proxy))),
        ChainRt::Close => None,
    }
}
