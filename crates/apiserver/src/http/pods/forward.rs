//! Ports of pods. Newer `kubectl` tunnels SPDY in a WebSocket, older ones speak SPDY itself
//! (`tunnel`); other clients use Kubernetes' channel protocol, with two channels (data, error) per
//! port, each opened by the port's number.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::socket::{self, Socket};
use super::tunnel;
use crate::core::Target;
use crate::error::ApiError;
use crate::http::Context;
use crate::http::answer::Body;
use crate::kubelet::AsyncReadWrite;

/// Ports of one request.
const MAX_PORTS: usize = 16;
/// Bytes read from a pod at once.
const CHUNK: usize = 16 * 1024;
/// Chunks that may wait in either direction.
const BUFFER: usize = 16;

const PORTS: &str = "portforward.k8s.io";
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";

pub fn forward(
    context: &Context,
    target: &Target,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    context.core.get(target)?;
    let connect = {
        let core = context.core.clone();
        let (namespace, pod) = (target.namespace.clone(), target.name.clone());
        move |port| core.kubelet.port_forward(&namespace, &pod, port)
    };
    if !socket::is_websocket(&request) {
        return socket::upgrade_to_spdy(request, PORTS, |connection| {
            tunnel::serve(tunnel::over_connection(connection), connect)
        });
    }
    let ports: Vec<u16> = context
        .query
        .all("ports")
        .flat_map(|list| list.split(','))
        .filter_map(|p| p.trim().parse().ok())
        .take(MAX_PORTS)
        .collect();
    socket::upgrade(request, &[TUNNEL, CHANNELS], move |socket, protocol| async move {
        if protocol == TUNNEL {
            tunnel::serve(tunnel::over_websocket(socket), connect).await;
            return;
        }
        let mut streams = Vec::new();
        for port in ports {
            streams.push((port, connect(port).await));
        }
        carry(socket, streams).await;
    })
}

type Opened = Result<Box<dyn AsyncReadWrite>, ApiError>;

async fn carry(socket: Socket, streams: Vec<(u16, Opened)>) {
    let (mut sink, mut source) = socket.split();
    let (out, mut messages) = mpsc::channel::<Vec<u8>>(BUFFER);
    let mut inputs = Vec::new();
    for (index, (port, stream)) in streams.into_iter().enumerate() {
        let (data, error) = (channel(index, 0), channel(index, 1));
        for number in [data, error] {
            let opening = [&[number][..], &port.to_le_bytes()].concat();
            if out.send(opening).await.is_err() {
                return;
            }
        }
        inputs.push(match stream {
            Ok(stream) => Some(pump(stream, data, out.clone())),
            Err(why) => {
                let text = [&[error][..], why.message.as_bytes()].concat();
                let _ = out.send(text).await;
                None
            }
        });
    }
    drop(out);
    let writer = async {
        while let Some(message) = messages.recv().await {
            if sink.send(Message::binary(message)).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    };
    let reader = async {
        while let Some(Ok(message)) = source.next().await {
            let Message::Binary(bytes) = message else { continue };
            let Some((number, _)) = bytes.split_first() else { continue };
            let place = inputs.get(usize::from(*number) / 2).and_then(Option::as_ref);
            if let Some(input) = place.filter(|_| number % 2 == 0) {
                // A pod that closed its side reads no more.
                let _ = input.send(bytes.slice(1..)).await;
            }
        }
    };
    tokio::select! { () = writer => {}, () = reader => {} }
}

fn channel(index: usize, part: u8) -> u8 {
    u8::try_from(index * 2).unwrap_or(u8::MAX - 1) + part
}

/// Carries bytes of one connection; returns where to put those for the pod.
fn pump(
    stream: Box<dyn AsyncReadWrite>,
    number: u8,
    out: mpsc::Sender<Vec<u8>>,
) -> mpsc::Sender<Bytes> {
    let (input, mut chunks) = mpsc::channel::<Bytes>(BUFFER);
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(stream);
        let outward = async {
            let mut buffer = vec![0; CHUNK];
            while let Ok(count @ 1..) = read.read(&mut buffer).await {
                let message = [&[number][..], &buffer[..count]].concat();
                if out.send(message).await.is_err() {
                    return;
                }
            }
        };
        let inward = async {
            while let Some(chunk) = chunks.recv().await {
                if write.write_all(&chunk).await.is_err() {
                    return;
                }
            }
            // The pod may have closed already.
            let _ = write.shutdown().await;
        };
        tokio::select! {
            () = outward => {}
            () = async { inward.await; std::future::pending::<()>().await } => {}
        }
    });
    input
}
