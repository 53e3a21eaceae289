//! Traffic through a route that moves from cluster to cluster while each old one is taken away, and
//! through a cluster that changes under it: no request fails, neither in our data plane nor in real
//! Envoy (where `ENVOY` names it).

use crate::server::serve;
use agent::{ControlPlane, Dial, News, Source, follow_source};
use bytes::Bytes;
use dataplane::{Options, Proxy};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use ir::{
    Action, Address, Cluster, Destination, Discovery, Endpoint, EndpointGroup, Endpoints,
    FilterChain, Forward, HttpManager, Listener, PathMatch, Resource, Route, RouteConfig,
    RouteMatch, RouteSource, Terminal, VirtualHost,
};
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use xds::server::{Desired, Dialect, Encoded};

const FLIPS: usize = 40;
const CLIENTS: usize = 4;
const DEADLINE: Duration = Duration::from_secs(20);

/// Answers every request with its own name.
async fn backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service = service_fn(move |_: Request<Incoming>| async move {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(name.as_bytes()))))
            });
            tokio::spawn(async move {
                let connection = hyper::server::conn::http1::Builder::new();
                let _ = connection.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

/// What a flip does to the one cluster, whose endpoint is the backend of its turn.
#[derive(Clone, Copy, PartialEq)]
enum Flip {
    /// It gives way to another one.
    Replace,
    /// It changes, and its endpoints with it.
    Change,
}

/// Listener, route, cluster and endpoints after so many flips.
fn world(kind: Flip, flip: usize, front: SocketAddr, backends: &[SocketAddr]) -> Arc<Desired> {
    let name = if kind == Flip::Replace { format!("v{flip}") } else { "v".to_owned() };
    let mut cluster = Cluster::new(name.as_str(), Discovery::Eds("".into()));
    cluster.connect_timeout = Some(Duration::from_secs(1 + flip as u64));
    let endpoint = Endpoint::at(Address::Ip(backends[flip % backends.len()]));
    let group = EndpointGroup { endpoints: vec![endpoint], ..Default::default() };
    let endpoints =
        Endpoints { cluster: name.as_str().into(), groups: vec![group], ..Default::default() };
    let forward = Forward::to(Destination::Cluster(name.as_str().into()));
    let route = Route {
        name: "".into(),
        matches: RouteMatch::path(PathMatch::Prefix("/".into())),
        action: Action::Forward(Box::new(forward)),
        headers: Default::default(),
        decorator: "".into(),
        per_filter: Vec::new(),
        metadata: Default::default(),
        stat_prefix: "".into(),
        origin: ir::OriginId::NONE,
    };
    let host = VirtualHost {
        name: "all".into(),
        domains: vec!["*".into()],
        routes: vec![route],
        ..Default::default()
    };
    let routes =
        RouteConfig { name: "r".into(), virtual_hosts: vec![host.into()], ..Default::default() };
    let resources = [
        Resource::Cluster(Arc::new(cluster)),
        Resource::Endpoints(Arc::new(endpoints)),
        Resource::Listener(Arc::new(listener(front))),
        Resource::Route(Arc::new(routes)),
    ];
    Arc::new(resources.iter().map(|r| (r.key(), Encoded::of(r))).collect())
}

fn listener(front: SocketAddr) -> Listener {
    let manager = HttpManager::new("in", RouteSource::Rds("r".into()));
    let chain = FilterChain::new(Terminal::Http(Box::new(manager)));
    Listener { chains: vec![chain], ..Listener::new("l", Address::Ip(front)) }
}

/// One answer over a new connection.
async fn ask_anew(front: SocketAddr) -> Result<String, String> {
    let socket = TcpStream::connect(front).await.map_err(|e| e.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .map_err(|e| e.to_string())?;
    tokio::spawn(connection);
    ask(&mut sender).await
}

type Sender = hyper::client::conn::http1::SendRequest<Empty<Bytes>>;

async fn ask(sender: &mut Sender) -> Result<String, String> {
    let request = Request::get("/").header("host", "a").body(Empty::new()).unwrap();
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() { Ok(text) } else { Err(format!("{status}: {text}")) }
}

#[derive(Default)]
struct Load {
    stop: AtomicBool,
    asked: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// Asks over one connection that is kept, again and again.
async fn keep_asking(front: SocketAddr, load: Arc<Load>) {
    let socket = TcpStream::connect(front).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    while !load.stop.load(Ordering::Relaxed) {
        load.asked.fetch_add(1, Ordering::Relaxed);
        if let Err(why) = ask(&mut sender).await {
            load.failures.lock().unwrap().push(why);
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the backend of this flip answers over a new connection.
async fn until_it_answers(front: SocketAddr, name: &str) {
    let begun = Instant::now();
    loop {
        match ask_anew(front).await {
            Ok(body) if body == name => return,
            other => assert!(begun.elapsed() < DEADLINE, "{name} never answered: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn flip(kind: Flip, scene: &Scene) {
    const NAMES: [&str; 2] = ["even", "odd"];
    let front = scene.front;
    until_it_answers(front, NAMES[0]).await;
    let load = Arc::new(Load::default());
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(keep_asking(front, load.clone()))).collect();
    for flip in 1..=FLIPS {
        scene.desired.send_replace(world(kind, flip, front, &scene.backends));
        until_it_answers(front, NAMES[flip % 2]).await;
    }
    load.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let asked = load.asked.load(Ordering::Relaxed);
    assert_eq!(*load.failures.lock().unwrap(), [""; 0], "of {asked} requests");
    assert!(asked > FLIPS as u64, "{asked} requests are no load");
}

struct Scene {
    control: SocketAddr,
    front: SocketAddr,
    backends: [SocketAddr; 2],
    desired: watch::Sender<Arc<Desired>>,
}

/// Two backends, a control plane, and a port for the proxy to come.
async fn scene(kind: Flip) -> Scene {
    let backends = [backend("even").await, backend("odd").await];
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let front = free.local_addr().unwrap();
    drop(free);
    let (desired, seen) = watch::channel(world(kind, 0, front, &backends));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let control = listener.local_addr().unwrap();
    serve(listener, seen, mpsc::unbounded_channel().0);
    Scene { control, front, backends, desired }
}

async fn flip_ours(kind: Flip, dialect: Dialect) {
    let scene = scene(kind).await;
    let proxy = Proxy::start(Options { workers: 1, ..Options::default() }).unwrap();
    let source = Source {
        control_plane: ControlPlane::Plain {
            address: Address::Ip(scene.control),
            dial: Dial::default(),
        },
        dialect,
        node: Default::default(),
        fixed: ir::Config::default(),
        asks: xds::client::CONFIGURATION,
    };
    tokio::spawn(follow_source(source, move |news| {
        if let News::Config(config) = news {
            proxy.publish(&config);
        }
    }));
    flip(kind, &scene).await;
}

struct Envoy(Child);

impl Drop for Envoy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Real Envoy under the control plane at `control`; `None` where there is none to be had.
fn envoy(control: SocketAddr, api_type: &str) -> Option<Envoy> {
    let path = std::env::var_os("ENVOY").map(PathBuf::from);
    let required = std::env::var_os("LATEEN_REQUIRE_PEERS").is_some();
    assert!(path.is_some() || !required, "ENVOY names no Envoy; run cargo xtask setup");
    let http2 = json!({"@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}}});
    let address = json!({"socket_address": {
        "address": control.ip().to_string(), "port_value": control.port()}});
    let endpoints = json!([{"lb_endpoints": [{"endpoint": {"address": address}}]}]);
    let ads = json!({"ads": {}, "resource_api_version": "V3"});
    let bootstrap = json!({
        "node": {"id": "envoy", "cluster": "test"},
        "dynamic_resources": {
            "ads_config": {"api_type": api_type, "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]},
            "cds_config": ads, "lds_config": ads,
        },
        "static_resources": {"clusters": [{
            "name": "xds-grpc", "connect_timeout": "1s",
            "typed_extension_protocol_options":
                {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
            "load_assignment": {"cluster_name": "xds-grpc", "endpoints": endpoints},
        }]},
    });
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("ads-{api_type}.json"));
    std::fs::write(&file, bootstrap.to_string()).unwrap();
    let mut command = Command::new(path?);
    command.args(["--use-dynamic-base-id", "--concurrency", "1", "-l", "error", "-c"]);
    Some(Envoy(command.arg(file).spawn().unwrap()))
}

async fn flip_envoy(kind: Flip, api_type: &str) {
    let scene = scene(kind).await;
    let Some(_envoy) = envoy(scene.control, api_type) else { return };
    flip(kind, &scene).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_data_plane_by_delta() {
    flip_ours(Flip::Replace, Dialect::Delta).await;
    flip_ours(Flip::Change, Dialect::Delta).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_data_plane_by_the_state_of_the_world() {
    flip_ours(Flip::Replace, Dialect::StateOfTheWorld).await;
    flip_ours(Flip::Change, Dialect::StateOfTheWorld).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_envoy_by_delta() {
    flip_envoy(Flip::Replace, "DELTA_GRPC").await;
    flip_envoy(Flip::Change, "DELTA_GRPC").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_envoy_by_the_state_of_the_world() {
    flip_envoy(Flip::Replace, "GRPC").await;
    flip_envoy(Flip::Change, "GRPC").await;
}
