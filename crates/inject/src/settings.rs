//! What a pod's annotations ask for, checked: a bad value is a finding that refuses the pod, as a
//! proxy configured half would be worse than none.

use crate::pod::{annotation, app_containers, label};
use crate::{Context, proxy_config};
use base::Finding;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Which parts are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Template {
    Sidecar,
    Gateway,
    /// Our agent alone, beside an application that speaks xDS itself.
    GrpcAgent,
}

/// Annotations, labels and defaults, resolved.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub template: Template,
    pub image: String,
    pub native: bool,
    pub hold: bool,
    pub capture: Capture,
    pub status_port: u16,
    pub rewrite_probes: bool,
    pub merge_metrics: bool,
    pub log_level: String,
    pub component_log_level: String,
    pub agent_log_level: String,
    pub resources: Value,
    pub data_plane: String,
    /// `defaultConfig` of the mesh, ProxyConfigs, and the pod's own `proxy.istio.io/config`, each laid over
    /// the one before.
    pub proxy_config: Value,
    pub user_volumes: Map<String, Value>,
    pub user_mounts: Map<String, Value>,
}

/// What `istio-init` redirects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Capture {
    pub mode: String,
    pub include_ranges: String,
    pub exclude_ranges: String,
    pub include_inbound: String,
    pub exclude_inbound: String,
    pub include_outbound: String,
    pub exclude_outbound: String,
    pub exclude_interfaces: String,
    pub virtual_interfaces: String,
}

/// Whether the application's DNS queries go through the proxy: `"false"` says that they do not.
pub(crate) const DNS_CAPTURE: &str = "ISTIO_META_DNS_CAPTURE";

impl Settings {
    /// On wherever traffic is captured.
    pub fn captures_dns(&self) -> bool {
        let written = &self.proxy_config["proxyMetadata"][DNS_CAPTURE];
        let off = written == "false" || *written == Value::Bool(false);
        self.template == Template::Sidecar && self.capture.mode != "NONE" && !off
    }
}

pub(crate) fn read(pod: &Value, ctx: &Context) -> Result<Settings, Vec<Finding>> {
    let mut reader = Reader { pod, findings: Vec::new() };
    let proxy_config = reader.proxy_config(ctx);
    let v = ctx.values;
    let status_port = reader.status_port(&proxy_config, v.status_port);
    let settings = Settings {
        template: reader.template(),
        image: reader
            .text("sidecar.istio.io/proxyImage", &proxy_config::variant(&v.image, &proxy_config)),
        native: reader.flag(
            "sidecar.istio.io/nativeSidecar",
            v.native_sidecar.unwrap_or(ctx.nodes_run_native),
        ),
        hold: proxy_config["holdApplicationUntilProxyStarts"] == Value::Bool(true),
        capture: reader.capture(ctx, status_port),
        status_port,
        rewrite_probes: reader.flag("sidecar.istio.io/rewriteAppHTTPProbers", v.rewrite_probes),
        merge_metrics: reader.flag(
            "prometheus.istio.io/merge-metrics",
            ctx.mesh["enablePrometheusMerge"] != Value::Bool(false),
        ),
        log_level: reader.text("sidecar.istio.io/logLevel", &v.log_level),
        component_log_level: reader
            .text("sidecar.istio.io/componentLogLevel", &v.component_log_level),
        agent_log_level: reader.text("sidecar.istio.io/agentLogLevel", "default:info"),
        resources: reader.resources(&v.resources),
        data_plane: reader.choice("lateen.dev/data-plane", &["lateen", "envoy"], &v.data_plane),
        user_volumes: reader.json_map("sidecar.istio.io/userVolume"),
        user_mounts: reader.json_map("sidecar.istio.io/userVolumeMount"),
        proxy_config,
    };
    if reader.findings.is_empty() { Ok(settings) } else { Err(reader.findings) }
}

