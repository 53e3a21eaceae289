//! What all scenes have: a mesh with applications behind its gateways, authorities, and clients.

use e2e::authority::{Authority, Files, Leaf};
use e2e::{Answer, Mesh, eventually};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// A change of configuration has its effect by then.
pub const SOON: Duration = Duration::from_secs(20);

pub struct Edge<'a> {
    pub mesh: &'a Mesh,
    pub files: Files,
    pub authority: Authority,
    pub root: String,
}

/// Who asks, and with what.
#[derive(Clone, Debug, Default)]
pub struct Client {
    args: Vec<String>,
}

const BEHIND: &str = include_str!("behind.yaml");

impl<'a> Edge<'a> {
    pub fn new(mesh: &'a Mesh) -> Edge<'a> {
        let files = Files::new(mesh.state().join("pem"));
        let authority = Authority::new("the scenes' authority");
        let root = files.write("root.pem", &authority.root);
        mesh.apply_text(BEHIND);
        mesh.wait_for_deployments("default");
        Edge { mesh, files, authority, root }
    }

    /// Where the ingress gateway's Service port of this name answers on the host, as (address, port).
    pub fn way(&self, name: &str) -> (String, String) {
        let status: Value =
            serde_json::from_str(&self.mesh.lateen(&["status", "-o", "json"])).expect("JSON");
        let ways = status["relays"].as_array().expect("ways in");
        let key = "istio-system/istio-ingressgateway";
        let way = ways.iter().find(|w| w["key"] == key && w["name"] == name);
        let host = way.and_then(|w| w["host"].as_str());
        let host = host.unwrap_or_else(|| panic!("no way in for {name}: {status}"));
        let (ip, port) = host.rsplit_once(':').expect("address:port");
        (ip.to_owned(), port.to_owned())
    }

    /// A client that trusts the scenes' authority.
    pub fn client(&self) -> Client {
        Client::default().with(&["--cacert", &self.root])
    }

    /// One request over TLS to `https://HOST/…` on the way in `https`.
    pub fn get(&self, client: &Client, host: &str, path: &str) -> Answer {
        self.get_at("https", client, host, path)
    }

    pub fn get_at(&self, way: &str, client: &Client, host: &str, path: &str) -> Answer {
        let (ip, port) = self.way(way);
        client.get(host, &ip, &port, path)
    }

    /// Waits for this status.
    pub fn until(&self, client: &Client, host: &str, path: &str, status: u16) -> Answer {
        self.until_at("https", client, host, path, status)
    }

    pub fn until_at(
        &self,
        way: &str,
        client: &Client,
        host: &str,
        path: &str,
        status: u16,
    ) -> Answer {
        let (ip, port) = self.way(way);
        let mut last = Answer::default();
        eventually(&format!("{status} from {host}{path}"), SOON, || {
            last = client.get(host, &ip, &port, path);
            if last.status == status { Ok(()) } else { Err(format!("{last:?}")) }
        });
        last
    }

    /// Makes a Secret in a namespace, or replaces it; entries are files' contents by key.
    pub fn secret(&self, namespace: &str, name: &str, entries: &[(&str, &str)]) {
        let kind = match entries.iter().any(|(key, _)| *key == "tls.crt") {
            true => "kubernetes.io/tls",
            false => "Opaque",
        };
        let data: serde_json::Map<String, Value> =
            entries.iter().map(|(k, v)| ((*k).to_owned(), Value::from(*v))).collect();
        let object = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "type": kind,
            "metadata": {"name": name, "namespace": namespace}, "stringData": data});
        self.mesh.apply_text(&object.to_string());
    }

    /// A Secret as `kubectl create secret tls` makes it, where the gateways are.
    pub fn tls_secret(&self, name: &str, leaf: &Leaf) {
        self.secret("istio-system", name, &[("tls.crt", &leaf.chain), ("tls.key", &leaf.key)]);
    }

    /// A certificate, its key, and whom to trust, in one Secret.
    pub fn credential(&self, namespace: &str, name: &str, leaf: &Leaf) {
        let root = ("ca.crt", self.authority.root.as_str());
        self.secret(namespace, name, &[("tls.crt", &leaf.chain), ("tls.key", &leaf.key), root]);
    }

    /// The status message of an object, once it says this.
    pub fn until_status_says(&self, kind: &str, name: &str, words: &[&str]) {
        eventually(&format!("status of {kind} {name}"), SOON, || {
            let status = self.mesh.get(&[kind, name])["status"].to_string();
            match words.iter().all(|w| status.contains(w)) {
                true => Ok(()),
                false => Err(format!("lacks {words:?}: {status}")),
            }
        });
    }

    pub fn delete(&self, what: &[&str]) {
        self.mesh.kubectl(&[&["delete", "--ignore-not-found"], what].concat());
    }
}

impl Client {
    pub fn with(&self, args: &[&str]) -> Client {
        let more = args.iter().map(|a| (*a).to_owned());
        Client { args: self.args.iter().cloned().chain(more).collect() }
    }

    /// With a certificate of its own.
    pub fn showing(&self, files: &Files, name: &str, leaf: &Leaf) -> Client {
        let chain = files.write(&format!("{name}.crt"), &leaf.chain);
        let key = files.write(&format!("{name}.key"), &leaf.key);
        self.with(&["--cert", &chain, "--key", &key])
    }

    pub fn get(&self, host: &str, ip: &str, port: &str, path: &str) -> Answer {
        let resolve = format!("{host}:{port}:{ip}");
        let args: Vec<&str> =
            self.args.iter().map(String::as_str).chain(["--resolve", &resolve]).collect();
        e2e::curl(&format!("https://{host}:{port}{path}"), &args)
    }

    /// curl itself, for what an answer does not tell.
    pub fn curl(&self, args: &[&str]) -> std::process::Output {
        let mut curl = Command::new("curl");
        curl.args(["-s", "--max-time", "20"]).args(&self.args).args(args);
        curl.output().expect("curl")
    }
}
