//! A configuration made ready to run: compiled once, published as one `Arc`, never changed. What is
//! unchanged since the last one is shared with it.

use crate::chain::{self, Step};
use crate::gate::{self, Gate};
use crate::security::{self, ClusterTls, Made, Secrets};
use balance::Usage;
use base::Finding;
use ir::{FilterChain, HttpManager, Listener, RouteSource, Str, TcpProxy, Terminal};
use policy::RouteTable;
use policy::local_reply::LocalReplyRule;
use policy::log::{LogRule, Sink};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use telemetry::{ClusterStats, HttpStats, ListenerStats, Registry, TcpStats};
use wire::h1::Limits;

/// What the workers run.
#[derive(Debug, Default)]
pub struct Runtime {
    pub listeners: HashMap<Str, Arc<ListenerRt>>,
    /// Listeners by the addresses they serve, bound or not.
    pub by_address: HashMap<ir::Address, Arc<ListenerRt>>,
    pub clusters: Vec<ClusterRt>,
    pub cluster_places: HashMap<Str, u32>,
    /// Route configurations by name (those that came by RDS).
    pub tables: HashMap<Str, Arc<BoundTable>>,
    pub sinks: Vec<Sink>,
    secrets: Secrets,
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug)]
pub struct ClusterRt {
    pub config: Arc<ir::Cluster>,
    pub endpoints: Arc<ir::Endpoints>,
    pub tls: Arc<ClusterTls>,
    pub stats: ClusterStats,
    pub usage: Arc<Usage>,
}

/// A route table, and where the clusters it names are in this configuration.
#[derive(Debug)]
pub struct BoundTable {
    pub config: Arc<ir::RouteConfig>,
    pub table: Arc<RouteTable>,
    /// By [`RouteTable::clusters`]; `None` is a cluster that does not exist.
    pub clusters: Vec<Option<u32>>,
}

#[derive(Debug)]
pub struct ListenerRt {
    pub config: Arc<Listener>,
    pub chains: Vec<ChainRt>,
    pub default_chain: Option<ChainRt>,
    /// By place in `chains`, then of the default chain; `None` is plaintext.
    tls: Vec<Option<ChainTls>>,
    /// By the same places: who may connect.
    gates: Vec<Vec<Gate>>,
    ways: Vec<Way>,
    pub stamp: Stamp,
    pub stats: ListenerStats,
    /// For connections that no chain wants.
    pub logs: Vec<(LogRule, u32)>,
    /// Connections that count against a limit, over configurations.
    pub open: Arc<AtomicU64>,
}

/// Listeners with the same stamp, in one configuration after another, are configured alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp(u64);

/// Chains with the same way ask the same of a handshake; the default is plaintext.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way(u64);

impl Way {
    pub fn is_plain(self) -> bool {
        self == Way::default()
    }
}

/// Never given before.
fn number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// The TLS context of one chain.
pub type ChainTls = Arc<Made<tls::ServerContext>>;

#[derive(Clone, Debug)]
pub enum ChainRt {
    Http(Arc<ManagerRt>),
    Tcp(Arc<TcpRt>),
    Close,
}

/// A compiled HTTP connection manager.
#[derive(Debug)]
pub struct ManagerRt {
    pub config: HttpManager,
    pub routes: Routes,
    pub logs: Vec<(LogRule, u32)>,
    pub local_reply: Option<LocalReplyRule>,
    pub limits: Limits,
    /// Bytes of a request's body that are kept for another attempt or a copy.
    pub buffer_limit: usize,
    /// What each request goes through before the verdict on it, in order.
    pub steps: Vec<Step>,
    pub peers: Option<ir::PeerMetadata>,
    /// Upstreams are told by ALPN what requests speak.
    pub tells_protocol: bool,
    pub stats_filter: Option<ir::IstioStats>,
    pub stats: HttpStats,
}

#[derive(Debug)]
pub enum Routes {
    Inline(Arc<BoundTable>),
    Named(Str),
}

#[derive(Debug)]
pub struct TcpRt {
    pub config: TcpProxy,
    pub logs: Vec<(LogRule, u32)>,
    /// By place among the weighted clusters; one for a single cluster.
    pub clusters: Vec<(Str, u32, Option<u32>)>,
    pub stats_filter: Option<ir::IstioStats>,
    pub stats: TcpStats,
}

/// Of a listener that does not say, as in Envoy.
const BUFFER_LIMIT: usize = 1 << 20;

