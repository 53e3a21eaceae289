//! The endpoints of each service: from EndpointSlices joined with pods, and from ServiceEntries.

use crate::{Admission, PeerAuthentications, Service, ServiceKey, Workload, Workloads};
use api::EndpointSlice;
use base::Shards;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// The endpoints of one service, all ports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceEndpoints {
    pub version: u64,
    pub instances: Vec<Instance>,
    pub identities: Arc<Identities>,
}

/// What clients must know of a service's endpoints to tell them from impostors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identities {
    /// Namespaces and service accounts, sorted, each once.
    pub accounts: Vec<(String, String)>,
    /// There are endpoints, and the mesh's mutual TLS is spoken with every one of them.
    pub all_take_mtls: bool,
}

/// One address and port that serves one port of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// The service port's name (empty for the only, unnamed one).
    pub port_name: Arc<str>,
    pub address: InstanceAddress,
    pub port: u16,
    /// The name that it has within a headless service (`db-0`); empty without one.
    pub hostname: Arc<str>,
    pub ready: bool,
    pub weight: u32,
    pub workload: Arc<Workload>,
    /// The mesh's mutual TLS is spoken with it: it has a proxy, and no policy says otherwise.
    pub takes_mtls: bool,
}

impl Instance {
    pub(crate) fn secure(&mut self, peers: &PeerAuthentications) {
        let w = &self.workload;
        self.takes_mtls = w.takes_mtls()
            && peers.of_workload(&w.namespace, &w.labels).at(self.port).mode
                != Admission::Plaintext;
    }
}

impl ServiceEndpoints {
    /// `last`: the identities before, which stay the same `Arc` while they say the same.
    pub(crate) fn new(
        version: u64,
        instances: Vec<Instance>,
        last: Option<&Arc<Identities>>,
    ) -> ServiceEndpoints {
        let accounts = instances.iter().map(|i| (&i.workload.namespace, i.workload.account()));
        let accounts: BTreeSet<(&String, &str)> =
            accounts.filter(|(_, account)| !account.is_empty()).collect();
        let new = Identities {
            accounts: accounts.into_iter().map(|(n, a)| (n.clone(), a.to_owned())).collect(),
            all_take_mtls: !instances.is_empty() && instances.iter().all(|i| i.takes_mtls),
        };
        let same = last.filter(|last| ***last == new).cloned();
        ServiceEndpoints { version, instances, identities: same.unwrap_or_else(|| Arc::new(new)) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InstanceAddress {
    Ip(IpAddr),
    Name(Arc<str>),
    Pipe(Arc<str>),
}

/// Endpoints by service. What did not change since the version before is shared with it.
#[derive(Clone, Debug, Default)]
pub struct EndpointIndex {
    pub version: u64,
    /// When the identities of some service last changed.
    pub identities: u64,
    pub(crate) by_service: Shards<ServiceKey, Arc<ServiceEndpoints>>,
}

impl EndpointIndex {
    pub fn get(&self, service: &ServiceKey) -> Option<&Arc<ServiceEndpoints>> {
        self.by_service.get(service)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &Arc<ServiceEndpoints>)> {
        self.by_service.iter()
    }

    /// The services whose endpoints are others than in `old`; looking for them costs what they are.
    pub fn changed_since<'a>(
        &'a self,
        old: &'a EndpointIndex,
    ) -> impl Iterator<Item = &'a ServiceKey> {
        let (mine, theirs) = (&self.by_service, &old.by_service);
        let here = mine.keys_beside(theirs).filter(|key| {
            let same = |a: &Arc<ServiceEndpoints>, b| Arc::ptr_eq(a, b);
            !self.get(key).zip(old.get(key)).is_some_and(|(a, b)| same(a, b))
        });
        here.chain(theirs.keys_beside(mine).filter(|key| self.get(key).is_none()))
    }
}

/// The instances that a Kubernetes service's slices describe, sorted, each once.
pub(crate) fn of_slices<'a>(
    service: &Service,
    slices: impl Iterator<Item = &'a EndpointSlice>,
    workloads: &Workloads,
) -> Vec<Instance> {
    let unknown = Arc::new(Workload::unknown(&service.namespace));
    let names: HashMap<&str, Arc<str>> =
        service.ports.iter().map(|p| (p.name.as_str(), p.name.as_str().into())).collect();
    let mut instances = Vec::new();
    for slice in slices {
        for endpoint in &slice.endpoints {
            let Some(ip) = endpoint.addresses.first().and_then(|a| a.parse::<IpAddr>().ok()) else {
                continue;
            };
            let ready = endpoint.conditions.ready.unwrap_or(true)
                || (service.publish_not_ready && endpoint.conditions.serving != Some(false));
            let workload = workloads.at(ip).unwrap_or(&unknown);
            let hostname: Arc<str> = endpoint.hostname.as_str().into();
            for port in &slice.ports {
                let (Some(name), Some(number)) = (names.get(port.name.as_str()), port.port) else {
                    continue;
                };
                instances.push(Instance {
                    port_name: name.clone(),
                    address: InstanceAddress::Ip(ip),
                    port: number,
                    hostname: hostname.clone(),
                    ready,
                    weight: 1,
                    workload: workload.clone(),
                    takes_mtls: false,
                });
            }
        }
    }
    sort(&mut instances);
    instances
}

/// By port and address; of two descriptions of the same the ready one stays.
pub(crate) fn sort(instances: &mut Vec<Instance>) {
    instances.sort_by(|a, b| {
        (&a.port_name, &a.address, a.port, !a.ready).cmp(&(
            &b.port_name,
            &b.address,
            b.port,
            !b.ready,
        ))
    });
    instances
        .dedup_by(|a, b| (&a.port_name, &a.address, a.port) == (&b.port_name, &b.address, b.port));
}
