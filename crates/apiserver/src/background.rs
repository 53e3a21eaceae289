//! Work that follows changes: collecting dependents of deleted owners, emptying kinds whose
//! definition goes away, forgetting old Events.

use std::sync::Arc;
use std::time::Duration;

use objects::meta::{self, items, text};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use crate::admission::crd::CLEANUP;
use crate::client::{Change, DeleteOptions, Event, Propagation};
use crate::core::{Caller, Core, FOREGROUND, ORPHAN, PatchKind, Target};
use crate::store::Key;

/// How long an Event is kept, as in Kubernetes.
const EVENT_LIFE: i64 = 3600;
/// Events beyond which the oldest are forgotten early.
const MAX_EVENTS: usize = 4000;
const EVENT_SWEEP: Duration = Duration::from_secs(60);

/// Forgets Events, until the server goes away.
pub async fn expire_events(core: Arc<Core>) {
    let mut timer = tokio::time::interval(EVENT_SWEEP);
    loop {
        timer.tick().await;
        let events = core.store.list("", "events", None, None).objects;
        for event in expired(&events, crate::time::unix_seconds()) {
            delete(&core, &key_of("", "events", event), event, Propagation::Background).await;
        }
    }
}

/// Events whose time is over, and the oldest of too many.
fn expired(events: &[Arc<Value>], now: i64) -> Vec<&Value> {
    let last = |event: &Value| {
        let time =
            text(event, &["lastTimestamp"]).or(text(event, &["metadata", "creationTimestamp"]));
        time.and_then(|t| t.parse::<jiff::Timestamp>().ok()).map_or(now, |t| t.as_second())
    };
    let mut by_age: Vec<&Value> = events.iter().map(|e| &**e).collect();
    by_age.sort_by_key(|event| last(event));
    let too_many = by_age.len().saturating_sub(MAX_EVENTS);
    let old = by_age.iter().take_while(|event| last(event) < now - EVENT_LIFE).count();
    by_age.truncate(old.max(too_many));
    by_age
}

/// Runs until the server goes away. Starts with a look at everything, since changes may have
/// been missed while nobody ran.
pub async fn run(core: Arc<Core>) {
    let mut events = core.store.subscribe();
    sweep(&core).await;
    loop {
        match events.recv().await {
            Ok(event) => follow(&core, &event).await,
            Err(RecvError::Lagged(_)) => sweep(&core).await,
            Err(RecvError::Closed) => return,
        }
    }
}

async fn follow(core: &Core, event: &Event) {
    let object = &event.object;
    match event.change {
        Change::Deleted => {
            for key in core.store.dependents(meta::uid(object)) {
                collect(core, &key).await;
            }
            finish_waiting_owners(core, object).await;
        }
        Change::Added | Change::Modified => {
            if meta::deletion_timestamp(object).is_some() {
                progress_deletion(core, event).await;
            }
            if event.change == Change::Added
                && !items(object, &["metadata", "ownerReferences"]).is_empty()
            {
                let (group, plural) = &event.resource;
                collect(core, &key_of(group, plural, object)).await;
            }
        }
    }
}

/// Looks at every object that has owners or waits to go.
async fn sweep(core: &Core) {
    let registry = core.registry();
    for kind in registry.all().iter().filter(|k| k.stored) {
        for object in core.store.list(&kind.group, &kind.plural, None, None).objects {
            let revision = meta::resource_version(&object).unwrap_or(0);
            let resource = (kind.group.clone(), kind.plural.clone());
            let change = Change::Added;
            follow(core, &Event { revision, resource, change, object }).await;
        }
    }
}

fn key_of(group: &str, plural: &str, object: &Value) -> Key {
    Key {
        group: group.to_owned(),
        plural: plural.to_owned(),
        namespace: meta::namespace(object).unwrap_or_default().to_owned(),
        name: meta::name(object).to_owned(),
    }
}

fn target_of(core: &Core, key: &Key) -> Option<Target> {
    let registry = core.registry();
    let kind = registry.by_plural(&key.group, &key.plural)?;
    Some(Target {
        version: (kind.group.clone(), kind.storage_version.clone()),
        kind: kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        subresource: None,
    })
}

/// Whether an owner reference points at something that is there.
fn owner_lives(core: &Core, reference: &Value, namespace: &str) -> bool {
    let field = |key| text(reference, &[key]).unwrap_or_default();
    let (group, _) = meta::split_api_version(field("apiVersion"));
    let registry = core.registry();
    // An owner of a kind that is not known cannot be said to be gone.
    let Some(kind) = registry.by_kind(group, field("kind")) else { return true };
    let key = Key {
        group: kind.group.clone(),
        plural: kind.plural.clone(),
        namespace: if kind.namespaced { namespace.to_owned() } else { String::new() },
        name: field("name").to_owned(),
    };
    core.store.get(&key).is_some_and(|owner| meta::uid(&owner) == field("uid"))
}

/// Deletes an object all of whose owners are gone.
async fn collect(core: &Core, key: &Key) {
    let Some(object) = core.store.get(key) else { return };
    let owners = items(&object, &["metadata", "ownerReferences"]);
    if owners.is_empty() || meta::deletion_timestamp(&object).is_some() {
        return;
    }
    if owners.iter().any(|owner| owner_lives(core, owner, &key.namespace)) {
        return;
    }
    delete(core, key, &object, Propagation::Background).await;
}

