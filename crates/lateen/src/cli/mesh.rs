//! `proxy-status`, `proxy-config` and `version`: what the control plane and the proxies say of
//! themselves, in istioctl's columns.

use super::remote::Remote;
use super::{Global, pods, print};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::collections::BTreeMap;

mod dump;
mod secrets;

const DEBUG_PORT: u16 = 15014;
const ADMIN_PORT: u16 = 15000;

#[derive(Args)]
pub struct ProxyStatusArgs {
    /// Only this proxy: POD, POD.NAMESPACE or KIND/NAME
    proxy: Option<String>,
    /// table or json
    #[arg(short, long, default_value = "table")]
    output: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Section {
    #[value(alias = "listener", alias = "l")]
    Listeners,
    #[value(alias = "route", alias = "r")]
    Routes,
    #[value(alias = "cluster", alias = "c")]
    Clusters,
    #[value(alias = "endpoint", alias = "ep")]
    Endpoints,
    Bootstrap,
    #[value(alias = "secrets", alias = "s")]
    Secret,
    All,
}

#[derive(Args)]
pub struct ProxyConfigArgs {
    /// Which part of the configuration
    section: Section,
    /// POD, POD.NAMESPACE or KIND/NAME
    proxy: String,
    /// short, json or yaml
    #[arg(short, long, default_value = "short")]
    output: String,
    /// Clusters: only this service
    #[arg(long)]
    fqdn: Option<String>,
    /// Only this port
    #[arg(long)]
    port: Option<u16>,
    /// Clusters: only this subset
    #[arg(long)]
    subset: Option<String>,
    /// Clusters: inbound or outbound
    #[arg(long)]
    direction: Option<String>,
    /// Endpoints: only of this cluster
    #[arg(long)]
    cluster: Option<String>,
    /// Listeners and endpoints: only this address
    #[arg(long)]
    address: Option<String>,
    /// Routes: only the configuration of this name
    #[arg(long)]
    name: Option<String>,
}

#[derive(Args)]
pub struct VersionArgs {
    /// Ask the cluster too
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value = "true")]
    remote: bool,
    /// Only the number
    #[arg(short, long)]
    short: bool,
    /// json or yaml
    #[arg(short, long)]
    output: Option<String>,
}

