//! What passes from sidecar to sidecar beside plain requests: large bodies, streams, upgrades, gRPC,
//! and protocols that are not HTTP at all; with our data plane and with real Envoy.

#[path = "protocols/databases.rs"]
mod databases;
#[path = "protocols/grpc.rs"]
mod grpc;
#[path = "protocols/memory.rs"]
mod memory;
#[path = "protocols/streams.rs"]
mod streams;

use e2e::{Mesh, eventually};
use std::time::Duration;

const WORKLOAD: &str = include_str!("protocols/workload.yaml");

/// What a shell in the client's pod prints.
fn shell(mesh: &Mesh, script: &str) -> String {
    mesh.exec("deploy/client", "client", &["sh", "-c", script])
}

#[test]
fn protocols_pass_from_sidecar_to_sidecar() {
    protocols_pass("protocols", &[]);
}

#[test]
fn protocols_pass_between_real_envoys() {
    if e2e::envoy().is_some() {
        protocols_pass("protocols-envoy", &["--data-plane", "envoy"]);
    }
}

fn protocols_pass(name: &str, flags: &[&str]) {
    let Some(mesh) = Mesh::up(name, flags) else { return };
    mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"]);
    mesh.apply_text(WORKLOAD);
    mesh.wait_for_deployments("default");
    eventually("the first answer", Duration::from_secs(20), || {
        let text =
            shell(&mesh, "curl -s -o /dev/null -w '%{http_code}' http://httpbin:8000/get || true");
        if text == "200" { Ok(()) } else { Err(text) }
    });
    memory::large_bodies_arrive_whole(&mesh);
    streams::slow_bodies_are_not_held_back(&mesh);
    streams::events_arrive_one_by_one(&mesh);
    streams::an_expectation_is_met(&mesh);
    streams::a_websocket_carries_messages(&mesh);
    grpc::messages_stream_both_ways_and_trailers_follow(&mesh);
    grpc::calls_are_spread_over_all_endpoints(&mesh);
    databases::redis(&mesh);
    databases::postgres(&mesh);
    databases::mariadb(&mesh);
}
