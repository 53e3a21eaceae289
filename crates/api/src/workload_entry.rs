//! WorkloadEntry (networking.istio.io): one workload that is not a pod.

use base::Labels;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// An IP address, a DNS name, or `unix://` and a path.
    pub address: String,
    pub ports: BTreeMap<String, u32>,
    pub labels: Labels,
    pub network: String,
    pub locality: String,
    /// Zero means one.
    pub weight: u32,
    pub service_account: String,
    /// Not of the spec: its health is checked, and it is not known to be well.
    #[serde(skip)]
    pub unhealthy: bool,
}
