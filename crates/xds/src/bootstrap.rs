//! Envoy's bootstrap file (`envoy.config.bootstrap.v3.Bootstrap`), as JSON or YAML: who this proxy is,
//! what it runs from the start, and where it asks for more. The same schema and the same readers as
//! for discovery, so one file drives Envoy and us.

use crate::codec::at::At;
use crate::codec::{endpoint::read_locality, read_resource, source};
use crate::message::{Path, json_of, read_json};
use crate::schema;
use base::{Finding, Level};
use ir::{Address, Config, Kind, Locality, Resource, Str, Value};
use serde_json::Value as Json;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

#[derive(Clone, Debug, Default)]
pub struct Bootstrap {
    pub node: Node,
    pub admin: Option<SocketAddr>,
    /// `static_resources`.
    pub config: Config,
    pub dynamic: Option<Dynamic>,
    /// The static layers of `layered_runtime`, later ones over earlier ones.
    pub runtime: BTreeMap<Str, Value>,
    /// Warnings; errors refuse the file.
    pub findings: Vec<Finding>,
}

/// Who asks a control plane for configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub id: Str,
    pub cluster: Str,
    /// An object, or null where there is none.
    pub metadata: Json,
    pub locality: Locality,
}

/// `dynamic_resources`: one ADS stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Dynamic {
    /// The static cluster that the stream goes to.
    pub ads_cluster: Str,
    pub delta: bool,
    pub cds: bool,
    pub lds: bool,
}

/// Reads a bootstrap. All that is wrong with it is said at once.
pub fn read(text: &str) -> Result<Bootstrap, Vec<Finding>> {
    read_json_value(&parse(text)?)
}

/// Reads a bootstrap with another laid over it, as Envoy does for `-c` with `--config-yaml`: messages
/// are merged, lists are joined, other values are replaced.
pub fn read_merged(text: &str, over: &str) -> Result<Bootstrap, Vec<Finding>> {
    let (mut base, over) = (parse(text)?, parse(over)?);
    merge(&mut base, over);
    read_json_value(&base)
}

fn parse(text: &str) -> Result<Json, Vec<Finding>> {
    let refuse = |what: String| vec![Finding::error("", what)];
    if text.trim_start().starts_with('{') {
        // YAML in flow style begins alike.
        if let Ok(json) = serde_json::from_str(text) {
            return Ok(json);
        }
    }
    let mut yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(text)
        .map_err(|e| refuse(format!("is neither JSON nor YAML: {e}")))?;
    yaml.apply_merge().map_err(|e| refuse(format!("has a merge key that does not merge: {e}")))?;
    serde_json::to_value(yaml).map_err(|e| refuse(format!("has no meaning as JSON: {e}")))
}

fn merge(base: &mut Json, over: Json) {
    match (base, over) {
        (Json::Object(base), Json::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Json::Null), value);
            }
        }
        (Json::Array(base), Json::Array(over)) => base.extend(over),
        (base, over) => *base = over,
    }
}

fn read_json_value(json: &Json) -> Result<Bootstrap, Vec<Finding>> {
    let out = RefCell::new(Vec::new());
    let path = Path::root("", &out);
    let msg = read_json(&schema::BOOTSTRAP, json, &path);
    let mut bootstrap = read_bootstrap(&At::new(&msg, path));
    let findings = out.into_inner();
    if findings.iter().any(|f| f.level == Level::Error) {
        return Err(findings);
    }
    bootstrap.findings = findings;
    Ok(bootstrap)
}

fn read_bootstrap(at: &At) -> Bootstrap {
    Bootstrap {
        node: at.msg("node").map(|n| read_node(&n)).unwrap_or_default(),
        admin: at.msg("admin").and_then(|a| read_admin(&a)),
        config: at.msg("static_resources").map(|s| read_static(&s)).unwrap_or_default(),
        dynamic: at.msg("dynamic_resources").and_then(|d| read_dynamic(&d)),
        runtime: at.msg("layered_runtime").map(|r| read_runtime(&r)).unwrap_or_default(),
        findings: Vec::new(),
    }
}

fn read_node(at: &At) -> Node {
    Node {
        id: at.str("id"),
        cluster: at.str("cluster"),
        metadata: at.structure("metadata").map(json_of).unwrap_or_default(),
        locality: at.msg("locality").map(|l| read_locality(&l)).unwrap_or_default(),
    }
}

fn read_admin(at: &At) -> Option<SocketAddr> {
    match crate::codec::read_address_in(at, "address") {
        Address::Ip(address) => Some(address),
        other => {
            at.error_in("address", format!("{other} is no IP address and port"));
            None
        }
    }
}

fn read_static(at: &At) -> Config {
    let mut config = Config::default();
    for (field, kind) in
        [("listeners", Kind::Listener), ("clusters", Kind::Cluster), ("secrets", Kind::Secret)]
    {
        for resource in at.each(field, |r| read_resource(kind, r)) {
            match resource {
                Resource::Listener(l) => config.listeners.push(l),
                Resource::Cluster(c) => config.clusters.push(c),
                Resource::Secret(s) => config.secrets.push(s),
                Resource::Names(_) => {}
                Resource::Endpoints(e) => config.endpoints.push(e),
                Resource::Route(r) => config.routes.push(r),
            }
        }
    }
    let mut names: Vec<_> = config.clusters.iter().map(|c| c.name.clone()).collect();
    names.sort();
    if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
        at.error_in("clusters", format!("has two clusters named {}", twice[0]));
    }
    config
}

fn read_dynamic(at: &At) -> Option<Dynamic> {
    let wants = |name| {
        let set = at.has(name);
        if set {
            source::expect_ads(at, name);
        }
        set
    };
    let (cds, lds) = (wants("cds_config"), wants("lds_config"));
    let stream = source::read_stream(at, "ads_config");
    if stream.is_none() && (cds || lds) {
        at.error_in("ads_config", "is missing");
    }
    stream.map(|(ads_cluster, delta)| Dynamic { ads_cluster, delta, cds, lds })
}

fn read_runtime(at: &At) -> BTreeMap<Str, Value> {
    let mut runtime = BTreeMap::new();
    for layer in at.each("layers", |l| l.structure("static_layer").cloned()).into_iter().flatten() {
        flatten("", &layer, &mut runtime);
    }
    runtime
}

/// `{a: {b: 1}}` and `{a.b: 1}` are the same key.
fn flatten(prefix: &str, layer: &BTreeMap<Str, Value>, out: &mut BTreeMap<Str, Value>) {
    for (key, value) in layer {
        let key = if prefix.is_empty() { key.to_string() } else { format!("{prefix}.{key}") };
        match value {
            Value::Struct(inner) if !inner.contains_key("numerator") => flatten(&key, inner, out),
            value => {
                out.insert(key.into(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