impl Runtime {
    /// Compiles a configuration. `previous` lends what has not changed.
    pub fn new(config: &ir::Config, previous: Option<&Runtime>, registry: &Registry) -> Self {
        let secrets = Secrets::new(&config.secrets, previous.map(|p| &p.secrets));
        let mut runtime = Runtime { secrets, ..Runtime::default() };
        runtime.add_clusters(config, previous, registry);
        for route in &config.routes {
            let old = previous.and_then(|p| p.tables.get(&route.name));
            let bound = runtime.bind(route, old);
            runtime.tables.insert(route.name.clone(), Arc::new(bound));
        }
        for listener in &config.listeners {
            let old = previous.and_then(|p| p.listeners.get(&listener.name));
            let compiled = runtime.listener(listener, old.map(Arc::as_ref), registry);
            let compiled = Arc::new(compiled);
            for address in std::iter::once(&listener.address).chain(&listener.additional_addresses)
            {
                runtime.by_address.insert(address.clone(), compiled.clone());
            }
            runtime.listeners.insert(listener.name.clone(), compiled);
        }
        runtime
    }

    pub fn cluster(&self, name: &str) -> Option<u32> {
        self.cluster_places.get(name).copied()
    }

    /// Whether all listeners are configured as they were.
    pub fn listens_as(&self, previous: &Runtime) -> bool {
        let same = |(name, l): (&Str, &Arc<ListenerRt>)| {
            previous.listeners.get(name).is_some_and(|old| old.stamp == l.stamp)
        };
        self.listeners.len() == previous.listeners.len() && self.listeners.iter().all(same)
    }

    fn add_clusters(
        &mut self,
        config: &ir::Config,
        previous: Option<&Runtime>,
        registry: &Registry,
    ) {
        let eds: HashMap<&str, &Arc<ir::Endpoints>> =
            config.endpoints.iter().map(|e| (&*e.cluster, e)).collect();
        for cluster in &config.clusters {
            let old = previous
                .and_then(|p| Some(&p.clusters[*p.cluster_places.get(&cluster.name)? as usize]));
            let endpoints = endpoints_of(cluster, &eds, old);
            let stats_name = if cluster.alt_stat_name.is_empty() {
                &cluster.name
            } else {
                &cluster.alt_stat_name
            };
            let tls = old.map(|old| (&*old.config, &old.tls));
            let tls = ClusterTls::new(cluster, &self.secrets, tls, &mut self.findings);
            let place = self.clusters.len() as u32;
            self.cluster_places.insert(cluster.name.clone(), place);
            self.clusters.push(ClusterRt {
                config: match old {
                    Some(old) if *old.config == **cluster => old.config.clone(),
                    _ => cluster.clone(),
                },
                endpoints,
                tls,
                stats: old.map_or_else(|| ClusterStats::new(registry, stats_name), |o| o.stats),
                usage: old.map_or_else(Arc::default, |o| o.usage.clone()),
            });
        }
    }

    fn bind(&mut self, config: &Arc<ir::RouteConfig>, old: Option<&Arc<BoundTable>>) -> BoundTable {
        let (config, table) = match old {
            Some(old) if Arc::ptr_eq(&old.config, config) || old.config == *config => {
                (old.config.clone(), old.table.clone())
            }
            _ => (config.clone(), Arc::new(RouteTable::new(config))),
        };
        let prefix = format!("route_config[{}]", config.name);
        self.findings.extend(table.findings.iter().map(|f| under(&prefix, f)));
        let clusters = table.clusters.iter().map(|name| self.cluster(name)).collect();
        BoundTable { config, table, clusters }
    }

    fn listener(
        &mut self,
        config: &Arc<Listener>,
        old: Option<&ListenerRt>,
        registry: &Registry,
    ) -> ListenerRt {
        let mut chain = |(i, c): (usize, &FilterChain)| {
            let path = format!("listener[{}].filter_chains[{}]", config.name, c.name);
            match &c.terminal {
                Terminal::Http(m) => {
                    let old = old.and_then(|old| old.manager_of(c, i));
                    let mut manager = self.manager(m, &path, old, registry);
                    let limit = config.per_connection_buffer_limit;
                    manager.buffer_limit = limit.map_or(BUFFER_LIMIT, |n| n as usize);
                    ChainRt::Http(Arc::new(manager))
                }
                Terminal::Tcp(t) => {
                    ChainRt::Tcp(Arc::new(self.tcp(t, &c.network, &path, registry)))
                }
                Terminal::Close => ChainRt::Close,
            }
        };
        let chains = config.chains.iter().enumerate().map(&mut chain).collect();
        let last = config.chains.len();
        let default_chain = config.default_chain.as_ref().map(|c| chain((last, c)));
        let tls = self.chains_tls(config, old);
        let gates = self.gates(config, registry);
        let chains_of = config.chains.iter().chain(&config.default_chain);
        let way = |c: &FilterChain| match c.tls {
            None => Way::default(),
            Some(_) => old.and_then(|old| old.way_of(c)).unwrap_or_else(|| Way(number())),
        };
        let ways = chains_of.map(way).collect();
        let same = old.filter(|old| Arc::ptr_eq(&old.config, config) || old.config == *config);
        let stamp = same.map_or_else(|| Stamp(number()), |old| old.stamp);
        let address = config.address.to_string().replace(':', "_");
        let stats = old.map_or_else(|| ListenerStats::new(registry, &address), |o| o.stats);
        let open = old.map_or_else(Arc::default, |o| o.open.clone());
        let logs = self.logs(&config.access_log, &format!("listener[{}]", config.name));
        let config = config.clone();
        ListenerRt { config, chains, default_chain, tls, gates, ways, stamp, stats, logs, open }
    }

