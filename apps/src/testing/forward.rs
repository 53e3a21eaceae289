//! `ForwardEcho`: calls somebody as often as the request says, and tells what was answered.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use prost::Message;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;

use super::ECHO;
use super::discovery::Discovery;
use super::messages::{EchoMessage, ForwardEchoRequest, ForwardEchoResponse, Header};
use super::resolve::{self, Target};
use super::wire::{self, Failed};
use crate::grpc;
use crate::web::Reply;

const MOST_CALLS: i32 = 10_000;
const PATIENCE: Duration = Duration::from_secs(5);
/// Until somebody knows where a name leads.
const RESOLVING: Duration = Duration::from_secs(10);

pub async fn answer(discovery: &Discovery, message: &[u8]) -> Reply {
    let Ok(request) = ForwardEchoRequest::decode(message) else { return grpc::refuse("3") };
    let count = request.count.clamp(1, MOST_CALLS);
    let (mut output, mut failed, mut first) = (Vec::new(), 0, None);
    for at in 0..count {
        match call(discovery, &request).await {
            Ok(body) => {
                let lines = body.lines().map(|line| format!("[{at} body] {line}\n"));
                output.push(lines.collect());
            }
            Err(error) => {
                failed += 1;
                first.get_or_insert(error);
            }
        }
    }
    match first {
        None => grpc::answer(&ForwardEchoResponse { output }.encode_to_vec()),
        Some(error) => {
            let say = format!("{failed}/{count} requests had errors; first error: {error}");
            grpc::fail("2", &say)
        }
    }
}

async fn call(discovery: &Discovery, request: &ForwardEchoRequest) -> Result<String, Failed> {
    let patience = match u64::try_from(request.timeout_micros) {
        Ok(micros) if micros > 0 => Duration::from_micros(micros),
        _ => PATIENCE,
    };
    let target = target(discovery, request).await?;
    let message = EchoMessage { message: request.message.clone() };
    let headers = headers(&request.headers);
    let calling = echo(discovery, &target, headers, &message, patience);
    let late = |_| Failed { code: "DeadlineExceeded", message: format!("after {patience:?}") };
    let answer = tokio::time::timeout(patience, calling).await.map_err(late)??;
    let read = EchoMessage::decode(answer);
    read.map(|m| m.message).map_err(|e| Failed { code: "Internal", message: e.to_string() })
}

async fn target(discovery: &Discovery, request: &ForwardEchoRequest) -> Result<Target, Failed> {
    let Some(name) = request.url.strip_prefix("xds:///") else {
        let address = request.url.strip_prefix("grpc://").unwrap_or(&request.url);
        return Ok(Target { address: address.to_owned(), peers: None });
    };
    discovery.want(name);
    let chance = (share(), turn());
    let look = |known: &_| resolve::target(known, name, (ECHO, &request.headers), chance);
    let found = discovery.find(RESOLVING, look).await;
    let found = found.ok_or_else(|| Failed::unavailable(format!("{name}: nobody knows it")))?;
    found.map_err(Failed::unavailable)
}

async fn echo(
    discovery: &Discovery,
    target: &Target,
    headers: HeaderMap,
    message: &EchoMessage,
    patience: Duration,
) -> Result<Bytes, Failed> {
    let at = &target.address;
    let body = Full::new(grpc::framed(&message.encode_to_vec()));
    let socket = TcpStream::connect(at).await.map_err(Failed::unavailable)?;
    let peer = socket.peer_addr().map_err(Failed::unavailable)?;
    let response = match (&target.peers, &discovery.bootstrap) {
        (None, _) => wire::open(socket, at, ECHO, headers, body).await,
        (Some(_), None) => return Err(Failed::unavailable("there is no bootstrap")),
        (Some(peers), Some(bootstrap)) => {
            let connector = bootstrap.connector(peers.clone()).map_err(Failed::unavailable)?;
            // Its identity is checked, not its name.
            let name = ServerName::from(peer.ip());
            let stream = connector.connect(name, socket).await.map_err(Failed::unavailable)?;
            wire::open(stream, at, ECHO, headers, body).await
        }
    };
    wire::answer(response.map_err(Failed::unavailable)?, patience).await
}

fn headers(of: &[Header]) -> HeaderMap {
    let pair = |h: &Header| {
        Some((HeaderName::try_from(&h.key).ok()?, HeaderValue::try_from(&h.value).ok()?))
    };
    of.iter().filter_map(pair).collect()
}

/// At random, from 0 to 1.
fn share() -> f64 {
    let random = std::hash::RandomState::new().build_hasher().finish();
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// One after the other.
fn turn() -> usize {
    thread_local!(static TURN: Cell<usize> = const { Cell::new(0) });
    TURN.with(|turn| turn.replace(turn.get().wrapping_add(1)))
}
