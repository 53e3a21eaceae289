//! What scanners say of the doors where TLS ends: a workload's port under STRICT, the ingress gateway, and
//! the control plane's discovery. sslyze brings an OpenSSL of its own that still speaks what nobody should;
//! the machine's openssl is asked for the same, as it is another hand's reading.

use super::scene::{SOON, Scene};
use e2e::authority::{Authority, Files, of_mesh};
use e2e::eventually;
use serde_json::{Value, json};
use std::process::{Command, Stdio};

const DOORS: &str = include_str!("posture.yaml");

struct Door {
    name: &'static str,
    at: String,
    server_name: Option<&'static str>,
    /// Files of a certificate and its key, where clients show one.
    own: Option<(String, String)>,
}

pub fn is_modern(scene: &Scene<'_>) {
    let Some(sslyze) = sslyze() else { return };
    let served = Authority::new("posture").leaf(&["posture.example"]);
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {"name": "posture", "namespace": "istio-system"},
        "stringData": {"tls.crt": served.chain, "tls.key": served.key}});
    scene.mesh.apply_text(&secret.to_string());
    scene.mesh.apply_text(DOORS);
    for door in doors(scene) {
        eventually(&format!("{} is open", door.name), SOON, || {
            let said = door.openssl("-tls1_3");
            if said.contains("Cipher is TLS_") { Ok(()) } else { Err(said) }
        });
        door.judge(&door.scan(&sslyze));
        door.openssl_agrees();
    }
    scene.mesh.kubectl(&["-n", "istio-system", "delete", "gateway/posture", "secret/posture"]);
}

/// The scanner, or `None` with a line that says why its part is skipped.
fn sslyze() -> Option<String> {
    let path = std::env::var("SSLYZE").ok().filter(|p| std::path::Path::new(p).is_file());
    if path.is_none() {
        assert!(std::env::var_os("LATEEN_REQUIRE_PEERS").is_none(), "SSLYZE names no file");
        println!("skip: SSLYZE names no file; `cargo xtask test` sets it");
    }
    path
}

fn doors(scene: &Scene<'_>) -> [Door; 3] {
    let at = |namespace: &str, service: &str| {
        let service = scene.mesh.get(&["-n", namespace, "service", service]);
        format!("127.0.0.1:{}", service["spec"]["ports"][0]["nodePort"])
    };
    let files = Files::new(scene.mesh.state().join("posture"));
    let leaf = of_mesh(scene.mesh).leaf(&["spiffe://cluster.local/ns/outside/sa/friend"]);
    let own = (files.write("cert", &leaf.chain), files.write("key", &leaf.key));
    let door = |name, at, server_name, own| Door { name, at, server_name, own };
    [
        door("a workload", at("default", "posture-workload"), None, Some(own)),
        door("the gateway", at("istio-system", "posture-gateway"), Some("posture.example"), None),
        door("discovery", at("istio-system", "posture-discovery"), None, None),
    ]
}

impl Door {
    /// What openssl's client says with these options.
    fn openssl(&self, options: &str) -> String {
        let mut command = Command::new("timeout");
        command.args(["5", "openssl", "s_client", "-connect", &self.at]);
        match self.server_name {
            Some(name) => command.args(["-servername", name]),
            None => command.arg("-noservername"),
        };
        if let Some((cert, key)) = &self.own {
            command.args(["-cert", cert, "-key", key]);
        }
        let out = command.args(options.split(' ')).stdin(Stdio::null()).output().expect("openssl");
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
    }

    fn scan(&self, sslyze: &str) -> Value {
        let mut command = Command::new(sslyze);
        command.args(["--json_out=-", "--mozilla_config=disable"]);
        command.args(["--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3"]);
        command.args(["--reneg", "--compression", "--early_data", "--heartbleed"]);
        command.args(["--openssl_ccs", "--robot"]);
        if let Some(name) = self.server_name {
            command.args(["--sni", name]);
        }
        if let Some((cert, key)) = &self.own {
            command.args(["--cert", cert, "--key", key]);
        }
        let out = command.arg(&self.at).stdin(Stdio::null()).output().expect("sslyze runs");
        let all: Value = serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&out.stderr)));
        all["server_scan_results"][0].clone()
    }

    fn judge(&self, scan: &Value) {
        let door = self.name;
        assert_eq!(scan["scan_status"], "COMPLETED", "{door}: {scan}");
        let result = |what: &str| {
            let found = &scan["scan_result"][what];
            assert_eq!(found["status"], "COMPLETED", "{door}, {what}: {found}");
            &found["result"]
        };
        let suites = |version: &str| -> Vec<&str> {
            let accepted = &result(&format!("{version}_cipher_suites"))["accepted_cipher_suites"];
            let names = accepted.as_array().expect("a list").iter();
            names.filter_map(|s| s["cipher_suite"]["name"].as_str()).collect()
        };
        for old in ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"] {
            assert_eq!(suites(old), Vec::<&str>::new(), "{door} speaks {old}");
        }
        assert!(!suites("tls_1_3").is_empty(), "{door} speaks no TLS 1.3");
        for suite in suites("tls_1_2") {
            let modern = suite.starts_with("TLS_ECDHE_")
                && (suite.contains("_GCM_") || suite.contains("_CHACHA20_"));
            assert!(modern, "{door} speaks {suite}");
        }
        for (what, flag) in [
            ("tls_compression", "supports_compression"),
            ("tls_1_3_early_data", "supports_early_data"),
            ("heartbleed", "is_vulnerable_to_heartbleed"),
            ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection"),
            ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos"),
        ] {
            assert_eq!(result(what)[flag], false, "{door}: {what}");
        }
        let robot = result("robot")["robot_result"].as_str().unwrap_or_default();
        assert!(robot.starts_with("NOT_VULNERABLE"), "{door}: {robot}");
    }

    fn openssl_agrees(&self) {
        for old in [
            "-tls1 -cipher ALL:@SECLEVEL=0",
            "-tls1_1 -cipher ALL:@SECLEVEL=0",
            "-tls1_2 -cipher AES128-SHA:AES128-GCM-SHA256",
        ] {
            let said = self.openssl(old);
            assert!(said.contains("Cipher is (NONE)"), "{} takes {old}: {said}", self.name);
        }
        let second = self.openssl("-tls1_2 -comp");
        assert!(second.contains("Compression: NONE"), "{}: {second}", self.name);
    }
}
