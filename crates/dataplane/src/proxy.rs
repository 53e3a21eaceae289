//! The proxy as a whole: workers are started once, configurations are published to them, sockets are
//! bound and released as listeners come and go.

use crate::accept::accept;
use crate::env::SystemEnv;
use crate::istio::Node;
use crate::recent::Recent;
use crate::resolve::{self, Resolver};
use crate::runtime::Runtime;
use crate::worker::{Drain, Limits, Shared, Worker};
use base::Finding;
use ir::{Address, Str};
use net::{BindError, ListenOptions};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use telemetry::{LogFiles, Registry};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// How a proxy is started.
#[derive(Clone, Debug)]
pub struct Options {
    pub workers: usize,
    /// Marks our own connections, where they must not be captured again.
    pub mark: Option<u32>,
    pub limits: Limits,
    /// Who we are, for peers and for metrics.
    pub node: Option<Node>,
    /// Looks up the names of endpoints.
    pub resolver: Resolver,
    /// Where the workers' random numbers begin, so that what is drawn can be repeated; else nobody
    /// can foresee it.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: 1,
            mark: None,
            limits: Limits::default(),
            node: None,
            resolver: Resolver::default(),
            seed: None,
        }
    }
}

/// A running proxy. Dropping it stops the workers.
#[derive(Debug)]
pub struct Proxy {
    shared: Shared,
    workers: Vec<Handle>,
    /// Addresses listened on, with the listener's name.
    bound: Mutex<HashMap<SocketAddr, Bound>>,
}

#[derive(Debug)]
struct Bound {
    listener: Str,
    /// Where it really is (the port may have been left to the system).
    at: SocketAddr,
}

#[derive(Debug)]
struct Handle {
    commands: UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    Listen {
        address: SocketAddr,
        listener: Str,
        socket: TcpListener,
    },
    Unlisten(SocketAddr),
    Drain(Drain),
    /// Listeners have changed: connections that are over are to end.
    Wake,
    Recent(Sender<Vec<Recent>>),
    Stop,
}

/// Names that one worker looks up at the same time; others wait. One thread is left to the clusters'
/// names, whatever requests name.
const LOOKUPS: usize = resolve::TURNS + 1;

/// How long workers may take to tell of their requests.
const PATIENCE: Duration = Duration::from_millis(500);

/// Idle upstream connections are looked at this often.
const SWEEP: Duration = Duration::from_secs(5);

impl Proxy {
    pub fn start(options: Options) -> io::Result<Self> {
        let shared = Shared {
            published: Arc::default(),
            registry: Arc::default(),
            logs: LogFiles::new(),
            mark: options.mark,
            address: own_address(),
            open: Arc::default(),
            node: options.node.map(Arc::new),
            limits: options.limits,
            resolver: options.resolver,
        };
        let mut workers = Vec::new();
        for i in 0..options.workers.max(1) {
            let seed = options.seed.map(|seed| seed.wrapping_add(i as u64));
            let (commands, receiver) = unbounded_channel();
            let shared = shared.clone();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(LOOKUPS)
                .build()?;
            let thread =
                std::thread::Builder::new().name(format!("worker-{i}")).spawn(move || {
                    let env = seed.map_or_else(SystemEnv::default, SystemEnv::seeded);
                    LocalSet::new().block_on(&runtime, work(Worker::new(shared, env), receiver));
                    // A name that is being looked up must not hold the end up.
                    runtime.shutdown_background();
                })?;
            workers.push(Handle { commands, thread: Some(thread) });
        }
        Ok(Self { shared, workers, bound: Mutex::default() })
    }

    /// Makes a configuration the current one. What is wrong with parts of it is said; the rest runs.
    pub fn publish(&self, config: &ir::Config) -> Vec<Finding> {
        let previous = self.shared.published.get();
        let runtime = Runtime::new(config, Some(&previous), &self.shared.registry);
        let mut findings = runtime.findings.clone();
        let same = runtime.listens_as(&previous);
        self.shared.published.set(Arc::new(runtime));
        self.bind(config, &mut findings);
        if !same {
            self.tell(|| Command::Wake);
        }
        findings
    }

    fn bind(&self, config: &ir::Config, findings: &mut Vec<Finding>) {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = HashMap::new();
        for listener in config.listeners.iter().filter(|l| l.bind_to_port) {
            for address in std::iter::once(&listener.address).chain(&listener.additional_addresses)
            {
                let Address::Ip(ip) = address else {
                    let message = format!("cannot listen on {address}: only IP addresses are");
                    findings.push(Finding::error(format!("listener[{}]", listener.name), message));
                    continue;
                };
                wanted.insert(*ip, listener.clone());
            }
        }
        let gone = bound.extract_if(|address, b| {
            wanted.get(address).is_none_or(|listener| listener.name != b.listener)
        });
        for (address, _) in gone.collect::<Vec<_>>() {
            self.tell(|| Command::Unlisten(address));
        }
        for (address, listener) in wanted {
            if bound.contains_key(&address) {
                continue;
            }
            match self.listen(address, &listener) {
                Ok(at) => {
                    bound.insert(address, Bound { listener: listener.name.clone(), at });
                }
                Err(e) => findings
                    .push(Finding::error(format!("listener[{}]", listener.name), e.to_string())),
            }
        }
    }

