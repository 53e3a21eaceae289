//! The mesh configuration: ConfigMap `istio`, keys `mesh` and `meshNetworks`.

use crate::{
    ConnectionPoolSettings, Duration, ExtensionProvider, HttpRetry, LocalityLbSetting,
    OutboundMode, OutboundTrafficPolicy, OutlierDetection, TcpKeepalive, TlsProtocol,
};
use base::Finding;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The settings that this version uses; the others of Istio's are tolerated with a finding.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    pub proxy_listen_port: u16,
    pub proxy_inbound_listen_port: u16,
    pub connect_timeout: Duration,
    pub protocol_detection_timeout: Duration,
    pub access_log_file: String,
    pub access_log_format: String,
    pub access_log_encoding: AccessLogEncoding,
    pub disable_envoy_listener_log: bool,
    pub enable_tracing: bool,
    pub enable_auto_mtls: bool,
    pub enable_prometheus_merge: bool,
    pub default_config: ProxyConfig,
    #[serde(deserialize_with = "outbound_policy")]
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    pub trust_domain: String,
    pub trust_domain_aliases: Vec<String>,
    pub default_service_export_to: Vec<String>,
    pub default_virtual_service_export_to: Vec<String>,
    pub default_destination_rule_export_to: Vec<String>,
    pub root_namespace: String,
    pub dns_refresh_rate: Duration,
    pub h2_upgrade_policy: MeshH2Upgrade,
    pub path_normalization: Option<PathNormalization>,
    pub default_http_retry_policy: Option<HttpRetry>,
    pub default_traffic_policy: MeshTrafficPolicy,
    pub locality_lb_setting: LocalityLbSetting,
    pub tcp_keepalive: Option<TcpKeepalive>,
    #[serde(rename = "meshMTLS")]
    pub mesh_mtls: MeshMtls,
    pub ingress_class: String,
    pub ingress_service: String,
    pub ingress_selector: String,
    pub extension_providers: Vec<ExtensionProvider>,
}

impl Default for MeshConfig {
    fn default() -> Self {
        let everybody = || vec!["*".to_owned()];
        Self {
            proxy_listen_port: 15001,
            proxy_inbound_listen_port: 15006,
            connect_timeout: Duration(std::time::Duration::from_secs(10)),
            protocol_detection_timeout: Duration::default(),
            access_log_file: String::new(),
            access_log_format: String::new(),
            access_log_encoding: AccessLogEncoding::Text,
            disable_envoy_listener_log: false,
            enable_tracing: true,
            enable_auto_mtls: true,
            enable_prometheus_merge: true,
            default_config: ProxyConfig::default(),
            outbound_traffic_policy: allow_any(),
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: Vec::new(),
            default_service_export_to: everybody(),
            default_virtual_service_export_to: everybody(),
            default_destination_rule_export_to: everybody(),
            root_namespace: "istio-system".to_owned(),
            dns_refresh_rate: Duration(std::time::Duration::from_secs(60)),
            h2_upgrade_policy: MeshH2Upgrade::DoNotUpgrade,
            path_normalization: None,
            default_http_retry_policy: None,
            default_traffic_policy: MeshTrafficPolicy::default(),
            locality_lb_setting: LocalityLbSetting::default(),
            tcp_keepalive: None,
            mesh_mtls: MeshMtls::default(),
            ingress_class: "istio".to_owned(),
            ingress_service: "istio-ingressgateway".to_owned(),
            ingress_selector: "ingressgateway".to_owned(),
            extension_providers: Vec::new(),
        }
    }
}

fn allow_any() -> OutboundTrafficPolicy {
    OutboundTrafficPolicy { mode: OutboundMode::AllowAny, egress_proxy: None }
}

