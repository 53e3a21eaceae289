//! What a workload's DNS answers to a name, and why: the name table that its proxy is told, looked at with
//! the proxy's own code, in the order in which a resolver of Kubernetes tries names.

use crate::{Explainer, Node, destination};
use base::{Host, Origin};
use policy::directory::{Directory, How};
use registry::{Resolution, Service};
use serde_json::{Value, json};
use std::fmt::Write;
use std::net::IpAddr;

/// Dots from which on a name is tried as it is, before the search path (`ndots` of pods).
const NDOTS: usize = 5;

/// What is answered to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub asked: String,
    /// Who answers, and what.
    pub answer: NameAnswer,
    pub why: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameAnswer {
    /// The proxy.
    Here {
        /// What the resolver asked for when it was answered.
        query: String,
        alias_of: Option<String>,
        host: String,
        ips: Vec<IpAddr>,
    },
    /// The name servers of the pod, as the proxy does not know the name.
    Elsewhere,
}

impl Explainer<'_> {
    /// Of a client's proxy that captures DNS.
    pub fn dns(&self, asked: &str) -> Named {
        let namespace = &self.side.workload().namespace;
        let search = format!("{namespace}.svc.{}", self.world.domain);
        let table = self.compiled.config.names.clone().unwrap_or_default();
        let directory = Directory::new(table, namespace, &search);
        let queries = queries(asked, namespace, &self.world.domain);
        for query in queries {
            let Some(known) = directory.look_up(&query) else { continue };
            let answer = NameAnswer::Here {
                alias_of: known.alias_of.clone(),
                host: known.host.to_owned(),
                ips: known.info.ips.clone(),
                query,
            };
            let how = match known.how {
                How::Exact => "the host itself",
                How::Short => "a short form of the host",
                How::Wildcard => "the wildcard host",
            };
            let mut why = vec![Node { name: format!("{how} {}", known.host), origin: None }];
            why.extend(self.service_at(known.host).map(of_addresses));
            return Named { asked: asked.to_owned(), answer, why };
        }
        let why = self.why_not(asked);
        Named { asked: asked.to_owned(), answer: NameAnswer::Elsewhere, why }
    }

    /// The service of a host, or the headless one that a pod's name is in.
    fn service_at(&self, host: &str) -> Option<&Service> {
        let at = |host: &str| {
            let host = Host::parse(host).ok()?;
            self.world.services.of_host(&host).first().map(|s| &**s)
        };
        at(host).or_else(|| at(host.split_once('.')?.1))
    }

    fn why_not(&self, asked: &str) -> Vec<Node> {
        let namespace = &self.side.workload().namespace;
        let node = |name: String, origin| vec![Node { name, origin }];
        let visible = destination::service(self.world, asked, namespace);
        let Some(service) = visible.or_else(|| self.service_at(asked.trim_end_matches('.'))) else {
            return node("no service has this host".to_owned(), None);
        };
        let at = |path: &str| Some(origin(service, path));
        let is_alias = matches!(service.resolution, Resolution::Alias(_));
        if !is_alias && !self.compiled.dependencies.hosts.contains(&service.host) {
            let say = format!("{} is not among the hosts that the workload sees", service.host);
            return node(say, at("spec"));
        }
        let (say, path) = match service.resolution {
            Resolution::Alias(_) => {
                ("is another name, which the cluster's DNS follows", "spec.externalName")
            }
            Resolution::Headless => {
                ("has no address of its own, and no endpoint is ready", "spec.clusterIP")
            }
            Resolution::None => (
                "has no addresses: resolution NONE leads where the client was going",
                "spec.resolution",
            ),
            _ if service.host.is_wildcard() => ("is a wildcard without addresses", "spec.hosts"),
            _ => ("has no addresses, and gets no automatic one", "spec.addresses"),
        };
        node(format!("{} {say}", service.host), at(path))
    }
}

fn origin(service: &Service, path: &str) -> Origin {
    Origin { object: service.object.clone(), path: path.to_owned(), line: None }
}

/// Where a service's addresses come from.
fn of_addresses(service: &Service) -> Node {
    let (name, path) = match (service.kubernetes, service.addresses.is_empty()) {
        (true, true) => ("the endpoints that are ready", "spec.clusterIP"),
        (true, false) => ("the address of the Service", "spec.clusterIP"),
        (false, true) => ("the automatic addresses", "status.addresses"),
        (false, false) => ("the addresses that are written", "spec.addresses"),
    };
    Node { name: name.to_owned(), origin: Some(origin(service, path)) }
}

/// The complete names that a resolver asks for, in their order.
fn queries(asked: &str, namespace: &str, domain: &str) -> Vec<String> {
    if let Some(complete) = asked.strip_suffix('.') {
        return vec![complete.to_owned()];
    }
    let search = [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
    let searched = search.iter().map(|s| format!("{asked}.{s}"));
    let own = std::iter::once(asked.to_owned());
    if asked.matches('.').count() >= NDOTS {
        own.chain(searched).collect()
    } else {
        searched.chain(own).collect()
    }
}

impl Named {
    /// For people; `place` tells where an origin stands.
    pub fn text(&self, place: impl Fn(&Origin) -> Option<String>) -> String {
        let mut text = format!("name     {}\n", self.asked);
        match &self.answer {
            NameAnswer::Elsewhere => text.push_str("answer   by the name servers of the pod\n"),
            NameAnswer::Here { query, alias_of, host, ips } => {
                if *query != self.asked.trim_end_matches('.') {
                    let _ = writeln!(text, "asked as {query}");
                }
                if let Some(alias) = alias_of {
                    let _ = writeln!(text, "alias of {alias}");
                }
                let ips: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
                let _ = writeln!(text, "host     {host}\nanswer   {}", ips.join(", "));
            }
        }
        for node in &self.why {
            let _ = write!(text, "because  {}", node.name);
            if let Some(origin) = &node.origin {
                let stands = place(origin).map(|p| format!(" ({p})")).unwrap_or_default();
                let _ = write!(text, ": {} {}{stands}", origin.object, origin.path);
            }
            text.push('\n');
        }
        text
    }

    pub fn json(&self, place: impl Fn(&Origin) -> Option<String>) -> Value {
        let why = self.why.iter().map(|node| {
            let origin = node.origin.as_ref().map(
                |o| json!({"object": o.object.to_string(), "path": o.path, "place": place(o)}),
            );
            json!({"what": node.name, "origin": origin})
        });
        let why: Vec<Value> = why.collect();
        match &self.answer {
            NameAnswer::Elsewhere => {
                json!({"name": self.asked, "answeredBy": "name servers", "why": why})
            }
            NameAnswer::Here { query, alias_of, host, ips } => json!({
                "name": self.asked, "answeredBy": "proxy", "query": query, "aliasOf": alias_of,
                "host": host, "addresses": ips, "why": why}),
        }
    }
}
