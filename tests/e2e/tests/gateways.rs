//! The edges of the mesh: what comes in and goes out, with TLS ended, begun, or passed on; with our data
//! plane and with real Envoy.

#[path = "gateways/edge.rs"]
mod edge;
#[path = "gateways/ingress.rs"]
mod ingress;
#[path = "gateways/mutual.rs"]
mod mutual;
#[path = "gateways/passthrough.rs"]
mod passthrough;

use e2e::Mesh;
use edge::Edge;

#[test]
fn gateways_serve_as_configured() {
    scenes("gateways", &[]);
}

#[test]
fn gateways_of_real_envoy_serve_as_configured() {
    if e2e::envoy().is_some() {
        scenes("gateways-envoy", &["--data-plane", "envoy"]);
    }
}

fn scenes(name: &str, flags: &[&str]) {
    let Some(mesh) = Mesh::up(name, &[&["--profile", "demo"], flags].concat()) else { return };
    let edge = Edge::new(&mesh);
    ingress::hosts_share_a_port_each_with_its_own_certificate(&edge);
    ingress::a_new_certificate_is_served_within_seconds_and_no_request_fails(&edge);
    ingress::what_is_wrong_with_a_secret_is_said_and_harms_nobody_else(&edge);
    ingress::plaintext_is_redirected(&edge);
    mutual::clients_come_in_by_their_certificates(&edge);
    mutual::versions_ciphers_and_kinds_of_keys_are_as_written(&edge);
    mutual::certificates_lie_in_files(&edge);
    passthrough::server_names_choose_who_ends_tls(&edge);
    passthrough::connections_are_split_by_weight(&edge);
    passthrough::tls_is_ended_before_what_is_not_http(&edge);
    passthrough::the_mesh_names_its_destinations_itself(&edge);
    passthrough::what_does_not_go_together_is_said(&edge);
}
