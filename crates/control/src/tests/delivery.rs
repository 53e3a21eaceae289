//! A large mesh over real sockets: a change reaches the proxies that it concerns in time, and no others.
//! (`cargo test --profile demo -p control --lib delivery -- --nocapture`)

use super::*;
use crate::ads::scale::{NAMESPACES, objects, route};
use bytes::{Buf, Bytes, BytesMut};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::stream::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use proto::discovery::{DELTA, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use std::time::Instant;
use tokio::net::TcpStream;

/// Proxies that hold all 5,000 services, and such whose Sidecar leaves them the 100 of their namespace.
const WHOLE: usize = if cfg!(debug_assertions) { 2 } else { 10 };
const SCOPED: usize = if cfg!(debug_assertions) { 10 } else { 150 };
const ROUNDS: usize = if cfg!(debug_assertions) { 2 } else { 10 };
/// From one publication to the next at the least, and 100 ms more.
const IN_TIME: Duration = Duration::from_millis(50 + 100);

type Sender = UnboundedSender<Result<Frame<Bytes>, std::convert::Infallible>>;

/// A proxy that accepts all that it is told.
struct Client {
    requests: Sender,
    node: Option<Node>,
}

/// When it was told, of what type, and which resources.
type Told = (Instant, String, Vec<String>);

impl Client {
    /// Tells what it hears from the time when it has all that it asked for.
    async fn connect(plane: &Plane, namespace: String, at: usize) -> UnboundedReceiver<Told> {
        let socket = TcpStream::connect(plane.plaintext).await.unwrap();
        let mut http = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        http.initial_stream_window_size(16 << 20).initial_connection_window_size(16 << 20);
        let (mut sender, connection) = http.handshake(TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        let (requests, body) = unbounded();
        let request = http::Request::post(format!("http://istiod{DELTA}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(StreamBody::new(body))
            .unwrap();
        let id = format!("sidecar~10.8.{}.{}~p-{at}.{namespace}~x", at / 250, at % 250);
        let node = Some(Node { id, ..Node::default() });
        let mut client = Client { requests, node };
        for kind in [ir::Kind::Cluster, ir::Kind::Listener] {
            client.say(kind, Vec::new(), String::new());
        }
        let (heard, hears) = unbounded();
        tokio::spawn(async move {
            let answers = sender.send_request(request).await.unwrap().into_body();
            client.listen(answers, heard).await;
        });
        hears
    }

    fn say(&mut self, kind: ir::Kind, resource_names_subscribe: Vec<String>, nonce: String) {
        let request = DeltaDiscoveryRequest {
            node: self.node.take(),
            type_url: xds::type_url_of(kind),
            resource_names_subscribe,
            response_nonce: nonce,
            ..Default::default()
        };
        let mut framed = BytesMut::zeroed(1);
        framed.extend_from_slice(&u32::try_from(request.encoded_len()).unwrap().to_be_bytes());
        framed.extend(request.encode_to_vec());
        // Where the other side is gone the test is over.
        let _ = self.requests.unbounded_send(Ok(Frame::data(framed.freeze())));
    }

    async fn listen(mut self, mut answers: hyper::body::Incoming, heard: UnboundedSender<Told>) {
        let mut read = BytesMut::new();
        while let Some(Ok(frame)) = answers.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            read.extend_from_slice(&data);
            while let Some(message) = framed(&mut read) {
                let now = Instant::now();
                let told = DeltaDiscoveryResponse::decode(message).unwrap();
                let kind = xds::codec::kind_of(&told.type_url).unwrap();
                let names: Vec<String> = told.resources.iter().map(|r| r.name.clone()).collect();
                self.say(kind, Vec::new(), told.nonce);
                match kind {
                    ir::Kind::Cluster => {
                        let eds = names.iter().filter(|n| n.starts_with("outbound|")).cloned();
                        self.say(ir::Kind::Endpoints, eds.collect(), String::new());
                    }
                    ir::Kind::Listener => {
                        self.say(ir::Kind::Route, vec!["80".to_owned()], String::new());
                    }
                    _ => {}
                }
                let _ = heard.unbounded_send((now, told.type_url, names));
            }
        }
    }
}

/// One message, if it has come whole.
fn framed(read: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_be_bytes(read.get(1..5)?.try_into().ok()?) as usize;
    if read.len() < 5 + length {
        return None;
    }
    read.advance(5);
    Some(read.split_to(length).freeze())
}

async fn apply(plane: &Plane, (kind, object): (Kind, Value)) {
    let change = Change::Apply { resource: resource_of(kind), object };
    plane.changes.send(change).await.unwrap();
}

/// Until its routes have come.
async fn settled(told: &mut UnboundedReceiver<Told>) {
    let routes = xds::type_url_of(ir::Kind::Route);
    while let Some((_, url, _)) = told.next().await {
        if url == routes {
            return;
        }
    }
    panic!("the stream has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_a_large_mesh_reaches_those_whom_it_concerns_in_time() {
    let plane = Plane::start().await;
    for object in objects() {
        apply(&plane, object).await;
    }
    for at in 0..NAMESPACES - 1 {
        let meta = json!({"name": "own", "namespace": format!("n{at}")});
        let spec = json!({"egress": [{"hosts": ["./*"]}]});
        apply(&plane, (Kind::Sidecar, json!({"metadata": meta, "spec": spec}))).await;
    }
    plane.synced().await;
    let (mut concerned, mut others) = (Vec::new(), Vec::new());
    for at in 0..WHOLE {
        let mut told = Client::connect(&plane, format!("n{}", NAMESPACES - 1), at).await;
        settled(&mut told).await;
        concerned.push(told);
    }
    for at in 0..SCOPED {
        let namespace = at % (NAMESPACES - 1);
        let mut told = Client::connect(&plane, format!("n{namespace}"), WHOLE + at).await;
        settled(&mut told).await;
        if namespace == 0 { concerned.push(told) } else { others.push(told) }
    }
    let mut slowest = Vec::new();
    for round in 0..ROUNDS {
        let began = Instant::now();
        apply(&plane, route(100 + 50 * round, "v2")).await;
        let mut last = Duration::ZERO;
        for told in &mut concerned {
            let (when, url, names) = told.next().await.unwrap();
            assert_eq!((url, names), (xds::type_url_of(ir::Kind::Route), vec!["80".to_owned()]));
            last = last.max(when.duration_since(began));
        }
        slowest.push(last);
    }
    for told in &mut others {
        assert!(told.try_recv().is_err(), "nobody else is told anything");
    }
    slowest.sort_unstable();
    let (typical, worst) = (slowest[ROUNDS / 2], slowest[ROUNDS - 1]);
    println!(
        "{WHOLE} proxies of 5,000 services and {SCOPED} of 100: the last one told after {typical:?}, at the worst {worst:?}"
    );
    if !cfg!(debug_assertions) {
        assert!(typical < IN_TIME, "{slowest:?}");
    }
}