    /// One socket for each worker, all on the same port.
    fn listen(
        &self,
        address: SocketAddr,
        listener: &ir::Listener,
    ) -> Result<SocketAddr, BindError> {
        let reuse_port = self.workers.len() > 1;
        let options =
            ListenOptions { reuse_port, transparent: listener.transparent, dual_stack: false };
        let mut sockets = Vec::new();
        let mut at = address;
        for _ in &self.workers {
            let socket = net::bind_listener(at, options)?;
            at = socket.local_addr().map_err(|source| BindError::Other { address, source })?;
            sockets.push(socket);
        }
        let mut sockets = sockets.into_iter();
        for worker in &self.workers {
            if let Some(socket) = sockets.next() {
                let listener = listener.name.clone();
                worker.send(Command::Listen { address, listener, socket });
            }
        }
        Ok(at)
    }

    /// Where a configured address is really listened on.
    pub fn bound(&self, address: SocketAddr) -> Option<SocketAddr> {
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.get(&address).map(|b| b.at)
    }

    pub fn runtime(&self) -> Arc<Runtime> {
        self.shared.published.get()
    }

    pub fn registry(&self) -> &Arc<Registry> {
        &self.shared.registry
    }

    pub fn logs(&self) -> &LogFiles {
        &self.shared.logs
    }

    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The newest requests of all workers. A worker that does not answer in time is passed over.
    pub fn recent(&self) -> Vec<Recent> {
        let (sender, receiver) = channel();
        self.tell(|| Command::Recent(sender.clone()));
        drop(sender);
        let deadline = Instant::now() + PATIENCE;
        let answer =
            || receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        let mut all: Vec<Recent> = std::iter::from_fn(answer).flatten().collect();
        all.sort_by_key(|r| r.start);
        all
    }

    /// Connections of clients that are open.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// No new connections; those that are open end after the request they are at.
    pub fn drain(&self, drain: Drain) {
        self.tell(|| Command::Drain(drain));
    }

    /// Ends all workers, whatever they are doing.
    pub fn stop(&mut self) {
        self.tell(|| Command::Stop);
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take()
                && thread.join().is_err()
            {
                tracing::error!("a worker has panicked");
            }
        }
        self.shared.logs.flush();
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            worker.send(command());
        }
    }
}

/// The address that this machine would use to reach others. Nothing is sent to find out.
fn own_address() -> IpAddr {
    let asked = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        // Reserved for documentation (RFC 5737): outside, and nobody's.
        socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9))?;
        socket.local_addr()
    });
    asked.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Handle {
    fn send(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::error!("a worker is gone");
        }
    }
}

/// Accepts until it is dropped.
struct Accepting {
    listener: Str,
    _stop: oneshot::Sender<()>,
}

/// The life of a worker.
async fn work(worker: Rc<Worker>, mut commands: UnboundedReceiver<Command>) {
    let mut accepting: HashMap<SocketAddr, Accepting> = HashMap::new();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            _ = sweep.tick() => {
                worker.sweep();
                continue;
            }
        };
        match command {
            Some(Command::Listen { address, listener, socket }) => {
                match tokio::net::TcpListener::from_std(socket) {
                    Ok(socket) => {
                        let (stop, stopped) = oneshot::channel();
                        let name = listener.clone();
                        accepting.insert(address, Accepting { listener, _stop: stop });
                        tokio::task::spawn_local(accept(worker.clone(), name, socket, stopped));
                    }
                    Err(e) => tracing::error!("cannot accept on {address}: {e}"),
                }
            }
            Some(Command::Unlisten(address)) => drop(accepting.remove(&address)),
            Some(Command::Drain(drain)) => {
                let listeners = worker.view().runtime.clone();
                accepting.retain(|_, accepting| {
                    let listener = listeners.listeners.get(&accepting.listener);
                    !listener.is_none_or(|l| drain.concerns(l.config.direction))
                });
                worker.drain(drain);
            }
            Some(Command::Wake) => worker.wake(),
            Some(Command::Recent(to)) => {
                // Whoever asked may have stopped waiting.
                let _ = to.send(worker.recent.tell());
            }
            Some(Command::Stop) | None => return,
        }
    }
}
