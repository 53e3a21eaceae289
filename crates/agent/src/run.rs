//! `proxy sidecar|router`: the life of a proxy. The node is read, the doors are opened, a certificate
//! is fetched and kept, the data plane runs; on SIGTERM it is drained and ends.

use crate::capture::{MARK, own_traffic};
use crate::dial::Dial;
use crate::dns::{self, Names, ResolvConf, Upstream};
use crate::flags::Flags;
use crate::identity::{Authority, Identity, LIFE};
use crate::node::{Node, Role, Sources, global_addresses};
use crate::status::{Application, Probes, Readiness, Scrape, Status};
use crate::{envoy, ours, proxyless};
use base::SpiffeId;
use net::capture::Exempt;
use serde_json::Value;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

const TOKEN: &str = "/var/run/secrets/tokens/istio-token";
const ROOT: &str = "/var/run/secrets/istio/root-cert.pem";
const LABELS: &str = "/etc/istio/pod/labels";
const ANNOTATIONS: &str = "/etc/istio/pod/annotations";
const AGENT_PORT: u16 = 15020;
const READY_PORT: u16 = 15021;
const DNS_PORT: u16 = 15053;
/// Istio's `terminationDrainDuration`.
const DRAIN: Duration = Duration::from_secs(5);

/// All that the parts of an agent need to know.
#[derive(Clone)]
pub(crate) struct Setting {
    pub role: Role,
    pub node: Node,
    pub authority: Authority,
    pub identity: Identity,
    pub dial: Dial,
    pub concurrency: Option<u32>,
    /// What the application's DNS answers, where its queries come here.
    pub names: Option<Names>,
    pub log_level: String,
    pub readiness: watch::Sender<Readiness>,
    /// Turns true when the proxy is to end.
    pub quit: watch::Sender<bool>,
}

/// A data plane, ours or another.
pub(crate) trait DataPlane {
    /// Where its metrics come from.
    fn metrics(&self) -> Scrape;
    /// No new connections.
    fn drain(&self);
    /// Something is still under way.
    fn is_busy(&self) -> bool;
    /// It stopped by itself.
    fn has_ended(&self) -> bool {
        false
    }
}

pub(crate) fn proxy(flags: &Flags) -> Result<(), String> {
    let role = match flags.words.first().map(String::as_str) {
        Some("sidecar") => Role::Sidecar,
        Some("router") => Role::Router,
        other => return Err(format!("proxy {other:?}: the roles are sidecar and router")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| e.to_string())?.block_on(live(role, flags))
}

async fn live(role: Role, flags: &Flags) -> Result<(), String> {
    let setting = setting(role, flags)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| e.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| e.to_string())?;
    let mut quit = setting.quit.subscribe();
    if let Some(names) = &setting.names {
        serve_names(&setting, names).await?;
    }
    tokio::spawn(setting.authority.clone().keep(setting.identity.clone(), |credential| {
        tracing::info!(serial = credential.facts.serial, "the workload has a certificate");
    }));
    let plane: Box<dyn DataPlane> = match std::env::var("LATEEN_DATA_PLANE").as_deref() {
        _ if proxyless::is_wanted() => Box::new(proxyless::start(&setting).await?),
        Ok("envoy") => Box::new(envoy::start(&setting).await?),
        _ => Box::new(ours::start(&setting).await?),
    };
    open_doors(&setting, plane.metrics()).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = quit.wait_for(|q| *q) => {}
    }
    if plane.has_ended() {
        return Err("the data plane has ended by itself".to_owned());
    }
    tracing::info!("draining");
    setting.readiness.send_replace(Readiness::Draining);
    plane.drain();
    let deadline = tokio::time::Instant::now() + drain_time(&setting.node.metadata);
    while plane.is_busy() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The DNS proxy; names that it does not know are asked for where the pod's resolver would ask.
async fn serve_names(setting: &Setting, names: &Names) -> Result<(), String> {
    let servers = ResolvConf::read().addresses();
    let parallel = std::env::var("DNS_FORWARD_PARALLEL").is_ok_and(|v| v == "true");
    let upstream = Upstream { servers, parallel, dial: setting.dial };
    let started = dns::start(names, upstream, DNS_PORT).await;
    started.map(drop).map_err(|e| format!("port {DNS_PORT}: {e}"))
}

fn drain_time(metadata: &Value) -> Duration {
    let text = metadata["PROXY_CONFIG"]["terminationDrainDuration"].as_str();
    let seconds = text.and_then(|t| t.strip_suffix('s')).and_then(|t| t.parse::<f64>().ok());
    seconds.filter(|s| (0.0..3600.0).contains(s)).map_or(DRAIN, Duration::from_secs_f64)
}

