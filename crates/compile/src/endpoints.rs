//! Endpoint assignments: the ready endpoints of a port and subset, grouped by locality.

use crate::Proxy;
use api::Subset;
use base::Labels;
use ir::{Address, Endpoint, EndpointGroup, Endpoints, Health, Metadata, Str, Value};
use registry::{Instance, InstanceAddress, ServiceEndpoints, ServiceKey, ServicePort, Snapshot};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

/// The groups for one port, of the instances whose labels the subset takes.
pub(crate) fn groups(
    known: &ServiceEndpoints,
    port: &ServicePort,
    subset: Option<&Subset>,
    proxy: &Proxy,
) -> Vec<EndpointGroup> {
    let none = Labels::new();
    groups_of(known, &port.name, subset.map_or(&none, |s| &s.labels), families(proxy))
}

fn groups_of(
    known: &ServiceEndpoints,
    port_name: &str,
    labels: &Labels,
    families: (bool, bool),
) -> Vec<EndpointGroup> {
    let mut groups: BTreeMap<ir::Locality, Vec<Endpoint>> = BTreeMap::new();
    let has = |i: &&Instance| labels.iter().all(|(k, v)| i.workload.labels.get(k) == Some(v));
    let reachable = |i: &&Instance| match &i.address {
        InstanceAddress::Ip(ip) => {
            if ip.is_ipv4() {
                families.0
            } else {
                families.1
            }
        }
        _ => true,
    };
    let fitting = known.instances.iter().filter(|i| i.ready && &*i.port_name == port_name);
    for instance in fitting.filter(has).filter(reachable) {
        let of = &instance.workload.locality;
        let locality = ir::Locality {
            region: of.region.as_str().into(),
            zone: of.zone.as_str().into(),
            sub_zone: of.sub_zone.as_str().into(),
        };
        groups.entry(locality).or_default().push(endpoint(instance));
    }
    let group = |(locality, endpoints): (ir::Locality, Vec<Endpoint>)| EndpointGroup {
        locality,
        priority: 0,
        weight: Some(endpoints.iter().map(|e| e.weight.unwrap_or(1)).sum()),
        endpoints,
    };
    groups.into_iter().map(group).collect()
}

fn endpoint(instance: &Instance) -> Endpoint {
    let address = match &instance.address {
        InstanceAddress::Ip(ip) => Address::Ip(SocketAddr::new(*ip, instance.port)),
        InstanceAddress::Name(name) => Address::Name(name.clone(), instance.port),
        InstanceAddress::Pipe(path) => Address::Pipe(path.clone()),
    };
    Endpoint {
        address,
        hostname: "".into(),
        health: Health::Unknown,
        weight: Some(instance.weight.max(1)),
        metadata: metadata(instance),
    }
}

/// `istio.workload`: `<workload>;<namespace>;<canonical name>;<canonical revision>;<cluster>`.
fn metadata(instance: &Instance) -> Metadata {
    let w = &instance.workload;
    if w.workload_name.is_empty() {
        return Metadata::new();
    }
    let text = format!(
        "{};{};{};{};Kubernetes",
        w.workload_name,
        w.namespace,
        w.canonical_name(),
        w.canonical_revision()
    );
    let fields = BTreeMap::from([("workload".into(), Value::String(text.into()))]);
    Metadata::from([("istio".into(), Value::Struct(fields))])
}

/// One endpoint that DNS finds.
pub(crate) fn named(name: &str, port: u16) -> EndpointGroup {
    let address = match name.parse() {
        Ok(ip) => Address::Ip(SocketAddr::new(ip, port)),
        Err(_) => Address::Name(name.into(), port),
    };
    EndpointGroup {
        weight: Some(1),
        endpoints: vec![Endpoint { weight: Some(1), ..Endpoint::at(address) }],
        ..EndpointGroup::default()
    }
}

fn families(proxy: &Proxy) -> (bool, bool) {
    (proxy.ips.iter().any(|ip| ip.is_ipv4()), proxy.ips.iter().any(|ip| ip.is_ipv6()))
}

/// What a cluster that gets its endpoints by EDS takes from which service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Assignment {
    pub cluster: Str,
    pub service: ServiceKey,
    pub port: String,
    /// The subset's.
    pub labels: Labels,
}

/// The newest endpoints of each assignment, for each combination of address families.
#[derive(Default)]
pub(crate) struct EndpointCache {
    entries: HashMap<(Arc<Assignment>, (bool, bool)), Cached>,
    round: u64,
}

struct Cached {
    version: u64,
    value: Arc<Endpoints>,
    used: u64,
}

/// Assignments kept; beyond it all go that the latest compilation did not use.
const MAX_CACHED: usize = 200_000;

impl EndpointCache {
    pub fn of_all(
        &mut self,
        world: &Snapshot,
        proxy: &Proxy,
        assignments: &[Arc<Assignment>],
    ) -> Vec<Arc<Endpoints>> {
        if self.entries.len() > MAX_CACHED {
            let latest = self.round;
            self.entries.retain(|_, c| c.used == latest);
        }
        self.round += 1;
        assignments.iter().map(|a| self.of(world, families(proxy), a)).collect()
    }

    fn of(
        &mut self,
        world: &Snapshot,
        families: (bool, bool),
        assignment: &Arc<Assignment>,
    ) -> Arc<Endpoints> {
        let known = world.endpoints.get(&assignment.service);
        let version = known.map_or(0, |k| k.version);
        let key = (assignment.clone(), families);
        if let Some(cached) = self.entries.get_mut(&key) {
            cached.used = self.round;
            if cached.version == version {
                return cached.value.clone();
            }
        }
        let labels = &assignment.labels;
        let groups = known.map(|k| groups_of(k, &assignment.port, labels, families));
        let fresh = Endpoints {
            cluster: assignment.cluster.clone(),
            groups: groups.unwrap_or_default(),
            ..Endpoints::default()
        };
        let old = self.entries.get(&key).filter(|c| *c.value == fresh);
        let value = old.map_or_else(|| Arc::new(fresh), |c| c.value.clone());
        self.entries.insert(key, Cached { version, value: value.clone(), used: self.round });
        value
    }
}
