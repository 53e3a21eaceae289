//! WorkloadEntry and WorkloadGroup.

use super::Report;
use crate::{Object, WorkloadEntry, WorkloadGroup};

pub(super) fn check_entry(object: &Object<WorkloadEntry>, report: &mut Report) {
    let entry = &object.spec;
    let somewhere = !entry.address.is_empty() || !entry.network.is_empty();
    report.require(somewhere, "spec.address", "address must be set, unless network is");
    check_ports(entry, "spec.ports", report);
}

pub(super) fn check_group(object: &Object<WorkloadGroup>, report: &mut Report) {
    let spec = &object.spec;
    let say = "the template cannot have an address: each workload brings its own";
    report.require(spec.template.address.is_empty(), "spec.template.address", say);
    check_ports(&spec.template, "spec.template.ports", report);
    let Some(probe) = &spec.probe else { return };
    let kinds = [
        probe.http_get.is_some(),
        probe.tcp_socket.is_some(),
        probe.exec.is_some(),
        probe.grpc.is_some(),
    ];
    let one = kinds.iter().filter(|k| **k).count() == 1;
    report.require(one, "spec.probe", "one of httpGet, tcpSocket, exec and grpc must be set");
    if let Some(http) = &probe.http_get {
        report.port(http.port, "spec.probe.httpGet.port");
    }
    if let Some(tcp) = &probe.tcp_socket {
        report.port(tcp.port, "spec.probe.tcpSocket.port");
    }
    if let Some(exec) = &probe.exec {
        report.require(
            !exec.command.is_empty(),
            "spec.probe.exec.command",
            "a command is required",
        );
    }
}

fn check_ports(entry: &WorkloadEntry, path: &str, report: &mut Report) {
    for (name, port) in &entry.ports {
        report.port(*port, &format!("{path}[{name}]"));
    }
}
