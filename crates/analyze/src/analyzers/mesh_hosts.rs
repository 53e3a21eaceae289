//! One host, one VirtualService for sidecars: several are not merged there.

use super::Analyzer;
use crate::catalogue;
use crate::report::Report;
use crate::world::World;
use api::VirtualService;
use base::Host;
use registry::Item;

pub const ANALYZER: Analyzer = Analyzer {
    name: "virtualservice.ConflictingMeshGatewayHostsAnalyzer",
    about: "no two VirtualServices for sidecars define the same host",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    let in_mesh = |i: &&Item<VirtualService>| i.spec.gateways().any(|g| g == VirtualService::MESH);
    let all: Vec<_> =
        world.snapshot.virtual_services.iter().map(|i| &**i).filter(in_mesh).collect();
    for item in &all {
        for (index, host) in item.hosts.iter().enumerate() {
            let same = all.iter().filter(|o| o.hosts.contains(host) && meet(world, item, o));
            let mut names: Vec<String> =
                same.map(|o| format!("{}/{}", o.namespace(), o.name())).collect();
            if names.len() > 1 {
                names.sort();
                say(item, host, &names.join(","), index, report);
            }
        }
    }
}

fn say(item: &Item<VirtualService>, host: &Host, names: &str, index: usize, report: &mut Report) {
    let path = format!("spec.hosts[{index}]");
    report.say(catalogue::CONFLICTING_MESH_HOSTS, &item.object, path, &[names, host.as_str()]);
}

/// Whether some namespace obeys both.
fn meet(world: &World, a: &Item<VirtualService>, b: &Item<VirtualService>) -> bool {
    let reaches = |item: &Item<VirtualService>, from: &str| world.snapshot.sees_route(item, from);
    let mut places: Vec<&str> = vec![a.namespace(), b.namespace()];
    places.extend(world.clients_of(a));
    places.extend(world.clients_of(b));
    places.into_iter().any(|from| reaches(a, from) && reaches(b, from))
}
