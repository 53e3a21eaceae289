//! A control plane that tells what it is given, over the crate's own server session.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use proto::discovery::{DeltaDiscoveryRequest, DiscoveryRequest, STREAM};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use xds::server::{self as protocol, Desired, Dialect, Session};

/// What a server was told: the node, and names held from before.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub node: String,
    pub holds: usize,
}

/// Serves `desired` to every stream, until it is aborted.
pub fn serve(
    listener: std::net::TcpListener,
    desired: watch::Receiver<Arc<Desired>>,
    heard: mpsc::UnboundedSender<Heard>,
) -> JoinHandle<()> {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (desired, heard) = (desired.clone(), heard.clone());
            connections.spawn(async move {
                let service = service_fn(|request| {
                    let answer = answer(request, desired.clone(), heard.clone());
                    std::future::ready(Ok::<_, Infallible>(answer))
                });
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), service)
                    .await;
            });
        }
    })
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

fn answer(
    request: Request<Incoming>,
    desired: watch::Receiver<Arc<Desired>>,
    heard: mpsc::UnboundedSender<Heard>,
) -> Response<Body> {
    let (out, frames) = mpsc::channel::<Bytes>(64);
    let dialect = match request.uri().path() == STREAM {
        true => Dialect::StateOfTheWorld,
        false => Dialect::Delta,
    };
    tokio::spawn(converse(request.into_body(), dialect, desired, out, heard));
    let frames = futures::stream::unfold(frames, |mut frames| async move {
        let bytes = frames.recv().await?;
        Some((Ok(Frame::data(bytes)), frames))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert("content-type", "application/grpc".parse().unwrap());
    response
}

async fn converse(
    mut body: Incoming,
    dialect: Dialect,
    mut desired: watch::Receiver<Arc<Desired>>,
    out: mpsc::Sender<Bytes>,
    heard: mpsc::UnboundedSender<Heard>,
) {
    let mut session = Session::new(dialect);
    session.set_desired(desired.borrow_and_update().clone());
    let mut buffer = BytesMut::new();
    loop {
        while let Some(push) = session.poll() {
            let message = match dialect {
                Dialect::Delta => push.into_delta().encode_to_vec(),
                Dialect::StateOfTheWorld => push.into_whole().encode_to_vec(),
            };
            let mut framed = vec![0];
            framed.extend((message.len() as u32).to_be_bytes());
            framed.extend(message);
            if out.send(framed.into()).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = desired.changed() => match changed {
                Ok(()) => session.set_desired(desired.borrow_and_update().clone()),
                Err(_) => return,
            },
            frame = body.frame() => match frame {
                Some(Ok(frame)) => buffer.extend(frame.into_data().unwrap_or_default()),
                _ => return,
            },
        }
        while let Some(message) = cut(&mut buffer) {
            let request = match dialect {
                Dialect::Delta => {
                    let r = DeltaDiscoveryRequest::decode(message).unwrap();
                    if let Some(node) = &r.node {
                        let holds = r.initial_resource_versions.len();
                        let _ = heard.send(Heard { node: node.id.clone(), holds });
                    }
                    protocol::Request::of_delta(r)
                }
                Dialect::StateOfTheWorld => {
                    let r = DiscoveryRequest::decode(message).unwrap();
                    if let Some(node) = &r.node {
                        let _ = heard.send(Heard { node: node.id.clone(), holds: 0 });
                    }
                    protocol::Request::of_whole(r)
                }
            };
            session.receive(request.unwrap());
        }
    }
}

fn cut(buffer: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(buffer.get(1..5)?.try_into().unwrap()) as usize;
    if buffer.len() < 5 + length {
        return None;
    }
    buffer.advance(5);
    Some(buffer.split_to(length).freeze())
}
