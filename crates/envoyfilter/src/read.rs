//! From an EnvoyFilter object to patches that are ready to be applied, with everything that is wrong with
//! it said by field. Admission and the control plane read by the same function.

use crate::message::{MessageError, descriptor, from_json};
use api::{ApplyTo, ConfigPatch, EnvoyFilter, ListenerMatch, PatchMatch, PatchOperation};
use base::{Finding, Level, ObjectRef};
use prost_reflect::DynamicMessage;
use regex::Regex;
use serde_json::Value;

/// One patch of one object.
#[derive(Clone, Debug)]
pub struct Patch {
    pub object: ObjectRef,
    /// Its place among the object's patches.
    pub index: usize,
    pub apply_to: ApplyTo,
    pub operation: PatchOperation,
    pub when: PatchMatch,
    /// Over the proxy's whole version.
    pub(crate) version: Option<Regex>,
    pub(crate) value: Option<DynamicMessage>,
}

/// Versions that are matched against; as in Istio.
const MAX_VERSION_PATTERN: usize = 1024;

/// The patches that can be applied, and findings about those that cannot.
pub(crate) fn read(object: &ObjectRef, spec: &EnvoyFilter) -> (Vec<Patch>, Vec<Finding>) {
    let (mut patches, mut findings) = (Vec::new(), Vec::new());
    if spec.workload_selector.is_some() && !spec.target_refs.is_empty() {
        let both = "only one of targetRefs and workloadSelector can be set";
        findings.push(Finding::error("spec.targetRefs", both));
    }
    for (index, patch) in spec.config_patches.iter().enumerate() {
        let mut out = Report { path: format!("spec.configPatches[{index}]"), findings: Vec::new() };
        let read = one(object, index, patch, &mut out);
        let failed = out.findings.iter().any(|f| f.level == Level::Error);
        patches.extend(read.filter(|_| !failed));
        findings.append(&mut out.findings);
    }
    (patches, findings)
}

struct Report {
    path: String,
    findings: Vec<Finding>,
}

impl Report {
    fn error(&mut self, field: &str, message: impl Into<String>) {
        self.findings.push(Finding::error(format!("{}.{field}", self.path), message));
    }

    fn warning(&mut self, field: &str, message: impl Into<String>) {
        self.findings.push(Finding::warning(format!("{}.{field}", self.path), message));
    }
}

fn one(object: &ObjectRef, index: usize, of: &ConfigPatch, out: &mut Report) -> Option<Patch> {
    let when = of.r#match.clone().unwrap_or_default();
    match of.apply_to {
        ApplyTo::Invalid => out.error("applyTo", "is missing: say what is to be patched"),
        ApplyTo::Bootstrap | ApplyTo::ExtensionConfig => {
            let say = "patches of BOOTSTRAP and EXTENSION_CONFIG have no effect in this version";
            out.error("applyTo", say);
        }
        _ => {}
    }
    matches_of(of.apply_to, &when, out);
    let version = version(&when, out);
    let Some(patch) = &of.patch else {
        out.error("patch", "is missing: say what is to be done");
        return None;
    };
    if patch.operation == PatchOperation::Invalid {
        out.error("patch.operation", "is missing: one of MERGE, ADD, REMOVE, INSERT_BEFORE, ...");
    }
    if patch.filter_class != api::FilterClass::Unspecified {
        out.warning(
            "patch.filterClass",
            "has no effect: say the place by INSERT_BEFORE or INSERT_AFTER",
        );
    }
    let value = match &patch.value {
        None if patch.operation == PatchOperation::Remove => None,
        None => {
            out.error("patch.value", "is missing: every operation but REMOVE needs one");
            None
        }
        Some(json) => value(of.apply_to, json, out),
    };
    Some(Patch {
        object: object.clone(),
        index,
        apply_to: of.apply_to,
        operation: patch.operation,
        when,
        version,
        value,
    })
}

/// A pattern that cannot be used refuses the patch: for whom it was meant is not known.
fn version(when: &PatchMatch, out: &mut Report) -> Option<Regex> {
    const FIELD: &str = "match.proxy.proxyVersion";
    let pattern =
        when.proxy.as_ref().map(|p| p.proxy_version.as_str()).filter(|p| !p.is_empty())?;
    if pattern.len() > MAX_VERSION_PATTERN {
        out.error(FIELD, format!("is longer than {MAX_VERSION_PATTERN} characters"));
        return None;
    }
    match Regex::new(pattern) {
        Ok(regex) => Some(regex),
        Err(e) => {
            out.error(FIELD, format!("is not a regular expression: {e}"));
            None
        }
    }
}