/// In the mesh configuration a policy without a mode is ALLOW_ANY; in a Sidecar it is REGISTRY_ONLY.
fn outbound_policy<'de, D>(deserializer: D) -> Result<OutboundTrafficPolicy, D::Error>
where
    D: serde::Deserializer<'de>,
{
    #[derive(Deserialize)]
    struct Written {
        mode: Option<OutboundMode>,
    }
    let mode = Written::deserialize(deserializer)?.mode.unwrap_or(OutboundMode::AllowAny);
    Ok(OutboundTrafficPolicy { mode, egress_proxy: None })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccessLogEncoding {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MeshH2Upgrade {
    DoNotUpgrade,
    Upgrade,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathNormalization {
    pub normalization: Normalization,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Normalization {
    /// BASE.
    #[default]
    Default,
    None,
    Base,
    MergeSlashes,
    DecodeAndMergeSlashes,
}

/// What is spoken between workloads.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshMtls {
    pub min_protocol_version: TlsProtocol,
    pub cipher_suites: Vec<String>,
}

/// What holds for destinations whose DestinationRule does not say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshTrafficPolicy {
    pub connection_pool: Option<ConnectionPoolSettings>,
    pub outlier_detection: Option<OutlierDetection>,
}

/// Settings of one proxy: the mesh's `defaultConfig`, or the annotation `proxy.istio.io/config`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    pub discovery_address: String,
    pub concurrency: Option<i32>,
    pub drain_duration: Option<Duration>,
    pub termination_drain_duration: Option<Duration>,
    pub status_port: Option<u16>,
    pub hold_application_until_proxy_starts: bool,
    pub proxy_metadata: BTreeMap<String, String>,
    pub gateway_topology: Option<GatewayTopology>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayTopology {
    pub num_trusted_proxies: u32,
    pub forward_client_cert_details: Option<ForwardClientCert>,
    /// Its presence is all it says: clients come with the PROXY protocol, and no others.
    pub proxy_protocol: Option<Nothing>,
}

/// A message without fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Nothing {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ForwardClientCert {
    Undefined,
    Sanitize,
    ForwardOnly,
    AppendForward,
    SanitizeSet,
    AlwaysForwardOnly,
}

impl MeshConfig {
    /// Reads the YAML of key `mesh`. What cannot be read is said, and its default applies.
    pub fn parse(yaml: &str) -> (MeshConfig, Vec<Finding>) {
        let mut value: serde_json::Value = match serde_yaml_ng::from_str(yaml) {
            Ok(value) => value,
            Err(e) => {
                let say = format!("not YAML: {e}; the defaults apply");
                return (MeshConfig::default(), vec![Finding::error("data.mesh", say)]);
            }
        };
        crate::decode::prune_nulls(&mut value);
        let mut findings = Vec::new();
        let Some(fields) = value.as_object() else {
            return (MeshConfig::default(), findings);
        };
        let mut accepted = serde_json::Map::new();
        for (name, field) in fields {
            accepted.insert(name.clone(), field.clone());
            let attempt = serde_json::Value::Object(accepted.clone());
            if let Err(e) = serde_json::from_value::<MeshConfig>(attempt) {
                accepted.remove(name);
                let say = format!("{e}; the default applies");
                findings.push(Finding::error(format!("data.mesh.{name}"), say));
            } else if !USED.contains(&name.as_str()) {
                findings.push(Finding::info(format!("data.mesh.{name}"), "has no effect yet"));
            }
        }
        let mesh = serde_json::from_value(serde_json::Value::Object(accepted));
        let mesh: MeshConfig = mesh.unwrap_or_default();
        for (i, provider) in mesh.extension_providers.iter().enumerate() {
            findings.extend(provider.check(&format!("data.mesh.extensionProviders[{i}]")));
        }
        (mesh, findings)
    }
}

const USED: &[&str] = &[
    "proxyListenPort",
    "proxyInboundListenPort",
    "connectTimeout",
    "protocolDetectionTimeout",
    "accessLogFile",
    "accessLogFormat",
    "accessLogEncoding",
    "disableEnvoyListenerLog",
    "enablePrometheusMerge",
    "defaultConfig",
    "outboundTrafficPolicy",
    "trustDomain",
    "trustDomainAliases",
    "defaultServiceExportTo",
    "defaultVirtualServiceExportTo",
    "defaultDestinationRuleExportTo",
    "rootNamespace",
    "dnsRefreshRate",
    "h2UpgradePolicy",
    "pathNormalization",
    "defaultHttpRetryPolicy",
    "defaultTrafficPolicy",
    "localityLbSetting",
    "tcpKeepalive",
    "extensionProviders",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_stand_where_nothing_is_written() {
        let (mesh, findings) = MeshConfig::parse("accessLogFile: /dev/stdout\ntrustDomain: null\n");
        assert_eq!(mesh.access_log_file, "/dev/stdout");
        assert_eq!(mesh.trust_domain, "cluster.local");
        assert_eq!(mesh.outbound_traffic_policy.mode, OutboundMode::AllowAny);
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn a_bad_field_costs_only_itself() {
        let yaml = "connectTimeout: soon\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}\nthriftConfig: {}\n";
        let (mesh, findings) = MeshConfig::parse(yaml);
        assert_eq!(mesh.connect_timeout.0.as_secs(), 10);
        assert_eq!(mesh.outbound_traffic_policy.mode, OutboundMode::RegistryOnly);
        let paths: Vec<&str> = findings.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(paths, ["data.mesh.connectTimeout", "data.mesh.thriftConfig"]);
    }

    #[test]
    fn providers_are_read_and_what_is_wrong_with_one_is_said() {
        let yaml = "
extensionProviders:
- name: a
  envoyExtAuthzHttp:
    service: foo/a.foo.svc.cluster.local
    port: 8000
    timeout: 10s
    includeRequestBodyInCheck: {maxRequestBytes: 2048}
- {name: b, envoyExtAuthzGrpc: {service: '', port: 0, statusOnError: Forbidden}}
- {name: zipkin, zipkin: {service: z, port: 9411}}
";
        let (mesh, findings) = MeshConfig::parse(yaml);
        let http = mesh.extension_providers[0].envoy_ext_authz_http.as_ref().expect("read");
        assert_eq!(http.timeout.expect("read").0.as_secs(), 10);
        assert_eq!(http.include_request_body_in_check.expect("read").max_request_bytes, 2048);
        assert!(mesh.extension_providers[2].authorizer().is_none());
        let said: Vec<&str> = findings.iter().map(|f| f.path.as_str()).collect();
        let grpc = "data.mesh.extensionProviders[1].envoyExtAuthzGrpc";
        assert_eq!(said, ["service", "port", "statusOnError"].map(|f| format!("{grpc}.{f}")));
    }

    #[test]
    fn a_policy_without_a_mode_allows_any() {
        let (mesh, _) = MeshConfig::parse("outboundTrafficPolicy: {}\n");
        assert_eq!(mesh.outbound_traffic_policy.mode, OutboundMode::AllowAny);
    }
}
