//! One worker: a thread, its clock, its stock of memory, its view of the configuration, its shard of
//! the counters. Nothing on the path of a request is shared with another worker.

use crate::buffer::Stock;
use crate::env::{DateCache, SystemEnv};
use crate::istio::{Memory, Node};
use crate::recent::Ring;
use crate::replay::Account;
use crate::resolve::{Hosts, Resolver};
use crate::runtime::Runtime;
use crate::view::View;
use arc_swap::ArcSwap;
use ir::Direction;
use policy::jwt::TokenCache;
use policy::log::Sink;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use telemetry::{AuthzStats, CodeStats, LimitStats, LogBuffer, LogFiles, Registry, Shard};

/// The newest configuration, for all workers.
#[derive(Debug, Default)]
pub struct Published {
    runtime: ArcSwap<Runtime>,
    version: AtomicU64,
}

impl Published {
    pub fn set(&self, runtime: Arc<Runtime>) {
        self.runtime.store(runtime);
        self.version.fetch_add(1, Ordering::Release);
    }

    pub fn get(&self) -> Arc<Runtime> {
        self.runtime.load_full()
    }
}

/// What workers share.
#[derive(Clone, Debug)]
pub struct Shared {
    pub published: Arc<Published>,
    pub registry: Arc<Registry>,
    pub logs: LogFiles,
    /// Marks our own connections, where they must not be captured again.
    pub mark: Option<u32>,
    /// Of this machine, as others see it: what stands for clients on the machine itself.
    pub address: IpAddr,
    /// Connections of clients that are open, over all workers.
    pub open: Arc<AtomicUsize>,
    pub node: Option<Arc<Node>>,
    pub limits: Limits,
    pub resolver: Resolver,
}

/// Bounds of one worker.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections of clients; more are closed at once.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 50_000 }
    }
}

/// What draining ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drain {
    All,
    /// What the application itself calls goes on: it may have work to finish.
    Inbound,
}

impl Drain {
    pub(crate) fn concerns(self, direction: Direction) -> bool {
        self == Drain::All || direction != Direction::Outbound
    }
}

#[derive(Debug)]
pub struct Worker {
    pub env: SystemEnv,
    pub recent: Ring,
    pub date: DateCache,
    pub stock: Stock,
    /// Of request bodies that may be sent again.
    pub kept: Rc<Account>,
    pub shard: Shard,
    pub shared: Shared,
    /// Hosts that requests named.
    pub hosts: Hosts,
    draining: Cell<Option<Drain>>,
    pub istio: Memory,
    view: RefCell<Rc<View>>,
    /// Those of requests that were verified.
    pub tokens: RefCell<TokenCache>,
    logs: RefCell<HashMap<Sink, Option<Rc<LogBuffer>>>>,
    codes: RefCell<HashMap<ir::Str, CodeStats>>,
    limits: RefCell<HashMap<ir::Str, LimitStats>>,
    /// By the prefixes of the connection manager and of the filter.
    authz: RefCell<HashMap<(ir::Str, ir::Str), AuthzStats>>,
    connections: RefCell<Connections>,
    /// There were connections since memory was given back.
    served: Cell<bool>,
}

/// Tasks of open connections, to be woken when draining begins.
#[derive(Debug, Default)]
struct Connections {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Worker {
    pub fn new(shared: Shared, env: SystemEnv) -> Rc<Self> {
        let empty = View::next(None, Arc::default(), 0, Vec::new(), &env);
        Rc::new(Self {
            date: DateCache::default(),
            recent: Ring::default(),
            stock: Stock::default(),
            kept: Rc::default(),
            shard: shared.registry.shard(),
            hosts: Hosts::default(),
            draining: Cell::new(None),
            istio: Memory::new(shared.node.as_deref()),
            view: RefCell::new(Rc::new(empty)),
            tokens: RefCell::default(),
            logs: RefCell::default(),
            codes: RefCell::default(),
            limits: RefCell::default(),
            authz: RefCell::default(),
            connections: RefCell::default(),
            served: Cell::new(false),
            env,
            shared,
        })
    }

