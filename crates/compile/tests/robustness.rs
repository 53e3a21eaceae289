//! Whatever users write, the control plane stays up: objects that were changed at random are validated,
//! read and compiled without a panic, and what is compiled can still be carried.

mod support;

use api::Kind;
use compile::compile;
use serde_json::{Value, json};
use support::{bookinfo, documents, ingress, sidecar};

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

fn strange(random: &mut Random) -> Value {
    let values = [
        Value::Null,
        json!(""),
        json!("*"),
        json!("/"),
        json!("-1"),
        json!("99999999999999999999"),
        json!("a/b/c"),
        json!("\u{0}\u{7f}é"),
        json!("::/129"),
        json!(0),
        json!(-1),
        json!(65536),
        json!(4294967295u64),
        json!(u64::MAX),
        json!(0.5),
        json!(true),
        json!([]),
        json!({}),
        json!([{}]),
        json!("0s"),
        json!("300000h"),
        json!("("),
    ];
    values[random.below(values.len())].clone()
}

/// Changes one value somewhere below, or adds a strange one.
fn mutate(value: &mut Value, random: &mut Random) {
    let descend = random.below(5) > 0;
    match value {
        Value::Object(fields) if descend && !fields.is_empty() => {
            let at = random.below(fields.len());
            if let Some(field) = fields.values_mut().nth(at) {
                mutate(field, random);
            }
        }
        Value::Array(items) if descend && !items.is_empty() => {
            let at = random.below(items.len());
            if random.below(4) == 0 {
                items.push(items[at].clone());
            }
            mutate(&mut items[at], random);
        }
        other => *other = strange(random),
    }
}

#[test]
fn no_object_brings_the_control_plane_down() {
    let all = documents(include_str!("inputs/everything.yaml"));
    let all: Vec<Value> =
        all.into_iter().chain(documents(include_str!("inputs/bookinfo.yaml"))).collect();
    let proxies = [sidecar("default", "reviews", "v1", "10.1.0.4"), ingress()];
    let mut random = Random(42);
    for round in 0..300 {
        let mut store = bookinfo();
        for object in &all {
            let mut object = object.clone();
            if object["metadata"]["namespace"].is_null() {
                object["metadata"]["namespace"] = "default".into();
            }
            for _ in 0..random.below(3) {
                mutate(&mut object["spec"], &mut random);
                mutate(&mut object["data"], &mut random);
            }
            let name = object["kind"].as_str().unwrap_or_default();
            api::validate(name, &object);
            let version = object["apiVersion"].as_str().unwrap_or_default();
            if let Some(kind) = Kind::of(version, name) {
                store.apply(kind, &object);
            }
        }
        for proxy in &proxies {
            let compiled = compile(&store.snapshot(), proxy);
            names_are_unique(&compiled.config, round);
            chains_do_not_overlap(&compiled.config, round);
            for cluster in &compiled.config.clusters {
                let bytes = xds::codec::encode(&ir::Resource::Cluster(cluster.clone()));
                assert!(!bytes.is_empty(), "round {round}");
            }
            for route in &compiled.config.routes {
                xds::codec::encode(&ir::Resource::Route(route.clone()));
            }
            for listener in &compiled.config.listeners {
                xds::codec::encode(&ir::Resource::Listener(listener.clone()));
            }
        }
    }
}

/// Envoy refuses an update in which one name stands twice.
fn names_are_unique(config: &ir::Config, round: usize) {
    let mut names: Vec<String> = Vec::new();
    names.extend(config.clusters.iter().map(|c| format!("cluster {}", c.name)));
    names.extend(config.endpoints.iter().map(|e| format!("endpoints {}", e.cluster)));
    names.extend(config.listeners.iter().map(|l| format!("address {}", l.address)));
    names.extend(config.routes.iter().map(|r| format!("route {}", r.name)));
    for route in &config.routes {
        let hosts = route.virtual_hosts.iter();
        let domains = hosts.flat_map(|h| &h.domains).map(|d| d.to_ascii_lowercase());
        names.extend(domains.map(|d| format!("domain {d} in {}", route.name)));
    }
    let count = names.len();
    names.sort();
    let twice = names.windows(2).find(|w| w[0] == w[1]).map(|w| w[0].clone());
    names.dedup();
    assert_eq!(names.len(), count, "round {round}: {twice:?} stands twice");
}

/// Envoy refuses a listener two of whose chains could take one connection.
fn chains_do_not_overlap(config: &ir::Config, round: usize) {
    let share = |a: &[ir::Str], b: &[ir::Str]| {
        (a.is_empty() && b.is_empty()) || a.iter().any(|x| b.contains(x))
    };
    for listener in &config.listeners {
        for (i, a) in listener.chains.iter().enumerate() {
            for b in &listener.chains[..i] {
                let (a, b) = (&a.matches, &b.matches);
                let ranges = (a.destination_ranges.is_empty() && b.destination_ranges.is_empty())
                    || a.destination_ranges.iter().any(|r| b.destination_ranges.contains(r));
                let overlap = a.destination_port == b.destination_port
                    && a.transport_protocol == b.transport_protocol
                    && ranges
                    && share(&a.server_names, &b.server_names)
                    && share(&a.application_protocols, &b.application_protocols);
                assert!(!overlap, "round {round}: {} has {a:?} and {b:?}", listener.name);
            }
        }
    }
}
