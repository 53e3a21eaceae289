//! Certificates that are replaced while they are used: leaves of a few seconds, another root, and a control
//! plane that is away.

use super::impostors::{FRIEND, ask};
use super::scene::{CLIENTS, SERVERS, SOON, Scene};
use e2e::authority::{Authority, of_mesh};
use e2e::load::{Aim, Load, Outcome, now};
use e2e::{Mesh, eventually};
use serde_json::{Value, json};
use std::time::Duration;

/// How long leaves live: seconds here, minutes where somebody wants to know (`LATEEN_LEAF_SECONDS`, two
/// minutes at most, since a load ends after ten).
fn life() -> Duration {
    Duration::from_secs(knob("LATEEN_LEAF_SECONDS", 8).min(120))
}

/// Requests a second on each way, each on a connection of its own.
fn rate() -> u32 {
    u32::try_from(knob("LATEEN_LEAF_RATE", 20)).unwrap_or(20)
}

fn knob(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Before any proxy has a certificate, so that the authority knows of no longer life.
pub fn shorten_lives(mesh: &Mesh) {
    let default = format!("DEFAULT_WORKLOAD_CERT_TTL={}s", life().as_secs());
    mesh.kubectl(&["-n", "istio-system", "set", "env", "deployment/istiod", &default]);
    mesh.kubectl(&["-n", "istio-system", "rollout", "status", "deployment/istiod"]);
    mesh.apply_text(&format!(
        "apiVersion: networking.istio.io/v1beta1\nkind: ProxyConfig\n\
         metadata: {{ name: short, namespace: istio-system }}\n\
         spec: {{ environmentVariables: {{ SECRET_TTL: {}s }} }}\n",
        life().as_secs()
    ));
}

/// Every request makes a connection of its own, from the application to the other end.
pub fn connect_anew(scene: &Scene<'_>) {
    for server in SERVERS {
        scene.mesh.apply_text(&format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
             metadata: {{ name: {server} }}\nspec: {{ host: {server}, trafficPolicy: {{ \
             connectionPool: {{ http: {{ maxRequestsPerConnection: 1 }} }} }} }}\n"
        ));
    }
    scene.admit("istio-system", "everywhere", "mtls: { mode: STRICT }");
    for client in CLIENTS {
        for server in SERVERS {
            scene.eventually_forwarded(client, server);
        }
    }
}

pub fn another_root_comes_without_a_failed_request(scene: &Scene<'_>) {
    let mesh = scene.mesh;
    let (old, before) = (of_mesh(mesh), authority(mesh));
    assert_eq!(before["phase"], "steady", "{before}");
    assert_eq!(before["longestLeafSeconds"], life().as_secs(), "{before}");
    let loads = start(scene);
    mesh.lateen(&["ca", "rotate"]);
    for phase in ["prepare", "overlap", "steady"] {
        eventually(&format!("the rotation comes to {phase}"), SOON + life() * 2, || {
            let now = authority(mesh);
            if now["phase"] == phase { Ok(()) } else { Err(now["phase"].to_string()) }
        });
        let said = mesh.lateen(&["ca", "rotate", "--status"]);
        assert!(said.contains(phase), "{said}");
    }
    let serials = |state: &Value| {
        let held = state["certificates"].as_array().expect("certificates");
        held.iter().map(|c| c["serial"].to_string()).collect::<Vec<_>>()
    };
    let after = authority(mesh);
    assert_eq!(serials(&after).len(), 1, "{after}");
    assert_ne!(serials(&after), serials(&before));
    all_have_changed(scene, &old, &of_mesh(mesh));
    nothing_failed(mesh, loads);
}

/// Everybody has forgotten the old root, and knows the new one.
fn all_have_changed(scene: &Scene<'_>, old: &Authority, new: &Authority) {
    let (outdated, good) = (old.leaf(&[FRIEND]), new.leaf(&[FRIEND]));
    for server in SERVERS {
        eventually(&format!("{server} forgets the old root"), SOON + life(), || {
            let said = ask(scene, server, Some(&outdated));
            if said.ends_with("000") { Ok(()) } else { Err(said) }
        });
        let said = ask(scene, server, Some(&good));
        assert!(said.ends_with("200"), "{server}: {said}");
    }
}

