//! Services and endpoints from ServiceEntries and WorkloadEntries.

use crate::endpoints::{Instance, InstanceAddress, sort};
use crate::service::whole_address;
use crate::{
    Closeness, Item, Locality, Resolution, Service, ServicePort, TargetPort, Workload, automatic,
};
use api::{EntryPort, Location, Protocol, ServiceEntry, WorkloadEntry};
use base::{Host, Labels};
use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// One service per host of the entry.
pub(crate) fn services(item: &Item<ServiceEntry>) -> impl Iterator<Item = Service> {
    let spec = &item.spec;
    let resolution = match spec.resolution {
        api::Resolution::None => Resolution::None,
        api::Resolution::Static => Resolution::Endpoints,
        api::Resolution::Dns => Resolution::Dns,
        api::Resolution::DnsRoundRobin => Resolution::DnsRoundRobin,
        api::Resolution::DynamicDns => Resolution::DynamicDns,
    };
    item.hosts.iter().map(move |host| Service {
        version: item.version,
        host: host.clone(),
        name: host.as_str().into(),
        namespace: item.namespace().into(),
        ports: spec.ports.iter().filter_map(port_of).collect(),
        addresses: spec.addresses.iter().filter_map(|a| address(a)).collect(),
        automatic: given(item, host),
        likely: likely(item, host),
        subject_alt_names: spec.subject_alt_names.iter().map(|n| n.as_str().into()).collect(),
        resolution: resolution.clone(),
        external: spec.location == Location::MeshExternal,
        kubernetes: false,
        selector: spec.workload_selector.clone().unwrap_or_default().labels,
        publish_not_ready: false,
        closeness: Closeness::of(&item.metadata, ""),
        node_local: false,
        export_to: item.export_to.clone(),
        created: item.metadata.creation_timestamp.clone(),
        object: item.object.clone(),
    })
}

/// What the control plane gave the host, where it may have one still.
fn given(item: &Item<ServiceEntry>, host: &Host) -> Vec<IpAddr> {
    if !automatic::hosts(item).any(|h| h == host) {
        return Vec::new();
    }
    let own = item.spec.allocated.iter().filter(|a| a.host == host.as_str());
    own.map(|a| a.value).collect()
}

fn likely(item: &Item<ServiceEntry>, host: &Host) -> Vec<IpAddr> {
    let client_chooses =
        matches!(item.spec.resolution, api::Resolution::None | api::Resolution::DynamicDns);
    let none = item.spec.addresses.is_empty() && !client_chooses;
    match none && !host.is_wildcard() {
        true => automatic::likely(item.namespace(), host).to_vec(),
        false => Vec::new(),
    }
}

fn port_of(port: &EntryPort) -> Option<ServicePort> {
    let number = u16::try_from(port.number).ok()?;
    let target = port.target_port.and_then(|t| u16::try_from(t).ok()).filter(|t| *t != 0);
    let protocol = match Protocol::parse(&port.protocol) {
        Some(protocol) => protocol,
        None => Protocol::of_port("TCP", None, &port.name, number),
    };
    let target = TargetPort::Number(target.unwrap_or(number));
    Some(ServicePort { number, name: port.name.clone(), protocol, target })
}

/// An address or a range.
fn address(text: &str) -> Option<(IpAddr, u8)> {
    match text.split_once('/') {
        None => text.parse().ok().map(whole_address),
        Some((ip, bits)) => {
            let ip: IpAddr = ip.parse().ok()?;
            let bits: u8 = bits.parse().ok()?;
            (bits <= whole_address(ip).1).then_some((ip, bits))
        }
    }
}

/// A machine's entry, with the namespace it is in.
pub(crate) struct Machine<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    pub entry: &'a WorkloadEntry,
}