fn matches_of(apply_to: ApplyTo, when: &PatchMatch, out: &mut Report) {
    use ApplyTo::*;
    let (listener, route, cluster) = (&when.listener, &when.route_configuration, &when.cluster);
    match apply_to {
        Listener | FilterChain | NetworkFilter | HttpFilter | ListenerFilter => {
            if route.is_some() || cluster.is_some() {
                out.error(
                    "match",
                    "of a patch of listeners can only be of listeners: use match.listener",
                );
            }
            if let Some(listener) = listener {
                if !listener.port_name.is_empty() {
                    let say = "has no effect, as in Istio: any port matches; use portNumber";
                    out.warning("match.listener.portName", say);
                }
                filters_of(apply_to, listener, out);
            }
        }
        RouteConfiguration | VirtualHost | HttpRoute if listener.is_some() || cluster.is_some() => {
            let say = "of a patch of routes can only be of routes: use match.routeConfiguration";
            out.error("match", say);
        }
        Cluster if listener.is_some() || route.is_some() => {
            out.error("match", "of a patch of clusters can only be of clusters: use match.cluster");
        }
        _ => {}
    }
}

fn filters_of(apply_to: ApplyTo, listener: &ListenerMatch, out: &mut Report) {
    const FILTER: &str = "match.listener.filterChain.filter";
    let Some(filter) = listener.filter_chain.as_ref().and_then(|c| c.filter.as_ref()) else {
        return;
    };
    if matches!(apply_to, ApplyTo::Listener | ApplyTo::FilterChain) {
        out.error(FILTER, "has no effect here: the patch is of whole listeners or chains");
    }
    let name = canonical(&filter.name);
    if filter.name.is_empty() {
        out.error(FILTER, "has no name to match by");
    } else if name != filter.name {
        out.warning(&format!("{FILTER}.name"), format!("is an old name; use {name:?}"));
    }
    let Some(inner) = &filter.sub_filter else { return };
    if apply_to != ApplyTo::HttpFilter {
        out.error(&format!("{FILTER}.subFilter"), "can be used with applyTo HTTP_FILTER only");
    } else if name != HTTP_CONNECTION_MANAGER {
        let say = format!("needs filter.name to be {HTTP_CONNECTION_MANAGER:?}");
        out.error(&format!("{FILTER}.subFilter"), say);
    }
    let name = canonical(&inner.name);
    if inner.name.is_empty() {
        out.error(&format!("{FILTER}.subFilter"), "has no name to match by");
    } else if name != inner.name {
        out.warning(&format!("{FILTER}.subFilter.name"), format!("is an old name; use {name:?}"));
    }
}

fn value(apply_to: ApplyTo, json: &Value, out: &mut Report) -> Option<DynamicMessage> {
    let of = descriptor(message_of(apply_to)?);
    let read = of.and_then(|of| match from_json(&of, json, true) {
        Err(MessageError::Json(why)) => {
            // What is not known is left out, as in Istio; nothing else may be wrong.
            let read = from_json(&of, json, false)?;
            out.warning("patch.value", format!("is used without what Envoy does not know: {why}"));
            Ok(read)
        }
        read => read,
    });
    read.map_err(|e| out.error("patch.value", e.to_string())).ok()
}

/// The message that `patch.value` is.
fn message_of(apply_to: ApplyTo) -> Option<&'static str> {
    Some(match apply_to {
        ApplyTo::Listener => "envoy.config.listener.v3.Listener",
        ApplyTo::FilterChain => "envoy.config.listener.v3.FilterChain",
        ApplyTo::NetworkFilter => "envoy.config.listener.v3.Filter",
        ApplyTo::ListenerFilter => "envoy.config.listener.v3.ListenerFilter",
        ApplyTo::HttpFilter => {
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
        }
        ApplyTo::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
        ApplyTo::VirtualHost => "envoy.config.route.v3.VirtualHost",
        ApplyTo::HttpRoute => "envoy.config.route.v3.Route",
        ApplyTo::Cluster => "envoy.config.cluster.v3.Cluster",
        ApplyTo::Invalid | ApplyTo::ExtensionConfig | ApplyTo::Bootstrap => return None,
    })
}

pub(crate) const HTTP_CONNECTION_MANAGER: &str = "envoy.filters.network.http_connection_manager";

