//! Ports of Gateways lead through a Service of the gateway's pods.

use super::Analyzer;
use crate::catalogue;
use crate::kinds;
use crate::pods::{PodView, selector_text};
use crate::report::Report;
use crate::world::{World, labels};
use api::Gateway;
use registry::Item;
use std::collections::BTreeSet;

pub const ANALYZER: Analyzer = Analyzer {
    name: "gateway.IngressGatewayPortAnalyzer",
    about: "ports of Gateways are ports of a Service of their pods",
    alone: false,
    run,
};

fn run(world: &World, report: &mut Report) {
    for gateway in world.snapshot.gateways.iter() {
        let selector = selector_text(&gateway.spec.selector);
        let pods = selected(world, gateway);
        if pods.is_empty() {
            say_unselected(gateway, &selector, report);
            continue;
        }
        let ports: BTreeSet<u64> = pods.iter().flat_map(|p| service_ports(world, p)).collect();
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let number = server.port.number;
            if number != 0 && !ports.contains(&u64::from(number)) {
                let path = format!("spec.servers[{index}].port.number");
                let arguments = [number.to_string(), selector.clone()];
                let arguments = arguments.each_ref().map(String::as_str);
                report.say(
                    catalogue::GATEWAY_PORT_NOT_ON_SERVICE,
                    &gateway.object,
                    path,
                    &arguments,
                );
            }
        }
    }
}

/// The pods of a Gateway, of whatever namespace.
pub fn selected<'a>(world: &'a World, gateway: &Item<Gateway>) -> Vec<PodView<'a>> {
    world.workloads().filter(|p| p.matches(&gateway.spec.selector)).collect()
}

pub fn say_unselected(gateway: &Item<Gateway>, selector: &str, report: &mut Report) {
    let arguments = ["selector", selector];
    report.say(catalogue::NOT_FOUND, &gateway.object, "spec.selector", &arguments);
}

/// What clients may use of the Services of a pod: their ports, and the pod's ports behind them.
fn service_ports(world: &World, pod: &PodView<'_>) -> Vec<u64> {
    let selects = |s: &&crate::Resource| {
        let selector = labels(&s.spec()["selector"]);
        s.namespace() == pod.namespace() && !selector.is_empty() && pod.matches(&selector)
    };
    let services = world.all(kinds::SERVICE).filter(selects);
    let ports = services.flat_map(|s| s.spec()["ports"].as_array().into_iter().flatten());
    let tcp = ports.filter(|p| p["protocol"].as_str().is_none_or(|p| p != "UDP"));
    tcp.flat_map(|p| [&p["port"], &p["targetPort"]]).filter_map(serde_json::Value::as_u64).collect()
}
