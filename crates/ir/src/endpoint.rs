//! Endpoints (`envoy.config.endpoint.v3.ClusterLoadAssignment`).

use crate::{Address, Metadata, Str};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoints {
    /// The EDS service name.
    pub cluster: Str,
    pub groups: Vec<EndpointGroup>,
    /// Percent; `None` is 140.
    pub overprovisioning_factor: Option<u32>,
    pub weighted_priority_health: bool,
}

/// The endpoints of one locality at one priority.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EndpointGroup {
    pub locality: Locality,
    pub priority: u32,
    /// Share of this locality among those of its priority, where localities are weighted.
    pub weight: Option<u32>,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    pub region: Str,
    pub zone: Str,
    pub sub_zone: Str,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    pub address: Address,
    pub hostname: Str,
    pub health: Health,
    /// `None` is 1.
    pub weight: Option<u32>,
    pub metadata: Metadata,
}

impl Endpoint {
    pub fn at(address: Address) -> Self {
        Self {
            address,
            hostname: "".into(),
            health: Health::Unknown,
            weight: None,
            metadata: Metadata::new(),
        }
    }
}

/// `core.v3.HealthStatus`; Unknown counts as healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Health {
    #[default]
    Unknown,
    Healthy,
    Unhealthy,
    Draining,
    Timeout,
    Degraded,
}
