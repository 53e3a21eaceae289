//! The heart of the server: what each verb means for an object, whoever calls it and however.

mod caller;
mod delete;
mod finish;
mod read;
mod scale;
mod target;
mod tokens;
mod write;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use objects::kinds::Registry;
use serde_json::Value;

pub use caller::{Caller, FieldValidation, User};
pub use delete::{Deleted, FOREGROUND, ORPHAN};
pub use read::ListOptions;
pub use scale::scale_of;
pub use target::Target;
pub use write::PatchKind;

use crate::auth::Authority;
use crate::error::ApiError;
use crate::kubelet::Kubelet;
use crate::store::{Key, Store, WriteError};

/// (namespace, service, port) to an address that answers for it.
pub type Resolver = Arc<dyn Fn(&str, &str, u16) -> Option<SocketAddr> + Send + Sync>;

pub struct Core {
    pub store: Store,
    pub authority: Authority,
    pub kubelet: Arc<dyn Kubelet>,
    pub webhook_resolver: Resolver,
    pub service_cidr: String,
    pub external_url: String,
    registry: RwLock<Arc<Registry>>,
    /// The OpenAPI index of a registry, which takes a while to make.
    openapi_index: Mutex<Option<(Arc<Registry>, Arc<Value>)>>,
    /// One Service is written at a time, so that no address or port is given twice.
    pub service_allocation: tokio::sync::Mutex<()>,
}

impl Core {
    pub fn new(
        store: Store,
        authority: Authority,
        kubelet: Arc<dyn Kubelet>,
        webhook_resolver: Resolver,
        service_cidr: String,
        external_url: String,
    ) -> Core {
        let core = Core {
            store,
            authority,
            kubelet,
            webhook_resolver,
            service_cidr,
            external_url,
            registry: RwLock::new(Arc::new(Registry::builtin())),
            openapi_index: Mutex::default(),
            service_allocation: tokio::sync::Mutex::new(()),
        };
        core.reload_custom_kinds();
        core
    }

    /// The kinds as they are now.
    pub fn registry(&self) -> Arc<Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the kinds of all stored CRDs known; done after each change of one.
    pub fn reload_custom_kinds(&self) {
        let crds = self.store.list("apiextensions.k8s.io", "customresourcedefinitions", None, None);
        let custom = crds.objects.iter().filter(|crd| established(crd));
        let custom = custom.filter_map(|crd| objects::kinds::from_crd(crd).ok());
        let mut registry = self.registry.write().unwrap_or_else(PoisonError::into_inner);
        *registry = Arc::new(registry.with_custom(custom));
    }

    /// The OpenAPI index of the kinds as they are now, made by `make` if it is not yet known.
    pub fn openapi_index(&self, make: impl FnOnce(&Registry) -> Value) -> Arc<Value> {
        let registry = self.registry();
        let mut known = self.openapi_index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, index)) = &*known
            && Arc::ptr_eq(of, &registry)
        {
            return index.clone();
        }
        let index = Arc::new(make(&registry));
        *known = Some((registry, index.clone()));
        index
    }

    /// Where an object belongs by what it says of itself.
    pub fn target_of_object(&self, object: &Value) -> Result<Target, ApiError> {
        let registry = self.registry();
        let (group, version) = objects::meta::split_api_version(objects::meta::api_version(object));
        let kind = registry.of_object(object).ok_or_else(|| {
            let (api, kind) = (objects::meta::api_version(object), objects::meta::kind(object));
            ApiError::new(404, "NotFound", format!("no kind {kind:?} is served under {api:?}"))
        })?;
        let namespace = objects::meta::namespace(object).unwrap_or("default");
        Ok(Target {
            version: (group.to_owned(), version.to_owned()),
            namespace: if kind.namespaced { namespace.to_owned() } else { String::new() },
            kind: kind.clone(),
            name: objects::meta::name(object).to_owned(),
            subresource: None,
        })
    }

    fn write_error(&self, key: &Key, error: WriteError) -> ApiError {
        match error {
            WriteError::Stale => ApiError::stale(&key.group, &key.plural, &key.name),
            WriteError::Disk(error) => {
                tracing::error!(%error, "a write was refused by the disk");
                ApiError::internal(error.to_string())
            }
        }
    }
}

fn established(crd: &Value) -> bool {
    objects::meta::items(crd, &["status", "conditions"]).iter().any(|c| {
        objects::meta::text(c, &["type"]) == Some("Established")
            && objects::meta::text(c, &["status"]) == Some("True")
    })
}
