//! Watches: every collection becomes a part of one bounded stream of changes. What disappeared while
//! the connection was down is reported as deleted; a collection that the cluster does not serve is
//! empty, and is asked for again.

use crate::client::to_value;
use crate::{Client, Resource};
use futures::StreamExt;
use kube::api::DynamicObject;
use kube::runtime::watcher::{self, Event};
use serde_json::Value;
use std::collections::HashSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// One thing that happened. Objects of one collection come in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Apply {
        resource: Resource,
        object: Value,
    },
    Delete {
        resource: Resource,
        namespace: String,
        name: String,
    },
    /// Everything that exists of this collection has been told.
    Synced(Resource),
}

/// Changes wait here while the reader is busy; then the watches wait.
const QUEUE: usize = 1024;

/// Watches all of `resources`; the watches end when the receiver is dropped.
pub fn watch(client: &Client, resources: &[Resource]) -> (mpsc::Receiver<Change>, JoinSet<()>) {
    let (tx, rx) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    for &resource in resources {
        tasks.spawn(follow(client.clone(), resource, tx.clone()));
    }
    (rx, tasks)
}

async fn follow(client: Client, resource: Resource, tx: mpsc::Sender<Change>) {
    let mut stream =
        watcher::watcher(client.api(&resource, None), watcher::Config::default()).boxed();
    let mut ledger = Ledger::new(resource);
    let mut failures = 0u32;
    while let Some(event) = stream.next().await {
        let changes = match event {
            Ok(event) => {
                failures = 0;
                ledger.read(event)
            }
            Err(error) => {
                failures += 1;
                tracing::debug!(kind = resource.kind, %error, "watch interrupted");
                let changes = if is_absent(&error) { ledger.absent() } else { Vec::new() };
                if send(&tx, changes).await.is_err() {
                    return;
                }
                tokio::time::sleep(pause(failures)).await;
                continue;
            }
        };
        if send(&tx, changes).await.is_err() {
            return;
        }
    }
}

async fn send(tx: &mpsc::Sender<Change>, changes: Vec<Change>) -> Result<(), ()> {
    for change in changes {
        tx.send(change).await.map_err(drop)?;
    }
    Ok(())
}

/// The cluster does not serve this collection (a CRD that is not installed).
fn is_absent(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
        _ => return false,
    };
    status.code == 404
}

/// 100 ms, doubled, 5 s at most.
fn pause(failures: u32) -> Duration {
    Duration::from_millis(100 << failures.saturating_sub(1).min(6)).min(Duration::from_secs(5))
}

type Key = (String, String);

/// What has been told of one collection, so that a new listing can tell what is gone.
struct Ledger {
    resource: Resource,
    told: HashSet<Key>,
    /// Seen in the listing under way.
    listed: HashSet<Key>,
    synced: bool,
}

impl Ledger {
    fn new(resource: Resource) -> Self {
        Self { resource, told: HashSet::new(), listed: HashSet::new(), synced: false }
    }

    fn read(&mut self, event: Event<DynamicObject>) -> Vec<Change> {
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.listed.insert(key(&object));
                vec![self.apply(object)]
            }
            Event::Apply(object) => vec![self.apply(object)],
            Event::Delete(object) => {
                let key = key(&object);
                self.told.remove(&key);
                vec![self.delete(key)]
            }
            Event::InitDone => self.listing_done(),
        }
    }

    fn listing_done(&mut self) -> Vec<Change> {
        let listed = std::mem::take(&mut self.listed);
        let gone: Vec<Key> = self.told.difference(&listed).cloned().collect();
        self.told = listed;
        let mut changes: Vec<Change> = gone.into_iter().map(|key| self.delete(key)).collect();
        if !std::mem::replace(&mut self.synced, true) {
            changes.push(Change::Synced(self.resource));
        }
        changes
    }

    fn absent(&mut self) -> Vec<Change> {
        self.listed.clear();
        self.listing_done()
    }

    fn apply(&mut self, object: DynamicObject) -> Change {
        self.told.insert(key(&object));
        Change::Apply { resource: self.resource, object: to_value(object, &self.resource) }
    }

    fn delete(&self, (namespace, name): Key) -> Change {
        Change::Delete { resource: self.resource, namespace, name }
    }
}

fn key(object: &DynamicObject) -> Key {
    let meta = &object.metadata;
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": name, "managedFields": []},
            "spec": {"x": 1}}))
        .unwrap()
    }

    fn brief(changes: Vec<Change>) -> Vec<String> {
        let word = |change| match change {
            Change::Apply { object, .. } => {
                format!("+{}", object["metadata"]["name"].as_str().unwrap_or_default())
            }
            Change::Delete { name, .. } => format!("-{name}"),
            Change::Synced(r) => format!("synced {}", r.kind),
        };
        changes.into_iter().map(word).collect()
    }

    #[test]
    fn what_a_new_listing_lacks_is_deleted_and_synced_is_said_once() {
        let mut ledger = Ledger::new(Resource::SERVICE);
        let mut told = Vec::new();
        let mut tell = |event| told.extend(brief(ledger.read(event)));
        tell(Event::Init);
        tell(Event::InitApply(object("a")));
        tell(Event::InitApply(object("b")));
        tell(Event::InitDone);
        tell(Event::Apply(object("c")));
        tell(Event::Delete(object("b")));
        tell(Event::Init);
        tell(Event::InitApply(object("c")));
        tell(Event::InitDone);
        assert_eq!(told, ["+a", "+b", "synced Service", "+c", "-b", "+c", "-a"]);
    }

    #[test]
    fn a_collection_that_is_not_served_is_empty() {
        let mut ledger = Ledger::new(Resource::SERVICE);
        ledger.read(Event::Apply(object("a")));
        assert_eq!(brief(ledger.absent()), ["-a", "synced Service"]);
        assert_eq!(brief(ledger.absent()), Vec::<String>::new());
    }

    #[test]
    fn an_object_says_what_it_is() {
        let value = to_value(object("a"), &Resource::ENDPOINT_SLICE);
        assert_eq!(value["apiVersion"], "discovery.k8s.io/v1");
        assert_eq!(value["kind"], "EndpointSlice");
        assert_eq!(value["metadata"].get("managedFields"), None);
    }
}
