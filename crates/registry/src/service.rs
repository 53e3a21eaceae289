//! Services of every source in one form, and their index by host.

use crate::ExportTo;
use api::{IntOrString, Protocol};
use base::{Host, Labels, ObjectRef};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What a client can address: a host with ports.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The revision at which it last changed; endpoints have their own.
    pub version: u64,
    pub host: Host,
    /// For display and metrics: the Kubernetes name, or the host.
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub ports: Vec<ServicePort>,
    /// Virtual addresses: single ones, or ranges (of ServiceEntries) with fewer bits.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Given by the control plane to a ServiceEntry without addresses, for clients whose DNS knows them.
    pub automatic: Vec<IpAddr>,
    /// What that would likely be, for proxies that allocate by themselves.
    pub likely: Vec<IpAddr>,
    /// One of which a server's certificate must hold, where TLS begins here.
    pub subject_alt_names: Vec<Arc<str>>,
    pub resolution: Resolution,
    /// Outside the mesh: never mesh mTLS.
    pub external: bool,
    /// Kubernetes' own, so that its short names resolve.
    pub kubernetes: bool,
    pub selector: Labels,
    pub publish_not_ready: bool,
    /// Which endpoints its clients prefer, unless a DestinationRule says otherwise.
    pub closeness: Closeness,
    /// `internalTrafficPolicy: Local`: only endpoints on the client's node.
    pub node_local: bool,
    pub export_to: Option<ExportTo>,
    pub created: String,
    pub object: ObjectRef,
}

/// The identity of a service: a host may be defined in more than one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    pub namespace: Arc<str>,
    pub host: Host,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    pub number: u16,
    pub name: String,
    pub protocol: Protocol,
    pub target: TargetPort,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    Number(u16),
    /// A container port's name; each pod may give it another number.
    Named(String),
}

/// How endpoints are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The control plane knows them.
    Endpoints,
    /// The client chooses one by address (no cluster IP).
    Headless,
    /// Wherever the client was going.
    None,
    /// The proxy asks DNS; every answer is an endpoint.
    Dns,
    /// The proxy asks DNS; the first answer is the endpoint.
    DnsRoundRobin,
    /// The proxy resolves the host of each request.
    DynamicDns,
    /// Another name for this host.
    Alias(String),
}

/// Traffic distribution, of field `trafficDistribution` or an annotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Closeness {
    #[default]
    Any,
    SameZone,
    SameNode,
}

impl Closeness {
    const ANNOTATION: &str = "networking.istio.io/traffic-distribution";

    /// The annotation counts before the field.
    pub(crate) fn of(metadata: &api::Metadata, field: &str) -> Closeness {
        let written = metadata.annotations.get(Self::ANNOTATION).map_or(field, String::as_str);
        match written.to_ascii_lowercase().as_str() {
            "preferclose" | "prefersamezone" => Closeness::SameZone,
            "prefersamenode" => Closeness::SameNode,
            _ => Closeness::Any,
        }
    }
}

impl Service {
    pub fn key(&self) -> ServiceKey {
        ServiceKey { namespace: self.namespace.clone(), host: self.host.clone() }
    }

    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|p| p.number == number)
    }

    /// Of a Kubernetes Service.
    pub(crate) fn of_kubernetes(
        version: u64,
        object: &api::Service,
        domain: &str,
    ) -> Result<Service, base::InvalidHost> {
        let (meta, spec) = (&object.metadata, &object.spec);
        let host = Host::parse(&format!("{}.{}.svc.{domain}", meta.name, meta.namespace))?;
        let mut ips = spec.cluster_ips.clone();
        if ips.is_empty() {
            ips.push(spec.cluster_ip.clone());
        }
        let addresses: Vec<(IpAddr, u8)> =
            ips.iter().filter_map(|ip| ip.parse().ok()).map(whole_address).collect();
        let resolution = if spec.r#type == "ExternalName" {
            Resolution::Alias(spec.external_name.clone())
        } else if addresses.is_empty() {
            Resolution::Headless
        } else {
            Resolution::Endpoints
        };
        let export = meta.annotations.get("networking.istio.io/exportTo");
        Ok(Service {
            version,
            host,
            name: meta.name.as_str().into(),
            namespace: meta.namespace.as_str().into(),
            ports: spec.ports.iter().map(port_of).collect(),
            addresses,
            automatic: Vec::new(),
            likely: Vec::new(),
            subject_alt_names: Vec::new(),
            resolution,
            external: false,
            kubernetes: true,
            selector: spec.selector.clone(),
            publish_not_ready: spec.publish_not_ready_addresses,
            closeness: Closeness::of(meta, &spec.traffic_distribution),
            node_local: spec.internal_traffic_policy == "Local",
            export_to: export.and_then(|e| ExportTo::parse(e.split(','))),
            created: meta.creation_timestamp.clone(),
            object: object.reference("Service"),
        })
    }
}