fn setting(role: Role, flags: &Flags) -> Result<Setting, String> {
    let env = |name: &str| std::env::var(name).ok();
    let variables: Vec<(String, String)> = std::env::vars().collect();
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (labels, annotations) = (file(LABELS), file(ANNOTATIONS));
    let sources = Sources {
        env: &env,
        variables: &variables,
        labels: &labels,
        annotations: &annotations,
        addresses: &global_addresses(&file("/proc/net/if_inet6")),
    };
    let domain = flags.get(&["domain"]).unwrap_or_default();
    let node = Node::read(role, domain, &sources).map_err(|e| e.to_string())?;
    let dial = match own_traffic(&file("/proc/self/uid_map")) {
        Exempt::Mark(_) if role == Role::Sidecar => Dial { mark: Some(MARK) },
        _ => Dial::default(),
    };
    let or = |name: &str, default: &str| {
        env(name).filter(|v| !v.is_empty()).unwrap_or_else(|| default.to_owned())
    };
    let configured = node.metadata["PROXY_CONFIG"]["discoveryAddress"].as_str();
    let authority = Authority {
        address: or("CA_ADDR", configured.unwrap_or("istiod.istio-system.svc:15012")),
        token_file: TOKEN.into(),
        root_file: ROOT.into(),
        identity: SpiffeId::new(
            &or("TRUST_DOMAIN", "cluster.local"),
            &or("POD_NAMESPACE", "default"),
            &or("SERVICE_ACCOUNT", "default"),
        ),
        dial,
        life: life(env("SECRET_TTL").as_deref())?,
    };
    let captured = role == Role::Sidecar && node.metadata["DNS_CAPTURE"] == "true";
    let names = captured.then(|| {
        let search = ResolvConf::read().search;
        let namespace = node.metadata["NAMESPACE"].as_str().unwrap_or_default();
        Names::new(namespace, search.first().map_or("", String::as_str))
    });
    let concurrency = flags.get(&["concurrency"]).and_then(|c| c.parse().ok());
    Ok(Setting {
        role,
        names,
        concurrency,
        log_level: flags.get(&["proxyLogLevel"]).unwrap_or("warning").to_owned(),
        node,
        authority,
        identity: Identity::default(),
        dial,
        readiness: watch::Sender::new(Readiness::Waiting("no configuration yet".into())),
        quit: watch::Sender::new(false),
    })
}

/// `SECRET_TTL`, as Istio's agent takes it.
fn life(written: Option<&str>) -> Result<Duration, String> {
    let Some(text) = written.filter(|t| !t.is_empty()) else { return Ok(LIFE) };
    let life = base::duration(text).filter(|d| *d >= Duration::from_secs(2));
    life.ok_or_else(|| format!("SECRET_TTL {text:?}: write two seconds or more, as in 24h0m0s"))
}

/// The agent's port and the readiness port, which are the same server.
async fn open_doors(setting: &Setting, metrics: Scrape) -> Result<(), String> {
    let env = |name: &str| std::env::var(name).unwrap_or_default();
    let pod: Option<IpAddr> = env("INSTANCE_IP").split(',').next().and_then(|ip| ip.parse().ok());
    let probes = Probes::read(&env("ISTIO_KUBE_APP_PROBERS"), pod, setting.dial)
        .map_err(|e| format!("ISTIO_KUBE_APP_PROBERS: {e}"))?;
    let application: Option<Application> =
        serde_json::from_str(&env("ISTIO_PROMETHEUS_ANNOTATIONS")).ok();
    let status = Status {
        readiness: setting.readiness.subscribe(),
        probes,
        proxy_metrics: metrics,
        application,
        names: setting.names.clone(),
        dial: setting.dial,
        quit: setting.quit.clone(),
    };
    for port in [AGENT_PORT, READY_PORT] {
        tokio::spawn(status.clone().serve(listen(port).await?));
    }
    Ok(())
}

/// On every address of both families.
pub(crate) async fn listen(port: u16) -> Result<TcpListener, String> {
    let address = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    TcpListener::bind(address).await.map_err(|e| format!("port {port}: {e}"))
}

/// Metrics from a port of the proxy on this pod's loopback.
pub(crate) fn scrape_from(address: &'static str, path: &'static str) -> Scrape {
    Arc::new(move || {
        Box::pin(async move {
            match crate::command::get(address, "GET", path).await {
                Ok((200, page)) => page,
                Ok((status, _)) => format!("# {path}: status {status}\n"),
                Err(error) => format!("# {path}: {error}\n"),
            }
        })
    })
}
