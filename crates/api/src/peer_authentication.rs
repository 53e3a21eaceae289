//! PeerAuthentication (security.istio.io): which connections workloads take, encrypted by the mesh, in
//! plaintext, or both.

use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    pub selector: Option<crate::MatchLabels>,
    pub mtls: MutualTls,
    /// By the workload's port, not the service's.
    pub port_level_mtls: BTreeMap<String, MutualTls>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MutualTls {
    pub mode: MutualTlsMode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MutualTlsMode {
    /// As the next wider policy says.
    #[default]
    Unset,
    Disable,
    Permissive,
    Strict,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read() {
        let spec: PeerAuthentication = serde_json::from_value(serde_json::json!({
            "selector": {"matchLabels": {"app": "a"}},
            "mtls": {"mode": "STRICT"}, "portLevelMtls": {"80": {"mode": "DISABLE"}, "81": {}}}))
        .unwrap();
        assert_eq!(spec.mtls.mode, MutualTlsMode::Strict);
        assert_eq!(spec.port_level_mtls["80"].mode, MutualTlsMode::Disable);
        assert_eq!(spec.port_level_mtls["81"].mode, MutualTlsMode::Unset);
        assert_eq!(spec.selector.unwrap().match_labels["app"], "a");
    }
}
