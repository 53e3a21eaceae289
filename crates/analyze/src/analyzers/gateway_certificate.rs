//! One certificate at several Gateways of the same pods: browsers re-use connections across them.

use super::Analyzer;
use crate::catalogue;
use crate::pods::list;
use crate::report::Report;
use crate::world::World;
use api::{Gateway, ServerTlsSettings};
use registry::Item;

pub const ANALYZER: Analyzer = Analyzer {
    name: "gateway.CertificateAnalyzer",
    about: "no two Gateways of the same pods present the same certificate",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    let gateways: Vec<&Item<Gateway>> = world.snapshot.gateways.iter().map(|g| &**g).collect();
    for gateway in &gateways {
        let same = gateways.iter().filter(|o| shares(gateway, o));
        let mut names: Vec<String> =
            same.map(|o| format!("{}/{}", o.namespace(), o.name())).collect();
        if names.len() > 1 {
            names.sort();
            let path = "spec.servers";
            report.say(catalogue::DUPLICATE_CERTIFICATE, &gateway.object, path, &[&list(names)]);
        }
    }
}

/// Also true of a gateway that has a certificate and itself.
fn shares(a: &Item<Gateway>, b: &Item<Gateway>) -> bool {
    let covered =
        |a: &Gateway, b: &Gateway| a.selector.iter().all(|(k, v)| b.selector.get(k) == Some(v));
    let pods = covered(&a.spec, &b.spec) || covered(&b.spec, &a.spec);
    pods && certificates(a).any(|c| certificates(b).any(|d| c == d))
}

/// By name of the Secret or by file.
fn certificates(gateway: &Item<Gateway>) -> impl Iterator<Item = (&str, &str)> {
    let of = |tls: &'_ ServerTlsSettings| -> bool {
        !tls.credential_name.is_empty() || !tls.server_certificate.is_empty()
    };
    let all = gateway.spec.servers.iter().filter_map(|s| s.tls.as_ref());
    all.filter(move |t| of(t)).map(|t| (t.credential_name.as_str(), t.server_certificate.as_str()))
}