async fn delete(core: &Core, key: &Key, object: &Value, propagation: Propagation) {
    let Some(target) = target_of(core, key) else { return };
    let options = DeleteOptions {
        uid: Some(meta::uid(object).to_owned()),
        propagation: Some(propagation),
        ..DeleteOptions::default()
    };
    let caller = Caller::system("garbage-collector");
    match core.delete(&caller, &target, &options).await {
        Err(error) if error.code != 404 && error.code != 409 => {
            tracing::warn!(?key, %error, "a dependent could not be deleted");
        }
        _ => {}
    }
}

/// Does what the finalizers of this server wait for.
async fn progress_deletion(core: &Core, event: &Event) {
    let (group, plural) = &event.resource;
    let key = key_of(group, plural, &event.object);
    let finalizers = meta::finalizers(&event.object);
    if finalizers.contains(&ORPHAN) {
        orphan_dependents(core, meta::uid(&event.object)).await;
        remove_finalizer(core, &key, ORPHAN).await;
    } else if finalizers.contains(&FOREGROUND) {
        delete_foreground(core, &key, &event.object).await;
    } else if finalizers.contains(&CLEANUP) {
        empty_kind(core, &key, &event.object).await;
    }
}

async fn orphan_dependents(core: &Core, uid: &str) {
    for key in core.store.dependents(uid) {
        let (Some(object), Some(target)) = (core.store.get(&key), target_of(core, &key)) else {
            continue;
        };
        let owners = items(&object, &["metadata", "ownerReferences"]).iter();
        let kept: Vec<&Value> = owners.filter(|o| text(o, &["uid"]) != Some(uid)).collect();
        patch(core, &target, json!({"metadata": {"ownerReferences": kept}})).await;
    }
}

async fn delete_foreground(core: &Core, key: &Key, object: &Value) {
    let mut blocked = false;
    for dependent in core.store.dependents(meta::uid(object)) {
        let Some(child) = core.store.get(&dependent) else { continue };
        blocked |= items(&child, &["metadata", "ownerReferences"]).iter().any(|o| {
            text(o, &["uid"]) == Some(meta::uid(object))
                && o.get("blockOwnerDeletion") == Some(&Value::Bool(true))
        });
        if meta::deletion_timestamp(&child).is_none() {
            delete(core, &dependent, &child, Propagation::Foreground).await;
        }
    }
    let left = core.store.dependents(meta::uid(object)).len();
    if left == 0 || !blocked {
        remove_finalizer(core, key, FOREGROUND).await;
    }
}

/// Deletes the objects of a kind whose definition is being deleted.
async fn empty_kind(core: &Core, key: &Key, crd: &Value) {
    let Ok(kind) = objects::kinds::from_crd(crd) else { return };
    for object in core.store.list(&kind.group, &kind.plural, None, None).objects {
        let key = key_of(&kind.group, &kind.plural, &object);
        if meta::deletion_timestamp(&object).is_none() {
            delete(core, &key, &object, Propagation::Background).await;
        }
    }
    if core.store.list(&kind.group, &kind.plural, None, None).objects.is_empty() {
        remove_finalizer(core, key, CLEANUP).await;
    }
}

/// A deleted object may be the last that its owner, or its kind's definition, waited for.
async fn finish_waiting_owners(core: &Core, gone: &Value) {
    let namespace = meta::namespace(gone).unwrap_or_default();
    let registry = core.registry();
    for reference in items(gone, &["metadata", "ownerReferences"]) {
        let field = |key| text(reference, &[key]).unwrap_or_default();
        let (group, _) = meta::split_api_version(field("apiVersion"));
        let Some(kind) = registry.by_kind(group, field("kind")) else { continue };
        let namespace = if kind.namespaced { namespace } else { "" };
        let key = Key {
            group: kind.group.clone(),
            plural: kind.plural.clone(),
            namespace: namespace.to_owned(),
            name: field("name").to_owned(),
        };
        let Some(owner) = core.store.get(&key) else { continue };
        if meta::finalizers(&owner).contains(&FOREGROUND) {
            delete_foreground(core, &key, &owner).await;
        }
    }
    let (group, _) = meta::split_api_version(meta::api_version(gone));
    if let Some(kind) = registry.by_kind(group, meta::kind(gone)).filter(|k| k.custom) {
        let key = Key {
            group: "apiextensions.k8s.io".to_owned(),
            plural: "customresourcedefinitions".to_owned(),
            namespace: String::new(),
            name: kind.qualified(),
        };
        if let Some(crd) = core.store.get(&key).filter(|c| meta::finalizers(c).contains(&CLEANUP)) {
            empty_kind(core, &key, &crd).await;
        }
    }
}

async fn remove_finalizer(core: &Core, key: &Key, name: &str) {
    let (Some(object), Some(target)) = (core.store.get(key), target_of(core, key)) else { return };
    let kept: Vec<&str> = meta::finalizers(&object).into_iter().filter(|f| *f != name).collect();
    patch(core, &target, json!({"metadata": {"finalizers": kept}})).await;
}

async fn patch(core: &Core, target: &Target, change: Value) {
    let caller = Caller::system("garbage-collector");
    match core.patch(&caller, target, PatchKind::Merge, &change).await {
        Err(error) if error.code != 404 => {
            tracing::warn!(name = target.name, %error, "a deletion could not be progressed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_go_when_they_are_old_or_too_many() {
        let event =
            |seconds: i64| Arc::new(json!({"lastTimestamp": crate::time::rfc3339(seconds)}));
        let now = 1_800_000_000;
        let events = [event(now - 10), event(now - EVENT_LIFE - 1), event(now)];
        assert_eq!(expired(&events, now), [&*events[1]]);
        let many: Vec<_> = (0..MAX_EVENTS as i64 + 3).map(|n| event(now - n % 100)).collect();
        assert_eq!(expired(&many, now).len(), 3);
    }
}
