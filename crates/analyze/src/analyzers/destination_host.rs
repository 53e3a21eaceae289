//! Destinations of VirtualServices: the host exists and is seen, the port is one of its ports, and at
//! gateways nobody counts on rules that only sidecars obey.

use super::Analyzer;
use crate::catalogue;
use crate::hosts::{Target, targets};
use crate::pods::list;
use crate::report::Report;
use crate::world::World;
use api::{Destination, VirtualService};
use registry::{Item, Service};

pub const ANALYZER: Analyzer = Analyzer {
    name: "virtualservice.DestinationHostAnalyzer",
    about: "destinations of VirtualServices are hosts and ports that exist",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    for item in world.snapshot.virtual_services.iter() {
        for target in targets(&item.spec) {
            check(world, item, &target, report);
        }
        gateway_routes(world, item, report);
    }
}

fn check(world: &World, item: &Item<VirtualService>, target: &Target<'_>, report: &mut Report) {
    let written = target.destination.map_or("", |d| d.host.as_str());
    let host = world.resolve(written, item.namespace());
    let seen_by = |from: &str| host.as_ref().and_then(|h| world.service(h, from));
    let services: Vec<_> = world.clients_of(item).into_iter().map(seen_by).collect();
    let path = format!("{}.host", target.path);
    match services.into_iter().collect::<Option<Vec<&Service>>>() {
        None => report.say(catalogue::NOT_FOUND, &item.object, path, &["host", written]),
        Some(services) => {
            if let (Some(service), Some(destination)) = (services.first(), target.destination) {
                check_port(service, destination, item, &target.path, report);
            }
        }
    }
}

fn check_port(
    service: &Service,
    destination: &Destination,
    item: &Item<VirtualService>,
    path: &str,
    report: &mut Report,
) {
    let numbers = || service.ports.iter().map(|p| p.number);
    match &destination.port {
        None if service.ports.len() > 1 => {
            let arguments = [destination.host.as_str(), &list(numbers())];
            report.say(catalogue::DESTINATION_PORT_REQUIRED, &item.object, path, &arguments);
        }
        Some(port) if !numbers().any(|n| u32::from(n) == port.number) => {
            let wanted = format!("{}:{}", destination.host, port.number);
            let path = format!("{path}.port.number");
            report.say(catalogue::NOT_FOUND, &item.object, path, &["host:port", &wanted]);
        }
        _ => {}
    }
}

/// A rule at a gateway that sends to a host as a whole, while another VirtualService splits that host
/// among subsets: at the gateway the split does not happen.
fn gateway_routes(world: &World, item: &Item<VirtualService>, report: &mut Report) {
    let at_gateways =
        !item.spec.gateways.is_empty() && item.spec.gateways().all(|g| g != VirtualService::MESH);
    if !at_gateways {
        return;
    }
    let whole = |t: &Target<'_>| t.http && t.destination.is_some_and(|d| d.subset.is_empty());
    for target in targets(&item.spec).iter().filter(|t| whole(t)) {
        let Some(destination) = target.destination else { continue };
        let Some(host) = world.resolve(&destination.host, item.namespace()) else { continue };
        for other in world.snapshot.virtual_services.iter() {
            let splits = || {
                targets(&other.spec)
                    .iter()
                    .any(|t| t.destination.is_some_and(|d| !d.subset.is_empty()))
            };
            if other.object != item.object && other.hosts.contains(&host) && splits() {
                let arguments = [other.name(), item.name()];
                let (message, path) = (catalogue::INGRESS_RULES_NOT_AFFECTED, &target.path);
                report.say(message, &item.object, path, &arguments);
            }
        }
    }
}
