//! Istio's standard metrics: names, labels and the rule that what is not known is `unknown`.

use crate::registry::{Registry, Scope, metrics, push_label};
use ir::Str;
use std::collections::HashMap;
use std::hash::Hash;

metrics! {
    /// The metrics of one label set of HTTP and gRPC requests.
    RequestCells {
        counter requests = "requests_total",
        histogram duration_ms = "request_duration_milliseconds",
        histogram request_bytes = "request_bytes",
        histogram response_bytes = "response_bytes",
    }
}

metrics! {
    /// Messages of gRPC streams, of one label set.
    MessageCells {
        counter request_messages = "request_messages_total",
        counter response_messages = "response_messages_total",
    }
}

metrics! {
    /// The metrics of one label set of TCP connections. Sent is towards the client.
    TcpCells {
        counter opened = "tcp_connections_opened_total",
        counter closed = "tcp_connections_closed_total",
        counter sent_bytes = "tcp_sent_bytes_total",
        counter received_bytes = "tcp_received_bytes_total",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reporter {
    Source,
    Destination,
}

/// `connection_security_policy`; only the destination knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    MutualTls,
    None,
    Unknown,
}

/// A workload at one end. Empty fields are printed as `unknown`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Peer {
    pub workload: Str,
    pub namespace: Str,
    pub canonical_service: Str,
    pub canonical_revision: Str,
    pub app: Str,
    pub version: Str,
    pub cluster: Str,
    /// `spiffe://…`, from the certificate.
    pub principal: Str,
}

/// The labels that requests and connections have in common.
#[derive(Clone, Debug)]
pub struct TcpLabels<'a> {
    pub reporter: Reporter,
    pub source: &'a Peer,
    pub destination: &'a Peer,
    /// The service's host name.
    pub service: &'a str,
    pub service_name: &'a str,
    pub service_namespace: &'a str,
    /// As in the access log; empty is `-`.
    pub flags: &'a str,
    pub security: Security,
}

#[derive(Clone, Debug)]
pub struct RequestLabels<'a> {
    pub common: TcpLabels<'a>,
    pub code: u16,
    /// `None` for plain HTTP.
    pub grpc_status: Option<u32>,
    pub grpc: bool,
}

impl RequestLabels<'_> {
    pub fn cells(&self, registry: &Registry) -> RequestCells {
        registry.set(self.scope())
    }

    pub fn message_cells(&self, registry: &Registry) -> MessageCells {
        registry.set(self.scope())
    }

    fn scope(&self) -> Scope {
        let protocol = if self.grpc { "grpc" } else { "http" };
        let grpc_status = self.grpc_status.map(|s| s.to_string()).unwrap_or_default();
        self.common
            .scope(protocol)
            .label("response_code", &self.code.to_string())
            .label("grpc_response_status", &grpc_status)
    }
}

impl TcpLabels<'_> {
    pub fn cells(&self, registry: &Registry) -> TcpCells {
        registry.set(self.scope("tcp"))
    }

    fn scope(&self, protocol: &str) -> Scope {
        let reporter = match self.reporter {
            Reporter::Source => "source",
            Reporter::Destination => "destination",
        };
        let security = match self.security {
            Security::MutualTls => "mutual_tls",
            Security::None => "none",
            Security::Unknown => "unknown",
        };
        let mut labels = String::with_capacity(1024);
        push_label(&mut labels, "reporter", reporter);
        push_peer(&mut labels, "source", self.source);
        push_peer(&mut labels, "destination", self.destination);
        push_label(&mut labels, "destination_service", or_unknown(self.service));
        push_label(&mut labels, "destination_service_name", or_unknown(self.service_name));
        push_label(
            &mut labels,
            "destination_service_namespace",
            or_unknown(self.service_namespace),
        );
        push_label(&mut labels, "request_protocol", protocol);
        let flags = if self.flags.is_empty() { "-" } else { self.flags };
        push_label(&mut labels, "response_flags", flags);
        push_label(&mut labels, "connection_security_policy", security);
        Scope { family: "istio_", labels, ..Scope::default() }
    }
}

