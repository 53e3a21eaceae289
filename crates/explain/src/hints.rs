//! What may be missing, and what came nearest: a host that a Sidecar or `exportTo` keeps away, a subset
//! without a rule, a port that the service lacks, a VirtualService that does not apply here.

use crate::destination::Reached;
use crate::place::{Explainer, Side};
use crate::{Answer, Asked, Explanation, Fact, Pick, Verdict};
use api::VirtualService;
use base::{Finding, Host, ObjectRef, Origin};
use compile::{ProxyKind, Visibility};
use envoyfilter::{Patcher, Resources, Target};
use registry::{Item, Service};

/// Routes for hosts that nothing describes.
const FALLBACKS: [&str; 4] = ["allow_any", "block_all", "PassthroughCluster", "BlackHoleCluster"];

pub(crate) fn add(
    explainer: &Explainer<'_>,
    asked: &Asked,
    reached: &Reached,
    told: &mut Explanation,
) {
    if let Some(miss) = nearest(told) {
        told.hints.insert(0, miss);
    }
    let lost = matches!(&told.verdict, Verdict::Closed { .. })
        || matches!(&told.verdict, Verdict::Answered { by: Answer::NoRoute, .. })
        || fell_through(told);
    match &explainer.side {
        Side::Client(_) => {
            if lost {
                told.hints.extend(explainer.why_unknown(asked, reached, told));
            } else if let Some(host) = &reached.host {
                told.hints.extend(explainer.rules_elsewhere(host, told));
            }
        }
        Side::Gateway(_) if lost => told.hints.extend(explainer.what_gateway_serves(told)),
        Side::Gateway(_) | Side::Server(_) => {}
    }
    for pick in told.verdict.picks() {
        if pick.missing {
            told.hints.push(explainer.why_missing(pick));
        } else if pick.endpoints.is_empty() {
            told.hints.push(hint(
                format!("{} has no endpoint: the proxy answers 503", pick.cluster.name),
                pick.defined.clone(),
            ));
        }
    }
    told.hints.extend(explainer.findings(told));
    told.hints.extend(explainer.patched());
}

fn hint(value: impl Into<String>, origin: Option<Origin>) -> Fact {
    Fact { name: "hint", value: value.into(), origin }
}

fn at(object: &ObjectRef, path: &str) -> Option<Origin> {
    Some(Origin { object: object.clone(), path: path.to_owned(), line: None })
}

/// The route that came nearest, where none was taken.
fn nearest(told: &Explanation) -> Option<Fact> {
    if told.route.is_some() || !matches!(told.verdict, Verdict::Answered { .. }) {
        return None;
    }
    let near = told.nearest_miss().or_else(|| told.skipped.last())?;
    let value = format!("{}: {}", near.node.name, near.because);
    Some(Fact { name: "nearest miss", value, origin: near.node.origin.clone() })
}

fn fell_through(told: &Explanation) -> bool {
    let host = told.virtual_host.as_ref().map(|h| h.name.as_str());
    let cluster = told.verdict.picks().first().map(|p| p.cluster.name.as_str());
    host.into_iter().chain(cluster).any(|name| FALLBACKS.contains(&name))
}

