//! What the control plane is told when it starts: Istio's flags and environment.

use crate::authority::VaultOptions;
use ca::Lifetimes;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// All replicas of a workload share one identity, and take two streams each while they reconnect. A fifth of
/// all connections that are accepted.
const STREAMS: usize = 2_000;

#[derive(Clone, Debug)]
pub struct Options {
    /// The installation's namespace, where its ConfigMaps and the root's Secret are.
    pub namespace: String,
    pub pod_name: String,
    pub revision: String,
    pub cluster_domain: String,
    pub cluster_id: String,
    /// Discovery without TLS: only where nobody else can reach it.
    pub plaintext: Option<SocketAddr>,
    pub secure: SocketAddr,
    pub webhooks: SocketAddr,
    pub monitoring: SocketAddr,
    pub ready: SocketAddr,
    /// How many discovery streams one identity may hold.
    pub streams: usize,
    /// How long a change that would take a served host out of service waits for its other half.
    pub settle: Duration,
    /// Of workloads' certificates.
    pub lifetimes: Lifetimes,
    /// Where the files of an authority lie that is plugged in.
    pub plugged_in: PathBuf,
    /// Vault, where it is the authority.
    pub(crate) vault: Option<VaultOptions>,
}

impl Options {
    /// From the environment that the installation's manifest sets.
    pub fn from_env(read: impl Fn(&str) -> Option<String>) -> Self {
        let or = |key: &str, default: &str| {
            read(key).filter(|v| !v.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        let plaintext = read("LATEEN_PLAINTEXT_DISCOVERY").as_deref() == Some("true");
        let settle = read("LATEEN_SETTLE_SECONDS").and_then(|s| s.parse().ok());
        Self {
            namespace: or("POD_NAMESPACE", "istio-system"),
            pod_name: or("POD_NAME", "istiod"),
            revision: or("REVISION", "default"),
            cluster_domain: or("DOMAIN_SUFFIX", "cluster.local"),
            cluster_id: or("CLUSTER_ID", "Kubernetes"),
            plaintext: plaintext.then_some(any(15010)),
            secure: any(15012),
            webhooks: any(15017),
            monitoring: any(15014),
            ready: any(8080),
            lifetimes: lifetimes(&read),
            plugged_in: or("ROOT_CA_DIR", "/etc/cacerts").into(),
            vault: VaultOptions::from_env(&read),
            streams: STREAMS,
            settle: settle.map_or(Duration::from_secs(5), Duration::from_secs_f64),
        }
    }

    /// The names under which the control plane is dialled.
    pub(crate) fn dns_names(&self) -> Vec<String> {
        let service = match self.revision.as_str() {
            "" | "default" => "istiod".to_owned(),
            revision => format!("istiod-{revision}"),
        };
        let ns = &self.namespace;
        let mut names = Vec::new();
        for service in [service.as_str(), "istiod", "istio-pilot"] {
            for suffix in
                [format!("{ns}.svc"), format!("{ns}.svc.{}", self.cluster_domain), ns.clone()]
            {
                names.push(format!("{service}.{suffix}"));
            }
        }
        names.sort();
        names.dedup();
        names
    }
}

/// Under Istio's names; what cannot be read is as it is without.
fn lifetimes(read: impl Fn(&str) -> Option<String>) -> Lifetimes {
    let usual = Lifetimes::default();
    let of = |key: &str| Some(read(key)?.parse::<api::Duration>().ok()?.0);
    let max = of("MAX_WORKLOAD_CERT_TTL").unwrap_or(usual.max);
    let default = of("DEFAULT_WORKLOAD_CERT_TTL").unwrap_or(usual.default).min(max);
    Lifetimes { default, max }
}

/// Every address of both families.
fn any(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_is_in_the_clear_only_where_that_is_asked_for() {
        let with = |value: Option<&str>| {
            let read =
                |key: &str| (key == "LATEEN_PLAINTEXT_DISCOVERY").then_some(value?.to_owned());
            Options::from_env(read).plaintext.map(|at| at.port())
        };
        assert_eq!((with(None), with(Some("")), with(Some("1"))), (None, None, None));
        assert_eq!(with(Some("true")), Some(15010));
    }
}
