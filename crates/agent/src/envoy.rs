//! Real Envoy as the data plane: its bootstrap, and the child process that runs it. Discovery comes
//! through our relay, readiness is asked of its admin port; the rest of the agent is the same.

use crate::Node;
use crate::discovery::{self, News};
use crate::node::Role;
use crate::relay;
use crate::run::{DataPlane, Setting, scrape_from};
use crate::secrets::Secrets;
use crate::status::{Readiness, Scrape};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use xds::client;

/// The file of the bootstrap and the socket of the relay lie in a volume of the pod.
pub const DIRECTORY: &str = "/etc/istio/proxy";
const ADMIN: u16 = 15000;
const METRICS: u16 = 15090;

/// The program: `LATEEN_ENVOY`, beside ours, or on the path.
pub fn program(env: &dyn Fn(&str) -> Option<String>, ours: Option<&Path>) -> Option<PathBuf> {
    if let Some(named) = env("LATEEN_ENVOY") {
        return Some(named.into());
    }
    let beside = ours.and_then(Path::parent).map(|dir| dir.join("envoy"));
    let path = env("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("envoy")).collect::<Vec<_>>();
    beside.into_iter().chain(on_path).find(|p| p.is_file())
}

/// Command-line arguments of the child.
pub fn arguments(bootstrap: &Path, concurrency: Option<u32>, level: &str) -> Vec<String> {
    let file = bootstrap.display().to_string();
    let mut arguments = vec!["-c".to_owned(), file, "-l".to_owned(), level.to_owned()];
    // A pod has one Envoy, and its root is read-only: no shared memory.
    arguments.extend(["--disable-hot-restart", "--drain-time-s", "45"].map(str::to_owned));
    // By default Envoy asks only some of its clients to go, more of them as the drain time passes;
    // the agent waits for a ninth of it, and whoever was not asked by then would be cut off.
    arguments.extend(["--drain-strategy", "immediate"].map(str::to_owned));
    arguments.extend(["--concurrency".to_owned(), concurrency.unwrap_or(2).to_string()]);
    arguments
}

/// Of stock Envoy, which must not be sent what only Istio's builds know.
fn metadata(node: &Node) -> Value {
    let mut metadata = node.metadata.clone();
    metadata["STOCK_ENVOY"] = "true".into();
    metadata
}

pub fn bootstrap(node: &Node, relay: &Path, mark: Option<u32>) -> Value {
    let metadata = metadata(node);
    let ads = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"});
    let mut bootstrap = json!({
        "node": {"id": node.id, "cluster": node.cluster, "metadata": metadata},
        "admin": {"address": local(ADMIN)},
        "dynamic_resources": {
            "lds_config": ads,
            "cds_config": ads,
            "ads_config": {
                "api_type": "DELTA_GRPC", "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}]}},
        "static_resources": {
            "clusters": [discovery("xds-grpc", relay), discovery(ir::AGENT_CLUSTER, relay), metrics_cluster()],
            "listeners": [metrics_listener()]}});
    if let Some(mark) = mark {
        // SOL_SOCKET, SO_MARK, before the connection is made.
        bootstrap["cluster_manager"] = json!({"upstream_bind_config": {
            "source_address": {"address": "0.0.0.0", "port_value": 0},
            "socket_options": [{"level": 1, "name": 36, "int_value": mark, "state": "STATE_PREBIND"}]}});
    }
    bootstrap
}

fn local(port: u16) -> Value {
    json!({"socket_address": {"address": "127.0.0.1", "port_value": port}})
}

fn endpoint(name: &str, address: &Value) -> Value {
    json!({"cluster_name": name, "endpoints": [{"lb_endpoints": [
        {"endpoint": {"address": address}}]}]})
}

fn discovery(name: &str, relay: &Path) -> Value {
    let http2 = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "typed_extension_protocol_options": {http2: {
            "@type": format!("type.googleapis.com/{http2}"),
            "explicit_http_config": {"http2_protocol_options": {
                "connection_keepalive": {"interval": "30s", "timeout": "10s"}}}}},
        "load_assignment": endpoint(name, &json!({"pipe": {"path": relay}}))})
}

fn metrics_cluster() -> Value {
    json!({
        "name": "prometheus_stats", "type": "STATIC", "connect_timeout": "0.250s",
        "load_assignment": endpoint("prometheus_stats", &local(ADMIN))})
}

fn metrics_listener() -> Value {
    let of = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.{name}");
    let route = json!({"virtual_hosts": [{"name": "backend", "domains": ["*"], "routes": [
        {"match": {"prefix": "/stats/prometheus"}, "route": {"cluster": "prometheus_stats"}}]}]});
    json!({
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": METRICS}},
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": of("network.http_connection_manager.v3.HttpConnectionManager"),
                "stat_prefix": "stats",
                "route_config": route,
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": of("http.router.v3.Router")}}]}}]}]})
}

/// Envoy as a child process.
pub(crate) struct Envoy {
    child: Arc<Mutex<Option<u32>>>,
    /// What is drained.
    drain: &'static str,
}

/// Writes the bootstrap, starts the relay and Envoy, and keeps an eye on both.
pub(crate) async fn start(setting: &Setting) -> Result<Envoy, String> {
    let env = |key: &str| std::env::var(key).ok();
    let ours = std::env::current_exe().ok();
    let program = program(&env, ours.as_deref()).ok_or(
        "there is no program `envoy` beside lateen-proxy or on the path; set LATEEN_ENVOY",
    )?;
    let directory = Path::new(DIRECTORY);
    let (relay, file) = (directory.join("XDS"), directory.join("envoy.json"));
    let bootstrap = bootstrap(&setting.node, &relay, setting.dial.mark);
    std::fs::write(&file, bootstrap.to_string()).map_err(|e| format!("{}: {e}", file.display()))?;
    let (authority, quit) = (setting.authority.clone(), setting.quit.clone());
    let (socket, secrets) = (relay.clone(), Secrets::new(setting.identity.clone()));
    tokio::spawn(async move {
        if let Err(error) = relay::serve(authority, secrets, &socket).await {
            tracing::error!(%error, "the discovery relay ended");
            quit.send_replace(true);
        }
    });
    follow_names(setting);
    let mut child = tokio::process::Command::new(program)
        .args(arguments(&file, setting.concurrency, &setting.log_level))
        // A pipe of our own: Envoy opens /dev/stdout by name for its access log, which it may not
        // where the container's standard output belongs to the node's user.
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| format!("Envoy does not start: {e}"))?;
    if let Some(mut lines) = child.stdout.take() {
        tokio::spawn(async move {
            if let Err(error) = tokio::io::copy(&mut lines, &mut tokio::io::stdout()).await {
                tracing::warn!(%error, "the access log is lost");
            }
        });
    }
    let id = Arc::new(Mutex::new(child.id()));
    let (known, quit) = (id.clone(), setting.quit.clone());
    tokio::spawn(async move {
        let ended = child.wait().await;
        tracing::error!(?ended, "Envoy has ended");
        *known.lock().unwrap_or_else(PoisonError::into_inner) = None;
        quit.send_replace(true);
    });
    tokio::spawn(watch_readiness(setting.readiness.clone()));
    let drain = match setting.role {
        Role::Router => "/drain_listeners?graceful",
        // What the application itself calls while it ends is served to its end.
        Role::Sidecar => "/drain_listeners?inboundonly&graceful",
    };
    Ok(Envoy { child: id, drain })
}

/// Envoy knows nothing of names: they come over a stream of their own.
fn follow_names(setting: &Setting) {
    let Some(names) = setting.names.clone() else { return };
    let node = xds::bootstrap::Node {
        id: setting.node.id.as_str().into(),
        cluster: setting.node.cluster.as_str().into(),
        metadata: metadata(&setting.node),
        ..Default::default()
    };
    let heed = move |news| {
        if let News::Config(config) = news
            && let Some(table) = config.names
        {
            names.set(&table);
        }
    };
    tokio::spawn(discovery::follow(setting.authority.clone(), node, client::NAMES, heed));
}

/// Envoy is ready when it says so; it is asked until then.
async fn watch_readiness(readiness: watch::Sender<Readiness>) {
    const LOOK: Duration = Duration::from_millis(100);
    loop {
        let answer = crate::command::get("127.0.0.1:15000", "GET", "/ready").await;
        let next = match answer {
            Ok((200, _)) => Readiness::Ready,
            Ok((_, state)) => Readiness::Waiting(format!("Envoy is {}", state.trim())),
            Err(error) => Readiness::Waiting(error),
        };
        readiness.send_if_modified(|now| {
            let changes = *now != Readiness::Draining && *now != next;
            if changes {
                now.clone_from(&next);
            }
            changes
        });
        if !matches!(*readiness.borrow(), Readiness::Waiting(_)) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl DataPlane for Envoy {
    fn metrics(&self) -> Scrape {
        scrape_from("127.0.0.1:15000", "/stats/prometheus")
    }

    fn drain(&self) {
        let path = self.drain;
        tokio::spawn(async move {
            let _ = crate::command::get("127.0.0.1:15000", "POST", path).await;
        });
    }

    /// Nothing tells, so the whole drain time is waited.
    fn is_busy(&self) -> bool {
        !self.has_ended()
    }

    fn has_ended(&self) -> bool {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        Node {
            id: "sidecar~10.0.0.1~p.default~default.svc.cluster.local".into(),
            cluster: "p.default".into(),
            metadata: json!({"NAMESPACE": "default"}),
        }
    }

    #[test]
    fn envoy_accepts_the_bootstrap() {
        let env = |key: &str| std::env::var(key).ok();
        let Some(envoy) =
            std::env::var_os("ENVOY").map(PathBuf::from).or_else(|| program(&env, None))
        else {
            assert!(std::env::var_os("LATEEN_REQUIRE_PEERS").is_none(), "there is no Envoy");
            eprintln!("skipped: there is no Envoy; set ENVOY to its file");
            return;
        };
        for mark in [None, Some(1337)] {
            let text = bootstrap(&node(), Path::new("/tmp/XDS"), mark).to_string();
            let out = std::process::Command::new(&envoy)
                .args(["--mode", "validate", "--config-yaml", &text])
                .output()
                .unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        }
    }

    #[test]
    fn the_control_plane_is_told_that_it_speaks_to_stock_envoy() {
        let b = bootstrap(&node(), Path::new("/x"), None);
        assert_eq!(b["node"]["metadata"]["STOCK_ENVOY"], "true");
        assert_eq!(b["node"]["metadata"]["NAMESPACE"], "default");
        assert_eq!(b.get("cluster_manager"), None);
    }
}
