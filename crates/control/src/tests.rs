//! The control plane without a cluster: objects are fed by hand, and real peers connect.

mod delivery;
mod doors;
mod envoy;
mod proxyless;

use crate::Options;
use crate::ads::Ads;
use crate::authority::Authority;
use crate::discovery::Discovery;
use crate::listen;
use crate::metrics::Metrics;
use crate::tokens::SecretAccess;
use crate::world::{self, Loader, World, resource_of};
use api::Kind;
use base::{SpiffeId, TrustDomain, WallTime};
use ca::{AuthError, Caller, SelfSigned, Signer, TokenAuthenticator};
use k8s::Change;
use serde_json::{Value, json};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tls::{ClientAuth, CredentialSource, Trust, TrustSource};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// A token is `<namespace>/<service account>`; anything else is refused.
struct ByName;

impl TokenAuthenticator for ByName {
    fn authenticate<'a>(
        &'a self,
        token: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Caller, AuthError>> + Send + 'a>> {
        Box::pin(async move {
            match token.split_once('/') {
                Some((ns, sa)) => {
                    Ok(Caller { identity: SpiffeId::new("cluster.local", ns, sa), pod: None })
                }
                None => Err(AuthError::Refused("not in this test".into())),
            }
        })
    }
}

impl SecretAccess for ByName {
    fn may_read_secrets<'a>(
        &'a self,
        identity: &'a SpiffeId,
    ) -> Pin<Box<dyn Future<Output = Result<bool, String>> + Send + 'a>> {
        Box::pin(async move { Ok(&*identity.namespace == "istio-system") })
    }
}

/// A control plane on ports of its own.
struct Plane {
    changes: mpsc::Sender<Change>,
    plaintext: SocketAddr,
    secure: SocketAddr,
    authority: Authority,
    ads: Ads,
    _stop: watch::Sender<bool>,
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    WallTime(u64::try_from(since.as_nanos()).unwrap())
}

impl Plane {
    async fn start() -> Self {
        let settle = Duration::from_secs(2);
        let options = Options { settle, streams: 3, ..Options::from_env(|_| None) };
        let expected = [resource_of(Kind::Service)];
        let loader = Loader::new("cluster.local", "istio-system", &expected);
        let (changes, read) = mpsc::channel(64);
        let (publish, worlds) = watch::channel::<Option<World>>(None);
        let (stop, stopped) = watch::channel(false);
        let metrics = Arc::new(Metrics::default());
        tokio::spawn(world::run(loader, read, mpsc::channel(1).1, metrics.clone(), publish));
        let ads =
            Ads::new(worlds, Arc::new(ByName), metrics.clone(), options.clone(), stopped.clone());
        let root = Arc::new(SelfSigned::generate("cluster.local", now()).unwrap());
        let signer: Arc<dyn Signer> = Arc::new(ca::Roots::Steady(root));
        let authority = Authority::new(watch::channel(signer).1, options.lifetimes);
        let discovery = Discovery {
            ads: ads.clone(),
            authority: authority.clone(),
            tokens: Arc::new(ByName),
            domains: ["cluster.local", "old.local"].map(|d| TrustDomain(d.into())).into(),
            metrics,
        };
        let serving =
            CredentialSource::new(crate::roots::serving(&authority, &options).await.unwrap());
        let trust = TrustSource::new(Trust::from_pem(&authority.roots()).unwrap());
        let tls = tls::server_config(serving, ClientAuth::Optional(trust), &[b"h2"]).unwrap();
        let listen = || async { TcpListener::bind("127.0.0.1:0").await.unwrap() };
        let (open, closed) = (listen().await, listen().await);
        let (plaintext, secure) = (open.local_addr().unwrap(), closed.local_addr().unwrap());
        tokio::spawn(listen::serve(open, None, discovery.clone(), stopped.clone()));
        tokio::spawn(listen::serve(closed, Some(tls), discovery, stopped));
        Self { changes, plaintext, secure, authority, ads, _stop: stop }
    }

    async fn apply(&self, object: Value) {
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        let kind = Kind::of(text("apiVersion"), text("kind")).unwrap();
        self.changes.send(Change::Apply { resource: resource_of(kind), object }).await.unwrap();
    }

    async fn synced(&self) {
        self.changes.send(Change::Synced(resource_of(Kind::Service))).await.unwrap();
    }
}

fn service(name: &str, port: u16) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
            "selector": {"app": name},
            "ports": [{"name": "http", "port": port, "targetPort": port, "protocol": "TCP"}]}})
}

fn pod(name: &str, app: &str, version: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default",
            "labels": {"app": app, "version": version}},
        "spec": {"serviceAccountName": app, "nodeName": "lateen", "containers": []},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True"}]}})
}

/// One slice per pod, since each listens on a port of its own.
fn slice(service: &str, pod: &str, ip: &str, port: u16) -> Value {
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-{pod}"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [ip], "conditions": {"ready": true, "serving": true},
            "targetRef": {"kind": "Pod", "name": pod, "namespace": "default"}}]})
}

fn rule(subsets: &[&str]) -> Value {
    let subsets: Vec<Value> =
        subsets.iter().map(|s| json!({"name": s, "labels": {"version": s}})).collect();
    json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
        "metadata": {"name": "reviews", "namespace": "default"},
        "spec": {"host": "reviews", "subsets": subsets}})
}

fn route(subset: &str) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "reviews", "namespace": "default"},
        "spec": {"hosts": ["*"], "gateways": ["gw"], "http": [
            {"route": [{"destination": {"host": "reviews", "subset": subset}}]}]}})
}

fn gateway(port: u16) -> Value {
    json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": "gw", "namespace": "default"},
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": [
            {"port": {"number": port, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}})
}

/// Until `check` holds, at most ten seconds.
async fn eventually<F: Future<Output = Option<T>>, T>(
    what: &str,
    mut check: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = check().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "not within ten seconds: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
