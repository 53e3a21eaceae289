//! The ground that a configuration stands on: addresses, services and their endpoints, the client.

use super::Config;
use serde_json::{Value, json};

/// The port of all upstreams; their addresses tell them apart, and their answer.
pub const UPSTREAM_PORT: u16 = 9100;

/// Second octet of the loopback addresses of one run, so that runs can stand side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net(pub u8);

impl Net {
    /// Where Envoy listens. What is written for it is made ours by changing the third octet.
    pub fn listener(self, host: u8) -> String {
        format!("127.{}.1.{host}", self.0)
    }

    pub fn upstream(self, host: u8) -> String {
        format!("127.{}.9.{host}", self.0)
    }

    pub fn client(self, host: u8) -> String {
        format!("127.{}.3.{host}", self.0)
    }
}

/// Last octet of what stands for the unspecified address.
pub const WILDCARD: u8 = 200;

/// The upstreams: their last octet is the number in their name.
pub const UPSTREAMS: u8 = 9;

/// The one that gets copies, and counts them for itself.
pub const MIRROR: u8 = 9;

/// The proxy that a configuration is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Sidecar { namespace: String },
    Gateway,
}

/// The place of one configuration: a namespace and a range of ports of its own.
#[derive(Clone, Debug)]
pub struct Stage {
    pub namespace: String,
    pub net: Net,
    /// The first of its ports.
    pub port: u16,
}

/// Ports of one configuration.
pub const PORTS: u16 = 12;

impl Stage {
    pub fn new(index: usize, net: Net) -> Self {
        let place = u16::try_from(index % 1000).unwrap_or_default();
        Self { namespace: format!("g{index:03}"), net, port: 10_000 + place * PORTS }
    }

    /// A service's whole name.
    pub fn host(&self, service: &str) -> String {
        format!("{service}.{}.svc.cluster.local", self.namespace)
    }

    /// A name outside the cluster.
    pub fn outside(&self, name: &str) -> String {
        format!("{name}.{}.example", self.namespace)
    }

    pub fn object(&self, api: &str, kind: &str, name: &str, rest: Value) -> Value {
        let mut object = json!({
            "apiVersion": api, "kind": kind,
            "metadata": { "name": name, "namespace": self.namespace,
                "creationTimestamp": "2026-01-01T00:00:00Z" },
        });
        crate::bootstrap::merge(&mut object, rest);
        object
    }

    pub fn networking(&self, kind: &str, name: &str, spec: Value) -> Value {
        self.object("networking.istio.io/v1", kind, name, json!({ "spec": spec }))
    }

    /// A service of the cluster: `(name of the port, number)`, and endpoints as (upstream, version).
    pub fn service(
        &self,
        name: &str,
        ports: &[(&str, u16)],
        address: Option<u8>,
        endpoints: &[(u8, &str)],
    ) -> Vec<Value> {
        let written: Vec<Value> =
            ports.iter().map(|(n, p)| json!({ "name": n, "port": p })).collect();
        let ip = address.map_or_else(|| "None".to_owned(), |a| self.net.listener(a));
        let ip = if address.is_none() { format!("10.9.0.{}", name.len()) } else { ip };
        let spec = json!({ "clusterIP": ip, "clusterIPs": [ip], "ports": written,
            "selector": { "app": name } });
        let mut objects = vec![self.object("v1", "Service", name, json!({ "spec": spec }))];
        let list: Vec<Value> = endpoints
            .iter()
            .map(|(up, _)| {
                json!({ "addresses": [self.net.upstream(*up)], "conditions": { "ready": true } })
            })
            .collect();
        let targets: Vec<Value> =
            ports.iter().map(|(n, _)| json!({ "name": n, "port": UPSTREAM_PORT })).collect();
        let mut slice = self.object(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            &format!("{name}-1"),
            json!({ "addressType": "IPv4", "endpoints": list, "ports": targets }),
        );
        slice["metadata"]["labels"] = json!({ "kubernetes.io/service-name": name });
        objects.push(slice);
        objects.extend(endpoints.iter().map(|(up, version)| self.pod(name, *up, version)));
        objects
    }

    fn pod(&self, app: &str, upstream: u8, version: &str) -> Value {
        let ip = self.net.upstream(upstream);
        let mut pod = self.object(
            "v1",
            "Pod",
            &format!("{app}-{version}-{upstream}"),
            json!({ "spec": { "serviceAccountName": app },
                "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
                    "conditions": [{ "type": "Ready", "status": "True" }] } }),
        );
        pod["metadata"]["labels"] = json!({ "app": app, "version": version });
        pod
    }

    /// The services that most configurations use, all on the first port: `one` has one endpoint,
    /// `many` one for each version, `second` speaks HTTP/2, `none` has no endpoint, `copies` is for
    /// mirrors.
    pub fn services(&self) -> Vec<Value> {
        let http: &[_] = &[("http", self.port)];
        [
            self.service("one", http, None, &[(1, "v1")]),
            self.service("many", http, None, &[(2, "v1"), (3, "v2"), (4, "v3")]),
            self.service("second", &[("http2", self.port)], None, &[(5, "v1")]),
            self.service("none", http, None, &[]),
            self.service("copies", http, None, &[(MIRROR, "v1")]),
        ]
        .concat()
    }

    /// Subsets `v1` to `v3` of `many`, and `empty`, which no endpoint belongs to.
    pub fn subsets() -> Value {
        let of =
            |name: &str, version: &str| json!({ "name": name, "labels": { "version": version } });
        json!([of("v1", "v1"), of("v2", "v2"), of("v3", "v3"), of("empty", "v9")])
    }

    pub fn mesh(&self, yaml: &str) -> Value {
        json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "istio", "namespace": "istio-system",
                "creationTimestamp": "2026-01-01T00:00:00Z" },
            "data": { "mesh": yaml } })
    }

    pub fn sidecar(&self) -> Node {
        Node::Sidecar { namespace: self.namespace.clone() }
    }

    /// Without requests yet.
    pub fn config(&self, node: Node, objects: Vec<Value>) -> Config {
        Config { name: self.namespace.clone(), node, objects, asks: Vec::new() }
    }
}
