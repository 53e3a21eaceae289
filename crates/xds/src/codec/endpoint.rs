//! Endpoints.

use super::address::{read_address_in, write_address};
use super::at::{At, number_of};
use super::common::{read_metadata, write_metadata};
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{Endpoint, EndpointGroup, Endpoints, Health, Locality};

pub(super) fn write_endpoints(e: &Endpoints) -> Msg {
    let policy = Msg::new(&LOAD_POLICY)
        .set_opt("overprovisioning_factor", e.overprovisioning_factor)
        .set("weighted_priority_health", e.weighted_priority_health);
    write_groups(&e.cluster, &e.groups).set_opt("policy", (!policy.is_empty()).then_some(policy))
}

pub(super) fn write_groups(cluster: &ir::Str, groups: &[EndpointGroup]) -> Msg {
    Msg::new(&CLUSTER_LOAD_ASSIGNMENT)
        .set("cluster_name", cluster)
        .set("endpoints", Val::list(groups, write_group))
}

pub(super) fn read_endpoints(at: &At) -> Endpoints {
    let policy = at.msg("policy");
    Endpoints {
        cluster: at.str("cluster_name"),
        groups: at.each("endpoints", read_group),
        overprovisioning_factor: policy.as_ref().and_then(|p| p.opt_u32("overprovisioning_factor")),
        weighted_priority_health: policy.is_some_and(|p| p.bool("weighted_priority_health")),
    }
}

/// The endpoints that stand within a cluster, where a policy has no place.
pub(super) fn read_inline(at: &At) -> Vec<EndpointGroup> {
    let endpoints = read_endpoints(at);
    if endpoints.overprovisioning_factor.is_some() || endpoints.weighted_priority_health {
        at.error_in("policy", "is supported for endpoints that come by EDS only");
    }
    endpoints.groups
}

fn write_group(g: &EndpointGroup) -> Msg {
    Msg::new(&LOCALITY_ENDPOINTS)
        .set_opt(
            "locality",
            (g.locality != Locality::default()).then(|| write_locality(&g.locality)),
        )
        .set("priority", g.priority)
        .set_opt("load_balancing_weight", g.weight)
        .set("lb_endpoints", Val::list(&g.endpoints, write_endpoint))
}

fn read_group(at: &At) -> EndpointGroup {
    EndpointGroup {
        locality: at.msg("locality").map(|l| read_locality(&l)).unwrap_or_default(),
        priority: at.u32("priority"),
        weight: at.opt_u32("load_balancing_weight"),
        endpoints: at.each("lb_endpoints", read_endpoint),
    }
}

pub(crate) fn write_locality(l: &Locality) -> Msg {
    Msg::new(&LOCALITY).set("region", &l.region).set("zone", &l.zone).set("sub_zone", &l.sub_zone)
}

pub(crate) fn read_locality(at: &At) -> Locality {
    Locality { region: at.str("region"), zone: at.str("zone"), sub_zone: at.str("sub_zone") }
}

const HEALTHS: &[(i32, Health)] = &[
    (0, Health::Unknown),
    (1, Health::Healthy),
    (2, Health::Unhealthy),
    (3, Health::Draining),
    (4, Health::Timeout),
    (5, Health::Degraded),
];

fn write_endpoint(e: &Endpoint) -> Msg {
    let endpoint =
        Msg::new(&ENDPOINT).set("address", write_address(&e.address)).set("hostname", &e.hostname);
    Msg::new(&LB_ENDPOINT)
        .set("endpoint", endpoint)
        .set("health_status", number_of(HEALTHS, e.health))
        .set_opt("load_balancing_weight", e.weight)
        .set_opt("metadata", write_metadata(&e.metadata))
}

fn read_endpoint(at: &At) -> Endpoint {
    let mut endpoint = match at.msg("endpoint") {
        Some(e) => {
            let mut endpoint = Endpoint::at(read_address_in(&e, "address"));
            endpoint.hostname = e.str("hostname");
            endpoint
        }
        None => Endpoint::at(read_address_in(at, "endpoint")),
    };
    endpoint.health = at.pick("health_status", HEALTHS).unwrap_or_default();
    endpoint.weight = at.opt_u32("load_balancing_weight");
    endpoint.metadata = read_metadata(at, "metadata");
    endpoint
}