impl Machine<'_> {
    fn workload(&self) -> Workload {
        let entry = self.entry;
        Workload {
            name: self.name.to_owned(),
            namespace: self.namespace.to_owned(),
            labels: entry.labels.clone(),
            service_account: entry.service_account.clone(),
            locality: match entry.locality.as_str() {
                "" => Locality::of_own_labels(&entry.labels).unwrap_or_default(),
                written => Locality::parse(written),
            },
            workload_name: self.name.to_owned(),
            addresses: entry.address.parse().into_iter().collect(),
            ready: true,
            ..Workload::default()
        }
    }

    pub fn instances(&self, service: &Service) -> Vec<Instance> {
        let workload = Arc::new(self.workload());
        let address = match self.entry.address.strip_prefix("unix://") {
            Some(path) => InstanceAddress::Pipe(path.into()),
            None => match self.entry.address.parse() {
                Ok(ip) => InstanceAddress::Ip(ip),
                Err(_) => InstanceAddress::Name(self.entry.address.as_str().into()),
            },
        };
        let of_port = |port: &ServicePort| {
            let own = self.entry.ports.get(&port.name).and_then(|p| u16::try_from(*p).ok());
            Instance {
                port_name: port.name.as_str().into(),
                address: address.clone(),
                port: own.unwrap_or(target_number(port, &workload)),
                hostname: "".into(),
                ready: !self.entry.unhealthy,
                weight: self.entry.weight.max(1),
                workload: workload.clone(),
                takes_mtls: false,
            }
        };
        service.ports.iter().map(of_port).collect()
    }
}

fn target_number(port: &ServicePort, workload: &Workload) -> u16 {
    match &port.target {
        TargetPort::Number(n) => *n,
        TargetPort::Named(name) => workload.port_named(name).unwrap_or(port.number),
    }
}

/// The endpoints of a ServiceEntry's service: those written in it, or the pods and machines of its
/// namespace that its selector takes; a DNS entry without any is its own endpoint.
pub(crate) fn instances<'a>(
    service: &Service,
    spec: &ServiceEntry,
    pods: impl Iterator<Item = &'a Arc<Workload>>,
    machines: impl Iterator<Item = Machine<'a>>,
) -> Vec<Instance> {
    let mut all = Vec::new();
    let namespace = &service.namespace;
    for (index, entry) in spec.endpoints.iter().enumerate() {
        let name = format!("{}-{index}", service.object.name);
        all.extend(Machine { name: &name, namespace, entry }.instances(service));
    }
    if spec.workload_selector.is_some() {
        for pod in pods.filter(|p| p.ready && takes(&service.selector, &p.labels)) {
            all.extend(service.ports.iter().flat_map(|port| of_pod(pod, port)));
        }
        for machine in machines.filter(|m| takes(&service.selector, &m.entry.labels)) {
            all.extend(machine.instances(service));
        }
    }
    let by_dns = matches!(service.resolution, Resolution::Dns | Resolution::DnsRoundRobin);
    if all.is_empty() && by_dns && !service.host.is_wildcard() {
        let entry = WorkloadEntry { address: service.host.to_string(), ..Default::default() };
        all.extend(Machine { name: &service.name, namespace, entry: &entry }.instances(service));
    }
    sort(&mut all);
    all
}

fn of_pod(pod: &Arc<Workload>, port: &ServicePort) -> Option<Instance> {
    Some(Instance {
        port_name: port.name.as_str().into(),
        address: InstanceAddress::Ip(*pod.addresses.first()?),
        port: target_number(port, pod),
        hostname: "".into(),
        ready: true,
        weight: 1,
        workload: pod.clone(),
        takes_mtls: false,
    })
}

/// An empty selector takes nothing.
pub(crate) fn takes(selector: &Labels, labels: &Labels) -> bool {
    !selector.is_empty() && selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}

/// `status.addresses` of an entry; what is no address there is nobody's.
pub(crate) fn allocated(object: &Value) -> Vec<api::Allocated> {
    let written = object["status"]["addresses"].as_array().into_iter().flatten();
    written.filter_map(|a| api::Allocated::deserialize(a).ok()).collect()
}

/// A WorkloadEntry whose health is checked (the annotation says so) is well only once its status says so.
pub(crate) fn is_unhealthy(object: &Value) -> bool {
    const CHECKED: &str = "proxy.istio.io/health-checks-enabled";
    let checked = object["metadata"]["annotations"][CHECKED] == "true";
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let well = conditions.into_iter().any(|c| c["type"] == "Healthy" && c["status"] == "True");
    checked && !well
}

/// The hosts of an entry as they are routed; those that are no host are left out.
pub(crate) fn hosts(spec: &ServiceEntry) -> Vec<Host> {
    spec.hosts.iter().filter_map(|h| Host::parse(h).ok()).collect()
}