    /// The newest view. Costs one load when nothing has changed.
    pub fn view(self: &Rc<Self>) -> Rc<View> {
        let version = self.shared.published.version.load(Ordering::Acquire);
        let current = self.view.borrow().clone();
        if current.version == version {
            return current;
        }
        let runtime = self.shared.published.get();
        let logs = runtime.sinks.iter().map(|sink| self.log(sink)).collect();
        let next = Rc::new(View::next(Some(&current), runtime, version, logs, &self.env));
        *self.view.borrow_mut() = next.clone();
        crate::resolve::follow(self, &next);
        next
    }

    fn log(&self, sink: &Sink) -> Option<Rc<LogBuffer>> {
        let mut logs = self.logs.borrow_mut();
        let open = || {
            let path = match sink {
                Sink::File(path) => path,
                Sink::Stdout => "/dev/stdout",
                Sink::Stderr => "/dev/stderr",
            };
            match self.shared.logs.open(path) {
                Ok(file) => Some(Rc::new(file.buffer())),
                Err(e) => {
                    tracing::error!("{e}");
                    None
                }
            }
        };
        logs.entry(sink.clone()).or_insert_with(open).clone()
    }

    /// Counts a response under `http.PREFIX`.
    pub fn count_code(&self, prefix: &ir::Str, code: u16) {
        let mut codes = self.codes.borrow_mut();
        let registry = &self.shared.registry;
        if let Some(stats) = codes.get_mut(&**prefix) {
            return stats.count(code, registry, &self.shard);
        }
        let stats = codes.entry(prefix.clone()).or_insert_with(|| CodeStats::http(prefix));
        stats.count(code, registry, &self.shard);
    }

    /// The counters of rate limits under this prefix.
    pub fn limit_stats(&self, prefix: &ir::Str) -> LimitStats {
        let mut known = self.limits.borrow_mut();
        if let Some(stats) = known.get(&**prefix) {
            return *stats;
        }
        let stats = LimitStats::new(&self.shared.registry, prefix);
        known.insert(prefix.clone(), stats);
        stats
    }

    pub fn authz_stats(&self, manager: &ir::Str, own: &ir::Str) -> AuthzStats {
        let key = (manager.clone(), own.clone());
        let mut known = self.authz.borrow_mut();
        *known.entry(key).or_insert_with(|| AuthzStats::new(&self.shared.registry, manager, own))
    }

    /// Enters a connection's task, so that it is woken when draining begins.
    pub fn enter(self: &Rc<Self>, waker: Waker) -> Entered {
        let mut connections = self.connections.borrow_mut();
        let place = match connections.free.pop() {
            Some(place) => place,
            None => {
                connections.wakers.push(None);
                connections.wakers.len() - 1
            }
        };
        connections.wakers[place] = Some(waker);
        self.served.set(true);
        self.shared.open.fetch_add(1, Ordering::Relaxed);
        Entered { worker: self.clone(), place }
    }

    pub fn open_connections(&self) -> usize {
        let connections = self.connections.borrow();
        connections.wakers.len() - connections.free.len()
    }

    /// A connection that came in this direction is to end.
    pub fn is_draining(&self, direction: Direction) -> bool {
        self.draining.get().is_some_and(|drain| drain.concerns(direction))
    }

    /// Idle connections close now, others after their request.
    pub fn drain(&self, drain: Drain) {
        self.draining.set(Some(drain));
        self.wake();
    }

    /// Has every open connection look at the configuration.
    pub fn wake(&self) {
        for waker in self.connections.borrow().wakers.iter().flatten() {
            waker.wake_by_ref();
        }
    }

    /// Closes upstream connections that have been idle for too long. Once there is nobody left to
    /// serve, what serving took is given back.
    pub fn sweep(&self) {
        if self.open_connections() == 0 && self.served.take() {
            net::memory::give_back();
        }
        for cluster in &self.view.borrow().clusters {
            if cluster.pool.len() > 0 {
                cluster.pool.sweep(cluster.idle_since());
            }
            if !cluster.carriers.is_empty() {
                cluster.carriers.sweep(cluster.idle_since());
            }
        }
    }
}

/// An open connection; dropping it takes it off the list.
#[derive(Debug)]
pub struct Entered {
    worker: Rc<Worker>,
    place: usize,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut connections = self.worker.connections.borrow_mut();
        connections.wakers[self.place] = None;
        connections.free.push(self.place);
        self.worker.shared.open.fetch_sub(1, Ordering::Relaxed);
    }
}
