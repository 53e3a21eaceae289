//! The API in process, for controllers and the pod runner: same rules as over HTTP, acting as a
//! member of `system:masters`.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore, broadcast};

use crate::core::{Caller, Core, PatchKind, Target};
pub use crate::error::ApiError;

/// Events that may wait to be recorded; more are dropped.
const WAITING_EVENTS: usize = 256;

/// A handle on the cluster; clones share it.
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
    /// Events are recorded one after the other, so that equal ones are counted.
    recording: Arc<Mutex<()>>,
    waiting_events: Arc<Semaphore>,
}

/// Which object is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ref {
    pub group: String,
    /// The plural name.
    pub resource: String,
    pub namespace: Option<String>,
    pub name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Added,
    Modified,
    Deleted,
}

/// One change of one object.
#[derive(Debug, Clone)]
pub struct Event {
    pub revision: u64,
    /// (group, plural)
    pub resource: (String, String),
    pub change: Change,
    /// The new state; the last one when deleted.
    pub object: Arc<Value>,
}

/// What happens to the objects that a deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Background,
    Foreground,
    Orphan,
}

#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    pub grace_seconds: Option<i64>,
    /// Delete only if the object still has this uid.
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub propagation: Option<Propagation>,
    pub dry_run: bool,
}

impl Client {
    pub(crate) fn new(core: Arc<Core>) -> Client {
        let waiting_events = Arc::new(Semaphore::new(WAITING_EVENTS));
        Client { core, recording: Arc::default(), waiting_events }
    }

    /// Objects in their stored version, by namespace and name.
    pub fn list(&self, group: &str, resource: &str, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let (group, resource) = self.stored(group, resource);
        self.core.store.list(&group, &resource, namespace, None).objects
    }

    pub fn get(&self, r: &Ref) -> Option<Arc<Value>> {
        let target = self.target(r, None).ok()?;
        self.core.store.get(&target.key())
    }

    /// Creates an object; group and kind come from its `apiVersion` and `kind`.
    pub async fn create(&self, object: Value) -> Result<Arc<Value>, ApiError> {
        let target = self.core.target_of_object(&object)?;
        self.core.create(&self.caller(), &target, object).await
    }

    /// Replaces an object; optimistic when `metadata.resourceVersion` is set.
    pub async fn update(&self, object: Value) -> Result<Arc<Value>, ApiError> {
        let target = self.core.target_of_object(&object)?;
        self.core.update(&self.caller(), &target, object).await
    }

    pub async fn update_status(&self, object: Value) -> Result<Arc<Value>, ApiError> {
        let mut target = self.core.target_of_object(&object)?;
        target.subresource = Some("status".to_owned());
        self.core.update(&self.caller(), &target, object).await
    }

    pub async fn merge_patch(
        &self,
        r: &Ref,
        subresource: Option<&str>,
        patch: Value,
    ) -> Result<Arc<Value>, ApiError> {
        let target = self.target(r, subresource)?;
        self.core.patch(&self.caller(), &target, PatchKind::Merge, &patch).await
    }

    pub async fn delete(&self, r: &Ref, options: DeleteOptions) -> Result<(), ApiError> {
        let target = self.target(r, None)?;
        self.core.delete(&self.caller(), &target, &options).await.map(|_| ())
    }

