//! Servers, clients and a stranger, and what they are asked.

use e2e::{Mesh, eventually};
use std::time::Duration;

const WORKLOAD: &str = include_str!("workload.yaml");
pub const SOON: Duration = Duration::from_secs(30);

/// With our data plane, and with real Envoy. Each runs under the account of its name.
pub const SERVERS: [&str; 2] = ["ours", "theirs"];
pub const CLIENTS: [&str; 2] = ["client-ours", "client-theirs"];

pub struct Scene<'a> {
    pub mesh: &'a Mesh,
}

impl<'a> Scene<'a> {
    pub fn set(mesh: &'a Mesh) -> Self {
        mesh.kubectl(&["label", "namespace", "default", "istio-injection=enabled"]);
        mesh.kubectl(&["create", "namespace", "outside"]);
        mesh.apply_text(WORKLOAD);
        mesh.wait_for_deployments("default");
        mesh.wait_for_deployments("outside");
        Scene { mesh }
    }

    /// Status (`000` without an answer) and body of what a workload of the mesh gets.
    pub fn ask(&self, client: &str, server: &str) -> (String, String) {
        let script =
            format!("curl -s -m 5 -w '\\n%{{http_code}}' http://{server}:8000/headers || true");
        let pod = format!("deploy/{client}");
        parts(&self.mesh.exec(&pod, "app", &["sh", "-c", &script]))
    }

    /// Of what a client without a sidecar gets.
    pub fn ask_as_stranger(&self, server: &str) -> (String, String) {
        let host = format!("http://{server}.default:8000/headers");
        let script = format!("curl -s -m 5 -w '\\n%{{http_code}}' {host} || true");
        parts(&self.as_stranger(&script))
    }

    pub fn as_stranger(&self, script: &str) -> String {
        let exec =
            ["exec", "-n", "outside", "deploy/stranger", "-c", "app", "--", "sh", "-c", script];
        self.mesh.kubectl(&exec)
    }

    pub fn eventually(
        &self,
        client: &str,
        server: &str,
        what: &str,
        holds: impl Fn(&str, &str) -> bool,
    ) {
        eventually(&format!("{client} to {server}: {what}"), SOON, || {
            match self.ask(client, server) {
                (status, body) if holds(&status, &body) => Ok(()),
                (status, body) => Err(format!("{status} {body}")),
            }
        });
    }

    /// The application is told by whom it is called, and as whom.
    pub fn eventually_forwarded(&self, client: &str, server: &str) {
        let id = |account: &str| format!("spiffe://cluster.local/ns/default/sa/{account}");
        let (by, uri) = (format!("By={}", id(server)), format!("URI={}", id(client)));
        self.eventually(client, server, "both ends are proved", |status, body| {
            status == "200" && body.contains(&by) && body.contains(&uri)
        });
    }

    pub fn eventually_refused(&self, server: &str) {
        eventually(&format!("{server} refuses plaintext"), SOON, || {
            match self.ask_as_stranger(server) {
                (status, _) if status == "000" => Ok(()),
                (status, body) => Err(format!("{status} {body}")),
            }
        });
    }

    pub fn eventually_answered_in_plaintext(&self, server: &str) {
        eventually(&format!("{server} answers plaintext"), SOON, || {
            match self.ask_as_stranger(server) {
                (status, _) if status == "200" => Ok(()),
                (status, body) => Err(format!("{status} {body}")),
            }
        });
    }

    /// The proxy's own log says why.
    pub fn eventually_logged(&self, app: &str, why: &str) {
        eventually(&format!("{app} logs {why:?}"), SOON, || {
            let log = self.mesh.kubectl(&["logs", &format!("deploy/{app}"), "-c", "istio-proxy"]);
            if log.contains(why) { Ok(()) } else { Err(log) }
        });
    }

    pub fn admit(&self, namespace: &str, name: &str, spec: &str) {
        self.mesh.apply_text(&format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\n\
             metadata: {{ name: {name}, namespace: {namespace} }}\nspec: {{ {spec} }}\n"
        ));
    }

    pub fn address_of(&self, app: &str) -> String {
        let pods = self.mesh.get(&["pods", "-l", &format!("app={app}")]);
        pods["items"][0]["status"]["podIP"].as_str().expect("an address").to_owned()
    }

    /// As a collector outside the mesh reads them.
    pub fn metrics_of(&self, app: &str) -> String {
        let address = self.address_of(app);
        self.as_stranger(&format!("curl -s -m 5 http://{address}:15020/stats/prometheus"))
    }
}

fn parts(text: &str) -> (String, String) {
    let (body, status) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
    (status.to_owned(), body.to_owned())
}