struct Reader<'a> {
    pod: &'a Value,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn refuse(&mut self, key: &str, why: impl std::fmt::Display) {
        self.findings.push(Finding::error(format!("metadata.annotations[{key}]"), why.to_string()));
    }

    fn text(&self, key: &str, default: &str) -> String {
        annotation(self.pod, key).unwrap_or(default).to_owned()
    }

    fn flag(&mut self, key: &str, default: bool) -> bool {
        match annotation(self.pod, key).or_else(|| label(self.pod, key)) {
            None => default,
            Some("true") => true,
            Some("false") => false,
            Some(other) => {
                self.refuse(key, format!("{other:?} is neither \"true\" nor \"false\""));
                default
            }
        }
    }

    fn choice(&mut self, key: &str, allowed: &[&str], default: &str) -> String {
        let chosen = self.text(key, default);
        if !allowed.contains(&chosen.as_str()) {
            self.refuse(key, format!("{chosen:?} is not one of {}", allowed.join(", ")));
        }
        chosen
    }

    fn template(&mut self) -> Template {
        const KEY: &str = "inject.istio.io/templates";
        match annotation(self.pod, KEY).unwrap_or("sidecar") {
            "sidecar" => Template::Sidecar,
            "gateway" => Template::Gateway,
            "grpc-agent" => Template::GrpcAgent,
            other => {
                let known = "sidecar, gateway or grpc-agent";
                self.refuse(KEY, format!("there is no template {other:?}; use {known}"));
                Template::Sidecar
            }
        }
    }

    fn proxy_config(&mut self, ctx: &Context) -> Value {
        const KEY: &str = "proxy.istio.io/config";
        let mut config = match &ctx.mesh["defaultConfig"] {
            Value::Object(map) => Value::Object(map.clone()),
            _ => json!({}),
        };
        let root = ctx.values.istio_namespace.as_str();
        for over in proxy_config::of_pod(ctx.proxy_configs, root, ctx.namespace, self.pod) {
            overlay(&mut config, over.clone());
        }
        let Some(text) = annotation(self.pod, KEY) else { return config };
        match serde_yaml_ng::from_str::<Value>(text) {
            Ok(Value::Object(own)) => overlay(&mut config, own),
            Ok(Value::Null) => {}
            Ok(_) => self.refuse(KEY, "it is not a set of fields as `key: value`"),
            Err(e) => self.refuse(KEY, format!("it is not YAML: {e}")),
        }
        config
    }

    fn status_port(&mut self, config: &Value, default: u16) -> u16 {
        const KEY: &str = "status.sidecar.istio.io/port";
        let default =
            config["statusPort"].as_u64().and_then(|p| p.try_into().ok()).unwrap_or(default);
        let Some(text) = annotation(self.pod, KEY) else { return default };
        text.parse().unwrap_or_else(|_| {
            self.refuse(KEY, format!("{text:?} is not a port from 0 to 65535"));
            default
        })
    }

    fn capture(&mut self, ctx: &Context, status_port: u16) -> Capture {
        let v = ctx.values;
        let mode = match &ctx.mesh["defaultConfig"]["interceptionMode"] {
            Value::String(mode) => mode.clone(),
            _ => "REDIRECT".to_owned(),
        };
        let t = |suffix: &str| format!("traffic.sidecar.istio.io/{suffix}");
        let own = self.ports(&t("excludeInboundPorts"), &v.exclude_inbound_ports, false);
        let mut exclude_inbound = vec!["15090".to_owned(), "15021".to_owned()];
        if status_port != 0 {
            exclude_inbound.push(status_port.to_string());
        }
        exclude_inbound.extend(own.split(',').filter(|p| !p.is_empty()).map(str::to_owned));
        Capture {
            mode: self.choice(
                "sidecar.istio.io/interceptionMode",
                &["REDIRECT", "TPROXY", "NONE"],
                &mode,
            ),
            include_ranges: self.ranges(&t("includeOutboundIPRanges"), &v.include_ip_ranges),
            exclude_ranges: self.ranges(&t("excludeOutboundIPRanges"), &v.exclude_ip_ranges),
            include_inbound: self.ports(&t("includeInboundPorts"), &v.include_inbound_ports, true),
            exclude_inbound: exclude_inbound.join(","),
            include_outbound: self.ports(
                &t("includeOutboundPorts"),
                &v.include_outbound_ports,
                false,
            ),
            exclude_outbound: self.ports(
                &t("excludeOutboundPorts"),
                &v.exclude_outbound_ports,
                false,
            ),
            exclude_interfaces: self.text(&t("excludeInterfaces"), ""),
            virtual_interfaces: annotation(self.pod, "istio.io/reroute-virtual-interfaces")
                .map_or_else(|| self.text(&t("kubevirtInterfaces"), ""), str::to_owned),
        }
    }

    fn ports(&mut self, key: &str, default: &str, star: bool) -> String {
        let text = self.text(key, default);
        let bad = |p: &&str| p.trim().parse::<u16>().is_err();
        let all = star && text == "*";
        if let Some(bad) = text.split(',').filter(|p| !all && !p.is_empty()).find(bad) {
            self.refuse(key, format!("{bad:?} is not a port; write numbers with commas"));
        }
        text
    }

    fn ranges(&mut self, key: &str, default: &str) -> String {
        let text = self.text(key, default);
        let bad = |r: &&str| text != "*" && !r.is_empty() && !is_range(r.trim());
        if let Some(bad) = text.split(',').find(bad) {
            self.refuse(key, format!("{bad:?} is not an address range as in 10.0.0.0/8"));
        }
        text
    }

    fn resources(&mut self, default: &Value) -> Value {
        let mut resources = default.clone();
        let fields = [
            ("sidecar.istio.io/proxyCPU", "requests", "cpu"),
            ("sidecar.istio.io/proxyMemory", "requests", "memory"),
            ("sidecar.istio.io/proxyCPULimit", "limits", "cpu"),
            ("sidecar.istio.io/proxyMemoryLimit", "limits", "memory"),
        ];
        // Naming any of them replaces the whole default, as a request above a default limit would
        // make the pod invalid.
        if fields.iter().any(|(key, ..)| annotation(self.pod, key).is_some()) {
            resources = json!({});
        }
        for (key, group, resource) in fields {
            let Some(text) = annotation(self.pod, key) else { continue };
            if !is_quantity(text) {
                self.refuse(key, format!("{text:?} is not a quantity as in 100m or 64Mi"));
            }
            resources[group][resource] = text.into();
        }
        resources
    }

    fn json_map(&mut self, key: &str) -> Map<String, Value> {
        match annotation(self.pod, key).map(serde_json::from_str::<Map<String, Value>>) {
            None => Map::new(),
            Some(Ok(map)) => {
                if let Some((name, _)) = map.iter().find(|(_, v)| !v.is_object()) {
                    self.refuse(key, format!("what it says of {name:?} is not an object"));
                }
                map
            }
            Some(Err(e)) => {
                self.refuse(key, format!("it is not a JSON object by name: {e}"));
                Map::new()
            }
        }
    }
}

