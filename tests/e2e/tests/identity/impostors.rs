//! Clients that hold certificates, only not the right ones; each is turned away, and the server's log
//! says why.

use super::scene::{SERVERS, Scene};
use e2e::authority::{Authority, Leaf, of_mesh};
use std::time::{Duration, SystemTime};

pub const FRIEND: &str = "spiffe://cluster.local/ns/outside/sa/friend";

pub fn are_turned_away(scene: &Scene<'_>) {
    let mesh = of_mesh(scene.mesh);
    let other = Authority::new("other");
    let yesterday = SystemTime::now() - Duration::from_secs(24 * 3600);
    let good = mesh.leaf(&[FRIEND]);
    let cases = [
        ("good", good, None),
        ("self-signed", other.leaf(&[FRIEND]), Some("unable to get local issuer certificate")),
        ("expired", mesh.leaf_until(&[FRIEND], yesterday), Some("certificate has expired")),
        (
            "elsewhere",
            mesh.leaf(&["spiffe://elsewhere/ns/outside/sa/friend"]),
            Some("SAN matcher, certificate SANs are [spiffe://elsewhere/ns/outside/sa/friend]"),
        ),
        ("nameless", mesh.leaf(&["friend.example"]), Some("SAN matcher")),
    ];
    for (name, leaf, why) in &cases {
        for server in SERVERS {
            let said = ask(scene, server, Some(leaf));
            let expected = if why.is_none() { "200" } else { "000" };
            assert!(said.ends_with(expected), "{name} to {server}: {said}");
        }
        if let Some(why) = why {
            scene.eventually_logged("ours", why);
        }
    }
    for server in SERVERS {
        let said = ask(scene, server, None);
        assert!(said.ends_with("000"), "without a certificate, to {server}: {said}");
    }
}

/// The status, after what curl has to say.
pub fn ask(scene: &Scene<'_>, server: &str, own: Option<&Leaf>) -> String {
    let url = format!("https://{}:8080/get", scene.address_of(server));
    let curl = "curl -sSk -m 5 -o /dev/null -w '%{http_code}'";
    let script = match own {
        None => format!("{curl} {url} 2>&1 || true"),
        Some(Leaf { chain, key, .. }) => format!(
            "D=$(mktemp -d); printf '%s' '{chain}' > $D/cert; printf '%s' '{key}' > $D/key; \
             {curl} --cert $D/cert --key $D/key {url} 2>&1 || true; rm -r $D"
        ),
    };
    scene.as_stranger(&script).trim_end().to_owned()
}
