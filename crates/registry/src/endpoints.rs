//! The endpoints of each service: from EndpointSlices joined with pods, and from ServiceEntries.

use crate::{Service, ServiceKey, Workload, Workloads};
use api::EndpointSlice;
use base::Shards;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// The endpoints of one service, all ports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceEndpoints {
    pub version: u64,
    pub instances: Vec<Instance>,
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
