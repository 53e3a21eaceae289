//! Webhooks that call a control plane outside the cluster do so by a host name.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::World;
use base::Host;

pub const ANALYZER: Analyzer = Analyzer {
    name: "externalcontrolplane.ExternalControlPlaneAnalyzer",
    about: "webhooks reach an external control plane by a host name",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    for kind in [kinds::VALIDATING_WEBHOOK, kinds::MUTATING_WEBHOOK] {
        for configuration in world.all(kind) {
            let webhooks = configuration.value["webhooks"].as_array().into_iter().flatten();
            for (index, webhook) in webhooks.enumerate() {
                let name = webhook["name"].as_str().unwrap_or_default();
                let Some(url) = webhook["clientConfig"]["url"].as_str() else { continue };
                if !name.ends_with(".istio.io") {
                    continue;
                }
                let path = format!("webhooks[{index}].clientConfig.url");
                let about = &configuration.reference;
                match judge(url) {
                    Verdict::Fine => {}
                    Verdict::Address(ip) => {
                        let message = catalogue::EXTERNAL_CONTROL_PLANE_IP;
                        report.say(message, about, path, &[&ip, name]);
                    }
                    Verdict::Wrong(host, why) => {
                        let message = catalogue::EXTERNAL_CONTROL_PLANE;
                        report.say(message, about, path, &[&host, name, why]);
                    }
                }
            }
        }
    }
}

enum Verdict {
    Fine,
    Address(String),
    Wrong(String, &'static str),
}

fn judge(url: &str) -> Verdict {
    let Some((_, rest)) = url.split_once("://") else {
        return Verdict::Wrong(url.to_owned(), "is not a URL");
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host.is_empty() {
        Verdict::Wrong(String::new(), "is blank")
    } else if host.parse::<std::net::IpAddr>().is_ok() {
        Verdict::Address(host.to_owned())
    } else if Host::parse(host).is_err() {
        Verdict::Wrong(host.to_owned(), "is not a DNS name")
    } else {
        Verdict::Fine
    }
}
