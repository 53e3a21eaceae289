//! Our own data plane in this process: configurations come by discovery, the admin port answers, the
//! metrics port prints.

use crate::discovery::{self, News};
use crate::dns::{Names, Own};
use crate::node::Role;
use crate::run::{DataPlane, Setting, listen};
use crate::secrets::Secrets;
use crate::status::{Readiness, Scrape};
use base::Level;
use dataplane::admin::{self, Process, State};
use dataplane::{Drain, Options, Proxy, Resolver};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use telemetry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use xds::client;

const ADMIN_PORT: u16 = 15000;
const METRICS_PORT: u16 = 15090;
/// A pod's proxy needs few threads; more are asked for by name.
const DEFAULT_WORKERS: usize = 2;

/// The running data plane, as the admin port sees it.
struct Ours {
    proxy: Proxy,
    /// What the control plane said, and what runs: that with our own secrets.
    config: Mutex<(ir::Config, Arc<ir::Config>)>,
    secrets: Secrets,
    names: Option<Names>,
    /// All that the control plane refers to has come.
    complete: AtomicBool,
    node: Value,
    began: Instant,
    readiness: watch::Sender<Readiness>,
    quit: watch::Sender<bool>,
    log_level: String,
    /// What ends before the process does.
    drain: Drain,
}

pub(crate) struct Handle(Arc<Ours>);

/// Starts the workers, the admin and metrics ports and the discovery client.
pub(crate) async fn start(setting: &Setting) -> Result<Handle, String> {
    let available = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = match setting.concurrency {
        // As many as there are.
        Some(0) => available,
        Some(n) => usize::try_from(n).unwrap_or(1),
        None => DEFAULT_WORKERS.min(available),
    };
    let node = &setting.node;
    let known_as = dataplane::Node::from_json(&node.id, &node.metadata);
    let options = Options {
        workers,
        mark: setting.dial.mark,
        node: Some(known_as),
        resolver: resolver(setting.dial.mark),
        ..Options::default()
    };
    let proxy = Proxy::start(options).map_err(|e| format!("the data plane does not start: {e}"))?;
    let ours = Arc::new(Ours {
        proxy,
        config: Mutex::default(),
        secrets: Secrets::new(setting.identity.clone()),
        names: setting.names.clone(),
        complete: AtomicBool::new(false),
        node: json!({"id": node.id, "cluster": node.cluster, "metadata": node.metadata}),
        began: Instant::now(),
        readiness: setting.readiness.clone(),
        quit: setting.quit.clone(),
        log_level: setting.log_level.clone(),
        drain: match setting.role {
            Role::Sidecar => Drain::Inbound,
            Role::Router => Drain::All,
        },
    });
    let admin_socket = TcpListener::bind(("127.0.0.1", ADMIN_PORT)).await;
    let admin_socket = admin_socket.map_err(|e| format!("port {ADMIN_PORT}: {e}"))?;
    tokio::spawn(admin::serve(admin_socket, ours.clone()));
    let metrics = Handle(ours.clone()).metrics();
    tokio::spawn(crate::status::serve_metrics(listen(METRICS_PORT).await?, metrics));
    let node = xds::bootstrap::Node {
        id: node.id.as_str().into(),
        cluster: node.cluster.as_str().into(),
        metadata: node.metadata.clone(),
        ..Default::default()
    };
    tokio::spawn(Ours::renew(ours.clone()));
    let heeding = ours.clone();
    let authority = setting.authority.clone();
    let asks = match &setting.names {
        Some(_) => client::CONFIGURATION_AND_NAMES,
        None => client::CONFIGURATION,
    };
    let heed = move |news| heeding.heed(news);
    tokio::spawn(discovery::follow(authority, node, asks, heed));
    Ok(Handle(ours))
}

/// Where queries are told apart by mark the system's resolver cannot be used.
fn resolver(mark: Option<u32>) -> Resolver {
    match mark {
        None => Resolver::default(),
        Some(mark) => {
            let own = Own::new(mark);
            Resolver::new(move |name, port| own.look_up(name, port))
        }
    }
}

impl Ours {
    fn heed(&self, news: News) {
        match news {
            News::Config(config) => {
                let table = config.names.clone();
                self.publish(Some(config));
                // What names lead to is listened for by now.
                if let Some((names, table)) = self.names.as_ref().zip(table) {
                    names.set(&table);
                }
            }
            News::Complete => {
                self.complete.store(true, Ordering::Relaxed);
                self.ready_if_complete();
            }
            News::Waiting(what) => self.wait_or_ready(Readiness::Waiting(what)),
        }
    }

