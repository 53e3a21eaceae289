//! The common end of all writes: defaults, admission, validation, bookkeeping, commit.

use std::sync::Arc;

use objects::apply::Manager;
use objects::{meta, strict};
use serde_json::Value;

use super::{Caller, Core, Target};
use crate::admission::Operation;
use crate::error::ApiError;

impl Core {
    /// The common end of all writes. `new` is in the stored version; `recorded` is the state whose
    /// owners an apply has already written down.
    pub(super) async fn finish(
        &self,
        caller: &Caller,
        target: &Target,
        old: Option<Arc<Value>>,
        new: Value,
        recorded: Option<Value>,
    ) -> Result<Arc<Value>, ApiError> {
        let mut new = match &old {
            Some(old) => self.prepare_update(target, old, new)?,
            None => self.prepare_create(target, new),
        };
        self.complete(target, old.as_deref(), &mut new);
        let _turn = match target.is("", "services") {
            true => Some(self.service_allocation.lock().await),
            false => None,
        };
        let operation = if old.is_some() { Operation::Update } else { Operation::Create };
        self.admit_builtin(target, old.as_deref(), &mut new)?;
        self.mutate(caller, target, operation, old.as_deref(), &mut new).await?;
        strict::prune(&target.kind.storage().shape, &mut new);
        self.complete(target, old.as_deref(), &mut new);
        self.validate(caller, target, old.as_deref(), &new)?;
        crate::auth::escalation::check(self, &caller.user, target, &new)?;
        self.validating_webhooks(caller, target, operation, old.as_deref(), &new).await?;
        self.record(caller, target, old.as_deref(), recorded.as_ref(), &mut new);
        if let Some(old) = &old {
            if meta::same_content(old, &new) && same_owners(old, &new) {
                return Ok(old.clone());
            }
            bump_generation(target, old, &mut new);
        }
        if caller.dry_run {
            return Ok(Arc::new(new));
        }
        self.commit(target, old, new).await
    }

    async fn commit(
        &self,
        target: &Target,
        old: Option<Arc<Value>>,
        new: Value,
    ) -> Result<Arc<Value>, ApiError> {
        let key = target.key();
        let expected = old.as_deref().and_then(meta::resource_version);
        let written = if old.is_some() && super::delete::is_finished(target, &new) {
            self.store.remove(&key, expected.unwrap_or(0))
        } else {
            self.store.put(&key, expected, new)
        };
        let object = written.map_err(|error| match (&error, expected) {
            (crate::store::WriteError::Stale, None) => {
                ApiError::already_exists(&key.group, &key.plural, &key.name)
            }
            _ => self.write_error(&key, error),
        })?;
        self.after_commit(target, old.is_none()).await;
        Ok(object)
    }

    /// What must be true when the answer arrives: new kinds are served, new namespaces furnished.
    async fn after_commit(&self, target: &Target, created: bool) {
        if target.is("apiextensions.k8s.io", "customresourcedefinitions") {
            self.reload_custom_kinds();
        }
        if created && target.is("", "namespaces") {
            // Boxed, because furnishing creates objects through the same path.
            Box::pin(crate::bootstrap::furnish_namespace(self, &target.name)).await;
        }
    }

    fn prepare_create(&self, target: &Target, mut new: Value) -> Value {
        if target.kind.status || target.is("", "pods") {
            meta::as_map(&mut new).shift_remove("status");
        }
        let metadata = meta::metadata(&mut new);
        for key in
            ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"]
        {
            metadata.shift_remove(key);
        }
        if target.kind.namespaced {
            metadata.insert("namespace".to_owned(), target.namespace.clone().into());
        } else {
            metadata.shift_remove("namespace");
        }
        metadata.insert("uid".to_owned(), crate::random::uuid().into());
        metadata.insert("creationTimestamp".to_owned(), crate::time::now().into());
        metadata.insert("generation".to_owned(), 1.into());
        if !has_generation(target) {
            metadata.shift_remove("generation");
        }
        objects::defaults::on_create(&target.kind.group, &target.kind.kind, &mut new);
        new
    }

