//! Services and their endpoints as the node's rules, and what of them the host should reach.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use net::service::{ServiceRule, Transport};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A service that wants to be reached from the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// `namespace/name` and what it is for: the key under which the answer comes.
    pub key: String,
    /// Addresses of the host to try in turn; all ports must be free on one of them.
    pub hosts: Vec<IpAddr>,
    /// (port on the host, name of the service's port, where it leads in the node).
    pub ports: Vec<(u16, String, SocketAddr)>,
    /// Another port will do if the wanted one is taken.
    pub any_port: bool,
}

/// The address that a service ought to show, while it has none of its own.
pub const LOAD_BALANCER_NET: [u8; 2] = [127, 77];

/// One rule for each port of each service that has a cluster address.
pub fn rules(services: &[Arc<Value>], slices: &[Arc<Value>], node: &[IpAddr]) -> Vec<ServiceRule> {
    let mut rules = Vec::new();
    for service in services {
        let ips = cluster_ips(service);
        for port in ports(service) {
            let Some(transport) = transport(port) else { continue };
            let number = port_number(port, "port");
            let mut frontends: Vec<SocketAddr> = ips
                .iter()
                .zip(number.iter().cycle())
                .map(|(ip, p)| SocketAddr::new(*ip, *p))
                .collect();
            let node_port = port_number(port, "nodePort");
            frontends.extend(
                node_port.iter().flat_map(|p| node.iter().map(|ip| SocketAddr::new(*ip, *p))),
            );
            if frontends.is_empty() {
                continue;
            }
            let port_name = text(port, "/name");
            rules.push(ServiceRule {
                name: format!("{}/{}:{port_name}", namespace(service), name(service)),
                transport,
                frontends,
                endpoints: endpoints(service, port_name, slices),
                sticky: text(service, "/spec/sessionAffinity") == "ClientIP",
            });
        }
    }
    rules
}

/// Which services the host should reach: node ports on loopback, and load balancers on an
/// address of their own where we may choose one.
pub fn wishes(services: &[Arc<Value>], load_balancers: bool) -> Vec<Wish> {
    let mut wishes = Vec::new();
    for service in services {
        let key = format!("{}/{}", namespace(service), name(service));
        let Some(ip) = cluster_ips(service).into_iter().next() else { continue };
        let tcp = || ports(service).filter(|p| transport(p) == Some(Transport::Tcp));
        for port in tcp() {
            let (Some(number), Some(node)) =
                (port_number(port, "port"), port_number(port, "nodePort"))
            else {
                continue;
            };
            wishes.push(Wish {
                key: format!("{key}:{number}"),
                hosts: vec![IpAddr::from([127, 0, 0, 1])],
                ports: vec![(node, text(port, "/name").to_owned(), SocketAddr::new(ip, number))],
                any_port: true,
            });
        }
        if load_balancers && text(service, "/spec/type") == "LoadBalancer" {
            let listed = tcp().filter_map(|p| {
                let number = port_number(p, "port")?;
                Some((number, text(p, "/name").to_owned(), SocketAddr::new(ip, number)))
            });
            let ports: Vec<_> = listed.collect();
            if !ports.is_empty() {
                wishes.push(Wish { key, hosts: balancer_hosts(service), ports, any_port: false });
            }
        }
    }
    wishes
}

/// The address it has, then free ones in order.
fn balancer_hosts(service: &Value) -> Vec<IpAddr> {
    let [a, b] = LOAD_BALANCER_NET;
    let given: Option<IpAddr> = text(service, "/status/loadBalancer/ingress/0/ip").parse().ok();
    let all = (1..=64).map(|n| IpAddr::from([a, b, 0, n]));
    given.into_iter().chain(all).collect()
}

/// What the status of a service must become, if it shows another load balancer than it has.
pub fn balancer_status(service: &Value, given: Option<IpAddr>) -> Option<Value> {
    let shown = text(service, "/status/loadBalancer/ingress/0/ip");
    let ingress = match given {
        Some(ip) if shown != ip.to_string() => json!([{"ip": ip.to_string()}]),
        // One that is only missing for now keeps its address.
        None if !shown.is_empty() && text(service, "/spec/type") != "LoadBalancer" => Value::Null,
        _ => return None,
    };
    Some(json!({"status": {"loadBalancer": {"ingress": ingress}}}))
}

/// Ready endpoints of a service's port; if there is none, those that still serve while they end.
fn endpoints(service: &Value, port_name: &str, slices: &[Arc<Value>]) -> Vec<SocketAddr> {
    let mine = slices.iter().filter(|s| {
        namespace(s) == namespace(service)
            && s.pointer("/metadata/labels/kubernetes.io~1service-name").and_then(Value::as_str)
                == Some(name(service))
    });
    let (mut ready, mut serving) = (Vec::new(), Vec::new());
    for slice in mine {
        let ports = slice.pointer("/ports").and_then(Value::as_array).into_iter().flatten();
        let Some(port) =
            ports.filter(|p| text(p, "/name") == port_name).find_map(|p| port_number(p, "port"))
        else {
            continue;
        };
        for endpoint in slice.pointer("/endpoints").and_then(Value::as_array).into_iter().flatten()
        {
            let is = |what: &str| {
                endpoint.pointer(&format!("/conditions/{what}")).and_then(Value::as_bool)
            };
            let addresses = endpoint.pointer("/addresses").and_then(Value::as_array);
            let ips = addresses.into_iter().flatten().filter_map(|a| a.as_str()?.parse().ok());
            let all = ips.map(|ip: IpAddr| SocketAddr::new(ip, port));
            if is("ready").unwrap_or(true) {
                ready.extend(all);
            } else if is("serving").unwrap_or(false) {
                serving.extend(all);
            }
        }
    }
    let mut chosen = if ready.is_empty() { serving } else { ready };
    chosen.sort();
    chosen.dedup();
    chosen
}

