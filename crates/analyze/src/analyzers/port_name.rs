//! Ports of Services whose protocol nobody declared.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::report::Report;
use crate::world::{Resource, World};
use api::Protocol;
use serde_json::Value;

pub const ANALYZER: Analyzer = Analyzer {
    name: "service.PortNameAnalyzer",
    about: "ports of Services declare their protocol",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    for service in world.all(kinds::SERVICE) {
        if service.namespace() == "kube-system" || service.namespace() == world.root {
            continue;
        }
        let ports = service.spec()["ports"].as_array().into_iter().flatten();
        for (index, port) in ports.enumerate() {
            check(service, port, index, report);
        }
    }
}

fn check(service: &Resource, port: &Value, index: usize, report: &mut Report) {
    let name = port["name"].as_str().unwrap_or_default();
    let number = port["port"].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
    let transport = port["protocol"].as_str().unwrap_or("TCP");
    let declared = Protocol::of_port(transport, port["appProtocol"].as_str(), name, number);
    if service.spec()["type"] == "ExternalName" {
        if matches!(declared, Protocol::Undeclared | Protocol::Tcp) {
            let path = format!("spec.ports[{index}].name");
            report.say(catalogue::EXTERNAL_NAME_PORT, &service.reference, path, &[]);
        }
        return;
    }
    if declared == Protocol::Undeclared {
        let target = match &port["targetPort"] {
            Value::String(name) => name.clone(),
            Value::Number(n) => n.to_string(),
            _ => number.to_string(),
        };
        let path = format!("spec.ports[{index}]");
        let arguments = [name, &number.to_string(), &target];
        report.say(catalogue::PORT_NAME, &service.reference, path, &arguments);
    }
}
