//! Gateways that claim the same hosts on the same port of the same pods.

use super::Analyzer;
use crate::catalogue;
use crate::pods::selector_text;
use crate::report::Report;
use crate::world::World;
use api::{Gateway, Server};
use base::Host;
use registry::Item;

pub const ANALYZER: Analyzer = Analyzer {
    name: "gateway.ConflictingGatewayAnalyzer",
    about: "no two Gateways claim the same host on the same port of the same pods",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    let gateways: Vec<&Item<Gateway>> = world.snapshot.gateways.iter().map(|g| &**g).collect();
    for gateway in &gateways {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let rivals: Vec<String> = gateways
                .iter()
                .filter(|o| o.object != gateway.object && o.spec.selector == gateway.spec.selector)
                .filter(|o| o.spec.servers.iter().any(|s| clash((gateway, server), (o, s))))
                .map(|o| format!("{}/{}", o.namespace(), o.name()))
                .collect();
            if rivals.is_empty() {
                continue;
            }
            let selector = selector_text(&gateway.spec.selector);
            let port = server.port.number.to_string();
            let arguments = [&rivals.join(","), &selector, &port, &server.hosts.join(",")];
            let path = format!("spec.servers[{index}].hosts");
            let arguments = arguments.map(String::as_str);
            report.say(catalogue::CONFLICTING_GATEWAYS, &gateway.object, path, &arguments);
        }
    }
}

/// Wildcards that merely overlap are told apart by the more specific name.
fn clash(a: (&Item<Gateway>, &Server), b: (&Item<Gateway>, &Server)) -> bool {
    let same_port = a.1.port.number != 0 && a.1.port.number == b.1.port.number;
    let host = |(gateway, written): (&Item<Gateway>, &String)| {
        let (namespace, name) = written.split_once('/').unwrap_or(("*", written));
        let namespace = if namespace == "." { gateway.namespace() } else { namespace };
        Some((namespace.to_owned(), Host::parse(name).ok()?))
    };
    let hosts = |side: (&Item<Gateway>, &Server)| -> Vec<(String, Host)> {
        side.1.hosts.iter().filter_map(|h| host((side.0, h))).collect()
    };
    let meet = |a: &str, b: &str| a == b || a == "*" || b == "*";
    same_port
        && a.1.bind == b.1.bind
        && hosts(a).iter().any(|(n, h)| hosts(b).iter().any(|(m, g)| g == h && meet(n, m)))
}
