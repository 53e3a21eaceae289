//! Deletion: at once, with grace for pods, held by finalizers, and what happens to dependents.

use std::sync::Arc;

use objects::meta;
use serde_json::{Value, json};

use super::read::ListOptions;
use super::{Caller, Core, Target};
use crate::admission::Operation;
use crate::client::{DeleteOptions, Propagation};
use crate::error::ApiError;
use crate::store::WriteError;

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

const ATTEMPTS: usize = 8;

/// What a deletion left behind.
pub enum Deleted {
    /// Nothing; this was the last state.
    Gone(Arc<Value>),
    /// The object, marked for deletion.
    Pending(Arc<Value>),
}

/// Whether an object that is marked for deletion has nothing left to wait for.
pub fn is_finished(target: &Target, object: &Value) -> bool {
    let Some(_) = meta::deletion_timestamp(object) else { return false };
    let grace = meta::number(object, &["metadata", "deletionGracePeriodSeconds"]).unwrap_or(0);
    let namespace_filled =
        target.is("", "namespaces") && !meta::items(object, &["spec", "finalizers"]).is_empty();
    meta::finalizers(object).is_empty() && grace == 0 && !namespace_filled
}

impl Core {
    pub async fn delete(
        &self,
        caller: &Caller,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        for _ in 0..ATTEMPTS {
            let old = self.get(target)?;
            self.check_preconditions(target, &old, options)?;
            self.validating_webhooks(caller, target, Operation::Delete, Some(&old), &Value::Null)
                .await?;
            if options.dry_run {
                return Ok(Deleted::Gone(old));
            }
            let key = target.key();
            let expected = meta::resource_version(&old);
            let marked = self.marked(target, &old, options);
            let done = is_finished(target, &marked);
            let result = if done {
                self.store.remove(&key, expected.unwrap_or(0)).map(Deleted::Gone)
            } else if marked == *old {
                return Ok(Deleted::Pending(old));
            } else {
                self.store.put(&key, expected, marked).map(Deleted::Pending)
            };
            match result {
                Ok(deleted) => {
                    if target.is("apiextensions.k8s.io", "customresourcedefinitions") {
                        self.reload_custom_kinds();
                    }
                    return Ok(deleted);
                }
                Err(WriteError::Stale) => {}
                Err(error) => return Err(self.write_error(&key, error)),
            }
        }
        Err(target.stale())
    }

    /// Deletes what a list request selects; returns what was selected.
    pub async fn delete_collection(
        &self,
        caller: &Caller,
        target: &Target,
        list: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<Vec<Arc<Value>>, ApiError> {
        let page = self.list(target, list);
        for object in &page.items {
            let one = Target {
                namespace: meta::namespace(object).unwrap_or_default().to_owned(),
                ..target.named(meta::name(object))
            };
            match self.delete(caller, &one, options).await {
                Err(error) if error.code != 404 => return Err(error),
                _ => {}
            }
        }
        Ok(page.items)
    }

    fn check_preconditions(
        &self,
        target: &Target,
        old: &Value,
        options: &DeleteOptions,
    ) -> Result<(), ApiError> {
        let kind = &target.kind;
        let failed = |what: &str, wanted: &str, found: &str| {
            let why = format!(
                "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been deleted and then recreated"
            );
            Err(ApiError::conflict(&kind.group, &kind.plural, &target.name, &why))
        };
        if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != meta::uid(old)) {
            return failed("UID", uid, meta::uid(old));
        }
        let found = meta::text(old, &["metadata", "resourceVersion"]).unwrap_or_default();
        if let Some(wanted) = options.resource_version.as_deref().filter(|v| *v != found) {
            return failed("ResourceVersion", wanted, found);
        }
        if target.is("", "namespaces")
            && matches!(target.name.as_str(), "default" | "kube-system" | "kube-public")
        {
            let why = "this namespace may not be deleted";
            return Err(ApiError::forbidden("", "namespaces", &target.name, why));
        }
        Ok(())
    }

    /// The object with its deletion written into it.
    fn marked(&self, target: &Target, old: &Value, options: &DeleteOptions) -> Value {
        let mut marked = old.clone();
        let grace = grace_seconds(target, old, options);
        let mut finalizers: Vec<String> =
            meta::finalizers(old).into_iter().map(str::to_owned).collect();
        let add = |list: &mut Vec<String>, name: &str, wanted: bool| {
            list.retain(|f| f != name);
            if wanted {
                list.push(name.to_owned());
            }
        };
        if let Some(propagation) = options.propagation {
            add(&mut finalizers, FOREGROUND, propagation == Propagation::Foreground);
            add(&mut finalizers, ORPHAN, propagation == Propagation::Orphan);
        }
        if target.is("apiextensions.k8s.io", "customresourcedefinitions") {
            let filled = objects::kinds::from_crd(old).is_ok_and(|k| {
                !self.store.list(&k.group, &k.plural, None, None).objects.is_empty()
            });
            let finalizer = crate::admission::crd::CLEANUP;
            add(&mut finalizers, finalizer, filled || finalizers_contain(old, finalizer));
        }
        let first = meta::deletion_timestamp(old).is_none();
        let metadata = meta::metadata(&mut marked);
        if first || grace == 0 {
            let before = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64);
            if first || before.is_some_and(|b| b > 0) {
                let when = crate::time::rfc3339(crate::time::unix_seconds() + grace);
                metadata.insert("deletionTimestamp".to_owned(), when.into());
                metadata.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
            }
        }
        if finalizers.is_empty() {
            metadata.shift_remove("finalizers");
        } else {
            metadata.insert("finalizers".to_owned(), json!(finalizers));
        }
        if first && metadata.contains_key("generation") {
            let generation = metadata.get("generation").and_then(Value::as_i64).unwrap_or(0);
            metadata.insert("generation".to_owned(), (generation + 1).into());
        }
        if target.is("", "namespaces") {
            meta::child(&mut marked, "status").insert("phase".to_owned(), "Terminating".into());
        }
        marked
    }
}

fn finalizers_contain(object: &Value, name: &str) -> bool {
    meta::finalizers(object).contains(&name)
}

/// Only a pod that runs on a node is given time; it may be shortened afterwards.
fn grace_seconds(target: &Target, old: &Value, options: &DeleteOptions) -> i64 {
    if !target.is("", "pods") {
        return 0;
    }
    let scheduled = meta::text(old, &["spec", "nodeName"]).is_some_and(|n| !n.is_empty());
    let ended = matches!(meta::text(old, &["status", "phase"]), Some("Succeeded" | "Failed"));
    if !scheduled || ended {
        return 0;
    }
    let own = meta::number(old, &["spec", "terminationGracePeriodSeconds"]).unwrap_or(30);
    options.grace_seconds.unwrap_or(own).max(0)
}
