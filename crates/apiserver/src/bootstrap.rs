//! What a new cluster holds from the start, and what every namespace is furnished with.

mod roles;

use objects::meta;
use serde_json::{Value, json};

use crate::core::{Caller, Core};
use crate::error::ApiError;

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// Creates what is missing.
pub async fn bootstrap(core: &Core) -> Result<(), ApiError> {
    for name in NAMESPACES {
        ensure(core, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
            .await?;
    }
    for namespace in core.store.list("", "namespaces", None, None).objects {
        furnish_namespace(core, meta::name(&namespace)).await;
    }
    for object in roles::objects() {
        ensure(core, object).await?;
    }
    ensure(core, kubernetes_service(&core.service_cidr)).await
}

/// The default service account and the cluster's root certificate of a namespace.
pub async fn furnish_namespace(core: &Core, namespace: &str) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": namespace}});
    let root = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kube-root-ca.crt", "namespace": namespace},
        "data": {"ca.crt": core.authority.ca_pem()}});
    for object in [account, root] {
        if let Err(error) = ensure(core, object).await {
            tracing::warn!(namespace, %error, "a namespace could not be furnished");
        }
    }
}

async fn ensure(core: &Core, object: Value) -> Result<(), ApiError> {
    let target = core.target_of_object(&object)?;
    if core.store.get(&target.key()).is_some() {
        return Ok(());
    }
    match core.create(&Caller::system("kube-apiserver"), &target, object).await {
        Err(error) if error.reason != "AlreadyExists" => Err(error),
        _ => Ok(()),
    }
}

/// The API itself, at the first address of the service range.
fn kubernetes_service(cidr: &str) -> Value {
    let base = cidr.split('/').next().and_then(|ip| ip.parse::<std::net::Ipv4Addr>().ok());
    let base = base.unwrap_or(std::net::Ipv4Addr::new(10, 96, 0, 0));
    let first = std::net::Ipv4Addr::from(u32::from(base) + 1).to_string();
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": first, "ports": [{"name": "https", "port": 443, "targetPort": 6443}]}})
}