    fn gates(&mut self, config: &Listener, registry: &Registry) -> Vec<Vec<Gate>> {
        let chains = config.chains.iter().chain(&config.default_chain);
        let of_chain = |chain: &FilterChain| {
            let path = format!("listener[{}].filter_chains[{}]", config.name, chain.name);
            gate::gates(chain, &path, registry, &mut self.findings)
        };
        chains.map(of_chain).collect()
    }

    fn chains_tls(&mut self, config: &Listener, old: Option<&ListenerRt>) -> Vec<Option<ChainTls>> {
        let secrets = &self.secrets;
        let findings = &mut self.findings;
        let chains = config.chains.iter().chain(&config.default_chain);
        let made = chains.enumerate().map(|(i, chain)| {
            let tls = chain.tls.as_ref()?;
            let old = old.and_then(|old| old.tls_of(chain, i));
            let path = format!("listener[{}].filter_chains[{}]", config.name, chain.name);
            Some(security::server(tls, secrets, old, &path, findings))
        });
        made.collect()
    }

    /// `old` lends what counts over configurations.
    fn manager(
        &mut self,
        config: &HttpManager,
        path: &str,
        old: Option<&ManagerRt>,
        registry: &Registry,
    ) -> ManagerRt {
        let old_table = old.and_then(|old| match &old.routes {
            Routes::Inline(table) => Some(table),
            Routes::Named(_) => None,
        });
        let routes = match &config.routes {
            RouteSource::Inline(table) => Routes::Inline(Arc::new(self.bind(table, old_table))),
            RouteSource::Rds(name) => Routes::Named(name.clone()),
        };
        ManagerRt {
            routes,
            steps: chain::steps(config, old, path, registry, &mut self.findings),
            peers: config.filters.iter().find_map(|f| match &f.config {
                ir::HttpFilterConfig::PeerMetadata(p) if !f.disabled => Some(p.clone()),
                _ => None,
            }),
            tells_protocol: config
                .filters
                .iter()
                .any(|f| f.config == ir::HttpFilterConfig::IstioAlpn && !f.disabled),
            stats_filter: config.filters.iter().find_map(|f| match &f.config {
                ir::HttpFilterConfig::IstioStats(s) if !f.disabled => Some(s.clone()),
                _ => None,
            }),
            logs: self.logs(&config.access_log, path),
            local_reply: config.local_reply.as_ref().map(|l| {
                let at = format!("{path}.local_reply_config");
                LocalReplyRule::new(l, &at, &mut self.findings)
            }),
            limits: Limits {
                head: config.max_request_headers_kb.unwrap_or(60) as usize * 1024,
                headers: config.common.max_headers_count.unwrap_or(100) as usize,
                chunked_length: config.http1.allow_chunked_length,
            },
            buffer_limit: BUFFER_LIMIT,
            stats: HttpStats::new(registry, &config.stat_prefix),
            config: config.clone(),
        }
    }

    fn tcp(
        &mut self,
        config: &TcpProxy,
        network: &[ir::NetworkFilter],
        path: &str,
        registry: &Registry,
    ) -> TcpRt {
        let clusters = match &config.to {
            ir::TcpDestination::Cluster(name) => vec![(name.clone(), 1)],
            ir::TcpDestination::Weighted(parts) => {
                parts.iter().map(|p| (p.name.clone(), p.weight)).collect()
            }
        };
        let place = |(name, weight): (Str, u32)| {
            let place = self.cluster_places.get(&name).copied();
            (name, weight, place)
        };
        TcpRt {
            clusters: clusters.into_iter().map(place).collect(),
            stats_filter: network.iter().find_map(|f| match f {
                ir::NetworkFilter::IstioStats(s) => Some(s.clone()),
                _ => None,
            }),
            logs: self.logs(&config.access_log, path),
            stats: TcpStats::new(registry, &config.stat_prefix),
            config: config.clone(),
        }
    }

