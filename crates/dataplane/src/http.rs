//! An HTTP connection gets its codec: the one that is configured, or by what the client sends first.

use crate::admit::Admitted;
use crate::identify::{Http, Identified};
use crate::runtime::ManagerRt;
use crate::{h1, h2};
use ir::Codec;
use std::future::poll_fn;
use std::sync::Arc;
use wire::detect::{Protocol, Wanted, detect};

pub async fn serve(admitted: Admitted, manager: Arc<ManagerRt>) {
    let (mut connection, _slot) = admitted.into_parts();
    let http = match (manager.config.codec, connection.http) {
        (Codec::Http1, _) => Http::Http1,
        (Codec::Http2, _) => Http::Http2,
        (Codec::Auto, Some(http)) => http,
        (Codec::Auto, None) => match sniff(&mut connection).await {
            Some(http) => http,
            None => return,
        },
    };
    match http {
        Http::Http1 => Box::pin(h1::serve(connection, manager)).await,
        Http::Http2 => Box::pin(h2::serve(connection, manager)).await,
    }
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
            let io = &connection.io;
            poll_fn(|cx| io.poll_readable(cx)).await.ok()?;
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
