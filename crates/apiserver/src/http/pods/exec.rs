//! Programs in containers, over WebSocket in Kubernetes' channel protocol: the first byte of a
//! message names the channel.

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::socket::{self, Socket};
use crate::core::Target;
use crate::error::ApiError;
use crate::http::Context;
use crate::http::answer::Body;
use crate::kubelet::{Channel, ExecStream};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// In v5 only: the channel named by the next byte ends.
const CLOSE: u8 = 255;

const PROTOCOLS: [&str; 3] = ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io"];

pub async fn exec(
    context: &Context,
    target: &Target,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let pod = context.core.get(target)?;
    let container = super::container(context, &pod)?;
    let query = &context.query;
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(ApiError::bad_request(
            "you must specify at least one command for the container",
        ));
    }
    check_websocket(&request)?;
    let (stdin, tty) = (query.flag("stdin"), query.flag("tty"));
    let kubelet = &context.core.kubelet;
    let program =
        kubelet.exec(&target.namespace, &target.name, &container, command, stdin, tty).await?;
    socket::upgrade(request, &PROTOCOLS, move |socket, protocol| {
        carry(socket, program, protocol == PROTOCOLS[0])
    })
}

/// Shows what a container's own program says. Its input is not kept open for visitors.
pub async fn attach(
    context: &Context,
    target: &Target,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let pod = context.core.get(target)?;
    let container = super::container(context, &pod)?;
    if context.query.flag("tty") {
        let message = format!("container {container} has no terminal; attach to it without one");
        return Err(ApiError::bad_request(message));
    }
    check_websocket(&request)?;
    let kubelet = &context.core.kubelet;
    let program = kubelet.attach(&target.namespace, &target.name, &container).await?;
    socket::upgrade(request, &PROTOCOLS, move |socket, protocol| {
        carry(socket, program, protocol == PROTOCOLS[0])
    })
}

fn check_websocket(request: &Request<Incoming>) -> Result<(), ApiError> {
    if socket::is_websocket(request) {
        return Ok(());
    }
    let message = "programs are run over WebSocket; this client speaks SPDY. \
                   Use kubectl 1.30 or newer, or `lateen exec`";
    Err(ApiError::bad_request(message))
}

async fn carry(socket: Socket, program: ExecStream, closes: bool) {
    let (sink, source) = socket.split();
    let ExecStream { stdin, output, exit, resize } = program;
    let reader = tokio::spawn(read(source, stdin, resize, closes));
    write(sink, output, exit).await;
    reader.abort();
}

/// Program to peer.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut output: mpsc::Receiver<(Channel, Bytes)>,
    exit: tokio::sync::oneshot::Receiver<i32>,
) {
    while let Some((channel, bytes)) = output.recv().await {
        let number = match channel {
            Channel::Stdout => STDOUT,
            Channel::Stderr => STDERR,
        };
        if sink.send(message(number, &bytes)).await.is_err() {
            return;
        }
    }
    let status = match exit.await {
        Ok(code) => exit_status(code),
        Err(_) => failure("the program's end was not observed"),
    };
    let status = serde_json::to_vec(&status).unwrap_or_default();
    // A peer that has gone needs no status.
    let _ = sink.send(message(ERROR, &status)).await;
    // Without a code clients take the end for an accident.
    let normal = CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::default() };
    let _ = sink.send(Message::Close(Some(normal))).await;
}

fn message(channel: u8, bytes: &[u8]) -> Message {
    let mut message = Vec::with_capacity(bytes.len() + 1);
    message.push(channel);
    message.extend_from_slice(bytes);
    Message::binary(message)
}

/// Peer to program, until the peer leaves.
async fn read(
    mut source: SplitStream<Socket>,
    mut stdin: Option<mpsc::Sender<Bytes>>,
    resize: mpsc::Sender<(u16, u16)>,
    closes: bool,
) {
    while let Some(Ok(message)) = source.next().await {
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Close(_) => return,
            _ => continue,
        };
        match bytes.split_first() {
            Some((&STDIN, _)) => {
                if let Some(input) = &stdin
                    && input.send(bytes.slice(1..)).await.is_err()
                {
                    stdin = None;
                }
            }
            Some((&RESIZE, size)) => {
                let size: Value = serde_json::from_slice(size).unwrap_or_default();
                let side = |key: &str| {
                    size.get(key).and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok())
                };
                if let (Some(width), Some(height)) = (side("Width"), side("Height")) {
                    // A program that has ended has no window.
                    let _ = resize.send((width, height)).await;
                }
            }
            Some((&CLOSE, [STDIN, ..])) if closes => stdin = None,
            _ => {}
        }
    }
}

/// How a program ended, as `kubectl` understands it.
fn exit_status(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}})
}

fn failure(why: &str) -> Value {
    json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "message": why, "code": 500})
}
