//! The discovery client against a server on a real socket: it takes what comes, survives the server's
//! end, and takes up where it was.

#![allow(clippy::unwrap_used)] // What a test cannot do without ends it.

use agent::{ControlPlane, Dial, News, Source, follow_source};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use ir::{Cluster, Discovery, Endpoints, Resource};
use prost::Message;
use proto::discovery::{DeltaDiscoveryRequest, DiscoveryRequest, STREAM};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use xds::server::{self, Desired, Dialect, Encoded, Session};

const DEADLINE: Duration = Duration::from_secs(20);

/// What a server was told: the node, and names held from before.
#[derive(Clone, Debug, Default)]
struct Heard {
    node: String,
    holds: usize,
}

/// Serves `desired` to every stream, until it is aborted.
fn serve(
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
                    server::Request::of_delta(r)
                }
                Dialect::StateOfTheWorld => {
                    let r = DiscoveryRequest::decode(message).unwrap();
                    if let Some(node) = &r.node {
                        let _ = heard.send(Heard { node: node.id.clone(), holds: 0 });
                    }
                    server::Request::of_whole(r)
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

fn world(names: &[&str]) -> Arc<Desired> {
    let mut desired = Desired::new();
    for name in names {
        let cluster = Resource::Cluster(Arc::new(Cluster::new(*name, Discovery::Eds("".into()))));
        let endpoints = Endpoints { cluster: (*name).into(), ..Default::default() };
        for resource in [cluster, Resource::Endpoints(Arc::new(endpoints))] {
            desired.insert(resource.key(), Encoded::of(&resource));
        }
    }
    Arc::new(desired)
}

fn client(
    address: SocketAddr,
    dialect: Dialect,
) -> (JoinHandle<()>, mpsc::UnboundedReceiver<News>) {
    let (news, inbox) = mpsc::unbounded_channel();
    let source = Source {
        control_plane: ControlPlane::Plain {
            address: ir::Address::Ip(address),
            dial: Dial::default(),
        },
        dialect,
        node: xds::bootstrap::Node { id: "me".into(), ..Default::default() },
        fixed: ir::Config::default(),
    };
    let follow = follow_source(source, move |n| drop(news.send(n)));
    (tokio::spawn(follow), inbox)
}

/// The next configuration that has exactly these clusters, each with its endpoints.
async fn until_clusters(inbox: &mut mpsc::UnboundedReceiver<News>, names: &[&str]) {
    let wait = async {
        while let Some(news) = inbox.recv().await {
            if let News::Config(c) = news {
                let clusters: Vec<&str> = c.clusters.iter().map(|c| &*c.name).collect();
                if clusters == names && c.endpoints.len() == names.len() {
                    return;
                }
            }
        }
        panic!("the client ended");
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("the configuration in time");
}

async fn until_complete(inbox: &mut mpsc::UnboundedReceiver<News>) {
    let wait = async { while !matches!(inbox.recv().await, Some(News::Complete)) {} };
    tokio::time::timeout(DEADLINE, wait).await.expect("completeness in time");
}

async fn lifetime(dialect: Dialect) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let again = listener.try_clone().unwrap();
    let (desired, seen) = watch::channel(world(&["a"]));
    let (heard, mut told) = mpsc::unbounded_channel();
    let first = serve(listener, seen.clone(), heard.clone());
    let (follower, mut inbox) = client(address, dialect);
    until_clusters(&mut inbox, &["a"]).await;
    until_complete(&mut inbox).await;
    desired.send_replace(world(&["a", "b"]));
    until_clusters(&mut inbox, &["a", "b"]).await;
    assert_eq!(told.recv().await.unwrap().node, "me");

    // The server dies and comes back with something else.
    first.abort();
    desired.send_replace(world(&["b", "c"]));
    let second = serve(again, seen, heard);
    until_clusters(&mut inbox, &["b", "c"]).await;
    let greeting = tokio::time::timeout(DEADLINE, told.recv()).await.unwrap().unwrap();
    let expected = if dialect == Dialect::Delta { 2 } else { 0 };
    assert_eq!((greeting.node.as_str(), greeting.holds), ("me", expected));
    follower.abort();
    second.abort();
}

#[tokio::test]
async fn a_delta_stream_is_taken_up_again() {
    lifetime(Dialect::Delta).await;
}

#[tokio::test]
async fn a_state_of_the_world_stream_is_taken_up_again() {
    lifetime(Dialect::StateOfTheWorld).await;
}

#[tokio::test]
async fn a_control_plane_that_is_not_there_is_named_and_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (follower, mut inbox) = client(address, Dialect::Delta);
    for _ in 0..2 {
        let news = tokio::time::timeout(DEADLINE, inbox.recv()).await.unwrap();
        assert!(matches!(&news, Some(News::Waiting(why)) if why.contains("refused")), "{news:?}");
    }
    follower.abort();
}