impl Explainer<'_> {
    /// Why the sidecar has no route of its own for what it was asked.
    fn why_unknown(&self, asked: &Asked, reached: &Reached, told: &Explanation) -> Vec<Fact> {
        let host = reached.host.clone().or_else(|| Host::parse(&asked.host).ok());
        let Some(host) = host else { return Vec::new() };
        let namespace = &self.proxy.namespace;
        let mut all = Vec::new();
        match compile::visibility(self.world, &self.proxy, &host, asked.port) {
            Visibility::NotImported(service, sidecar) => {
                let value = format!(
                    "{} exists, but {sidecar} does not import it with port {}; add it to egress.hosts",
                    service.host, asked.port
                );
                all.push(hint(value, at(&sidecar, "spec.egress")));
            }
            Visibility::NotExported(service) => {
                let value = format!("{} exists, but is not exported to {namespace}", service.host);
                all.push(hint(value, at(&service.object, export_field(&service))));
            }
            Visibility::Seen(service) if service.port(asked.port).is_none() => {
                let ports: Vec<String> =
                    service.ports.iter().map(|p| p.number.to_string()).collect();
                let value = format!(
                    "{} has no port {}, but {}",
                    service.host,
                    asked.port,
                    ports.join(", ")
                );
                all.push(hint(value, at(&service.object, "spec.ports")));
            }
            Visibility::Seen(_) => {}
            Visibility::Unknown => all.extend(self.similar_host(&asked.host)),
        }
        all.extend(self.outbound_policy(told));
        all
    }

    /// Whoever decides on hosts that nothing describes.
    fn outbound_policy(&self, told: &Explanation) -> Option<Fact> {
        if !fell_through(told) {
            return None;
        }
        let sidecar = self.world.sidecars.of_proxy(&self.proxy.namespace, &self.proxy.labels);
        let own = sidecar.filter(|s| s.spec.outbound_traffic_policy.is_some());
        let refuses = told.virtual_host.as_ref().is_some_and(|h| h.name == "block_all")
            || told.verdict.picks().iter().any(|p| p.cluster.name == "BlackHoleCluster");
        let what = match refuses {
            true => "hosts that nothing describes are refused (REGISTRY_ONLY)",
            false => "hosts that nothing describes are passed through (ALLOW_ANY)",
        };
        Some(hint(what, own.and_then(|s| at(&s.object, "spec.outboundTrafficPolicy"))))
    }

    fn similar_host(&self, wanted: &str) -> Option<Fact> {
        let first = |host: &str| host.split('.').next().unwrap_or_default().to_owned();
        let wanted_first = first(wanted);
        let near = |s: &std::sync::Arc<Service>| {
            let distance = base::mistyped(&wanted_first, &first(s.host.as_str()))?;
            Some((distance, s.clone()))
        };
        let all = self.world.services.iter().filter_map(near);
        let (_, found) = all.min_by_key(|(distance, s)| (*distance, s.host.clone()))?;
        let value = format!("no service has the host {wanted}; did you mean {}?", found.host);
        Some(hint(value, at(&found.object, "metadata.name")))
    }

    /// VirtualServices for the host that do not route this request.
    fn rules_elsewhere(&self, host: &Host, told: &Explanation) -> Vec<Fact> {
        let routed = told.route.as_ref().and_then(|r| r.origin.as_ref());
        let by_rule = routed.is_some_and(|o| o.object.kind == "VirtualService");
        if by_rule || !matches!(told.verdict, Verdict::Forwarded { .. }) {
            return Vec::new();
        }
        let about = |v: &&std::sync::Arc<Item<VirtualService>>| {
            !v.spec.http.is_empty() && v.hosts.iter().any(|h| h.covers(host))
        };
        let all = self.world.virtual_services.iter().filter(about);
        all.map(|item| {
            let (why, field) = self.why_not_here(item);
            hint(format!("{} is for {host}, but {why}", item.object), at(&item.object, field))
        })
        .collect()
    }

    fn why_not_here(&self, item: &Item<VirtualService>) -> (String, &'static str) {
        let namespace = &self.proxy.namespace;
        if !self.world.sees_route(item, namespace) {
            return (format!("is not exported to {namespace}"), "spec.exportTo");
        }
        if !item.spec.gateways().any(|g| g == VirtualService::MESH) {
            let names: Vec<&str> = item.spec.gateways().collect();
            let why = format!("binds to {}, not to mesh, where sidecars are", names.join(", "));
            return (why, "spec.gateways");
        }
        match self.world.sidecars.of_proxy(namespace, &self.proxy.labels) {
            Some(sidecar) => (format!("{} does not import it", sidecar.object), "spec.hosts"),
            None => ("none of its rules is for this port and this client".into(), "spec.http"),
        }
    }

    fn what_gateway_serves(&self, told: &Explanation) -> Vec<Fact> {
        if told.listener.origin.is_none() && told.chain.is_none() {
            let listeners = &self.compiled.config.listeners;
            let all: Vec<&str> = listeners.iter().map(|l| &*l.name).collect();
            let value = match all.is_empty() {
                true => "no Gateway selects this workload".to_owned(),
                false => format!("the gateway listens at {}", all.join(", ")),
            };
            let refused = self.compiled.findings.iter().filter_map(|f| {
                let object = f.object.as_ref().filter(|o| o.kind == "Gateway")?;
                Some(hint(f.message.clone(), at(object, &f.path)))
            });
            return std::iter::once(hint(value, None)).chain(refused.take(MOST)).collect();
        }
        let Some(name) = &told.routes else { return Vec::new() };
        let config = self.compiled.config.routes.iter().find(|r| *r.name == **name);
        let hosts = config.map(|c| c.virtual_hosts.as_slice()).unwrap_or_default();
        let empty = hosts.iter().all(|h| h.routes.is_empty());
        if empty {
            return vec![hint("no VirtualService binds to this server's Gateway and hosts", None)];
        }
        if told.virtual_host.is_some() {
            return Vec::new();
        }
        let domains = hosts
            .iter()
            .map(|h| hint(format!("there are routes for {}", h.name), self.origin(h.origin)));
        domains.take(MOST).collect()
    }

    /// Why nothing defines a cluster that a route names.
    pub(crate) fn why_missing(&self, pick: &Pick) -> Fact {
        let name = &pick.cluster.name;
        let named = || pick.cluster.origin.clone();
        let parts: Vec<&str> = name.split('|').collect();
        let [_, port, subset, host] = parts[..] else {
            return hint(format!("nothing defines cluster {name}"), named());
        };
        let service = Host::parse(host)
            .ok()
            .and_then(|h| self.world.services.of_host(&h).first().map(|s| (**s).clone()));
        let Some(service) = service else {
            return hint(format!("no service has the host {host}"), named());
        };
        if port.parse().is_ok_and(|p| service.port(p).is_none()) {
            return hint(format!("{host} has no port {port}"), at(&service.object, "spec.ports"));
        }
        let rules = &self.world.destination_rules;
        let proxy = &self.proxy;
        let rule = rules.find(&proxy.namespace, &proxy.labels, &service.namespace, &service.host);
        match rule {
            None if !subset.is_empty() => {
                let value = format!(
                    "no DestinationRule for {host} is visible here, so it has no subset {subset}"
                );
                hint(value, named())
            }
            Some(rule) if rule.subset(subset).is_none() && !subset.is_empty() => {
                let known: Vec<&str> = rule.subsets.iter().map(|(s, ..)| s.name.as_str()).collect();
                let value = format!(
                    "{} for {host} has no subset {subset}, but {}",
                    rule.policy_object,
                    if known.is_empty() { "none".into() } else { known.join(", ") }
                );
                hint(value, at(&rule.policy_object, "spec.subsets"))
            }
            _ => hint(format!("{host} is not in reach of this proxy"), named()),
        }
    }

    /// Patches change what was compiled, and are not carried out here: that is said, so that nobody takes
    /// the explanation for all.
    fn patched(&self) -> Vec<Fact> {
        let target = Target {
            namespace: self.proxy.namespace.clone(),
            labels: self.proxy.labels.clone(),
            gateway: self.proxy.kind == ProxyKind::Router,
            version: self.proxy.version.clone(),
            metadata: self.proxy.metadata.clone(),
        };
        let root = &self.world.mesh.config.root_namespace;
        let selected = Patcher::default().select(&self.world.envoy_filters, root, &target);
        let kinds = [Resources::Listeners, Resources::Routes, Resources::Clusters];
        let patches = selected.iter().flat_map(|s| kinds.into_iter().flat_map(|of| s.about(of)));
        let mut objects: Vec<&ObjectRef> = patches.map(|p| &p.object).collect();
        objects.sort();
        objects.dedup();
        let say = |object: &ObjectRef| {
            let value = "patches this proxy; what it changes is not part of this explanation";
            hint(format!("{object} {value}"), at(object, "spec.configPatches"))
        };
        objects.into_iter().map(say).collect()
    }

    /// What compiling had to say about the objects that this request meets.
    fn findings(&self, told: &Explanation) -> Vec<Fact> {
        let route = told.route.as_ref().and_then(|r| r.origin.as_ref());
        let picks = told.verdict.picks().iter().filter_map(|p| p.defined.as_ref());
        let met: Vec<&Origin> = route.into_iter().chain(picks).collect();
        // What is said of a rule concerns those that it routes.
        let about = |f: &Finding, o: &Origin| {
            let rule = o.path.split(".match").next().unwrap_or_default();
            f.object.as_ref() == Some(&o.object)
                && (f.path.starts_with(rule) || !f.path.contains('['))
        };
        let all = self.compiled.findings.iter();
        let concerning = all.filter(|f| met.iter().any(|o| about(f, o)));
        let told = concerning.take(MOST).map(|f| Fact {
            name: "finding",
            value: f.message.clone(),
            origin: f.object.as_ref().and_then(|o| at(o, &f.path)),
        });
        told.collect()
    }
}

/// Hints of one kind; more would hide the rest.
const MOST: usize = 5;

fn export_field(service: &Service) -> &'static str {
    if service.kubernetes { "metadata.annotations" } else { "spec.exportTo" }
}