    fn prepare_update(&self, target: &Target, old: &Value, new: Value) -> Result<Value, ApiError> {
        if let Some(version) = meta::resource_version(&new)
            && Some(version) != meta::resource_version(old)
        {
            return Err(target.stale());
        }
        let uid = meta::uid(&new);
        if !uid.is_empty() && uid != meta::uid(old) {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                meta::uid(old)
            );
            let kind = &target.kind;
            return Err(ApiError::conflict(&kind.group, &kind.plural, &target.name, &why));
        }
        let mut new = match target.subresource.as_deref() {
            Some("status") => with_part_of(old, &new, "status"),
            Some("finalize") => with_part_of(old, &new, "spec"),
            _ => new,
        };
        if target.kind.status && target.subresource.as_deref() != Some("status") {
            copy(old, &mut new, "status");
        }
        let kept = meta::at(old, &["metadata"]).cloned().unwrap_or_default();
        let metadata = meta::metadata(&mut new);
        for key in [
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "generateName",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "resourceVersion",
        ] {
            match kept.get(key) {
                Some(value) => metadata.insert(key.to_owned(), value.clone()),
                None => metadata.shift_remove(key),
            };
        }
        Ok(new)
    }

    /// Defaults, and what the system itself writes into an object.
    fn complete(&self, target: &Target, old: Option<&Value>, new: &mut Value) {
        let kind = &target.kind;
        if kind.custom {
            if let Some(schema) = &kind.storage().schema {
                objects::structural::fill_defaults(schema, new);
            }
            return;
        }
        objects::defaults::fill(&kind.group, &kind.kind, new);
        if kind.kind == "CustomResourceDefinition" {
            crate::admission::crd::establish(&self.registry(), old, new);
        }
    }

    fn validate(
        &self,
        caller: &Caller,
        target: &Target,
        old: Option<&Value>,
        new: &Value,
    ) -> Result<(), ApiError> {
        let kind = &target.kind;
        let mut causes = objects::validate::object(kind, old, new);
        if kind.custom
            && let Some(schema) = &kind.storage().schema
        {
            causes.extend(objects::structural::validate(schema, new));
            // Rules are about values that have the schema's shape.
            if causes.is_empty() {
                let judgement = objects::structural::rules::judge(schema, old, new);
                judgement.unjudged.into_iter().for_each(|why| caller.warn(why));
                causes = judgement.causes;
            }
        }
        if causes.is_empty() {
            return Ok(());
        }
        Err(ApiError::invalid(&kind.group, &kind.kind, meta::name(new), &causes))
    }

    fn record(
        &self,
        caller: &Caller,
        target: &Target,
        old: Option<&Value>,
        recorded: Option<&Value>,
        new: &mut Value,
    ) {
        let now = crate::time::now();
        let storage = target.kind.storage_api_version();
        let manager = manager(caller, target, &storage, &now);
        let shape = &target.kind.storage().shape;
        match recorded {
            // What defaults and admission added to a new object belongs to nobody.
            Some(_) if old.is_none() => {}
            Some(recorded) => {
                let mut before = recorded.clone();
                self.complete(target, old, &mut before);
                if !meta::same_content(&before, new) {
                    objects::apply::record_update(shape, Some(&before), new, &manager);
                }
            }
            None => objects::apply::record_update(shape, old, new, &manager),
        }
    }
}

pub(super) fn manager<'a>(
    caller: &'a Caller,
    target: &'a Target,
    api_version: &'a str,
    now: &'a str,
) -> Manager<'a> {
    let subresource = target.subresource.as_deref();
    let without_status = target.kind.status && subresource != Some("status");
    Manager { name: &caller.manager, api_version, subresource, now, without_status }
}

/// `old` with one part of `new`; the rest of `new` is ignored.
fn with_part_of(old: &Value, new: &Value, part: &str) -> Value {
    let mut result = old.clone();
    copy(new, &mut result, part);
    result
}

fn copy(from: &Value, to: &mut Value, part: &str) {
    let map = meta::as_map(to);
    match from.get(part) {
        Some(value) => map.insert(part.to_owned(), value.clone()),
        None => map.shift_remove(part),
    };
}

fn same_owners(old: &Value, new: &Value) -> bool {
    let fields = |o: &Value| -> Vec<Value> {
        let entries = meta::items(o, &["metadata", "managedFields"]).iter();
        entries
            .map(|e| {
                let mut e = e.clone();
                meta::as_map(&mut e).shift_remove("time");
                e
            })
            .collect()
    };
    fields(old) == fields(new)
}

/// Kinds without a desired state have no generation.
fn has_generation(target: &Target) -> bool {
    let kind = &target.kind;
    kind.custom
        || !matches!(kind.group.as_str(), "" | "rbac.authorization.k8s.io" | "coordination.k8s.io")
        || matches!(kind.kind.as_str(), "Pod" | "ReplicationController")
}

/// The generation counts changes of everything but metadata and status.
fn bump_generation(target: &Target, old: &Value, new: &mut Value) {
    if !has_generation(target) {
        return;
    }
    let desired = |object: &Value| {
        let mut object = object.clone();
        let map = meta::as_map(&mut object);
        map.shift_remove("metadata");
        if target.kind.status || !target.kind.custom {
            map.shift_remove("status");
        }
        object
    };
    if desired(old) != desired(new) {
        let generation = meta::number(old, &["metadata", "generation"]).unwrap_or(0) + 1;
        meta::metadata(new).insert("generation".to_owned(), generation.into());
    }
}