/// A service's cluster addresses; none for headless services and external names.
pub fn cluster_ips(service: &Value) -> Vec<IpAddr> {
    let listed = service.pointer("/spec/clusterIPs").and_then(Value::as_array);
    let one = service.pointer("/spec/clusterIP");
    let all =
        listed.map(|l| l.iter().collect()).unwrap_or_else(|| one.into_iter().collect::<Vec<_>>());
    all.into_iter().filter_map(|ip| ip.as_str()?.parse().ok()).collect()
}

pub fn ports(service: &Value) -> impl Iterator<Item = &Value> {
    service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten()
}

pub fn port_number(port: &Value, field: &str) -> Option<u16> {
    port.get(field)?.as_u64()?.try_into().ok().filter(|p| *p != 0)
}

fn transport(port: &Value) -> Option<Transport> {
    match text(port, "/protocol") {
        "" | "TCP" => Some(Transport::Tcp),
        "UDP" => Some(Transport::Udp),
        _ => None,
    }
}

pub(crate) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> Arc<Value> {
        Arc::new(json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}))
    }

    fn slice(endpoints: Value) -> Arc<Value> {
        Arc::new(json!({
            "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints
        }))
    }

    fn targets(endpoints: Value) -> Vec<String> {
        let spec = json!({"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]});
        let node = ["10.244.0.1".parse().unwrap()];
        let rules = rules(&[service(spec)], &[slice(endpoints)], &node);
        let fronts: Vec<_> = rules[0].frontends.iter().map(ToString::to_string).collect();
        assert_eq!(fronts, ["10.96.0.9:80", "10.244.0.1:30080"]);
        rules[0].endpoints.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ready_endpoints_answer_and_ending_ones_only_in_need() {
        let ready = json!({"addresses": ["10.244.0.3"], "conditions": {"ready": true}});
        let ending = json!({"addresses": ["10.244.0.4"], "conditions": {"ready": false, "serving": true, "terminating": true}});
        let down =
            json!({"addresses": ["10.244.0.5"], "conditions": {"ready": false, "serving": false}});
        assert_eq!(targets(json!([ready, ending, down])), ["10.244.0.3:8080"]);
        assert_eq!(targets(json!([ending, down])), ["10.244.0.4:8080"]);
        assert!(targets(json!([down])).is_empty());
    }

    #[test]
    fn headless_services_have_no_rule() {
        let spec = json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"port": 80}]});
        assert!(rules(&[service(spec)], &[], &[]).is_empty());
    }

    #[test]
    fn a_service_shows_the_balancer_that_it_has() {
        let ip = "127.80.0.1".parse().unwrap();
        let of = |kind: &str, shown: Value| {
            let status = json!({"loadBalancer": {"ingress": shown}});
            json!({"spec": {"type": kind}, "status": status})
        };
        let shown = json!([{"ip": "127.80.0.1"}]);
        let new = of("LoadBalancer", Value::Null);
        let written = balancer_status(&new, Some(ip)).unwrap();
        assert_eq!(written["status"]["loadBalancer"]["ingress"], shown);
        assert_eq!(balancer_status(&of("LoadBalancer", shown.clone()), Some(ip)), None);
        assert_eq!(balancer_status(&of("LoadBalancer", shown.clone()), None), None);
        assert_eq!(balancer_status(&of("ClusterIP", Value::Null), None), None);
        let taken = balancer_status(&of("ClusterIP", shown), None).unwrap();
        assert_eq!(taken, json!({"status": {"loadBalancer": {"ingress": null}}}));
    }

    #[test]
    fn the_host_reaches_node_ports_and_load_balancers() {
        let spec = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.9",
            "ports": [{"name": "http2", "port": 80, "nodePort": 31380}, {"name": "dns", "protocol": "UDP", "port": 53}]});
        let wishes = wishes(&[service(spec)], true);
        assert_eq!(wishes.len(), 2);
        assert_eq!(
            (wishes[0].key.as_str(), wishes[0].ports[0].0, wishes[0].any_port),
            ("shop/web:80", 31380, true)
        );
        assert_eq!(
            (wishes[1].key.as_str(), wishes[1].hosts[0].to_string()),
            ("shop/web", "127.77.0.1".into())
        );
        assert_eq!(wishes[1].ports, [(80, "http2".into(), "10.96.0.9:80".parse().unwrap())]);
    }
}
