//! ServiceEntries of one host agree on the protocol of each port.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::{Resource, World};
use registry::ExportTo;

pub const ANALYZER: Analyzer = Analyzer {
    name: "serviceentry.ConflictingServiceEntryProtocolAnalyzer",
    about: "ServiceEntries of one host agree on the protocols of its ports",
    alone: false,
    run,
};

/// One port of one host of an entry.
struct Claim<'a> {
    entry: &'a Resource,
    host: &'a str,
    port: u64,
    protocol: String,
    path: String,
}

fn run(world: &World, report: &mut Report) {
    let claims: Vec<Claim<'_>> = world.all(kinds::SERVICE_ENTRY).flat_map(claims).collect();
    for claim in &claims {
        let rivals: Vec<&Claim<'_>> = claims
            .iter()
            .filter(|o| o.host == claim.host && o.port == claim.port)
            .filter(|o| meet(world, claim.entry, o.entry))
            .collect();
        let of = |text: fn(&Claim<'_>) -> String| {
            let mut all: Vec<String> = rivals.iter().map(|c| text(c)).collect();
            all.sort();
            all.dedup();
            all
        };
        let protocols = of(|c| c.protocol.clone());
        if protocols.len() > 1 {
            let names = of(|c| c.entry.full_name()).join(",");
            let (port, protocols) = (claim.port.to_string(), protocols.join(","));
            let arguments = [names.as_str(), claim.host, &port, &protocols];
            let (message, about) = (catalogue::CONFLICTING_ENTRY_PROTOCOL, &claim.entry.reference);
            report.say(message, about, &claim.path, &arguments);
        }
    }
}

fn claims(entry: &Resource) -> Vec<Claim<'_>> {
    let spec = entry.spec();
    let hosts = spec["hosts"].as_array().into_iter().flatten().filter_map(|h| h.as_str());
    let mut all = Vec::new();
    for host in hosts {
        for (index, port) in spec["ports"].as_array().into_iter().flatten().enumerate() {
            let protocol = port["protocol"].as_str().unwrap_or_default().to_ascii_uppercase();
            let path = format!("spec.ports[{index}]");
            let port = port["number"].as_u64().unwrap_or(0);
            all.push(Claim { entry, host, port, protocol, path });
        }
    }
    all
}

/// Whether clients of some namespace see both.
fn meet(world: &World, a: &Resource, b: &Resource) -> bool {
    let export = |r: &Resource| {
        let written = r.spec()["exportTo"].as_array().into_iter().flatten();
        let written: Vec<&str> = written.filter_map(|n| n.as_str()).collect();
        let default = world.snapshot.mesh.service_export.clone();
        ExportTo::parse(written.iter().copied()).unwrap_or(default)
    };
    let (export_a, export_b) = (export(a), export(b));
    let mut places = vec![a.namespace().to_owned(), b.namespace().to_owned()];
    for export in [&export_a, &export_b] {
        if let ExportTo::Namespaces(list) = export {
            places.extend(list.iter().filter(|n| *n != ".").cloned());
        }
    }
    places.iter().any(|p| export_a.reaches(a.namespace(), p) && export_b.reaches(b.namespace(), p))
}
