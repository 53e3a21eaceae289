//! Clusters whose endpoints are names: the names are looked up now and again, and each address of the
//! newest answer is an endpoint (STRICT_DNS), or the first of them is (LOGICAL_DNS). A worker begins
//! when it first serves something under the configuration; until the first answer, connecting looks
//! the name up itself, as it does for clusters that lead to whom requests name.

use crate::env::SystemEnv;
use crate::view::{ClusterState, View};
use crate::worker::Worker;
use ir::{Address, Discovery, DnsCache, DnsFamily, Endpoint, EndpointGroup, Endpoints, Str};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Looks names up. It may take its time: it is called on a thread of its own.
#[derive(Clone)]
pub struct Resolver(Arc<Lookup>);

impl Default for Resolver {
    /// As the system does it.
    fn default() -> Self {
        Self::new(|name, port| Ok((name, port).to_socket_addrs()?.collect()))
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    pub fn new(
        lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(lookup))
    }

    pub async fn look_up(&self, name: &Str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let (lookup, name) = (self.0.clone(), name.clone());
        tokio::task::spawn_blocking(move || lookup(&name, port)).await.map_err(io::Error::other)?
    }
}

/// What one worker knows of the hosts that requests name. Who may make requests chooses the names, so their
/// number, and how many are looked up at a time, have bounds.
#[derive(Debug)]
pub struct Hosts {
    known: RefCell<HashMap<(Str, u16), Known>>,
    turns: Semaphore,
}

#[derive(Clone, Debug)]
struct Known {
    until: Instant,
    addresses: Result<Vec<SocketAddr>, io::ErrorKind>,
}

/// Hosts that are remembered.
const HOSTS: usize = 1024;
/// Threads that look up what requests name; the worker's other one is for clusters.
pub const TURNS: usize = 3;
/// A name stays known this long where the cluster does not say (as in Envoy), and that it cannot be looked
/// up this long.
const FRESH: Duration = Duration::from_secs(60);
const FAILED: Duration = Duration::from_secs(1);

impl Default for Hosts {
    fn default() -> Self {
        Self { known: RefCell::default(), turns: Semaphore::new(TURNS) }
    }
}

impl Hosts {
    pub async fn look_up(
        &self,
        resolver: &Resolver,
        name: &Str,
        port: u16,
        cache: Option<&DnsCache>,
    ) -> io::Result<Vec<SocketAddr>> {
        let key = (name.clone(), port);
        let addresses = match self.known(&key) {
            Some(addresses) => addresses,
            None => {
                let _turn = self.turns.acquire().await.map_err(io::Error::other)?;
                // Somebody may have asked for the same meanwhile.
                match self.known(&key) {
                    Some(addresses) => addresses,
                    None => {
                        let found = resolver.look_up(name, port).await;
                        self.keep(key, found, cache.and_then(|c| c.refresh).unwrap_or(FRESH))
                    }
                }
            }
        };
        let family = cache.map_or(DnsFamily::All, |c| c.family);
        Ok(of_family(&addresses?, family))
    }

    fn known(&self, key: &(Str, u16)) -> Option<Result<Vec<SocketAddr>, io::ErrorKind>> {
        let known = self.known.borrow();
        known.get(key).filter(|k| k.until > Instant::now()).map(|k| k.addresses.clone())
    }

    fn keep(
        &self,
        key: (Str, u16),
        found: io::Result<Vec<SocketAddr>>,
        fresh: Duration,
    ) -> Result<Vec<SocketAddr>, io::ErrorKind> {
        let now = Instant::now();
        let addresses = found.map_err(|e| e.kind()).map(|mut found| {
            found.truncate(ADDRESSES);
            found
        });
        let until = now + if addresses.is_ok() { fresh } else { FAILED };
        let mut known = self.known.borrow_mut();
        if known.len() >= HOSTS {
            known.retain(|_, k| k.until > now);
        }
        if known.len() < HOSTS {
            known.insert(key, Known { until, addresses: addresses.clone() });
        }
        addresses
    }
}

/// Between look-ups where the cluster does not say, as in Envoy.
const REFRESH: Duration = Duration::from_secs(5);
/// Addresses of one name; a longer answer is cut.
const ADDRESSES: usize = 256;

/// Starts looking names up for the clusters of a view that have any, and are not at it already.
pub fn follow(worker: &Rc<Worker>, view: &View) {
    for cluster in &view.clusters {
        if names(&cluster.config.discovery).next().is_some() && !cluster.resolving.replace(true) {
            let (worker, cluster) = (Rc::downgrade(worker), Rc::downgrade(cluster));
            tokio::task::spawn_local(keep_up(worker, cluster));
        }
    }
}

/// Looks up until the cluster is gone.
async fn keep_up(worker: Weak<Worker>, cluster: Weak<ClusterState>) {
    let mut known = Answers::new();
    loop {
        let Some((worker, cluster)) = worker.upgrade().zip(cluster.upgrade()) else { return };
        let (config, resolver) = (cluster.config.clone(), &worker.shared.resolver);
        for (name, port) in names(&config.discovery) {
            match resolver.look_up(name, port).await {
                Ok(addresses) => {
                    known.insert((name.clone(), port), addresses);
                }
                // What was known stays; a name that never had an answer has no endpoints.
                Err(e) => {
                    tracing::debug!("cluster {}: {name} cannot be looked up: {e}", config.name);
                    known.entry((name.clone(), port)).or_default();
                }
            }
        }
        cluster.resolved(expand(&config.discovery, &known), &worker.env);
        drop((worker, cluster));
        tokio::time::sleep(refresh(&config.discovery)).await;
    }
}