    fn logs(&mut self, from: &[ir::AccessLog], path: &str) -> Vec<(LogRule, u32)> {
        let mut rules = Vec::new();
        for (i, log) in from.iter().enumerate() {
            let at = format!("{path}.access_log[{i}]");
            let rule = LogRule::new(log, &at, &mut self.findings);
            let known = self.sinks.iter().position(|s| *s == rule.sink);
            let place = known.unwrap_or_else(|| {
                self.sinks.push(rule.sink.clone());
                self.sinks.len() - 1
            });
            rules.push((rule, place as u32));
        }
        rules
    }
}

fn under(prefix: &str, finding: &Finding) -> Finding {
    Finding { path: format!("{prefix}.{}", finding.path), ..finding.clone() }
}

fn endpoints_of(
    cluster: &ir::Cluster,
    eds: &HashMap<&str, &Arc<ir::Endpoints>>,
    old: Option<&ClusterRt>,
) -> Arc<ir::Endpoints> {
    use ir::Discovery::*;
    let groups = match &cluster.discovery {
        Static(groups) | StrictDns { groups, .. } | LogicalDns { groups, .. } => groups.clone(),
        Eds(name) => {
            let name = if name.is_empty() { &cluster.name } else { name };
            match eds.get(&**name) {
                Some(endpoints) => return (*endpoints).clone(),
                None => Vec::new(),
            }
        }
        OriginalDst | ByHost(_) => Vec::new(),
    };
    let new = ir::Endpoints { cluster: cluster.name.clone(), groups, ..Default::default() };
    match old {
        Some(old) if *old.endpoints == new => old.endpoints.clone(),
        _ => Arc::new(new),
    }
}

impl ListenerRt {
    /// The manager of a chain of this name, most likely at `place`.
    fn manager_of(&self, chain: &FilterChain, place: usize) -> Option<&ManagerRt> {
        let chains = self.config.chains.iter().zip(&self.chains);
        let all =
            || chains.clone().chain(self.config.default_chain.iter().zip(&self.default_chain));
        let same = |(config, _): &(&FilterChain, &ChainRt)| config.name == chain.name;
        match all().nth(place).filter(same).or_else(|| all().find(same))? {
            (_, ChainRt::Http(manager)) => Some(manager),
            _ => None,
        }
    }

    /// The context of a chain; `None` is plaintext.
    pub fn tls(&self, place: Place) -> Option<&ChainTls> {
        self.tls.get(self.number(place))?.as_ref()
    }

    /// What stands before connections of a chain.
    pub fn gates(&self, place: Place) -> &[Gate] {
        self.gates.get(self.number(place)).map(Vec::as_slice).unwrap_or_default()
    }

    fn number(&self, place: Place) -> usize {
        match place {
            Place::At(i) => i,
            Place::Default => self.chains.len(),
        }
    }

    /// What was made for the same TLS settings of a chain of this name, most likely at `place`.
    fn tls_of(&self, chain: &FilterChain, place: usize) -> Option<&ChainTls> {
        let same = |c: &FilterChain| c.name == chain.name && c.tls == chain.tls;
        self.tls.get(self.find(place, same)?)?.as_ref()
    }

    /// That of a chain that asks the same.
    fn way_of(&self, chain: &FilterChain) -> Option<Way> {
        let mut all = self.config.chains.iter().chain(&self.config.default_chain);
        self.ways.get(all.position(|c| c.tls == chain.tls)?).copied()
    }

    fn find(&self, place: usize, same: impl Fn(&FilterChain) -> bool) -> Option<usize> {
        let all = || self.config.chains.iter().chain(&self.config.default_chain);
        match all().nth(place) {
            Some(c) if same(c) => Some(place),
            _ => all().position(same),
        }
    }

    pub fn way(&self, place: Place) -> Way {
        self.ways.get(self.number(place)).copied().unwrap_or_default()
    }

    pub fn wants_certificate(&self, place: Place) -> bool {
        let tls = self.chain_config(place).and_then(|c| c.tls.as_ref());
        tls.is_some_and(|tls| tls.require_client_certificate)
    }

    pub fn chain(&self, place: Place) -> Option<&ChainRt> {
        match place {
            Place::At(i) => self.chains.get(i),
            Place::Default => self.default_chain.as_ref(),
        }
    }

    pub fn chain_config(&self, place: Place) -> Option<&FilterChain> {
        match place {
            Place::At(i) => self.config.chains.get(i),
            Place::Default => self.config.default_chain.as_ref(),
        }
    }
}

/// Which chain of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    At(usize),
    Default,
}
