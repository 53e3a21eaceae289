//! What has come to workloads, as their own proxies have counted it since they started: who called, how often,
//! and whether he proved who he is.

use analyze::{PodView, World};
use base::Labels;
use std::collections::BTreeMap;

/// Calls of one client that were alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    /// `spiffe://…`; `None`: he did not prove who he is.
    pub principal: Option<String>,
    /// `workload.namespace`, as far as he says it; else empty.
    pub name: String,
    /// Over mutual TLS.
    pub mutual: bool,
    /// Answered with 403, by the proxy or by the application.
    pub refused: bool,
}

/// Requests and connections, by who made them.
pub type Calls = BTreeMap<Caller, u64>;

/// Pods of one namespace that a selector tells from the others.
#[derive(Debug, PartialEq)]
pub struct Group {
    pub namespace: String,
    /// The value of the label that tells them apart, or the pod's own name where none does.
    pub name: String,
    pub selector: Option<Labels>,
    /// Which workloads, by name; they may have other labels than one another.
    pub pods: Vec<String>,
}

/// Labels by which workloads are known; the first that a pod has.
const NAMES: [&str; 3] = ["app", "app.kubernetes.io/name", "k8s-app"];

/// Those of a namespace that have a sidecar; gateways have callers of another kind.
pub fn groups(world: &World, namespace: &str) -> Vec<Group> {
    let gateway = |p: &PodView<'_>| {
        let mut selectors = world.snapshot.gateways.iter().map(|g| &g.spec.selector);
        selectors.any(|selector| !selector.is_empty() && p.matches(selector))
    };
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let pods = world.pods().filter(|p| p.namespace() == namespace && p.proxy().is_some());
    for pod in pods.filter(|p| !gateway(p)) {
        let label = NAMES.iter().find_map(|name| Some((*name, pod.labels.get(*name)?)));
        let selector = label.map(|(k, v)| Labels::from([(k.to_owned(), v.clone())]));
        let name = label.map_or(pod.owner.name(), |(_, value)| value).to_owned();
        let group = groups.entry(name.clone()).or_insert_with(|| Group {
            namespace: namespace.to_owned(),
            name,
            selector,
            pods: Vec::new(),
        });
        group.pods.push(pod.owner.name().to_owned());
    }
    groups.into_values().collect()
}

const FAMILIES: [&str; 2] = ["istio_requests_total", "istio_tcp_connections_opened_total"];

/// Of a proxy's metrics those that say who has called the workload beside it.
pub fn read(page: &str) -> Calls {
    let mut calls = Calls::new();
    let samples = page.lines().filter_map(sample).filter(|s| FAMILIES.contains(&s.family));
    for Sample { labels, value, .. } in samples {
        let known = |name: &str| {
            labels.get(name).map(String::as_str).filter(|v| !v.is_empty() && *v != "unknown")
        };
        if known("reporter") != Some("destination") || value < 1.0 {
            continue;
        }
        let name = match (known("source_workload"), known("source_workload_namespace")) {
            (Some(workload), Some(namespace)) => format!("{workload}.{namespace}"),
            _ => String::new(),
        };
        let caller = Caller {
            principal: known("source_principal").map(str::to_owned),
            name,
            mutual: known("connection_security_policy") == Some("mutual_tls"),
            refused: known("response_code") == Some("403"),
        };
        *calls.entry(caller).or_default() += value as u64;
    }
    calls
}

struct Sample<'a> {
    family: &'a str,
    labels: BTreeMap<&'a str, String>,
    value: f64,
}

/// `family{name="value",…} number`, as Prometheus' text format has it.
fn sample(line: &str) -> Option<Sample<'_>> {
    let (family, mut rest) = line.split_once('{')?;
    let mut labels = BTreeMap::new();
    while !rest.starts_with('}') {
        let (name, quoted) = rest.split_once("=\"")?;
        let (value, length) = unquoted(quoted)?;
        labels.insert(name.trim(), value);
        rest = quoted.get(length..)?.trim_start_matches(',');
    }
    let value = rest.get(1..)?.split_whitespace().next()?.parse().ok()?;
    Some(Sample { family, labels, value })
}

/// Up to the closing quote, and how far that is.
fn unquoted(text: &str) -> Option<(String, usize)> {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            'n' if escaped => value.push('\n'),
            c if escaped => value.push(c),
            '\\' => {}
            '"' => return Some((value, at + 1)),
            c => value.push(c),
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use analyze::Settings;
    use serde_json::json;

    #[test]
    fn callers_are_counted_by_who_they_are() {
        let of = |principal: &str, code: &str, security: &str, more: &str, count: u32| {
            format!(
                "istio_requests_total{{reporter=\"destination\",source_workload=\"page\",\
                 source_workload_namespace=\"shop\",source_principal=\"{principal}\",odd=\"a\\\"}}\\\\\
                 {more}\",response_code=\"{code}\",connection_security_policy=\"{security}\"}} {count}\n"
            )
        };
        let spiffe = "spiffe://cluster.local/ns/shop/sa/page";
        let page = [
            "# TYPE istio_requests_total counter\n".to_owned(),
            of(spiffe, "200", "mutual_tls", "", 3),
            of(spiffe, "503", "mutual_tls", "x", 4),
            of(spiffe, "403", "mutual_tls", "", 1),
            of("unknown", "200", "none", "", 2),
            of("unknown", "200", "none", "", 2).replace("destination", "source"),
            "istio_tcp_connections_opened_total{reporter=\"destination\"} 5\n".to_owned(),
            "istio_requests_total{reporter=\"destination\"\nother 1\n".to_owned(),
        ];
        let caller = |principal: Option<&str>, name: &str, refused| Caller {
            principal: principal.map(str::to_owned),
            name: name.to_owned(),
            mutual: principal.is_some(),
            refused,
        };
        let expected = Calls::from([
            (caller(Some(spiffe), "page.shop", false), 7),
            (caller(Some(spiffe), "page.shop", true), 1),
            (caller(None, "page.shop", false), 2),
            (caller(None, "", false), 5),
        ]);
        assert_eq!(read(&page.concat()), expected);
    }

    #[test]
    fn pods_are_grouped_by_the_label_that_names_them() {
        let pod = |name: &str, labels: serde_json::Value, proxy: &str| {
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": labels },
                "spec": { "containers": [{ "name": "app" }, { "name": proxy }] } })
        };
        let gateway = json!({ "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": { "name": "edge" }, "spec": { "selector": { "istio": "edge" } } });
        let objects = [
            pod("a-1", json!({ "app": "a", "version": "v1" }), "istio-proxy"),
            pod("a-2", json!({ "app": "a", "version": "v2" }), "istio-proxy"),
            pod("bare", json!({ "app": "a" }), "other"),
            pod("edge-1", json!({ "istio": "edge", "app": "edge" }), "istio-proxy"),
            pod("nameless", json!({}), "istio-proxy"),
            gateway,
        ];
        let groups = groups(&World::new(objects, &Settings::default()), "default");
        let told: Vec<_> = groups.iter().map(|g| (&*g.name, g.pods.len())).collect();
        assert_eq!(told, [("a", 2), ("nameless", 1)]);
        assert_eq!(groups[0].selector, Some(Labels::from([("app".into(), "a".into())])));
        assert_eq!(groups[1].selector, None);
    }
}
