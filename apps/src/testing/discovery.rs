//! The stream to the control plane: asks for what somebody here wants and for what that refers to, and keeps the
//! newest of it. The dialect is that of the whole state, as gRPC's own libraries speak it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, StreamBody};
use hyper::HeaderMap;
use hyper::body::Frame;
use prost::Message;
use proto::discovery::{DiscoveryRequest, DiscoveryResponse, STREAM};
use proto::envoy::envoy::config::cluster::v3::Cluster;
use proto::envoy::envoy::config::endpoint::v3::ClusterLoadAssignment;
use proto::envoy::envoy::config::listener::v3::Listener;
use proto::envoy::envoy::config::route::v3::RouteConfiguration;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, mpsc, watch};

use super::bootstrap::{Bootstrap, Server};
use super::{resolve, wire};
use crate::grpc;

const AGAIN: Duration = Duration::from_secs(1);
/// Requests on their way.
const QUEUE: usize = 64;
/// Names that are called here, and ports that are served.
const MOST_NAMES: usize = 1000;

/// What is known, and what is wanted.
pub struct Discovery {
    pub bootstrap: Option<Bootstrap>,
    known: RefCell<Known>,
    wanted: RefCell<BTreeSet<String>>,
    asked: Notify,
    told: watch::Sender<u64>,
}

/// The newest of each resource.
#[derive(Default)]
pub struct Known {
    pub listeners: BTreeMap<String, Listener>,
    pub routes: BTreeMap<String, RouteConfiguration>,
    pub clusters: BTreeMap<String, Cluster>,
    pub endpoints: BTreeMap<String, ClusterLoadAssignment>,
}

/// The kinds of resources, in the order in which one leads to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Listener,
    Route,
    Cluster,
    Endpoints,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Listener, Kind::Route, Kind::Cluster, Kind::Endpoints];

    fn url(self) -> &'static str {
        match self {
            Kind::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Kind::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Kind::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Kind::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        }
    }
}

impl Discovery {
    pub fn new(bootstrap: Option<Bootstrap>) -> Discovery {
        Discovery {
            bootstrap,
            known: RefCell::default(),
            wanted: RefCell::default(),
            asked: Notify::new(),
            told: watch::Sender::new(0),
        }
    }

    /// Asks for a listener from now on.
    pub fn want(&self, listener: &str) {
        let mut wanted = self.wanted.borrow_mut();
        if wanted.len() < MOST_NAMES && wanted.insert(listener.to_owned()) {
            self.asked.notify_one();
        }
    }

    /// Looks at what is known until something is found, or the time is over.
    pub async fn find<T>(
        &self,
        patience: Duration,
        look: impl Fn(&Known) -> Option<T>,
    ) -> Option<T> {
        let mut told = self.told.subscribe();
        let found = async {
            loop {
                if let Some(found) = look(&self.known.borrow()) {
                    return Some(found);
                }
                told.changed().await.ok()?;
            }
        };
        tokio::time::timeout(patience, found).await.ok().flatten()
    }

