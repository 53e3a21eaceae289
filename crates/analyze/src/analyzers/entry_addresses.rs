//! TCP ports of ServiceEntries need addresses, or connections to them cannot be told apart.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::World;

pub const ANALYZER: Analyzer = Analyzer {
    name: "serviceentry.ProtocolAddressesAnalyzer",
    about: "ServiceEntries with TCP ports have addresses",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    if allocates_addresses(world) {
        return;
    }
    for entry in world.all(kinds::SERVICE_ENTRY) {
        let spec = entry.spec();
        if spec["addresses"].as_array().is_some_and(|a| !a.is_empty()) {
            continue;
        }
        for (index, port) in spec["ports"].as_array().into_iter().flatten().enumerate() {
            let protocol = port["protocol"].as_str().unwrap_or_default();
            if protocol.is_empty() || protocol.eq_ignore_ascii_case("TCP") {
                let path = format!("spec.ports[{index}].protocol");
                report.say(catalogue::ADDRESSES_REQUIRED, &entry.reference, path, &[]);
            }
        }
    }
}

/// Proxies that answer DNS give hosts without an address one of their own.
fn allocates_addresses(world: &World) -> bool {
    let metadata = &world.mesh_config().default_config.proxy_metadata;
    let on = |key: &str| metadata.get(key).is_some_and(|v| v == "true");
    on("ISTIO_META_DNS_CAPTURE") && on("ISTIO_META_DNS_AUTO_ALLOCATE")
}
