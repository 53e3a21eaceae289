//! PeerAuthentication, RequestAuthentication and AuthorizationPolicy. What could be understood in a
//! weaker sense than it was meant in is refused.

use super::{Report, is_cidr};
use serde_json::Value;

pub(super) fn check(kind: &str, object: &Value, report: &mut Report) {
    let spec = &object["spec"];
    check_selector(spec, report);
    match kind {
        "PeerAuthentication" => peer_authentication(spec, report),
        "RequestAuthentication" => request_authentication(spec, report),
        "AuthorizationPolicy" => authorization_policy(spec, report),
        _ => {}
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn texts(value: &Value) -> impl Iterator<Item = (usize, &str)> {
    list(value).iter().enumerate().filter_map(|(i, v)| Some((i, v.as_str()?)))
}

fn is_set(value: &Value) -> bool {
    !list(value).is_empty()
}

fn check_selector(spec: &Value, report: &mut Report) {
    let labels = &spec["selector"]["matchLabels"];
    for (key, value) in labels.as_object().into_iter().flatten() {
        let path = format!("spec.selector.matchLabels[{key}]");
        if key.is_empty() {
            report.error(&path, "a label needs a name");
        }
        if key.contains('*') || value.as_str().is_some_and(|v| v.contains('*')) {
            report.error(&path, "wildcard is not supported in selector");
        }
    }
    let targets = spec.get("targetRef").is_some() || is_set(&spec["targetRefs"]);
    if targets && spec.get("selector").is_some() {
        report.error("spec", "only one of targetRefs or selector can be set");
    }
}

fn peer_authentication(spec: &Value, report: &mut Report) {
    let Some(ports) = spec["portLevelMtls"].as_object() else { return };
    let path = "spec.portLevelMtls";
    if ports.is_empty() {
        return report
            .error(path, "should have at least 1 properties: name a port or leave it out");
    }
    if spec["selector"]["matchLabels"].as_object().is_none_or(serde_json::Map::is_empty) {
        report.error(path, "portLevelMtls requires selector: ports are those of workloads");
    }
    for port in ports.keys() {
        let path = format!("{path}[{port}]");
        match port.parse::<u32>() {
            Ok(number) => report.port(number, &path),
            Err(e) => report.error(&path, format!("{port:?} is not a port number: {e}")),
        }
    }
}

fn request_authentication(spec: &Value, report: &mut Report) {
    for (index, rule) in list(&spec["jwtRules"]).iter().enumerate() {
        let path = format!("spec.jwtRules[{index}]");
        let set = |key: &str| rule[key].as_str().is_some_and(|v| !v.is_empty());
        if !set("issuer") && !set("jwksUri") {
            report.error(&path, "issuer or jwksUri must be set");
        }
        if set("jwksUri") && set("jwks") {
            report.error(&path, "only one of jwks or jwksUri can be set");
        }
        if let Some(uri) = rule["jwksUri"].as_str().filter(|u| !u.is_empty()) {
            let known = ["http://", "https://"].iter().any(|s| uri.starts_with(s));
            let say = "must be a URL with scheme http:// or https://";
            report.require(known, &format!("{path}.jwksUri"), say);
        }
        if set("jwks") {
            let keys = rule["jwks"].as_str().and_then(|t| serde_json::from_str::<Value>(t).ok());
            let say = "is not a JSON Web Key Set: it needs a list `keys`";
            let is_set = keys.is_some_and(|k| k["keys"].is_array());
            report.require(is_set, &format!("{path}.jwks"), say);
        }
    }
}

fn authorization_policy(spec: &Value, report: &mut Report) {
    let action = spec["action"].as_str().unwrap_or("ALLOW");
    let rules = list(&spec["rules"]);
    let provider = spec["provider"]["name"].as_str().unwrap_or_default();
    if matches!(action, "DENY" | "CUSTOM") && rules.is_empty() {
        let say = format!(
            "{action} without rules never applies; add an empty rule {{}} if every request is meant"
        );
        report.error("spec.rules", say);
    }
    if action == "CUSTOM" && provider.is_empty() {
        report.error("spec.provider.name", "CUSTOM needs the name of a provider");
    }
    if action != "CUSTOM" && spec.get("provider").is_some() {
        report.error("spec.provider", format!("a provider is for CUSTOM, not for {action}"));
    }
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        for (i, from) in list(&rule["from"]).iter().enumerate() {
            source(&from["source"], &format!("{path}.from[{i}].source"), report);
        }
        for (i, to) in list(&rule["to"]).iter().enumerate() {
            operation(&to["operation"], &format!("{path}.to[{i}].operation"), report);
        }
        for (i, when) in list(&rule["when"]).iter().enumerate() {
            condition(when, &format!("{path}.when[{i}]"), report);
        }
    }
}

/// An empty part would be taken for "everybody", which hardly anyone means.
fn require_some(part: &Value, path: &str, report: &mut Report) {
    let some = part.as_object().is_some_and(|fields| fields.values().any(is_set));
    report.require(some, path, "must not be empty: say what it is for, or leave it out");
}

fn source(source: &Value, path: &str, report: &mut Report) {
    require_some(source, path, report);
    let accounts = is_set(&source["serviceAccounts"]) || is_set(&source["notServiceAccounts"]);
    let others = ["namespaces", "notNamespaces", "principals", "notPrincipals"];
    if accounts && others.iter().any(|key| is_set(&source[*key])) {
        let path = format!("{path}.serviceAccounts");
        report.error(&path, "Cannot set serviceAccounts with namespaces or principals");
    }
    for field in ["ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"] {
        for (i, block) in texts(&source[field]) {
            let say = format!("{block:?} is neither an address nor a range");
            report.require(is_cidr(block), &format!("{path}.{field}[{i}]"), &say);
        }
    }
    no_empty_texts(source, path, report);
}

fn operation(operation: &Value, path: &str, report: &mut Report) {
    require_some(operation, path, report);
    for field in ["ports", "notPorts"] {
        for (i, port) in texts(&operation[field]) {
            report.port(port.parse().unwrap_or(0), &format!("{path}.{field}[{i}]"));
        }
    }
    no_empty_texts(operation, path, report);
}

fn no_empty_texts(part: &Value, path: &str, report: &mut Report) {
    for (field, values) in part.as_object().into_iter().flatten() {
        for (i, _) in texts(values).filter(|(_, text)| text.is_empty()) {
            report.error(&format!("{path}.{field}[{i}]"), "must not be empty");
        }
    }
}

fn condition(when: &Value, path: &str, report: &mut Report) {
    let key = when["key"].as_str().unwrap_or_default();
    if !is_condition(key) {
        let meant = meant(key).map(|m| format!(", did you mean {m}?")).unwrap_or_default();
        let say = format!("{key:?} is not an attribute that conditions may name{meant}");
        report.error(&format!("{path}.key"), say);
    }
    let some = is_set(&when["values"]) || is_set(&when["notValues"]);
    report.require(some, path, "at least one of values or notValues must be set");
    for field in ["values", "notValues"] {
        for (i, value) in texts(&when[field]) {
            let path = format!("{path}.{field}[{i}]");
            match key {
                "source.ip" | "remote.ip" | "destination.ip" => {
                    let say = format!("{value:?} is neither an address nor a range");
                    report.require(is_cidr(value), &path, &say);
                }
                "destination.port" => report.port(value.parse().unwrap_or(0), &path),
                _ => report.require(!value.is_empty(), &path, "must not be empty"),
            }
        }
    }
}

const PLAIN: [&str; 12] = [
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.serviceAccount",
    "source.principal",
    "source.trustDomain",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
];

/// Those with a name in brackets.
const NAMED: [&str; 2] = ["request.headers", "request.auth.claims"];

/// The attribute that was mistyped, as it is written.
fn meant(key: &str) -> Option<String> {
    let (attribute, name) = key.split_at(key.find('[').unwrap_or(key.len()));
    let named = name.len() > 2 && name.ends_with(']');
    let known = if named { &NAMED[..] } else { &PLAIN[..] };
    let near = known.iter().filter_map(|k| Some((base::mistyped(attribute, k)?, k)));
    let (_, known) = near.min()?;
    Some(format!("{known}{}", if named { name } else { "" }))
}

/// The attributes of Istio's conditions.
fn is_condition(key: &str) -> bool {
    let indexed = |prefix: &str| {
        let rest = key.strip_prefix(prefix);
        rest.is_some_and(|r| r.len() > 2 && r.starts_with('[') && r.ends_with(']'))
    };
    PLAIN.contains(&key)
        || NAMED.iter().any(|name| indexed(name))
        || key.starts_with("experimental.envoy.filters.")
}
