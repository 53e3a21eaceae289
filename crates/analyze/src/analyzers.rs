//! The table of analyzers, and one file for each. An analyzer is a function over the world; its name is
//! what `--analyzer` and `--list-analyzers` say.

mod alpha;
mod annotations;
mod application_uid;
mod authorization;
mod blocked_cidrs;
mod ca_certificate;
mod conditions;
mod deprecated_fields;
mod destination_host;
mod destination_subset;
mod entry_addresses;
mod entry_protocol;
mod envoy_patch;
mod external_control_plane;
mod gateway_certificate;
mod gateway_conflict;
mod gateway_port;
mod gateway_secret;
mod image_auto;
mod injection;
mod injection_image;
mod jwt_claim;
mod k8s_gateway_selector;
mod mesh_hosts;
mod mesh_networks;
mod port_name;
mod rule_host;
mod schema;
mod selectors;
mod service_association;
mod sidecar_selector;
mod subset_pods;
mod telemetry_default;
mod telemetry_lightstep;
mod telemetry_provider;
mod telemetry_selector;
mod virtual_service_gateway;
mod webhook;

use crate::report::Report;
use crate::world::World;

pub struct Analyzer {
    pub name: &'static str,
    /// What is true when it says nothing.
    pub about: &'static str,
    /// It says the same of an object whatever else there is, so admission may say it too: nothing then
    /// depends on the order in which objects are applied.
    pub alone: bool,
    pub run: fn(&World, &mut Report),
}

/// All of them, by name.
pub const ALL: &[Analyzer] = &[
    annotations::ANALYZER,
    authorization::ANALYZER,
    blocked_cidrs::ANALYZER,
    conditions::ANALYZER,
    application_uid::ANALYZER,
    service_association::ANALYZER,
    deprecated_fields::ANALYZER,
    ca_certificate::ANALYZER,
    subset_pods::ANALYZER,
    rule_host::ANALYZER,
    envoy_patch::ANALYZER,
    external_control_plane::ANALYZER,
    gateway_certificate::ANALYZER,
    gateway_conflict::ANALYZER,
    gateway_port::ANALYZER,
    gateway_secret::ANALYZER,
    injection::ANALYZER,
    injection_image::ANALYZER,
    image_auto::ANALYZER,
    k8s_gateway_selector::ANALYZER,
    alpha::ANALYZER,
    mesh_networks::ANALYZER,
    schema::ANALYZER,
    port_name::ANALYZER,
    entry_protocol::ANALYZER,
    entry_addresses::ANALYZER,
    sidecar_selector::ANALYZER,
    telemetry_default::ANALYZER,
    telemetry_lightstep::ANALYZER,
    telemetry_provider::ANALYZER,
    telemetry_selector::ANALYZER,
    mesh_hosts::ANALYZER,
    destination_host::ANALYZER,
    destination_subset::ANALYZER,
    virtual_service_gateway::ANALYZER,
    jwt_claim::ANALYZER,
    webhook::ANALYZER,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = ALL.iter().map(|a| a.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
