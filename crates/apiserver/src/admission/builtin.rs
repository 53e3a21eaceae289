//! The system's own admission: namespaces exist and live, pods have their service account and
//! its token, services their addresses.

use objects::meta::{self, as_map, child, items, text};
use serde_json::{Value, json};

use crate::core::{Core, Target};
use crate::error::ApiError;
use crate::store::Key;

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// A projected token's life, as Kubernetes writes it into pods.
const TOKEN_SECONDS: u32 = 3607;

impl Core {
    pub(crate) fn admit_builtin(
        &self,
        target: &Target,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<(), ApiError> {
        if old.is_none() {
            self.check_namespace(target)?;
        }
        match (target.kind.group.as_str(), target.kind.kind.as_str()) {
            ("", "Pod") if old.is_none() => {
                set_priority(new);
                self.give_account(target, new)?;
            }
            ("", "Service") => self.allocate(old, new)?,
            ("", "Secret") if old.is_none() => self.fill_token_secret(new),
            _ => {}
        }
        Ok(())
    }

    fn check_namespace(&self, target: &Target) -> Result<(), ApiError> {
        if !target.kind.namespaced {
            return Ok(());
        }
        let name = &target.namespace;
        let key = Key {
            group: String::new(),
            plural: "namespaces".to_owned(),
            namespace: String::new(),
            name: name.clone(),
        };
        let namespace =
            self.store.get(&key).ok_or_else(|| ApiError::not_found("", "namespaces", name))?;
        // Events are still told of a namespace that goes away.
        if meta::deletion_timestamp(&namespace).is_some() && target.kind.kind != "Event" {
            let why = format!(
                "unable to create new content in namespace {name} because it is being terminated"
            );
            let kind = &target.kind;
            let cause = json!({"reason": "NamespaceTerminating", "field": "metadata.namespace",
                "message": format!("namespace {name} is being terminated")});
            return Err(ApiError::forbidden(&kind.group, &kind.plural, &target.name, &why)
                .with_details(
                    json!({"name": target.name, "kind": kind.plural, "causes": [cause]}),
                ));
        }
        Ok(())
    }

    fn give_account(&self, target: &Target, pod: &mut Value) -> Result<(), ApiError> {
        let named = text(pod, &["spec", "serviceAccountName"]).filter(|n| !n.is_empty());
        let name = named.unwrap_or("default").to_owned();
        let key = Key {
            group: String::new(),
            plural: "serviceaccounts".to_owned(),
            namespace: target.namespace.clone(),
            name: name.clone(),
        };
        let account = self.store.get(&key).ok_or_else(|| {
            let why = format!(
                "error looking up service account {}/{name}: serviceaccount {name:?} not found",
                target.namespace
            );
            ApiError::forbidden("", "pods", &target.name, &why)
        })?;
        let spec = child(pod, "spec");
        spec.insert("serviceAccountName".to_owned(), name.clone().into());
        spec.insert("serviceAccount".to_owned(), name.into());
        let secrets = items(&account, &["imagePullSecrets"]);
        if !spec.contains_key("imagePullSecrets") && !secrets.is_empty() {
            spec.insert("imagePullSecrets".to_owned(), secrets.into());
        }
        let mounts = spec
            .get("automountServiceAccountToken")
            .or_else(|| account.get("automountServiceAccountToken"));
        if mounts != Some(&Value::Bool(false)) {
            mount_token(pod);
        }
        Ok(())
    }

    /// A Secret of type service-account-token gets a token, as older clusters gave them.
    fn fill_token_secret(&self, secret: &mut Value) {
        if text(secret, &["type"]) != Some("kubernetes.io/service-account-token") {
            return;
        }
        let namespace = meta::namespace(secret).unwrap_or_default().to_owned();
        let account = meta::annotation(secret, "kubernetes.io/service-account.name");
        let account = account.unwrap_or_default().to_owned();
        let bound = (meta::name(secret).to_owned(), meta::uid(secret).to_owned());
        let bound = Some(("secret", bound.0.as_str(), bound.1.as_str()));
        let Ok(issued) = self.issue_token(&namespace, &account, &[], u64::MAX, bound) else {
            return;
        };
        let encode = |text: &str| {
            use base64::Engine;
            Value::String(base64::engine::general_purpose::STANDARD.encode(text))
        };
        let data = child(secret, "data");
        data.insert("token".to_owned(), encode(&issued.token));
        data.insert("ca.crt".to_owned(), encode(self.authority.ca_pem()));
        data.insert("namespace".to_owned(), encode(&namespace));
    }
}

fn set_priority(pod: &mut Value) {
    let spec = child(pod, "spec");
    spec.entry("priority").or_insert(json!(0));
    spec.entry("preemptionPolicy").or_insert(json!("PreemptLowerPriority"));
}

fn is_mounted(container: &Value) -> bool {
    items(container, &["volumeMounts"]).iter().any(|m| text(m, &["mountPath"]) == Some(TOKEN_PATH))
}

fn mount_token(pod: &mut Value) {
    let existing = items(pod, &["spec", "volumes"]).iter().find_map(|v| {
        text(v, &["name"]).filter(|n| n.starts_with("kube-api-access-")).map(str::to_owned)
    });
    let lacking = ["initContainers", "containers"]
        .iter()
        .any(|key| items(pod, &["spec", key]).iter().any(|c| !is_mounted(c)));
    if !lacking {
        return;
    }
    let name = existing.clone().unwrap_or_else(|| {
        let suffix = crate::random::suffix(5);
        format!("kube-api-access-{suffix}")
    });
    let spec = child(pod, "spec");
    if existing.is_none() {
        let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
        if let Value::Array(volumes) = volumes {
            volumes.push(token_volume(&name));
        }
    }
    for key in ["initContainers", "containers"] {
        let Some(Value::Array(containers)) = spec.get_mut(key) else { continue };
        for container in containers.iter_mut().filter(|c| !is_mounted(c)) {
            let mount = json!({"name": name, "readOnly": true, "mountPath": TOKEN_PATH});
            let mounts = as_map(container).entry("volumeMounts").or_insert_with(|| json!([]));
            if let Value::Array(mounts) = mounts {
                mounts.push(mount);
            }
        }
    }
}

fn token_volume(name: &str) -> Value {
    let namespace = json!({"path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}});
    json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}}
    ]}})
}
