//! Which pods stand behind a Service, in which state, and on which ports.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::selector::Selector;
use crate::world::World;
use crate::{pods, read};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(address: &str) -> Option<Family> {
        match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(_) => Some(Family::V4),
            IpAddr::V6(_) => Some(Family::V6),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

/// One address of one pod.
#[derive(Debug)]
pub struct Backend {
    pub family: Family,
    pub address: String,
    /// Named target ports may differ from pod to pod.
    pub ports: Vec<Value>,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub hostname: Option<String>,
    pub node: String,
    pub target: Value,
}

/// The Service's address families, the primary one first.
pub fn families(service: &Value) -> Vec<Family> {
    let named =
        read::list(service, "/spec/ipFamilies").iter().filter_map(|f| match f.as_str()? {
            "IPv4" => Some(Family::V4),
            "IPv6" => Some(Family::V6),
            _ => None,
        });
    let named: Vec<Family> = named.collect();
    if !named.is_empty() {
        return named;
    }
    vec![Family::of(read::text(service, "/spec/clusterIP")).unwrap_or(Family::V4)]
}

/// In the order of pod names, so that equal states give equal objects.
pub fn of(world: &World, service: &Value) -> Vec<Backend> {
    let Some(selector) = Selector::map(service.pointer("/spec/selector")) else {
        return Vec::new();
    };
    let families = families(service);
    let pods = world.selected(read::namespace(service), &selector).into_iter();
    pods.filter(|pod| !pods::finished(pod))
        .flat_map(|pod| families.iter().filter_map(|family| backend(service, pod, *family)))
        .collect()
}

fn backend(service: &Value, pod: &Value, family: Family) -> Option<Backend> {
    let addresses = read::list(pod, "/status/podIPs").iter().map(|ip| read::text(ip, "/ip"));
    let mut addresses = addresses.chain(std::iter::once(read::text(pod, "/status/podIP")));
    let address = addresses.find(|ip| Family::of(ip) == Some(family))?.to_owned();
    let serving = pods::ready(pod);
    let terminating = read::deleting(pod);
    let publish = read::flag(service, "/spec/publishNotReadyAddresses");
    Some(Backend {
        family,
        address,
        ports: ports(service, pod),
        ready: publish || (serving && !terminating),
        serving,
        terminating,
        hostname: hostname(service, pod),
        node: read::text(pod, "/spec/nodeName").to_owned(),
        target: json!({
            "kind": "Pod",
            "namespace": read::namespace(pod),
            "name": read::name(pod),
            "uid": read::uid(pod),
        }),
    })
}

/// A pod with a host name and this Service as its subdomain has a DNS name of its own.
fn hostname(service: &Value, pod: &Value) -> Option<String> {
    let hostname = read::text(pod, "/spec/hostname");
    let ours = read::text(pod, "/spec/subdomain") == read::name(service);
    (ours && !hostname.is_empty()).then(|| hostname.to_owned())
}

fn ports(service: &Value, pod: &Value) -> Vec<Value> {
    let ports = read::list(service, "/spec/ports").iter();
    ports.filter_map(|port| Some(port_of(port, target(port, pod)?))).collect()
}

fn port_of(port: &Value, number: i64) -> Value {
    let mut value = Map::new();
    value.insert("name".to_owned(), json!(read::text(port, "/name")));
    value.insert("port".to_owned(), json!(number));
    value.insert("protocol".to_owned(), json!(protocol(port)));
    if let Some(app) = port.get("appProtocol").filter(|p| !p.is_null()) {
        value.insert("appProtocol".to_owned(), app.clone());
    }
    Value::Object(value)
}

fn protocol(port: &Value) -> &str {
    Some(read::text(port, "/protocol")).filter(|p| !p.is_empty()).unwrap_or("TCP")
}

/// The port's number in this pod; `None` if the pod has no port of that name.
fn target(port: &Value, pod: &Value) -> Option<i64> {
    match port.get("targetPort") {
        Some(Value::String(name)) => {
            let sidecars = read::list(pod, "/spec/initContainers")
                .iter()
                .filter(|c| read::text(c, "/restartPolicy") == "Always");
            let containers = read::list(pod, "/spec/containers").iter().chain(sidecars);
            containers
                .flat_map(|container| read::list(container, "/ports"))
                .find(|p| read::text(p, "/name") == name && protocol(p) == protocol(port))
                .and_then(|p| read::int(p, "/containerPort"))
        }
        Some(Value::Number(number)) if number.as_i64() != Some(0) => number.as_i64(),
        _ => read::int(port, "/port"),
    }
}
