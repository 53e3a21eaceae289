//! Deployments behind several Services: one port, one protocol; one target, one port.

use super::Analyzer;
use super::injection::is_injected;
use crate::catalogue;
use crate::kinds;
use crate::pods::{PodView, list};
use crate::report::Report;
use crate::world::{Resource, World, labels};
use api::Protocol;
use serde_json::Value;

pub const ANALYZER: Analyzer = Analyzer {
    name: "deployment.ServiceAssociationAnalyzer",
    about: "Services of one deployment agree on protocols and ports",
    alone: false,
    run,
};

struct Port {
    service: String,
    number: u64,
    target: String,
    protocol: Protocol,
}

fn run(world: &World, report: &mut Report) {
    for deployment in world.all(kinds::DEPLOYMENT).map(PodView::of_template) {
        if is_injected(world, &deployment) {
            let ports = ports(world, &deployment);
            protocols(deployment.owner, &ports, report);
            targets(deployment.owner, &ports, report);
        }
    }
}

/// Of all Services of its namespace that select it.
fn ports(world: &World, deployment: &PodView<'_>) -> Vec<Port> {
    let selects = |s: &&Resource| {
        let selector = labels(&s.spec()["selector"]);
        let here = s.namespace() == deployment.namespace();
        here && !selector.is_empty() && deployment.matches(&selector)
    };
    let of = |s: &Resource, p: &Value| {
        let number = p["port"].as_u64().unwrap_or(0);
        let text = |key: &str| p[key].as_str().unwrap_or_default();
        let target = match &p["targetPort"] {
            Value::String(name) => name.clone(),
            Value::Number(n) => n.to_string(),
            _ => number.to_string(),
        };
        let app = p["appProtocol"].as_str();
        let at = u16::try_from(number).unwrap_or(0);
        let protocol = Protocol::of_port(text("protocol"), app, text("name"), at);
        Port { service: s.name().to_owned(), number, target, protocol }
    };
    let services: Vec<&Resource> = world.all(kinds::SERVICE).filter(selects).collect();
    let mut all = Vec::new();
    for service in services {
        let ports = service.spec()["ports"].as_array().into_iter().flatten();
        all.extend(ports.map(|p| of(service, p)));
    }
    all
}

fn protocols(deployment: &Resource, ports: &[Port], report: &mut Report) {
    let mut numbers: Vec<u64> = ports.iter().map(|p| p.number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let of = |p: &&Port| p.number == number && p.protocol != Protocol::Udp;
        let same: Vec<&Port> = ports.iter().filter(of).collect();
        if same.windows(2).any(|w| w[0].protocol != w[1].protocol) {
            let number = number.to_string();
            let services = list(same.iter().map(|p| &p.service));
            let arguments = [deployment.name(), &number, &services];
            let message = catalogue::DEPLOYMENT_PORT_PROTOCOLS;
            report.say(message, &deployment.reference, "spec.template", &arguments);
        }
    }
}

fn targets(deployment: &Resource, ports: &[Port], report: &mut Report) {
    let mut targets: Vec<&str> = ports.iter().map(|p| p.target.as_str()).collect();
    targets.sort_unstable();
    targets.dedup();
    for target in targets {
        let same: Vec<&Port> = ports.iter().filter(|p| p.target == target).collect();
        let several = same.iter().any(|p| p.service != same[0].service);
        if several && same.iter().any(|p| p.number != same[0].number) {
            let services = list(same.iter().map(|p| &p.service));
            let numbers = list(same.iter().map(|p| p.number));
            let arguments = [deployment.name(), &services, target, &numbers];
            let message = catalogue::DEPLOYMENT_CONFLICTING_PORTS;
            report.say(message, &deployment.reference, "spec.template", &arguments);
        }
    }
}
