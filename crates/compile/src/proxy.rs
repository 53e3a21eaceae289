//! The proxy that configuration is for, as its discovery node describes it.

use base::Labels;
use registry::{Locality, Service};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyKind {
    Sidecar,
    /// A gateway.
    Router,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    pub kind: ProxyKind,
    /// The whole node id: `<type>~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>`.
    pub id: String,
    /// `<pod>.<namespace>`.
    pub name: String,
    pub ips: Vec<IpAddr>,
    pub namespace: String,
    pub labels: Labels,
    /// Where it runs, which decides on the endpoints that it prefers.
    pub locality: Locality,
    /// The Kubernetes node that it runs on.
    pub node: String,
    /// Upstream Envoy, which refuses what only Istio's builds and ours know.
    pub stock_envoy: bool,
    /// An application that speaks xDS itself, as gRPC's libraries do (`GENERATOR: grpc`).
    pub grpc: bool,
    /// HTTP/1.0 is answered 426 unless asked for (`HTTP10: "1"`).
    pub http10: bool,
    /// Its 403s say in a field which rule denied (`DENIAL_HEADER: "true"`).
    pub tells_denials: bool,
    /// What it says of itself (`ISTIO_VERSION`).
    pub version: String,
    /// The strings of its node's metadata, by which patches can tell proxies apart.
    pub metadata: BTreeMap<String, String>,
    /// Connections are not captured (`INTERCEPTION_MODE: NONE`).
    pub uncaptured: bool,
    pub dns: Dns,
    /// Binding to ports below 1024 is not possible.
    pub unprivileged: bool,
}

/// What the proxy does about its application's DNS queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dns {
    /// They are none of its business.
    #[default]
    Elsewhere,
    /// It answers them for the hosts that it knows (`DNS_CAPTURE`).
    Captured,
    /// Also for ServiceEntries that got no address from the control plane: they get one that is made
    /// of their host (`DNS_AUTO_ALLOCATE`).
    Allocated,
}