/// Pods of the control plane in the namespace it lives in, without those that are going.
async fn control_planes(remote: &Remote, namespace: &str) -> Result<Vec<String>> {
    let path = format!("/api/v1/namespaces/{namespace}/pods?labelSelector=app%3Distiod");
    let list = remote.connection.get(&path).await?.body;
    let running = list["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|p| p["status"]["phase"] == "Running")
        .filter(|p| p["metadata"]["deletionTimestamp"].is_null());
    Ok(running.filter_map(|p| p["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

/// What every control plane answers on a debug path.
pub(super) async fn ask_control_planes(
    remote: &Remote,
    namespace: &str,
    path: &str,
) -> Result<Vec<(String, Value)>> {
    let pods = control_planes(remote, namespace).await?;
    if pods.is_empty() {
        bail!("no ready Istio pods in {namespace:?}");
    }
    let mut answers = Vec::new();
    for pod in pods {
        let text = pods::fetch(remote, namespace, &pod, DEBUG_PORT, path).await?;
        let value = serde_json::from_str(&text)
            .with_context(|| format!("{pod}{path} did not answer JSON"))?;
        answers.push((pod, value));
    }
    Ok(answers)
}

pub async fn proxy_status(global: &Global, args: ProxyStatusArgs) -> Result<()> {
    let mut remote = Remote::open(global).await?;
    let wanted = match &args.proxy {
        Some(word) => {
            let (namespace, pod) = remote.pod(word).await?;
            Some(format!("{pod}.{namespace}"))
        }
        None => None,
    };
    let mut proxies = Vec::new();
    for (pod, answer) in
        ask_control_planes(&remote, &global.istio_namespace, "/debug/syncz").await?
    {
        for proxy in answer.as_array().into_iter().flatten() {
            if wanted.as_deref().is_none_or(|w| proxy["proxy"] == w) {
                proxies.push((pod.clone(), proxy.clone()));
            }
        }
    }
    if args.output == "json" {
        let list: Vec<Value> = proxies.into_iter().map(|(_, p)| p).collect();
        print!("{}", print::json(&Value::Array(list)));
        return Ok(());
    }
    if let Some(wanted) = wanted.filter(|_| proxies.is_empty()) {
        bail!("no control plane knows a proxy {wanted}; is its pod running, with a sidecar?");
    }
    let old =
        std::env::var("LATEEN_COMPAT").is_ok_and(|v| v.starts_with("1.7") || v.starts_with("1.9"));
    print!("{}", print::table(&status_rows(&proxies, old)));
    Ok(())
}

/// Discovery types as syncz names them, in the order of the columns.
const TYPES: [(&str, &str); 4] =
    [("cluster", "CDS"), ("listener", "LDS"), ("endpoint", "EDS"), ("route", "RDS")];

fn status_rows(proxies: &[(String, Value)], old: bool) -> Vec<Vec<String>> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let head: &[&str] = match old {
        true => &["NAME", "CDS", "LDS", "EDS", "RDS", "ISTIOD", "VERSION"],
        false => &["NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES"],
    };
    let mut rows: Vec<Vec<String>> = proxies
        .iter()
        .map(|(istiod, p)| {
            let mut row = vec![text(&p["proxy"])];
            if old {
                row.extend(TYPES.iter().map(|(name, _)| sync_state(p, name)));
                row.extend([istiod.clone(), text(&p["istio_version"])]);
            } else {
                let known: Vec<&str> = TYPES
                    .iter()
                    .filter(|(name, _)| sync_state(p, name) != "NOT SENT")
                    .map(|(_, t)| *t)
                    .collect();
                let types = format!("{} ({})", known.len(), known.join(","));
                row.extend([
                    text(&p["cluster_id"]),
                    istiod.clone(),
                    text(&p["istio_version"]),
                    types,
                ]);
            }
            row
        })
        .collect();
    rows.sort();
    rows.insert(0, head.iter().map(|h| (*h).to_owned()).collect());
    rows
}

/// From the nonces that were last sent and last acknowledged.
fn sync_state(proxy: &Value, kind: &str) -> String {
    let nonce = |what: &str| proxy[format!("{kind}_{what}")].as_str().unwrap_or_default();
    match (nonce("sent"), nonce("acked")) {
        ("", _) => "NOT SENT",
        (sent, acked) if sent == acked => "SYNCED",
        (_, "") => "STALE (Never Acknowledged)",
        _ => "STALE",
    }
    .to_owned()
}

pub async fn proxy_config(global: &Global, args: ProxyConfigArgs) -> Result<()> {
    let mut remote = Remote::open(global).await?;
    let (namespace, pod) = remote.pod(&args.proxy).await?;
    let text = pods::fetch(&remote, &namespace, &pod, ADMIN_PORT, "/config_dump?include_eds")
        .await
        .with_context(|| {
            format!("{pod}.{namespace} gave no configuration; has the pod a proxy?")
        })?;
    let dump = dump::Dump::parse(&text)?;
    let filter = dump::Filter {
        fqdn: args.fqdn,
        port: args.port,
        subset: args.subset,
        direction: args.direction,
        cluster: args.cluster,
        address: args.address,
        name: args.name,
    };
    let part = match args.section {
        Section::Listeners => dump.listeners(&filter),
        Section::Routes => dump.routes(&filter),
        Section::Clusters => dump.clusters(&filter),
        Section::Endpoints => dump.endpoints(&filter),
        Section::Secret => secrets::secrets(&dump, super::now()),
        Section::Bootstrap => dump.bootstrap(),
        Section::All => dump.all(&filter),
    };
    match args.output.as_str() {
        "json" => print!("{}", print::json(&part.raw)),
        "yaml" => print!("{}", print::yaml(&part.raw)),
        "short" => print!("{}", part.text()),
        other => bail!("output format {other:?} is none of short, json, yaml"),
    }
    Ok(())
}

pub async fn version(global: &Global, args: VersionArgs) -> Result<()> {
    let client = env!("CARGO_PKG_VERSION");
    if args.short && !args.remote {
        println!("{client}");
        return Ok(());
    }
    let mut lines = vec![("client version".to_owned(), client.to_owned())];
    if args.remote {
        match remote_versions(global).await {
            Ok(remote) => lines.extend(remote),
            Err(e) => eprintln!("{e:#}"),
        }
    }
    match args.output.as_deref() {
        None => lines.iter().for_each(|(what, version)| println!("{what}: {version}")),
        Some(format) => {
            let map = lines
                .into_iter()
                .map(|(k, v)| (k.replace(" version", "Version").replace(' ', ""), v.into()));
            let value = Value::Object(map.collect());
            print!("{}", if format == "yaml" { print::yaml(&value) } else { print::json(&value) });
        }
    }
    Ok(())
}

async fn remote_versions(global: &Global) -> Result<Vec<(String, String)>> {
    let remote = Remote::open(global).await?;
    let planes = ask_control_planes(&remote, &global.istio_namespace, "/version").await?;
    let proxies = ask_control_planes(&remote, &global.istio_namespace, "/debug/syncz").await?;
    let plane =
        planes.first().and_then(|(_, v)| v["version"].as_str()).unwrap_or("unknown").to_owned();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for proxy in proxies.iter().flat_map(|(_, v)| v.as_array().into_iter().flatten()) {
        let version = proxy["istio_version"].as_str().unwrap_or("unknown");
        *counts.entry(version.to_owned()).or_default() += 1;
    }
    let data: Vec<String> = counts
        .iter()
        .map(|(version, n)| {
            format!("{version} ({n} {})", if *n == 1 { "proxy" } else { "proxies" })
        })
        .collect();
    Ok(vec![
        ("control plane version".to_owned(), plane),
        (
            "data plane version".to_owned(),
            if data.is_empty() { "none".into() } else { data.join(", ") },
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_shapes_of_the_status_table() {
        let proxy = json!({
            "proxy": "reviews-v1.default", "cluster_id": "Kubernetes", "istio_version": "0.1.0",
            "cluster_sent": "1", "cluster_acked": "1", "listener_sent": "2", "listener_acked": "1",
            "endpoint_sent": "1",
        });
        let proxies = [("istiod-0".to_owned(), proxy)];
        let new = print::table(&status_rows(&proxies, false));
        assert!(
            new.starts_with(
                "NAME                 CLUSTER      ISTIOD     VERSION   SUBSCRIBED TYPES\n"
            ),
            "{new}"
        );
        assert!(new.contains("3 (CDS,LDS,EDS)"), "{new}");
        let old = status_rows(&proxies, true);
        assert_eq!(old[1][1..5], ["SYNCED", "STALE", "STALE (Never Acknowledged)", "NOT SENT"]);
    }
}