type Answers = HashMap<(Str, u16), Vec<SocketAddr>>;

fn refresh(discovery: &Discovery) -> Duration {
    let (Discovery::StrictDns { refresh, .. } | Discovery::LogicalDns { refresh, .. }) = discovery
    else {
        return REFRESH;
    };
    refresh.unwrap_or(REFRESH)
}

fn groups(discovery: &Discovery) -> &[EndpointGroup] {
    match discovery {
        Discovery::StrictDns { groups, .. } | Discovery::LogicalDns { groups, .. } => groups,
        _ => &[],
    }
}

fn names(discovery: &Discovery) -> impl Iterator<Item = (&Str, u16)> {
    let endpoints = groups(discovery).iter().flat_map(|group| &group.endpoints);
    endpoints.filter_map(|endpoint| match &endpoint.address {
        Address::Name(name, port) => Some((name, *port)),
        _ => None,
    })
}

/// The cluster's groups with addresses for names.
fn expand(discovery: &Discovery, answers: &Answers) -> Vec<EndpointGroup> {
    let (logical, family) = match discovery {
        Discovery::LogicalDns { family, .. } => (true, *family),
        Discovery::StrictDns { family, .. } => (false, *family),
        _ => (false, DnsFamily::default()),
    };
    let addressed = |endpoint: &Endpoint| -> Vec<Endpoint> {
        let Address::Name(name, port) = &endpoint.address else { return vec![endpoint.clone()] };
        let found = answers.get(&(name.clone(), *port)).map_or(&[][..], Vec::as_slice);
        let mut chosen = of_family(found, family);
        chosen.truncate(if logical { 1 } else { ADDRESSES });
        let known_as = if endpoint.hostname.is_empty() { name } else { &endpoint.hostname };
        let at = |address| Endpoint {
            address: Address::Ip(address),
            hostname: known_as.clone(),
            ..endpoint.clone()
        };
        chosen.into_iter().map(at).collect()
    };
    let group = |group: &EndpointGroup| EndpointGroup {
        endpoints: group.endpoints.iter().flat_map(addressed).collect(),
        ..group.clone()
    };
    groups(discovery).iter().map(group).collect()
}

fn of_family(found: &[SocketAddr], family: DnsFamily) -> Vec<SocketAddr> {
    let only = |v4: bool| found.iter().copied().filter(|a| a.is_ipv4() == v4).collect::<Vec<_>>();
    let preferred = |v4: bool| {
        let first = only(v4);
        if first.is_empty() { only(!v4) } else { first }
    };
    match family {
        DnsFamily::Auto => preferred(false),
        DnsFamily::V4Preferred => preferred(true),
        DnsFamily::V4Only => only(true),
        DnsFamily::V6Only => only(false),
        DnsFamily::All => found.to_vec(),
    }
}

impl ClusterState {
    /// Takes a new set of endpoints, unless it says the same in another order.
    fn resolved(&self, groups: Vec<EndpointGroup>, env: &SystemEnv) {
        let mut picker = self.picker.borrow_mut();
        let same = groups.len() == picker.endpoints().groups.len()
            && groups.iter().zip(&picker.endpoints().groups).all(|(new, old)| {
                new.endpoints.len() == old.endpoints.len()
                    && new.endpoints.iter().all(|endpoint| old.endpoints.contains(endpoint))
            });
        if !same {
            let new = Endpoints { cluster: self.config.name.clone(), groups, ..Default::default() };
            picker.update(&self.config, Arc::new(new), env);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(groups: &[EndpointGroup]) -> Vec<String> {
        let endpoints = groups.iter().flat_map(|g| &g.endpoints);
        endpoints.map(|e| format!("{} {}", e.address, e.hostname)).collect()
    }

    #[test]
    fn answers_become_endpoints() {
        let endpoint = Endpoint::at(Address::Name("db".into(), 80));
        let groups = vec![EndpointGroup { endpoints: vec![endpoint], ..Default::default() }];
        let found = ["10.0.0.2:80", "[::2]:80", "10.0.0.1:80"].map(|a| a.parse().unwrap());
        let answers = Answers::from([(("db".into(), 80), found.to_vec())]);
        let strict = |family| {
            let groups = groups.clone();
            expand(
                &Discovery::StrictDns { groups, refresh: None, respect_ttl: false, family },
                &answers,
            )
        };
        let logical = |family| {
            let groups = groups.clone();
            expand(
                &Discovery::LogicalDns { groups, refresh: None, respect_ttl: false, family },
                &answers,
            )
        };
        let v4 = ["10.0.0.2:80 db", "10.0.0.1:80 db"];
        assert_eq!(shown(&strict(DnsFamily::V4Only)), v4);
        assert_eq!(shown(&strict(DnsFamily::V4Preferred)), v4);
        assert_eq!(shown(&strict(DnsFamily::Auto)), ["[::2]:80 db"]);
        assert_eq!(shown(&strict(DnsFamily::All)).len(), 3);
        assert_eq!(shown(&logical(DnsFamily::V4Only)), v4[..1]);
        assert_eq!(shown(&logical(DnsFamily::V6Only)), ["[::2]:80 db"]);
    }
}
