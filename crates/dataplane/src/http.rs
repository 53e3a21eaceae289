//! An HTTP connection gets its codec: the one that is configured, or by what the client sends first.

use crate::accept::Served;
use crate::admit::Admitted;
use crate::identify::{Http, Identified};
use crate::io::Io;
use crate::runtime::ManagerRt;
use crate::{h1, h2};
use ir::Codec;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use wire::detect::{Protocol, Wanted, detect};

/// `None`: the client is gone.
pub async fn open(admitted: Admitted, manager: Arc<ManagerRt>) -> Option<Served> {
    let (mut connection, slot) = admitted.into_parts();
    if matches!(connection.io, Io::Secure(_)) {
        connection.worker.shard.inc(manager.stats.cx_ssl_total);
    }
    let http = match (manager.config.codec, connection.http) {
        (Codec::Http1, _) => Http::Http1,
        (Codec::Http2, _) => Http::Http2,
        (Codec::Auto, Some(http)) => http,
        (Codec::Auto, None) => sniff(&mut connection).await?,
    };
    let served: Served = match http {
        Http::Http1 => h1::serve(connection, manager),
        Http::Http2 => Box::pin(h2::serve(connection, manager)),
    };
    Some(match slot {
        None => served,
        Some(slot) => Box::pin(async move {
            served.await;
            drop(slot);
        }),
    })
}

/// Looks whether the HTTP/2 preface comes. `None`: nothing came, and the connection is over.
async fn sniff(connection: &mut Identified) -> Option<Http> {
    loop {
        let wanted = Wanted { tls: false, http: true };
        match detect(connection.prefix.unread(), wanted) {
            Some(Protocol::Http2) => return Some(Http::Http2),
            Some(_) => return Some(Http::Http1),
            None if !could_be_preface(connection.prefix.unread()) => return Some(Http::Http1),
            None => {}
        }
        if connection.prefix.is_empty() {
            // The buffer is taken only when something has come.
            let (io, worker) = (&connection.io, &connection.worker);
            let direction = connection.origin.direction;
            let readable = poll_fn(|cx| match io.poll_readable(cx) {
                Poll::Ready(readable) => Poll::Ready(readable.is_ok()),
                Poll::Pending if worker.is_draining(direction) => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            });
            if !readable.await {
                return None;
            }
            connection.prefix = connection.worker.stock.buffer();
        }
        let (io, prefix) = (&connection.io, &mut connection.prefix);
        let n = poll_fn(|cx| prefix.poll_fill(io, cx, 64)).await.ok()?;
        if n == 0 {
            return None;
        }
    }
}

fn could_be_preface(bytes: &[u8]) -> bool {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    preface.starts_with(bytes)
}