impl Dns {
    fn of(metadata: &Value) -> Dns {
        match (flag(metadata, "DNS_CAPTURE"), flag(metadata, "DNS_AUTO_ALLOCATE")) {
            (false, _) => Dns::Elsewhere,
            (true, false) => Dns::Captured,
            (true, true) => Dns::Allocated,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "node id {0:?} is not of the form <sidecar or router>~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>"
)]
pub struct InvalidNode(pub String);

impl Proxy {
    /// Reads a node's id and metadata.
    pub fn parse(id: &str, metadata: &Value) -> Result<Proxy, InvalidNode> {
        let invalid = || InvalidNode(id.to_owned());
        let parts: Vec<&str> = id.split('~').collect();
        let [kind, ip, name, _domain] = parts[..] else { return Err(invalid()) };
        let kind = match kind {
            "sidecar" => ProxyKind::Sidecar,
            "router" => ProxyKind::Router,
            _ => return Err(invalid()),
        };
        let ip: IpAddr = ip.parse().map_err(|_| invalid())?;
        let of_name = name.rsplit_once('.').map(|(_, namespace)| namespace);
        let namespace = text(metadata, "NAMESPACE").or(of_name).ok_or_else(invalid)?;
        let mut ips = vec![ip];
        let listed = text(metadata, "INSTANCE_IPS").unwrap_or_default();
        for ip in listed.split(',').filter_map(|ip| ip.trim().parse().ok()) {
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
        Ok(Proxy {
            kind,
            id: id.to_owned(),
            name: name.to_owned(),
            ips,
            namespace: namespace.to_owned(),
            labels: labels(metadata),
            locality: Locality::default(),
            node: text(metadata, "NODE_NAME").unwrap_or_default().to_owned(),
            stock_envoy: flag(metadata, "STOCK_ENVOY"),
            grpc: text(metadata, "GENERATOR") == Some("grpc"),
            http10: flag(metadata, "HTTP10"),
            tells_denials: flag(metadata, "DENIAL_HEADER"),
            version: text(metadata, "ISTIO_VERSION").unwrap_or_default().to_owned(),
            metadata: strings(metadata),
            uncaptured: text(metadata, "INTERCEPTION_MODE") == Some("NONE"),
            dns: Dns::of(metadata),
            unprivileged: flag(metadata, "UNPRIVILEGED_POD"),
        })
    }

    /// With the locality that its node says, if it says one.
    pub fn standing_at(self, region: &str, zone: &str, sub_zone: &str) -> Proxy {
        let (region, zone, sub_zone) = (region.to_owned(), zone.to_owned(), sub_zone.to_owned());
        Proxy { locality: Locality { region, zone, sub_zone }, ..self }
    }

    /// One of its labels; those about topology follow from where it runs.
    pub(crate) fn label(&self, key: &str) -> &str {
        let own = || self.labels.get(key).map(String::as_str);
        self.locality.label(key, &self.node).or_else(own).unwrap_or_default()
    }

    /// The unspecified address of the family that the proxy has.
    pub(crate) fn wildcard(&self) -> IpAddr {
        match self.ips.first() {
            Some(IpAddr::V6(_)) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        }
    }

    /// The loopback address of that family.
    pub(crate) fn loopback(&self) -> IpAddr {
        match self.wildcard() {
            IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        }
    }

    /// That of the other family, on dual-stack workloads.
    pub(crate) fn second_wildcard(&self) -> Option<IpAddr> {
        match (self.families(), self.wildcard()) {
            ((true, true), IpAddr::V4(_)) => Some(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)),
            ((true, true), IpAddr::V6(_)) => Some(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
            _ => None,
        }
    }

    /// Whether it has IPv4, and IPv6.
    pub(crate) fn families(&self) -> (bool, bool) {
        (self.ips.iter().any(IpAddr::is_ipv4), self.ips.iter().any(IpAddr::is_ipv6))
    }

    /// Those addresses of a service that are no ranges.
    pub(crate) fn whole_addresses(&self, service: &Service) -> impl Iterator<Item = IpAddr> {
        let whole = |(ip, bits): &(IpAddr, u8)| *bits == if ip.is_ipv4() { 32 } else { 128 };
        self.addresses(service).into_iter().filter(whole).map(|(ip, _)| ip)
    }

    /// Where its clients find a service: the service's own addresses, else the automatic ones, where
    /// names lead to them.
    pub(crate) fn addresses(&self, service: &Service) -> Vec<(IpAddr, u8)> {
        let whole = |ips: &[IpAddr]| {
            ips.iter().map(|ip| (*ip, if ip.is_ipv4() { 32 } else { 128 })).collect()
        };
        match self.dns {
            _ if !service.addresses.is_empty() => service.addresses.clone(),
            Dns::Elsewhere => Vec::new(),
            Dns::Allocated if service.automatic.is_empty() => whole(&service.likely),
            Dns::Captured | Dns::Allocated => whole(&service.automatic),
        }
    }

    /// Whether it has an address of the family of `ip`.
    pub(crate) fn speaks(&self, ip: IpAddr) -> bool {
        self.ips.iter().any(|own| own.is_ipv4() == ip.is_ipv4())
    }
}

fn text<'a>(metadata: &'a Value, key: &str) -> Option<&'a str> {
    metadata.get(key)?.as_str().filter(|s| !s.is_empty())
}

/// Metadata values are strings, also where they mean yes or no.
fn flag(metadata: &Value, key: &str) -> bool {
    match metadata.get(key) {
        Some(Value::Bool(b)) => *b,
        Some(Value::String(s)) => matches!(s.as_str(), "true" | "1"),
        _ => false,
    }
}

fn labels(metadata: &Value) -> Labels {
    metadata.get("LABELS").map(strings).unwrap_or_default()
}

/// The fields that are strings.
fn strings(of: &Value) -> BTreeMap<String, String> {
    let pairs = of.as_object().into_iter().flatten();
    pairs.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_node_is_read_from_its_id_and_metadata() {
        let metadata = json!({"LABELS": {"app": "a"}, "INSTANCE_IPS": "10.0.0.1,fd00::1",
            "STOCK_ENVOY": "true"});
        let id = "sidecar~10.0.0.1~p-1.default~default.svc.cluster.local";
        let proxy = Proxy::parse(id, &metadata).unwrap();
        assert_eq!((proxy.kind, proxy.namespace.as_str()), (ProxyKind::Sidecar, "default"));
        assert_eq!(proxy.ips.len(), 2);
        assert!(proxy.stock_envoy && proxy.labels["app"] == "a");
    }

    #[test]
    fn another_shape_is_refused() {
        for id in ["", "sidecar~10.0.0.1~p", "ztunnel~1.2.3.4~a.b~c", "sidecar~x~a.b~c"] {
            assert!(Proxy::parse(id, &Value::Null).is_err(), "{id}");
        }
    }
}
