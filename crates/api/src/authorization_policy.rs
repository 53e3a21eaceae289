//! AuthorizationPolicy (security.istio.io): who may ask which workloads for what.

use crate::{MatchLabels, PolicyTargetReference};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicy {
    pub selector: Option<MatchLabels>,
    /// The older way to write one of `target_refs`.
    pub target_ref: Option<PolicyTargetReference>,
    pub target_refs: Vec<PolicyTargetReference>,
    pub action: AuthorizationAction,
    pub provider: AuthorizationProvider,
    pub rules: Vec<AuthorizationRule>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AuthorizationAction {
    #[default]
    Allow,
    Deny,
    Audit,
    Custom,
}

/// Who decides where the action is CUSTOM: one of the mesh's extension providers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuthorizationProvider {
    pub name: String,
}

/// Matches where a source, an operation and all conditions do; what is not there matches.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AuthorizationRule {
    pub from: Vec<AuthorizationFrom>,
    pub to: Vec<AuthorizationTo>,
    pub when: Vec<AuthorizationCondition>,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

/// Fields that nobody knows: a part that has some must not be taken for what is left of it.
pub type UnknownFields = BTreeMap<String, Value>;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AuthorizationFrom {
    pub source: Option<AuthorizationSource>,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationSource {
    pub principals: Vec<String>,
    pub not_principals: Vec<String>,
    pub request_principals: Vec<String>,
    pub not_request_principals: Vec<String>,
    pub namespaces: Vec<String>,
    pub not_namespaces: Vec<String>,
    pub service_accounts: Vec<String>,
    pub not_service_accounts: Vec<String>,
    pub trust_domains: Vec<String>,
    pub not_trust_domains: Vec<String>,
    pub ip_blocks: Vec<String>,
    pub not_ip_blocks: Vec<String>,
    pub remote_ip_blocks: Vec<String>,
    pub not_remote_ip_blocks: Vec<String>,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AuthorizationTo {
    pub operation: Option<AuthorizationOperation>,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationOperation {
    pub hosts: Vec<String>,
    pub not_hosts: Vec<String>,
    pub ports: Vec<String>,
    pub not_ports: Vec<String>,
    pub methods: Vec<String>,
    pub not_methods: Vec<String>,
    pub paths: Vec<String>,
    pub not_paths: Vec<String>,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationCondition {
    pub key: String,
    pub values: Vec<String>,
    pub not_values: Vec<String>,
    #[serde(flatten)]
    pub unknown: UnknownFields,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_and_what_nobody_knows_is_kept_apart() {
        let spec: AuthorizationPolicy = serde_json::from_value(serde_json::json!({
            "selector": {"matchLabels": {"app": "a"}}, "action": "DENY", "rules": [{
                "from": [{"source": {"notIpBlocks": ["10.0.0.0/8"], "principal": ["a"]}}],
                "to": [{"operation": {"notPaths": ["/a"]}}, {}],
                "when": [{"key": "source.ip", "notValues": ["10.0.0.1"]}]}, {}]}))
        .unwrap();
        assert_eq!(spec.action, AuthorizationAction::Deny);
        let rule = &spec.rules[0];
        let source = rule.from[0].source.as_ref().unwrap();
        assert_eq!(source.not_ip_blocks, ["10.0.0.0/8"]);
        assert_eq!(source.unknown.keys().collect::<Vec<_>>(), ["principal"]);
        assert_eq!(rule.to[0].operation.as_ref().unwrap().not_paths, ["/a"]);
        assert!(rule.to[1].operation.is_none() && rule.unknown.is_empty());
        assert_eq!(rule.when[0].not_values, ["10.0.0.1"]);
        assert_eq!(spec.rules[1], AuthorizationRule::default());
    }
}