/// The name that a filter has today, for those that people still write with the one it had before.
pub(crate) fn canonical(name: &str) -> &str {
    match name {
        "envoy.http_connection_manager" => HTTP_CONNECTION_MANAGER,
        "envoy.tcp_proxy" => "envoy.filters.network.tcp_proxy",
        "envoy.mongo_proxy" => "envoy.filters.network.mongo_proxy",
        "envoy.redis_proxy" => "envoy.filters.network.redis_proxy",
        "envoy.buffer" => "envoy.filters.http.buffer",
        "envoy.cors" => "envoy.filters.http.cors",
        "envoy.csrf" => "envoy.filters.http.csrf",
        "envoy.ext_authz" => "envoy.filters.http.ext_authz",
        "envoy.fault" => "envoy.filters.http.fault",
        "envoy.grpc_web" => "envoy.filters.http.grpc_web",
        "envoy.health_check" => "envoy.filters.http.health_check",
        "envoy.lua" => "envoy.filters.http.lua",
        "envoy.rate_limit" => "envoy.filters.http.ratelimit",
        "envoy.router" => "envoy.filters.http.router",
        "envoy.listener.http_inspector" => "envoy.filters.listener.http_inspector",
        "envoy.listener.original_dst" => "envoy.filters.listener.original_dst",
        "envoy.listener.proxy_protocol" => "envoy.filters.listener.proxy_protocol",
        "envoy.listener.tls_inspector" => "envoy.filters.listener.tls_inspector",
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> ObjectRef {
        ObjectRef::new("EnvoyFilter", "default", "a")
    }

    fn findings(yaml: &str) -> Vec<String> {
        let spec: EnvoyFilter = serde_yaml_ng::from_str(yaml).unwrap();
        read(&object(), &spec).1.iter().map(ToString::to_string).collect()
    }

    /// (what is wrong, the patch, what is said)
    const CASES: &[(&str, &str, &str)] = &[
        ("applyTo", "patch: { operation: REMOVE }", "configPatches[0].applyTo: is missing"),
        ("patch", "applyTo: CLUSTER", "configPatches[0].patch: is missing"),
        ("operation", "applyTo: CLUSTER\n    patch: { value: {} }", "operation: is missing"),
        ("value", "applyTo: CLUSTER\n    patch: { operation: ADD }", "value: is missing"),
        (
            "value of another shape",
            "applyTo: CLUSTER\n    patch: { operation: MERGE, value: { name: [1] } }",
            "patch.value: ",
        ),
        (
            "old API",
            "applyTo: HTTP_FILTER\n    patch: { operation: ADD, value: { typed_config: { '@type': \
             type.googleapis.com/envoy.config.filter.http.lua.v2.Lua } } }",
            "Envoy has no type",
        ),
        (
            "match of another thing",
            "applyTo: CLUSTER\n    match: { listener: { name: a } }\n    patch: { operation: REMOVE }",
            "use match.cluster",
        ),
        (
            "inner filter of no HTTP",
            "applyTo: HTTP_FILTER\n    match: { listener: { filterChain: { filter: { name: \
             envoy.filters.network.tcp_proxy, subFilter: { name: x } } } } }\n    patch: { operation: REMOVE }",
            "subFilter: needs filter.name",
        ),
        (
            "version",
            "applyTo: CLUSTER\n    match: { proxy: { proxyVersion: '(' } }\n    patch: { operation: REMOVE }",
            "proxyVersion: is not a regular expression",
        ),
    ];

    #[test]
    fn what_is_wrong_is_said_by_field() {
        for (what, patch, said) in CASES {
            let all = findings(&format!("configPatches:\n  - {patch}\n"));
            assert!(all.iter().any(|f| f.contains(said)), "{what}: {all:?}");
            let spec: EnvoyFilter =
                serde_yaml_ng::from_str(&format!("configPatches:\n  - {patch}\n")).unwrap();
            assert!(read(&object(), &spec).0.is_empty(), "{what} is applied");
        }
    }

    #[test]
    fn what_has_no_effect_is_said_and_the_rest_is_applied() {
        let table = [
            ("match: { listener: { portName: web } }", "listener.portName: has no effect"),
            ("match: { listener: { portNumber: 80 } }", ""),
        ];
        for (when, said) in table {
            let yaml = format!(
                "configPatches:\n  - applyTo: LISTENER\n    {when}\n    patch: {{ operation: REMOVE }}\n"
            );
            let all = findings(&yaml);
            assert_eq!(all.len(), usize::from(!said.is_empty()), "{all:?}");
            assert!(all.iter().all(|f| f.contains(said)), "{all:?}");
            let spec: EnvoyFilter = serde_yaml_ng::from_str(&yaml).unwrap();
            assert_eq!(read(&object(), &spec).0.len(), 1);
        }
    }

    #[test]
    fn types_that_are_not_envoys_travel_as_structs_and_unknown_fields_are_said() {
        let yaml = "configPatches:\n  - applyTo: HTTP_FILTER\n    patch:\n      operation: INSERT_FIRST\n      \
             value: { name: a, typed_config: { '@type': type.googleapis.com/acme.v1.Filter, x: 1 } }\n";
        assert_eq!(findings(yaml), Vec::<String>::new());
        let yaml = "configPatches:\n  - applyTo: CLUSTER\n    patch: { operation: MERGE, value: { nome: a } }\n";
        assert!(findings(yaml)[0].contains("nome"), "{:?}", findings(yaml));
    }
}
