//! The edges of the mesh: what comes in and goes out, with TLS ended, begun, or passed on; with our data
//! plane and with real Envoy.

#[path = "gateways/edge.rs"]
mod edge;
#[path = "gateways/egress.rs"]
mod egress;
#[path = "gateways/ingress.rs"]
mod ingress;
#[path = "gateways/kubernetes.rs"]
mod kubernetes;
#[path = "gateways/mutual.rs"]
mod mutual;
#[path = "gateways/passthrough.rs"]
mod passthrough;

use e2e::Mesh;
use edge::Edge;

type Scene = fn(&Edge<'_>);

const INGRESS: [Scene; 4] = [
    ingress::hosts_share_a_port_each_with_its_own_certificate,
    ingress::a_new_certificate_is_served_within_seconds_and_no_request_fails,
    ingress::what_is_wrong_with_a_secret_is_said_and_harms_nobody_else,
    ingress::plaintext_is_redirected,
];
const CLIENTS: [Scene; 3] = [
    mutual::clients_come_in_by_their_certificates,
    mutual::versions_ciphers_and_kinds_of_keys_are_as_written,
    mutual::certificates_lie_in_files,
];
const PASSED_ON: [Scene; 5] = [
    passthrough::server_names_choose_who_ends_tls,
    passthrough::connections_are_split_by_weight,
    passthrough::tls_is_ended_before_what_is_not_http,
    passthrough::the_mesh_names_its_destinations_itself,
    passthrough::what_does_not_go_together_is_said,
];
const KUBERNETES: [Scene; 3] = [
    kubernetes::ingresses_are_served_by_class,
    kubernetes::ingresses_show_where_they_are_reached,
    kubernetes::older_versions_of_ingress_are_the_same,
];
const EGRESS: [Scene; 4] = [
    egress::set_up,
    egress::sidecars_begin_tls,
    egress::tls_of_clients_leaves_through_the_gateway,
    egress::the_gateway_begins_tls,
];

#[test]
fn gateways_serve_as_configured() {
    play("gateways", &[], &[&INGRESS[..], &CLIENTS, &PASSED_ON].concat());
}

#[test]
fn gateways_of_real_envoy_serve_as_configured() {
    if e2e::envoy().is_some() {
        let scenes = [&INGRESS[..], &CLIENTS, &PASSED_ON].concat();
        play("gateways-envoy", &["--data-plane", "envoy"], &scenes);
    }
}

#[test]
fn kubernetes_ingresses_are_served() {
    play("ingress", &[], &KUBERNETES);
}

#[test]
fn kubernetes_ingresses_are_served_by_real_envoy() {
    if e2e::envoy().is_some() {
        play("ingress-envoy", &["--data-plane", "envoy"], &KUBERNETES);
    }
}

#[test]
fn what_leaves_the_mesh_is_encrypted_as_configured() {
    let ours: Scene = egress::a_new_certificate_of_the_gateway_is_shown_at_once;
    play("egress", &[], &[&EGRESS[..], &[ours]].concat());
}

#[test]
fn what_leaves_the_mesh_by_real_envoy_is_encrypted_as_configured() {
    if e2e::envoy().is_some() {
        play("egress-envoy", &["--data-plane", "envoy"], &EGRESS);
    }
}

/// The scenes of one mesh, one after the other.
fn play(name: &str, flags: &[&str], scenes: &[Scene]) {
    let Some(mesh) = Mesh::up(name, &[&["--profile", "demo"], flags].concat()) else { return };
    let edge = Edge::new(&mesh);
    scenes.iter().for_each(|scene| scene(&edge));
}
