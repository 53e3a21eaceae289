//! The running process, as the admin port sees it.

use crate::run::level;
use dataplane::admin::{Process, State};
use dataplane::{Drain, Proxy};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use telemetry::Registry;
use tokio::sync::Notify;
use tracing_subscriber::{EnvFilter, Registry as Subscriber, reload::Handle};
use xds::bootstrap::Bootstrap;

pub struct Running {
    proxy: Proxy,
    bootstrap: Bootstrap,
    config: Mutex<Arc<ir::Config>>,
    /// Dynamic configuration is still to come.
    waiting: AtomicBool,
    began: Instant,
    draining: AtomicBool,
    quit: Notify,
    reload: Handle<EnvFilter, Subscriber>,
    level: Mutex<String>,
}

impl Running {
    pub fn new(
        proxy: Proxy,
        bootstrap: Bootstrap,
        reload: Handle<EnvFilter, Subscriber>,
        level: &str,
    ) -> Self {
        Self {
            config: Mutex::new(Arc::new(bootstrap.config.clone())),
            waiting: AtomicBool::new(bootstrap.dynamic.is_some()),
            proxy,
            bootstrap,
            began: Instant::now(),
            draining: AtomicBool::new(false),
            quit: Notify::new(),
            reload,
            level: Mutex::new(level.to_owned()),
        }
    }

    pub fn drain_now(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.proxy.drain(Drain::All);
    }

    /// What the control plane says.
    pub fn heed(&self, news: agent::News) {
        match news {
            agent::News::Config(config) => {
                for finding in self.proxy.publish(&config) {
                    tracing::warn!("{finding}");
                }
                *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                net::memory::give_back();
            }
            agent::News::Complete => self.waiting.store(false, Ordering::Relaxed),
            agent::News::Waiting(what) => tracing::info!("waiting for {what}"),
        }
    }

    /// Connections of clients are still open.
    pub fn is_busy(&self) -> bool {
        self.proxy.open_connections() > 0
    }

    pub async fn told_to_quit(&self) {
        self.quit.notified().await;
    }

    pub fn reopen(&self) {
        for error in self.proxy.logs().reopen() {
            tracing::error!("{error}");
        }
    }
}

impl Process for Running {
    fn state(&self) -> State {
        if self.draining.load(Ordering::Relaxed) {
            State::Draining
        } else if self.waiting.load(Ordering::Relaxed) {
            State::Initializing
        } else {
            State::Live
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
        let node = &self.bootstrap.node;
        json!({ "id": &*node.id, "cluster": &*node.cluster })
    }

    fn bootstrap(&self) -> Value {
        json!({ "node": self.node() })
    }

    fn config(&self) -> Arc<ir::Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn usage(&self, cluster: &str) -> Option<Arc<dataplane::Usage>> {
        let runtime = self.proxy.runtime();
        let place = runtime.cluster(cluster)?;
        Some(runtime.clusters[place as usize].usage.clone())
    }

    fn is_static(&self, kind: ir::Kind, name: &str) -> bool {
        let fixed = &self.bootstrap.config;
        match kind {
            ir::Kind::Cluster => fixed.clusters.iter().any(|r| &*r.name == name),
            ir::Kind::Listener => fixed.listeners.iter().any(|r| &*r.name == name),
            ir::Kind::Secret => fixed.secrets.iter().any(|r| &*r.name == name),
            ir::Kind::Names => false,
            ir::Kind::Endpoints | ir::Kind::Route => self.bootstrap.dynamic.is_none(),
        }
    }

    fn registry(&self) -> &Registry {
        self.proxy.registry()
    }

    fn log_level(&self, set: Option<&str>) -> Result<String, String> {
        let mut current = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wanted) = set {
            let name = level(wanted).ok_or_else(|| format!("unknown log level '{wanted}'"))?;
            self.reload.reload(EnvFilter::new(name)).map_err(|e| e.to_string())?;
            *current = name.to_owned();
        }
        Ok(current.clone())
    }

    fn drain(&self) {
        self.drain_now();
    }

    fn quit(&self) {
        self.quit.notify_one();
    }

    fn recent(&self) -> Vec<dataplane::Recent> {
        self.proxy.recent()
    }

    fn reopen_logs(&self) {
        self.reopen();
    }
}