fn nothing_failed(mesh: &Mesh, loads: Vec<(&'static str, Load)>) {
    for (name, outcomes) in stop(mesh, loads) {
        assert!(outcomes.len() > 200, "{name}: {} requests", outcomes.len());
        let failed: Vec<&Outcome> = outcomes.iter().filter(|o| o.result.is_err()).collect();
        assert!(failed.is_empty(), "{name}: {} of {}: {failed:?}", failed.len(), outcomes.len());
    }
}

/// Secret `cacerts`, in a mesh that has had roots of its own so far.
pub fn a_plugged_in_authority_takes_over_without_a_failed_request(scene: &Scene<'_>) {
    let mesh = scene.mesh;
    let (old, operator) = (of_mesh(mesh), Authority::new("operator"));
    let loads = start(scene);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "cacerts", "namespace": "istio-system" },
        "stringData": {
            "ca-cert.pem": operator.root, "ca-key.pem": operator.key(), "cert-chain.pem": "",
            "root-cert.pem": operator.root,
        },
    });
    mesh.apply_text(&secret.to_string());
    mesh.kubectl(&["-n", "istio-system", "rollout", "restart", "deployment/istiod"]);
    mesh.kubectl(&["-n", "istio-system", "rollout", "status", "deployment/istiod"]);
    for phase in ["prepare", "overlap", "of the operator"] {
        eventually(&format!("the hand-over comes to {phase}"), SOON + life() * 2, || {
            let now = authority(mesh);
            if now["phase"] == phase { Ok(()) } else { Err(now["phase"].to_string()) }
        });
    }
    all_have_changed(scene, &old, &operator);
    nothing_failed(mesh, loads);
}

/// Leaves live on without it, and when they have ended everybody is refused, and it is said why.
pub fn without_a_control_plane_all_goes_on_until_leaves_end(scene: &Scene<'_>) {
    let mesh = scene.mesh;
    let loads = start(scene);
    let gone = now();
    mesh.kubectl(&["-n", "istio-system", "scale", "deployment/istiod", "--replicas=0"]);
    for server in SERVERS {
        eventually(&format!("{server} refuses"), SOON + life(), || {
            match scene.ask("client-ours", server) {
                (status, _) if status == "503" => Ok(()),
                (status, body) => Err(format!("{status} {body}")),
            }
        });
    }
    // Renewed before half of their life, all leaves had at least that.
    let half = u64::try_from((life() / 2).as_micros()).expect("short");
    for (name, outcomes) in stop(mesh, loads) {
        let early: Vec<&Outcome> = outcomes.iter().filter(|o| o.end() < gone + half).collect();
        assert!(early.len() > 20, "{name}: {} requests", early.len());
        let failed: Vec<&&Outcome> = early.iter().filter(|o| o.result.is_err()).collect();
        assert!(failed.is_empty(), "{name}: {failed:?}");
    }
    scene.eventually_logged("ours", "certificate has expired");
    scene.eventually_logged("client-ours", "the certificate has expired");
    mesh.kubectl(&["-n", "istio-system", "scale", "deployment/istiod", "--replicas=1"]);
    for client in CLIENTS {
        for server in SERVERS {
            scene.eventually_forwarded(client, server);
        }
    }
}

fn authority(mesh: &Mesh) -> Value {
    serde_json::from_str(&mesh.lateen(&["ca", "show", "-o", "json"])).expect("JSON")
}

/// From each client to each server.
fn start(scene: &Scene<'_>) -> Vec<(&'static str, Load)> {
    let ways = [
        ("ours-ours", "client-ours", "ours"),
        ("ours-theirs", "client-ours", "theirs"),
        ("theirs-ours", "client-theirs", "ours"),
    ];
    let begin = |(name, client, server)| {
        let url = format!("http://{server}:8000/get");
        let aim = Aim { name, mode: "new", url, connect: None, rate: rate(), headers: &[] };
        (name, Load::from_pod(scene.mesh, &format!("deploy/{client}"), "app", &aim))
    };
    ways.into_iter().map(begin).collect()
}

fn stop(mesh: &Mesh, loads: Vec<(&'static str, Load)>) -> Vec<(&'static str, Vec<Outcome>)> {
    loads.into_iter().map(|(name, load)| (name, load.stop(mesh))).collect()
}