    /// All changes of all objects. Whoever lags behind gets `Lagged` and lists again.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.core.store.subscribe()
    }

    /// A token of a service account, bound to a pod (name, uid) where one is given.
    pub fn service_account_token(
        &self,
        ns: &str,
        sa: &str,
        audiences: &[String],
        expiry_seconds: u64,
        pod: Option<(&str, &str)>,
    ) -> Result<String, ApiError> {
        let bound = pod.map(|(name, uid)| ("pod", name, uid));
        self.core.issue_token(ns, sa, audiences, expiry_seconds, bound).map(|issued| issued.token)
    }

    pub fn cluster_ca_pem(&self) -> String {
        self.core.authority.ca_pem().to_owned()
    }

    /// Records an Event about an object; the same event again raises its count. Recording is
    /// best effort and done in the background.
    pub fn record_event(
        &self,
        regarding: &Value,
        kind: &str,
        reason: &str,
        message: &str,
        component: &str,
    ) {
        let namespace = objects::meta::namespace(regarding).unwrap_or("default").to_owned();
        let involved = json!({
            "apiVersion": objects::meta::api_version(regarding),
            "kind": objects::meta::kind(regarding),
            "namespace": namespace,
            "name": objects::meta::name(regarding),
            "uid": objects::meta::uid(regarding),
            "resourceVersion": objects::meta::text(regarding, &["metadata", "resourceVersion"]),
        });
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"namespace": namespace},
            "involvedObject": involved, "type": kind, "reason": reason, "message": message,
            "source": {"component": component}, "reportingComponent": component,
        });
        let client = self.clone();
        let place = self.waiting_events.clone().try_acquire_owned();
        let (Ok(place), Ok(runtime)) = (place, tokio::runtime::Handle::try_current()) else {
            tracing::debug!(reason, "an Event was dropped");
            return;
        };
        runtime.spawn(async move {
            let _place = place;
            let _turn = client.recording.lock().await;
            if let Err(error) = client.store_event(event).await {
                tracing::debug!(%error, "an Event could not be recorded");
            }
        });
    }

    async fn store_event(&self, mut event: Value) -> Result<(), ApiError> {
        let namespace = objects::meta::namespace(&event).unwrap_or("default").to_owned();
        let now = crate::time::now();
        let same = |old: &&Arc<Value>| {
            ["type", "reason", "message"].iter().all(|key| old.get(key) == event.get(key))
                && ["uid", "name", "kind"].iter().all(|key| {
                    old.pointer(&format!("/involvedObject/{key}"))
                        == event.pointer(&format!("/involvedObject/{key}"))
                })
        };
        let events = self.list("", "events", Some(&namespace));
        if let Some(old) = events.iter().find(same) {
            let count = objects::meta::number(old, &["count"]).unwrap_or(1) + 1;
            let r = Ref {
                group: String::new(),
                resource: "events".to_owned(),
                namespace: Some(namespace),
                name: objects::meta::name(old).to_owned(),
            };
            self.merge_patch(&r, None, json!({"count": count, "lastTimestamp": now})).await?;
            return Ok(());
        }
        let involved =
            objects::meta::text(&event, &["involvedObject", "name"]).unwrap_or("cluster");
        let unique = u64::from_le_bytes(crate::random::bytes());
        let name = format!("{involved}.{unique:016x}");
        objects::meta::metadata(&mut event).insert("name".to_owned(), name.into());
        let map = objects::meta::as_map(&mut event);
        map.insert("count".to_owned(), 1.into());
        map.insert("firstTimestamp".to_owned(), now.clone().into());
        map.insert("lastTimestamp".to_owned(), now.into());
        self.create(event).await.map(|_| ())
    }

    fn caller(&self) -> Caller {
        Caller::system("lateen")
    }

    fn stored(&self, group: &str, resource: &str) -> (String, String) {
        match self.core.registry().by_plural(group, resource) {
            Some(kind) => (kind.group.clone(), kind.plural.clone()),
            None => (group.to_owned(), resource.to_owned()),
        }
    }

    fn target(&self, r: &Ref, subresource: Option<&str>) -> Result<Target, ApiError> {
        let registry = self.core.registry();
        let kind = registry.by_plural(&r.group, &r.resource).ok_or_else(ApiError::no_such_path)?;
        Ok(Target {
            version: (kind.group.clone(), kind.storage_version.clone()),
            namespace: if kind.namespaced {
                r.namespace.clone().unwrap_or_default()
            } else {
                String::new()
            },
            kind: kind.clone(),
            name: r.name.clone(),
            subresource: subresource.map(str::to_owned),
        })
    }
}
