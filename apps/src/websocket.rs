//! The WebSocket sample: a page on `/` that talks to `/ws`, which sends everything back.

use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::flags::Flags;
use crate::web::{self, Reply};

const PAGE: &str = include_str!("websocket/page.html");

pub async fn run(flags: &Flags) -> anyhow::Result<()> {
    let listener = web::listen(flags.port(8888)?).await?;
    web::serve_raw(listener, |request, _| async move {
        match request.uri().path() {
            "/" => web::html(PAGE),
            "/ws" => upgrade(request),
            _ => web::not_found(),
        }
    })
    .await
}

/// Answers a WebSocket's handshake and sends back what then comes.
pub fn upgrade(mut request: Request<Incoming>) -> Reply {
    let Some(key) = request.headers().get("sec-websocket-key") else {
        let message = "this is a WebSocket: connect with `Upgrade: websocket`\n";
        return web::text(StatusCode::UPGRADE_REQUIRED, "text/plain", message);
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::task::spawn_local(async move {
        if let Ok(stream) = upgraded.await {
            echo(WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, None).await)
                .await;
        }
    });
    let mut reply = web::text(StatusCode::SWITCHING_PROTOCOLS, "", "");
    let headers = reply.headers_mut();
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    web::set(&mut reply, "sec-websocket-accept", &accept);
    reply
}

async fn echo<S>(mut socket: WebSocketStream<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = socket.next().await {
        let data = message.is_text() || message.is_binary();
        if data && socket.send(message).await.is_err() {
            return;
        }
    }
}
