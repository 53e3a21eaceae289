//! An application that speaks xDS itself, instead of a data plane: it finds a bootstrap and the workload's
//! certificates in files that are kept fresh here, and reaches the control plane through our relay.

use crate::identity::Issued;
use crate::node::Node;
use crate::relay;
use crate::run::{DataPlane, Setting};
use crate::secrets::Secrets;
use crate::status::{Readiness, Scrape};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const BOOTSTRAP: &str = "/etc/istio/proxy/grpc-bootstrap.json";
const CERTIFICATES: &str = "/var/lib/istio/data";
/// Beside the bootstrap.
const SOCKET: &str = "XDS";
/// gRPC reads certificates again after this time at the latest, as under Istio.
const REFRESH: Duration = Duration::from_secs(900);

/// Whether the pod is one of those.
pub(crate) fn is_wanted() -> bool {
    std::env::var("DISABLE_ENVOY").is_ok_and(|v| v == "true")
}

/// Where the files lie, as injection says it.
struct Files {
    bootstrap: PathBuf,
    certificates: PathBuf,
}

impl Files {
    fn read(env: impl Fn(&str) -> Option<String>) -> Files {
        let at = |name: &str, default: &str| {
            PathBuf::from(env(name).filter(|v| !v.is_empty()).unwrap_or_else(|| default.into()))
        };
        Files {
            bootstrap: at("GRPC_XDS_BOOTSTRAP", BOOTSTRAP),
            certificates: at("OUTPUT_CERTS", CERTIFICATES),
        }
    }

    fn socket(&self) -> PathBuf {
        self.bootstrap.with_file_name(SOCKET)
    }

    fn of_certificate(&self) -> [PathBuf; 3] {
        ["cert-chain.pem", "key.pem", "root-cert.pem"].map(|name| self.certificates.join(name))
    }

    /// The key before the certificate: gRPC waits for a pair that fits.
    fn keep(&self, issued: &Issued) -> io::Result<()> {
        let [chain, key, roots] = self.of_certificate();
        replace(&roots, &issued.roots)?;
        replace(&key, &issued.key)?;
        replace(&chain, &issued.chain)
    }
}

/// Starts the relay, writes the bootstrap, and goes on writing certificates as they come.
pub(crate) async fn start(setting: &Setting) -> Result<Handle, String> {
    let files = Files::read(|name| std::env::var(name).ok());
    let socket = files.socket();
    let secrets = Secrets::new(setting.identity.clone());
    let (authority, at) = (setting.authority.clone(), socket.clone());
    tokio::spawn(async move {
        if let Err(error) = relay::serve(authority, secrets, &at).await {
            tracing::error!(%error, "the relay has ended");
        }
    });
    let say = |e: io::Error| format!("{}: {e}", files.bootstrap.display());
    let text = bootstrap(&setting.node, &files, setting.authority.life);
    replace(&files.bootstrap, &text.to_string()).map_err(say)?;
    let (mut issued, readiness) = (setting.identity.follow(), setting.readiness.clone());
    tokio::spawn(async move {
        loop {
            let newest = issued.borrow_and_update().clone();
            if let Some(newest) = newest {
                let next = match files.keep(&newest) {
                    Ok(()) => Readiness::Ready,
                    Err(error) => {
                        let at = files.certificates.display().to_string();
                        tracing::error!(%error, at, "a certificate cannot be written");
                        Readiness::Waiting(format!("certificates in {at}: {error}"))
                    }
                };
                readiness.send_if_modified(|now| {
                    let changes = matches!(now, Readiness::Waiting(_)) && *now != next;
                    changes.then(|| *now = next.clone());
                    changes
                });
            }
            if issued.changed().await.is_err() {
                return;
            }
        }
    });
    Ok(Handle)
}

/// As gRPC's libraries read it (proposals A27, A29, A36).
fn bootstrap(node: &Node, files: &Files, life: Duration) -> Value {
    let [chain, key, roots] = files.of_certificate();
    // Several times in the life of a certificate, however short.
    let refresh = REFRESH.min(life / 10).as_secs().max(1);
    let socket = files.socket();
    json!({
        "xds_servers": [{
            "server_uri": format!("unix://{}", socket.display()),
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"]}],
        "node": {"id": node.id, "cluster": node.cluster, "metadata": node.metadata, "locality": {}},
        "certificate_providers": {"default": {"plugin_name": "file_watcher", "config": {
            "certificate_file": chain, "private_key_file": key, "ca_certificate_file": roots,
            "refresh_interval": format!("{refresh}s")}}},
        "server_listener_resource_name_template": "xds.istio.io/grpc/lds/inbound/%s"})
}

/// At once: who reads sees the old or the new. The application may run as somebody else, and nobody but the
/// pod sees its volumes.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::set_permissions(&beside, Permissions::from_mode(0o644))?;
    std::fs::rename(&beside, path)
}

/// There is nothing to drain: the application serves its connections itself.
pub(crate) struct Handle;

impl DataPlane for Handle {
    fn metrics(&self) -> Scrape {
        Arc::new(|| Box::pin(std::future::ready(String::new())))
    }

    fn drain(&self) {}

    fn is_busy(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bootstrap_leads_to_our_socket_and_to_the_workloads_files() {
        let files = Files::read(|name| (name == "OUTPUT_CERTS").then(|| "/certs".to_owned()));
        let node = Node {
            id: "sidecar~10.0.0.1~a.x~x.svc".to_owned(),
            cluster: "a.x".to_owned(),
            metadata: json!({"GENERATOR": "grpc"}),
        };
        let json = bootstrap(&node, &files, Duration::from_secs(24 * 3600));
        assert_eq!(json["xds_servers"][0]["server_uri"], "unix:///etc/istio/proxy/XDS");
        assert_eq!(json["node"]["metadata"]["GENERATOR"], "grpc");
        let provider = &json["certificate_providers"]["default"]["config"];
        assert_eq!(provider["private_key_file"], "/certs/key.pem");
        assert_eq!(provider["refresh_interval"], "900s");
        let short = bootstrap(&node, &files, Duration::from_secs(20));
        let provider = &short["certificate_providers"]["default"]["config"];
        assert_eq!(provider["refresh_interval"], "2s");
    }

    #[test]
    fn files_are_replaced_whole_and_can_be_read_by_the_application() {
        let dir = std::env::temp_dir().join(format!("lateen-proxyless-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("key.pem");
        for text in ["one", "two"] {
            replace(&path, text).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "nothing else is left");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