/// Lays `over` onto `base`: objects field by field, all else whole.
fn overlay(base: &mut Value, over: Map<String, Value>) {
    for (key, value) in over {
        match value {
            Value::Object(inner) if base[&key].is_object() => overlay(&mut base[&key], inner),
            other => base[&key] = other,
        }
    }
}

fn is_range(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return text.parse::<IpAddr>().is_ok();
    };
    let max = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.parse::<u8>().is_ok_and(|b| b <= max)
}

fn is_quantity(text: &str) -> bool {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = &text[..text.len() - digits.len()];
    let suffixes =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    number.parse::<f64>().is_ok() && suffixes.contains(&digits)
}

/// The name and revision under which a workload's metrics are filed.
pub(crate) fn canonical(pod: &Value, workload: &str) -> (String, String) {
    let first = |keys: [&str; 3]| keys.into_iter().find_map(|key| label(pod, key));
    let name = first(["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let revision =
        first(["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    (name.unwrap_or(workload).to_owned(), revision.unwrap_or("latest").to_owned())
}

/// Every container port of the application, as Kubernetes writes it.
pub(crate) fn pod_ports(pod: &Value) -> Vec<Value> {
    app_containers(pod).filter_map(|c| c["ports"].as_array()).flatten().cloned().collect()
}