    /// For ever.
    pub async fn follow(self: &Rc<Self>) {
        let Some(bootstrap) = &self.bootstrap else { return std::future::pending().await };
        loop {
            self.wait_for_wishes().await;
            let ended = match &bootstrap.server {
                Server::Unix(path) => match UnixStream::connect(path).await {
                    Ok(io) => self.stream(bootstrap, io).await,
                    Err(error) => Err(error.into()),
                },
                Server::Tcp(at) => match TcpStream::connect(at).await {
                    Ok(io) => self.stream(bootstrap, io).await,
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(error) = ended {
                println!("the control plane is not there: {error:#}");
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn wait_for_wishes(&self) {
        while self.wanted.borrow().is_empty() {
            self.asked.notified().await;
        }
    }

    async fn stream<I>(&self, bootstrap: &Bootstrap, io: I) -> anyhow::Result<()>
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
    {
        let (requests, queue) = mpsc::channel::<Bytes>(QUEUE);
        let frames = futures::stream::unfold(queue, |mut queue| async move {
            let bytes = queue.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(Frame::data(bytes)), queue))
        });
        let body = StreamBody::new(Box::pin(frames));
        let mut asking = Asking { bootstrap, requests, said: BTreeMap::new() };
        asking.say_all(&self.wishes()).await?;
        let response = wire::open(io, "xds", STREAM, HeaderMap::new(), body).await?;
        let mut answers = response.into_body();
        let mut read = BytesMut::new();
        loop {
            tokio::select! {
                frame = answers.frame() => {
                    let frame = frame.context("it has ended the stream")??;
                    let Ok(data) = frame.into_data() else { continue };
                    read.extend_from_slice(&data);
                    while let Some(message) = wire::next(&mut read)? {
                        let response = DiscoveryResponse::decode(message)?;
                        if let Some(kind) = self.take(&response)? {
                            asking.accept(kind, &response, &self.wishes()).await?;
                        }
                        self.told.send_modify(|n| *n += 1);
                    }
                }
                () = self.asked.notified() => {}
            }
            asking.say_all(&self.wishes()).await?;
        }
    }

    fn take(&self, response: &DiscoveryResponse) -> anyhow::Result<Option<Kind>> {
        let kind = Kind::ALL.into_iter().find(|k| k.url() == response.type_url);
        let mut known = self.known.borrow_mut();
        let values = || response.resources.iter().map(|r| r.value.clone());
        match kind {
            // Listeners and clusters always come all together.
            Some(Kind::Listener) => {
                known.listeners = all(values(), |l: &Listener| l.name.clone())?;
            }
            Some(Kind::Cluster) => {
                known.clusters = all(values(), |c: &Cluster| c.name.clone())?;
            }
            Some(Kind::Route) => {
                known.routes.extend(all(values(), |r: &RouteConfiguration| r.name.clone())?);
            }
            Some(Kind::Endpoints) => {
                let name = |e: &ClusterLoadAssignment| e.cluster_name.clone();
                known.endpoints.extend(all(values(), name)?);
            }
            None => {}
        }
        Ok(kind)
    }

    /// What is wanted by now of each kind.
    fn wishes(&self) -> BTreeMap<Kind, BTreeSet<String>> {
        let (known, listeners) = (self.known.borrow(), self.wanted.borrow().clone());
        let (mut routes, mut clusters, mut endpoints) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        routes.extend(known.listeners.values().filter_map(resolve::route_of));
        for route in routes.iter().filter_map(|name| known.routes.get(name)) {
            clusters.extend(resolve::clusters_of(route));
        }
        for cluster in clusters.iter().filter_map(|name| known.clusters.get(name)) {
            endpoints.insert(resolve::service_of(cluster));
        }
        [
            (Kind::Listener, listeners),
            (Kind::Route, routes),
            (Kind::Cluster, clusters),
            (Kind::Endpoints, endpoints),
        ]
        .into()
    }
}

fn all<M: Message + Default>(
    values: impl Iterator<Item = Bytes>,
    name: impl Fn(&M) -> String,
) -> anyhow::Result<BTreeMap<String, M>> {
    values
        .map(|bytes| {
            let message = M::decode(bytes)?;
            Ok((name(&message), message))
        })
        .collect()
}

/// Our side of a stream.
struct Asking<'a> {
    bootstrap: &'a Bootstrap,
    requests: mpsc::Sender<Bytes>,
    /// By kind: the names that were said last, and version and nonce that were accepted last.
    said: BTreeMap<Kind, (BTreeSet<String>, String, String)>,
}

impl Asking<'_> {
    /// Says what is not said yet.
    async fn say_all(&mut self, wishes: &BTreeMap<Kind, BTreeSet<String>>) -> anyhow::Result<()> {
        for (kind, names) in wishes {
            let said = self.said.get(kind).map(|(names, ..)| names);
            if said.map_or(!names.is_empty(), |said| said != names) {
                self.say(*kind, names).await?;
            }
        }
        Ok(())
    }

    async fn accept(
        &mut self,
        kind: Kind,
        response: &DiscoveryResponse,
        wishes: &BTreeMap<Kind, BTreeSet<String>>,
    ) -> anyhow::Result<()> {
        let said = self.said.entry(kind).or_default();
        (said.1, said.2) = (response.version_info.clone(), response.nonce.clone());
        self.say(kind, &wishes[&kind]).await
    }

    async fn say(&mut self, kind: Kind, names: &BTreeSet<String>) -> anyhow::Result<()> {
        let said = self.said.entry(kind).or_default();
        said.0.clone_from(names);
        let request = DiscoveryRequest {
            version_info: said.1.clone(),
            node: Some(self.bootstrap.node.clone()),
            resource_names: names.iter().cloned().collect(),
            type_url: kind.url().to_owned(),
            response_nonce: said.2.clone(),
            error_detail: None,
        };
        self.requests
            .send(grpc::framed(&request.encode_to_vec()))
            .await
            .context("the stream is closed")
    }
}