fn push_peer(labels: &mut String, end: &str, peer: &Peer) {
    let revision = if peer.canonical_revision.is_empty() && !peer.canonical_service.is_empty() {
        "latest"
    } else {
        &peer.canonical_revision
    };
    let fields = [
        ("workload", &*peer.workload),
        ("workload_namespace", &peer.namespace),
        ("canonical_service", &peer.canonical_service),
        ("canonical_revision", revision),
        ("principal", &peer.principal),
        ("app", &peer.app),
        ("version", &peer.version),
        ("cluster", &peer.cluster),
    ];
    for (name, value) in fields {
        push_label(labels, &format!("{end}_{name}"), or_unknown(value));
    }
}

fn or_unknown(value: &str) -> &str {
    if value.is_empty() { "unknown" } else { value }
}

/// A worker's memory of label sets by a small key of numbers, so that a known set costs one look-up
/// and no allocation. Bounded: when full it starts anew, and the registry gives the same cells again.
#[derive(Debug)]
pub struct SetCache<K, V> {
    known: HashMap<K, V>,
}

const MAX_CACHED: usize = 4096;

impl<K: Hash + Eq, V: Copy> SetCache<K, V> {
    pub fn get(&mut self, key: K, make: impl FnOnce() -> V) -> V {
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        if self.known.len() >= MAX_CACHED {
            self.known.clear();
        }
        *self.known.entry(key).or_insert_with(make)
    }
}

impl<K, V> Default for SetCache<K, V> {
    fn default() -> Self {
        Self { known: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus;

    #[test]
    fn labels_are_istios_and_the_unknown_says_so() {
        let registry = Registry::default();
        let shard = registry.shard();
        let source = Peer::default();
        let destination = Peer {
            workload: "reviews-v2".into(),
            namespace: "default".into(),
            canonical_service: "reviews".into(),
            ..Peer::default()
        };
        let common = TcpLabels {
            reporter: Reporter::Source,
            source: &source,
            destination: &destination,
            service: "reviews.default.svc.cluster.local",
            service_name: "reviews",
            service_namespace: "default",
            flags: "",
            security: Security::Unknown,
        };
        let labels = RequestLabels { common, code: 200, grpc_status: None, grpc: false };
        let mut cache = SetCache::default();
        for _ in 0..3 {
            let cells = cache.get((1u32, 200u16), || labels.cells(&registry));
            shard.inc(cells.requests);
            shard.observe(cells.duration_ms, 12);
        }
        let out = prometheus(&registry, |n| n == "istio_requests_total");
        assert_eq!(
            out,
            "# TYPE istio_requests_total counter\nistio_requests_total{reporter=\"source\",\
             source_workload=\"unknown\",source_workload_namespace=\"unknown\",\
             source_canonical_service=\"unknown\",source_canonical_revision=\"unknown\",\
             source_principal=\"unknown\",source_app=\"unknown\",source_version=\"unknown\",\
             source_cluster=\"unknown\",destination_workload=\"reviews-v2\",\
             destination_workload_namespace=\"default\",destination_canonical_service=\"reviews\",\
             destination_canonical_revision=\"latest\",destination_principal=\"unknown\",\
             destination_app=\"unknown\",destination_version=\"unknown\",\
             destination_cluster=\"unknown\",\
             destination_service=\"reviews.default.svc.cluster.local\",\
             destination_service_name=\"reviews\",destination_service_namespace=\"default\",\
             request_protocol=\"http\",response_flags=\"-\",connection_security_policy=\"unknown\",\
             response_code=\"200\",grpc_response_status=\"\"} 3\n"
        );
        let durations = prometheus(&registry, |n| n == "istio_request_duration_milliseconds");
        assert!(durations.contains("le=\"25\"} 3") && durations.contains("le=\"10\"} 0"));
    }
}