    /// Publishes anew when a secret of ours has changed.
    async fn renew(self: Arc<Self>) {
        let mut follower = self.secrets.follow();
        loop {
            follower.changed().await;
            self.publish(None);
            self.ready_if_complete();
        }
    }

    fn ready_if_complete(&self) {
        if !self.complete.load(Ordering::Relaxed) {
            return;
        }
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner).1.clone();
        self.wait_or_ready(match self.secrets.missing(&config) {
            None => Readiness::Ready,
            Some(name) => Readiness::Waiting(format!("secret {name}")),
        });
    }

    /// What the control plane says, or has said, with our own secrets.
    fn publish(&self, news: Option<ir::Config>) {
        let mut held = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let unchanged = news.is_none();
        if let Some(config) = news {
            held.0 = config;
        }
        let config = self.secrets.complete(&held.0, &held.1);
        if unchanged && config.secrets == held.1.secrets {
            return;
        }
        for finding in self.proxy.publish(&config) {
            match finding.level {
                Level::Error => tracing::error!(%finding, "configuration"),
                _ => tracing::debug!(%finding, "configuration"),
            }
        }
        held.1 = Arc::new(config);
        net::memory::give_back();
    }

    /// Once ready, a proxy stays ready: it serves without the control plane. Draining is the end.
    fn wait_or_ready(&self, next: Readiness) {
        let changed = self.readiness.send_if_modified(|now| {
            let changes = matches!(now, Readiness::Waiting(_)) && *now != next;
            if changes {
                *now = next;
            }
            changes
        });
        if changed && *self.readiness.borrow() == Readiness::Ready {
            tokio::spawn(settle());
        }
    }
}

/// Gives back what starting took: at once, and when the first probes and requests are through, which
/// touch much of the program once.
async fn settle() {
    for wait in [0, 10, 30] {
        tokio::time::sleep(Duration::from_secs(wait)).await;
        net::memory::give_back();
        if let Err(error) = net::memory::forget_startup() {
            tracing::debug!(%error, "the pages that starting needed stay");
        }
    }
}

impl DataPlane for Handle {
    fn metrics(&self) -> Scrape {
        let ours = self.0.clone();
        Arc::new(move || {
            let page = telemetry::prometheus(ours.proxy.registry(), |_| true);
            Box::pin(std::future::ready(page))
        })
    }

    fn drain(&self) {
        self.0.proxy.drain(self.0.drain);
    }

    fn is_busy(&self) -> bool {
        self.0.proxy.open_connections() > 0
    }
}

impl Process for Ours {
    fn state(&self) -> State {
        match *self.readiness.borrow() {
            Readiness::Ready => State::Live,
            Readiness::Draining => State::Draining,
            Readiness::Waiting(_) => State::Initializing,
        }
    }

    fn version(&self) -> String {
        env!("CARGO_PKG_VERSION").to_owned()
    }

    fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    fn concurrency(&self) -> usize {
        self.proxy.workers()
    }

    fn node(&self) -> Value {
        self.node.clone()
    }

    fn bootstrap(&self) -> Value {
        json!({"node": self.node})
    }

    fn config(&self) -> Arc<ir::Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    fn usage(&self, cluster: &str) -> Option<Arc<dataplane::Usage>> {
        let runtime = self.proxy.runtime();
        let place = runtime.cluster(cluster)?;
        Some(runtime.clusters[place as usize].usage.clone())
    }

    fn is_static(&self, _: ir::Kind, _: &str) -> bool {
        false
    }

    fn registry(&self) -> &Registry {
        self.proxy.registry()
    }

    fn log_level(&self, set: Option<&str>) -> Result<String, String> {
        match set {
            None => Ok(self.log_level.clone()),
            Some(_) => Err("the level is set when the proxy starts: --proxyLogLevel".to_owned()),
        }
    }

    fn drain(&self) {
        self.readiness.send_replace(Readiness::Draining);
        self.proxy.drain(Drain::All);
    }

    fn quit(&self) {
        self.quit.send_replace(true);
    }

    fn recent(&self) -> Vec<dataplane::Recent> {
        self.proxy.recent()
    }

    fn reopen_logs(&self) {
        for error in self.proxy.logs().reopen() {
            tracing::error!(%error, "an access log cannot be opened again");
        }
    }
}
