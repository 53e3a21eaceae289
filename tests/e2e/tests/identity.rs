//! Who speaks to whom, proved by certificates: mutual TLS between workloads of both data planes, what
//! PeerAuthentications let in, and who is turned away and why.

#[path = "identity/impostors.rs"]
mod impostors;
#[path = "identity/posture.rs"]
mod posture;
#[path = "identity/rotation.rs"]
mod rotation;
#[path = "identity/scene.rs"]
mod scene;

use e2e::{Mesh, counter};
use scene::{CLIENTS, SERVERS, Scene};

#[test]
fn workloads_prove_who_they_are() {
    if e2e::envoy().is_none() {
        return;
    }
    let Some(mesh) = Mesh::up("identity", &[]) else { return };
    let scene = Scene::set(&mesh);
    every_pair_proves_both_ends(&scene);
    plaintext_is_taken_as_long_as_nobody_forbids_it(&scene);
    strict_turns_plaintext_away(&scene);
    a_workload_calls_itself(&scene);
    both_ends_count_who_it_was(&scene);
    impostors::are_turned_away(&scene);
    posture::is_modern(&scene);
    a_server_must_run_as_its_service_does(&scene);
    a_port_may_be_left_open(&scene);
}

#[test]
fn certificates_are_replaced_while_they_are_used() {
    if e2e::envoy().is_none() {
        return;
    }
    let Some(mesh) = Mesh::up("rotation", &["--profile", "minimal"]) else { return };
    rotation::shorten_lives(&mesh);
    let scene = Scene::set(&mesh);
    rotation::connect_anew(&scene);
    rotation::another_root_comes_without_a_failed_request(&scene);
    rotation::a_plugged_in_authority_takes_over_without_a_failed_request(&scene);
    rotation::without_a_control_plane_all_goes_on_until_leaves_end(&scene);
}

/// Envoy and ours, in all four combinations.
fn every_pair_proves_both_ends(scene: &Scene<'_>) {
    for client in CLIENTS {
        for server in SERVERS {
            scene.eventually_forwarded(client, server);
        }
    }
}

fn plaintext_is_taken_as_long_as_nobody_forbids_it(scene: &Scene<'_>) {
    for server in SERVERS {
        let (status, body) = scene.ask_as_stranger(server);
        assert_eq!(status, "200", "{server}");
        assert!(!body.contains("X-Forwarded-Client-Cert"), "{body}");
    }
}

fn strict_turns_plaintext_away(scene: &Scene<'_>) {
    scene.admit("istio-system", "everywhere", "mtls: { mode: STRICT }");
    for server in SERVERS {
        scene.eventually_refused(server);
        for client in CLIENTS {
            scene.eventually_forwarded(client, server);
        }
    }
    // Probes and metrics go on.
    scene.mesh.wait_for_deployments("default");
    let page = scene.metrics_of("ours");
    assert!(page.contains("istio_requests_total"), "{page}");
}

/// By its own service: out through its sidecar and in again.
fn a_workload_calls_itself(scene: &Scene<'_>) {
    for server in SERVERS {
        scene.eventually_forwarded(server, server);
    }
}

fn both_ends_count_who_it_was(scene: &Scene<'_>) {
    let id = |account: &str| format!("spiffe://cluster.local/ns/default/sa/{account}");
    let (client, server) = (id("client-ours"), id("ours"));
    let proved = [("source_principal", &*client), ("destination_principal", &*server)];
    let seen = |pod: &str, reporter, security| {
        let labels = [("reporter", reporter), ("connection_security_policy", security)];
        let labels = [&proved[..], &labels].concat();
        counter(&scene.metrics_of(pod), "istio_requests_total", &labels)
    };
    assert!(seen("ours", "destination", "mutual_tls") > 0.0, "{}", scene.metrics_of("ours"));
    assert!(seen("client-ours", "source", "unknown") > 0.0, "{}", scene.metrics_of("client-ours"));
}

const NOBODY: &str = "spiffe://cluster.local/ns/default/sa/somebody-else";

/// Secure naming: whoever answers must be who the service runs as.
fn a_server_must_run_as_its_service_does(scene: &Scene<'_>) {
    for server in SERVERS {
        scene.mesh.apply_text(&format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
             metadata: {{ name: {server} }}\nspec: {{ host: {server}, trafficPolicy: {{ tls: {{ \
             mode: ISTIO_MUTUAL, subjectAltNames: [{NOBODY}] }} }} }}\n"
        ));
    }
    for client in CLIENTS {
        for server in SERVERS {
            scene.eventually(client, server, "it is not who it should be", |status, _| {
                status == "503"
            });
        }
    }
    let why = "SAN matcher, certificate SANs are [spiffe://cluster.local/ns/default/sa/theirs]";
    scene.eventually_logged("client-ours", why);
    for server in SERVERS {
        scene.mesh.kubectl(&["delete", "destinationrule", server]);
    }
    every_pair_proves_both_ends(scene);
}

/// A workload's own policy, for one of its ports.
fn a_port_may_be_left_open(scene: &Scene<'_>) {
    let spec =
        "selector: { matchLabels: { app: ours } }, portLevelMtls: { '8080': { mode: DISABLE } }";
    scene.admit("default", "ours-open", spec);
    scene.eventually_answered_in_plaintext("ours");
    for client in CLIENTS {
        scene.eventually(client, "ours", "clients follow", |status, body| {
            status == "200" && !body.contains("X-Forwarded-Client-Cert")
        });
    }
    scene.eventually_refused("theirs");
}