/// An address as a range of one.
pub(crate) fn whole_address(ip: IpAddr) -> (IpAddr, u8) {
    (ip, if ip.is_ipv4() { 32 } else { 128 })
}

fn port_of(port: &api::ServicePort) -> ServicePort {
    let app = port.app_protocol.as_deref();
    ServicePort {
        number: port.port,
        name: port.name.clone(),
        protocol: Protocol::of_port(&port.protocol, app, &port.name, port.port),
        target: match &port.target_port {
            None | Some(IntOrString::Int(0)) => TargetPort::Number(port.port),
            Some(IntOrString::Int(n)) => TargetPort::Number(*n),
            Some(IntOrString::String(name)) => match name.parse() {
                Ok(n) => TargetPort::Number(n),
                Err(_) => TargetPort::Named(name.clone()),
            },
        },
    }
}

/// All services, oldest first, by host and by namespace.
#[derive(Clone, Debug, Default)]
pub struct Services {
    pub version: u64,
    /// Some are reached by the host that a request names.
    pub any_by_host: bool,
    all: Vec<Arc<Service>>,
    by_host: HashMap<Host, Vec<Arc<Service>>>,
    by_namespace: HashMap<Arc<str>, Vec<Arc<Service>>>,
    /// Kubernetes' own, by namespace and name.
    by_name: HashMap<(Arc<str>, Arc<str>), Arc<Service>>,
    headless: Vec<Arc<Service>>,
    by_dns: Vec<Arc<Service>>,
}

impl Services {
    pub(crate) fn index(version: u64, mut all: Vec<Arc<Service>>) -> Services {
        all.sort_by(|a, b| {
            (&a.created, &a.host, &a.namespace).cmp(&(&b.created, &b.host, &b.namespace))
        });
        let mut index = Services { version, ..Services::default() };
        for service in &all {
            let (namespace, name) = (service.namespace.clone(), service.name.clone());
            if service.kubernetes {
                index.by_name.insert((namespace.clone(), name), service.clone());
            }
            index.by_host.entry(service.host.clone()).or_default().push(service.clone());
            index.by_namespace.entry(namespace).or_default().push(service.clone());
            match service.resolution {
                Resolution::Headless => index.headless.push(service.clone()),
                Resolution::Dns | Resolution::DnsRoundRobin => index.by_dns.push(service.clone()),
                Resolution::DynamicDns => index.any_by_host = true,
                Resolution::Endpoints | Resolution::None | Resolution::Alias(_) => {}
            }
        }
        Services { all, ..index }
    }

    /// Those of a namespace, oldest first.
    pub fn of_namespace(&self, namespace: &str) -> &[Arc<Service>] {
        self.by_namespace.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// Of which the client chooses an endpoint by its address.
    pub fn headless(&self) -> &[Arc<Service>] {
        &self.headless
    }

    /// Of which the proxy asks DNS for the endpoints.
    pub fn found_by_dns(&self) -> &[Arc<Service>] {
        &self.by_dns
    }

    pub(crate) fn named(&self, namespace: &str, name: &str) -> Option<&Arc<Service>> {
        self.by_name.get(&(namespace.into(), name.into()))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.all.iter()
    }

    /// All services of that host, oldest first.
    pub fn of_host(&self, host: &Host) -> &[Arc<Service>] {
        self.by_host.get(host).map_or(&[], Vec::as_slice)
    }

    pub fn get(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.of_host(&key.host).iter().find(|s| s.namespace == key.namespace)
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(spec: serde_json::Value) -> Service {
        let object = json!({"metadata": {"name": "a", "namespace": "ns"}, "spec": spec});
        let object: api::Service = api::decode("Service", &object).unwrap().object;
        Service::of_kubernetes(1, &object, "cluster.local").unwrap()
    }

    #[test]
    fn a_service_with_addresses_a_headless_one_and_an_alias() {
        let vip = service(json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"],
            "ports": [{"name": "http", "port": 80, "targetPort": "web"}, {"port": 81}]}));
        assert_eq!(vip.host.as_str(), "a.ns.svc.cluster.local");
        assert_eq!(vip.addresses.len(), 2);
        assert_eq!(vip.ports[0].target, TargetPort::Named("web".into()));
        assert_eq!(vip.ports[1].target, TargetPort::Number(81));
        assert_eq!(vip.resolution, Resolution::Endpoints);
        assert_eq!(service(json!({"clusterIP": "None"})).resolution, Resolution::Headless);
        assert_eq!((vip.closeness, vip.node_local), (Closeness::Any, false));
        let near = service(json!({"clusterIP": "10.0.0.1", "internalTrafficPolicy": "Local",
            "trafficDistribution": "PreferClose"}));
        assert_eq!((near.closeness, near.node_local), (Closeness::SameZone, true));
        let alias = service(json!({"type": "ExternalName", "externalName": "x.org"}));
        assert_eq!(alias.resolution, Resolution::Alias("x.org".into()));
    }
}
