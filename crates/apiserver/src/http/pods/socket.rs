//! WebSocket upgrades: choosing the subprotocol and taking over the connection.

use std::future::Future;

use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::error::ApiError;
use crate::http::answer::{self, Body};

pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

const STREAM_PROTOCOL: &str = "x-stream-protocol-version";
/// Largest message of a peer.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Whether the peer wants a WebSocket.
pub fn is_websocket(request: &Request<Incoming>) -> bool {
    let upgrade = request.headers().get(UPGRADE).and_then(|v| v.to_str().ok());
    upgrade.is_some_and(|u| u.eq_ignore_ascii_case("websocket"))
}

/// Accepts the upgrade in the first of our protocols that the peer offers, and runs `serve` on
/// the connection once it has switched.
pub fn upgrade<F>(
    request: Request<Incoming>,
    protocols: &[&'static str],
    serve: impl FnOnce(Socket, &'static str) -> F + Send + 'static,
) -> Result<Response<Body>, ApiError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let header = |name| request.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let key = header(SEC_WEBSOCKET_KEY)
        .ok_or_else(|| ApiError::bad_request("Sec-WebSocket-Key is missing"))?;
    let accept = derive_accept_key(key.as_bytes());
    let offered: Vec<&str> =
        header(SEC_WEBSOCKET_PROTOCOL).unwrap_or_default().split(',').map(str::trim).collect();
    let protocol = protocols.iter().copied().find(|p| offered.contains(p)).ok_or_else(|| {
        let message =
            format!("none of the subprotocols {offered:?} is supported; use one of {protocols:?}");
        ApiError::bad_request(message)
    })?;
    let mut response = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    answer::set(&mut response, UPGRADE, "websocket");
    answer::set(&mut response, CONNECTION, "Upgrade");
    answer::set(&mut response, SEC_WEBSOCKET_ACCEPT, &accept);
    answer::set(&mut response, SEC_WEBSOCKET_PROTOCOL, protocol);
    let mut request = request;
    let switched = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = switched.await else { return };
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let io = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        serve(socket, protocol).await;
    });
    Ok(response)
}

/// Switches a connection to SPDY, as older tools ask for, speaking `protocol` on its streams.
pub fn upgrade_to_spdy<F>(
    mut request: Request<Incoming>,
    protocol: &'static str,
    serve: impl FnOnce(Upgraded) -> F + Send + 'static,
) -> Result<Response<Body>, ApiError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let upgrade = request.headers().get(UPGRADE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let offered = request.headers().get_all(STREAM_PROTOCOL).iter();
    let known = offered.filter_map(|v| v.to_str().ok()).any(|p| p == protocol);
    if !upgrade.eq_ignore_ascii_case("SPDY/3.1") || !known {
        let message = "this needs an upgrade to a WebSocket or to SPDY/3.1";
        return Err(ApiError::bad_request(message));
    }
    let mut response = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    answer::set(&mut response, UPGRADE, "SPDY/3.1");
    answer::set(&mut response, CONNECTION, "Upgrade");
    answer::set(&mut response, HeaderName::from_static(STREAM_PROTOCOL), protocol);
    let switched = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = switched.await {
            serve(upgraded).await;
        }
    });
    Ok(response)
}
