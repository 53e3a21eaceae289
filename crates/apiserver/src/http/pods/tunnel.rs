//! Port forwarding over SPDY streams: for each connection the client opens an error stream and a
//! data stream, both with the port and a request number in their headers.

use std::collections::HashMap;
use std::future::Future;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use super::socket::Socket;
use super::spdy::{Decoder, Encoder, Frame};
use crate::error::ApiError;
use crate::kubelet::AsyncReadWrite;

/// Streams of one client at a time.
const MAX_STREAMS: usize = 512;
/// Chunks that may wait in either direction.
const BUFFER: usize = 32;
/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

/// Both directions of a transport as chunks of bytes.
pub struct Transport {
    pub input: mpsc::Receiver<Bytes>,
    pub output: mpsc::Sender<Vec<u8>>,
}

/// A WebSocket whose binary messages are the tunnel's bytes.
pub fn over_websocket(socket: Socket) -> Transport {
    let (mut sink, mut source) = socket.split();
    let (to_session, input) = mpsc::channel(BUFFER);
    let (output, mut from_session) = mpsc::channel::<Vec<u8>>(BUFFER);
    tokio::spawn(async move {
        while let Some(Ok(message)) = source.next().await {
            match message {
                Message::Binary(bytes) if to_session.send(bytes.clone()).await.is_err() => return,
                Message::Close(_) => return,
                _ => {}
            }
        }
    });
    tokio::spawn(async move {
        while let Some(bytes) = from_session.recv().await {
            if sink.send(Message::binary(bytes)).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    });
    Transport { input, output }
}

/// A connection that was switched to SPDY itself.
pub fn over_connection(connection: Upgraded) -> Transport {
    let (mut read, mut write) = tokio::io::split(TokioIo::new(connection));
    let (to_session, input) = mpsc::channel(BUFFER);
    let (output, mut from_session) = mpsc::channel::<Vec<u8>>(BUFFER);
    tokio::spawn(async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            if to_session.send(Bytes::copy_from_slice(&buffer[..count])).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(bytes) = from_session.recv().await {
            if write.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
    Transport { input, output }
}

/// A stream of the client.
enum Stream {
    Error {
        request: String,
    },
    /// Where bytes for the pod go; none after the client's last.
    Data(Option<mpsc::Sender<Bytes>>),
}

/// Serves a client until it leaves. `connect` opens a connection to a port of the pod.
pub async fn serve<F>(mut transport: Transport, connect: impl Fn(u16) -> F)
where
    F: Future<Output = Result<Box<dyn AsyncReadWrite>, ApiError>> + Send + 'static,
{
    let Ok(mut decoder) = Decoder::new() else { return };
    let mut encoder = Encoder::default();
    let mut streams: HashMap<u32, Stream> = HashMap::new();
    while let Some(bytes) = transport.input.recv().await {
        decoder.push(&bytes);
        loop {
            let frame = match decoder.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "a port-forward client was dropped");
                    return;
                }
            };
            match frame {
                Frame::Open { id, headers } => {
                    if streams.len() >= MAX_STREAMS
                        || transport.output.send(encoder.reply(id)).await.is_err()
                    {
                        return;
                    }
                    let stream = opened(id, &headers, &streams, &transport.output, &connect);
                    streams.insert(id, stream);
                }
                Frame::Data { id, bytes, fin } => forward(&mut streams, id, bytes, fin).await,
                Frame::Reset { id } => {
                    streams.remove(&id);
                }
                Frame::Ping { id } if transport.output.send(Encoder::ping(id)).await.is_err() => {
                    return;
                }
                Frame::GoAway => return,
                Frame::Ping { .. } | Frame::Other => {}
            }
        }
    }
}

fn opened<F>(
    id: u32,
    headers: &HashMap<String, String>,
    streams: &HashMap<u32, Stream>,
    output: &mpsc::Sender<Vec<u8>>,
    connect: &impl Fn(u16) -> F,
) -> Stream
where
    F: Future<Output = Result<Box<dyn AsyncReadWrite>, ApiError>> + Send + 'static,
{
    let header = |name: &str| headers.get(name).map(String::as_str).unwrap_or_default();
    let request = header("requestid").to_owned();
    if header("streamtype") == "error" {
        return Stream::Error { request };
    }
    let same =
        |stream: &Stream| matches!(stream, Stream::Error { request: other } if *other == request);
    let error_id = streams.iter().find(|(_, s)| same(s)).map(|(id, _)| *id);
    let port = header("port").parse().unwrap_or(0);
    let (input, chunks) = mpsc::channel(BUFFER);
    tokio::spawn(carry(id, error_id, connect(port), chunks, output.clone()));
    Stream::Data(Some(input))
}

async fn forward(streams: &mut HashMap<u32, Stream>, id: u32, bytes: Vec<u8>, fin: bool) {
    if let Some(Stream::Data(input)) = streams.get_mut(&id) {
        if let Some(sender) = input.as_ref().filter(|_| !bytes.is_empty())
            && sender.send(Bytes::from(bytes)).await.is_err()
        {
            *input = None;
        }
        if fin {
            *input = None;
        }
    }
}

/// One connection to the pod, from its opening to its end.
async fn carry(
    id: u32,
    error_id: Option<u32>,
    connecting: impl Future<Output = Result<Box<dyn AsyncReadWrite>, ApiError>>,
    mut chunks: mpsc::Receiver<Bytes>,
    output: mpsc::Sender<Vec<u8>>,
) {
    let why = match connecting.await {
        Ok(stream) => {
            let (mut read, mut write) = tokio::io::split(stream);
            let inward = async {
                while let Some(chunk) = chunks.recv().await {
                    if write.write_all(&chunk).await.is_err() {
                        return;
                    }
                }
                // The pod may have closed already.
                let _ = write.shutdown().await;
            };
            let outward = async {
                let mut buffer = vec![0; CHUNK];
                while let Ok(count @ 1..) = read.read(&mut buffer).await {
                    if output.send(Encoder::data(id, &buffer[..count], false)).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = outward => {}
                () = async { inward.await; std::future::pending::<()>().await } => {}
            }
            String::new()
        }
        Err(error) => error.message,
    };
    // A client that has left needs no end.
    let _ = output.send(Encoder::data(id, &[], true)).await;
    if let Some(error_id) = error_id {
        let _ = output.send(Encoder::data(error_id, why.as_bytes(), true)).await;
    }
}
