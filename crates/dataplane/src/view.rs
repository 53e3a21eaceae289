//! What one worker makes of the published configuration: its own picker and pool for every cluster,
//! its own buffer for every log. A request keeps the view it began with.

use crate::h2::Carriers;
use crate::istio::Service;
use crate::pool::Pool;
use crate::runtime::{ClusterRt, Runtime};
use crate::security::ClusterTls;
use balance::{Breakers, Picker};
use base::Env;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use telemetry::{CodeStats, LogBuffer};
use tokio::time::Instant;

#[derive(Debug)]
pub struct View {
    pub version: u64,
    pub runtime: Arc<Runtime>,
    pub clusters: Vec<Rc<ClusterState>>,
    /// By place in [`Runtime::sinks`]; `None` could not be opened.
    pub logs: Vec<Option<Rc<LogBuffer>>>,
}

/// One cluster as one worker sees it.
#[derive(Debug)]
pub struct ClusterState {
    pub config: Arc<ir::Cluster>,
    pub picker: RefCell<Picker>,
    pub breakers: Rc<Breakers>,
    pub pool: Pool,
    pub carriers: Carriers,
    /// Replaced when its secrets are; requests that are under way finish on the connections they have.
    pub tls: RefCell<Arc<ClusterTls>>,
    /// Counts how often that was.
    pub secrets: Cell<u32>,
    pub stats: telemetry::ClusterStats,
    pub codes: RefCell<CodeStats>,
    pub service: Option<Service>,
    /// Its servers understand Istio's names in ALPN.
    pub takes_alpn: bool,
    /// Names of its endpoints are being looked up.
    pub resolving: Cell<bool>,
}

impl ClusterState {
    fn new(from: &ClusterRt, env: &impl Env) -> Self {
        let picker = Picker::new(&from.config, from.endpoints.clone(), env);
        Self {
            config: from.config.clone(),
            picker: RefCell::new(picker.shown_on(from.usage.clone())),
            breakers: Breakers::new(&from.config.breakers, from.usage.clone()),
            pool: Pool::default(),
            carriers: Carriers::default(),
            tls: RefCell::new(from.tls.clone()),
            secrets: Cell::new(0),
            stats: from.stats,
            service: Service::of(&from.config),
            takes_alpn: crate::istio::takes_alpn(&from.config),
            codes: RefCell::new(CodeStats::cluster(&from.config.name)),
            resolving: Cell::new(false),
        }
    }
}

/// Idle upstream connections are kept this long where the configuration does not say.
const IDLE: Duration = Duration::from_secs(3600);

impl ClusterState {
    /// Connections idle since before this are closed; `None` keeps them for ever.
    pub fn idle_since(&self) -> Option<Instant> {
        let timeout = self.config.common.idle_timeout.unwrap_or(IDLE);
        if timeout.is_zero() { None } else { Instant::now().checked_sub(timeout) }
    }

    /// Connections that were made with other secrets take no further requests.
    fn secure_anew(&self, tls: &Arc<ClusterTls>) {
        if !Arc::ptr_eq(&self.tls.borrow(), tls) {
            *self.tls.borrow_mut() = tls.clone();
            self.secrets.set(self.secrets.get().wrapping_add(1));
            self.pool.clear();
            self.carriers.clear();
        }
    }

    pub fn connect_timeout(&self) -> Duration {
        self.config.connect_timeout.unwrap_or(Duration::from_secs(5))
    }
}

impl View {
    /// The view of a new configuration. Clusters that are unchanged keep their connections and what
    /// is known of their endpoints.
    pub fn next(
        previous: Option<&View>,
        runtime: Arc<Runtime>,
        version: u64,
        logs: Vec<Option<Rc<LogBuffer>>>,
        env: &impl Env,
    ) -> Self {
        let clusters = runtime.clusters.iter().map(|new| {
            let old = previous.and_then(|view| {
                let place = view.runtime.cluster(&new.config.name)?;
                Some(&view.clusters[place as usize])
            });
            match old {
                Some(old) if Arc::ptr_eq(&old.config, &new.config) => {
                    let mut picker = old.picker.borrow_mut();
                    // Endpoints that were looked up depend on the cluster alone.
                    if !old.resolving.get() && !Arc::ptr_eq(picker.endpoints(), &new.endpoints) {
                        picker.update(&new.config, new.endpoints.clone(), env);
                    }
                    old.secure_anew(&new.tls);
                    old.clone()
                }
                _ => Rc::new(ClusterState::new(new, env)),
            }
        });
        let clusters = clusters.collect();
        Self { version, clusters, runtime, logs }
    }
}
