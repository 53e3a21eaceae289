//! Endpoint assignments: the ready endpoints of a port and subset, grouped by locality.

use crate::Proxy;
use api::Subset;
use base::Labels;
use ir::{Address, Endpoint, EndpointGroup, Endpoints, Health, Metadata, Str, Value};
use registry::{Instance, InstanceAddress, ServiceEndpoints, ServiceKey, ServicePort, Snapshot};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

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
    families: Families,
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
        weight: Some(endpoints.iter().fold(0, |n: u32, e| n.saturating_add(e.weight.unwrap_or(1)))),
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

fn families(proxy: &Proxy) -> Families {
    (proxy.ips.iter().any(|ip| ip.is_ipv4()), proxy.ips.iter().any(|ip| ip.is_ipv6()))
}

/// What a cluster that gets its endpoints by EDS takes from which service. It keeps the latest
/// answer for each combination of address families, so that all proxies that hold it share them.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub cluster: Str,
    pub service: ServiceKey,
    pub port: String,
    /// The subset's.
    pub labels: Labels,
    latest: Mutex<HashMap<Families, (u64, Arc<Endpoints>)>>,
}

/// Whether the proxy has IPv4, and IPv6.
type Families = (bool, bool);

impl PartialEq for Assignment {
    fn eq(&self, other: &Self) -> bool {
        (&self.cluster, &self.service, &self.port, &self.labels)
            == (&other.cluster, &other.service, &other.port, &other.labels)
    }
}

impl Assignment {
    pub fn new(cluster: Str, service: ServiceKey, port: String, labels: Labels) -> Assignment {
        Assignment { cluster, service, port, labels, latest: Mutex::default() }
    }

    /// The endpoints as they are now; the same `Arc` as long as they are the same.
    pub fn endpoints(&self, world: &Snapshot, proxy: &Proxy) -> Arc<Endpoints> {
        let known = world.endpoints.get(&self.service);
        let version = known.map_or(0, |k| k.version);
        let families = families(proxy);
        // Nothing here panics while it holds the lock, so it cannot be poisoned.
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let old = latest.get(&families);
        if let Some((_, value)) = old.filter(|(of, _)| *of == version) {
            return value.clone();
        }
        let groups = known.map(|k| groups_of(k, &self.port, &self.labels, families));
        let fresh = Endpoints {
            cluster: self.cluster.clone(),
            groups: groups.unwrap_or_default(),
            ..Endpoints::default()
        };
        let same = old.map(|(_, value)| value).filter(|value| ***value == fresh);
        let value = same.cloned().unwrap_or_else(|| Arc::new(fresh));
        latest.insert(families, (version, value.clone()));
        value
    }
}
