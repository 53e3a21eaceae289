//! Create, update and patch. All of them end in `finish`: defaults, admission, validation,
//! bookkeeping, commit.

use std::sync::Arc;

use objects::apply::{Conflict, Manager};
use objects::{convert, meta, patch, strict};
use serde_json::{Value, json};

use super::caller::FieldValidation;
use super::{Caller, Core, Target, scale};
use crate::admission::Operation;
use crate::error::ApiError;

/// How a patch is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchKind {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// Attempts of a write that nobody asked to be optimistic, and of a generated name.
const ATTEMPTS: usize = 8;

impl Core {
    pub async fn create(
        &self,
        caller: &Caller,
        target: &Target,
        object: Value,
    ) -> Result<Arc<Value>, ApiError> {
        let object = self.intake(caller, target, object)?;
        if meta::text(&object, &["metadata", "resourceVersion"]).is_some_and(|v| !v.is_empty()) {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(ApiError::bad_request(message));
        }
        let generated = meta::name(&object).is_empty();
        let prefix = meta::text(&object, &["metadata", "generateName"]).unwrap_or_default();
        if generated && prefix.is_empty() && target.name.is_empty() {
            let cause = objects::validate::Cause::required(
                "metadata.name",
                "name or generateName is required",
            );
            let kind = &target.kind;
            return Err(ApiError::invalid(&kind.group, &kind.kind, "", &[cause]));
        }
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let name = match (generated, target.name.is_empty()) {
                (false, _) => meta::name(&object).to_owned(),
                (true, false) => target.name.clone(),
                (true, true) => format!("{prefix}{}", crate::random::suffix(5)),
            };
            let mut object = object.clone();
            meta::metadata(&mut object).insert("name".to_owned(), name.clone().into());
            match self.finish(caller, &target.named(&name), None, object, None).await {
                Err(error) if generated && error.reason == "AlreadyExists" => last = Some(error),
                other => return other,
            }
        }
        Err(last.unwrap_or_else(|| ApiError::internal("no free name was found")))
    }

    pub async fn update(
        &self,
        caller: &Caller,
        target: &Target,
        object: Value,
    ) -> Result<Arc<Value>, ApiError> {
        let is_scale = target.subresource.as_deref() == Some("scale");
        let object = if is_scale { object } else { self.intake(caller, target, object)? };
        let given = meta::name(&object);
        if !given.is_empty() && given != target.name {
            let message = format!(
                "the name of the object ({given}) does not match the name on the URL ({})",
                target.name
            );
            return Err(ApiError::bad_request(message));
        }
        let optimistic = meta::resource_version(&object).is_some();
        for attempt in 1.. {
            let old = self.store.get(&target.key()).ok_or_else(|| target.not_found())?;
            let new = match is_scale {
                true => scale::with_scale(target, &old, &object)?,
                false => object.clone(),
            };
            match self.finish(caller, target, Some(old), new, None).await {
                Err(e) if e.reason == "Conflict" && !optimistic && attempt < ATTEMPTS => {}
                other => return other,
            }
        }
        Err(target.stale())
    }

    pub async fn patch(
        &self,
        caller: &Caller,
        target: &Target,
        how: PatchKind,
        change: &Value,
    ) -> Result<Arc<Value>, ApiError> {
        for attempt in 1.. {
            let old = self.store.get(&target.key());
            if old.is_none() && how != PatchKind::Apply {
                return Err(target.not_found());
            }
            let (new, applied) = self.patched(caller, target, how, change, old.as_deref())?;
            let optimistic = meta::resource_version(change).is_some();
            match self.finish(caller, target, old, new, applied).await {
                Err(e) if e.reason == "Conflict" && !optimistic && attempt < ATTEMPTS => {}
                Err(e) if e.reason == "AlreadyExists" && attempt < ATTEMPTS => {}
                other => return other,
            }
        }
        Err(target.stale())
    }

    /// The object after the patch, in the stored version; and, after an apply, the same again as
    /// the state whose ownership is already recorded.
    fn patched(
        &self,
        caller: &Caller,
        target: &Target,
        how: PatchKind,
        change: &Value,
        old: Option<&Value>,
    ) -> Result<(Value, Option<Value>), ApiError> {
        if how == PatchKind::Apply {
            let applied = self.applied(caller, target, change, old)?;
            return Ok((applied.clone(), Some(applied)));
        }
        let old = old.ok_or_else(|| target.not_found())?;
        let is_scale = target.subresource.as_deref() == Some("scale");
        let before = match is_scale {
            true => scale::scale_of(target, old)?,
            false => convert::from_storage(&target.kind, target.served(), old),
        };
        let bad = |e: patch::PatchError| ApiError::new(422, "Invalid", e.to_string());
        let mut after = match how {
            PatchKind::Json => patch::json::apply(&before, change).map_err(bad)?,
            PatchKind::Strategic if target.kind.custom => {
                let message = "the body of the request was in an unknown format - accepted media \
                               types include: application/json-patch+json, \
                               application/merge-patch+json, application/apply-patch+yaml";
                return Err(ApiError::new(415, "UnsupportedMediaType", message));
            }
            PatchKind::Strategic => {
                patch::strategic::apply(&before, change, &target.served().shape)
                    .map_err(|e| ApiError::bad_request(e.to_string()))?
            }
            _ => {
                let mut after = before.clone();
                patch::merge(&mut after, change);
                after
            }
        };
        if is_scale {
            return Ok((scale::with_scale(target, old, &after)?, None));
        }
        // A patch that does not speak of the revision is not optimistic.
        if after.pointer("/metadata/resourceVersion") == before.pointer("/metadata/resourceVersion")
        {
            meta::metadata(&mut after).shift_remove("resourceVersion");
        }
        Ok((self.intake(caller, target, after)?, None))
    }

    fn applied(
        &self,
        caller: &Caller,
        target: &Target,
        change: &Value,
        old: Option<&Value>,
    ) -> Result<Value, ApiError> {
        if meta::at(change, &["metadata", "managedFields"]).is_some_and(|m| !m.is_null()) {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        let mut change = self.intake(caller, target, change.clone())?;
        meta::metadata(&mut change).insert("name".to_owned(), target.name.clone().into());
        if !target.namespace.is_empty() {
            let namespace = target.namespace.clone().into();
            meta::metadata(&mut change).insert("namespace".to_owned(), namespace);
        }
        let now = crate::time::now();
        let storage = target.kind.storage_api_version();
        let manager = manager(caller, target, &storage, &now);
        let shape = &target.kind.storage().shape;
        objects::apply::apply(shape, old, &change, &manager, caller.force)
            .map_err(|conflicts| apply_conflict(&conflicts))
    }

    /// Checks a body against its kind and brings it into the stored version.
    fn intake(
        &self,
        caller: &Caller,
        target: &Target,
        mut object: Value,
    ) -> Result<Value, ApiError> {
        let (kind, served) = (&target.kind, target.served());
        let (api, name) = (meta::api_version(&object), meta::kind(&object));
        if !name.is_empty() && (name != kind.kind || api != target.api_version()) {
            let message = format!(
                "the object is {api} {name}, but the URL is of {} {}",
                target.api_version(),
                kind.kind
            );
            return Err(ApiError::bad_request(message));
        }
        if let Some(deprecation) = &served.deprecation {
            caller.warn(deprecation.clone());
        }
        let given = meta::namespace(&object).map(str::to_owned);
        if let Some(given) = given.filter(|ns| kind.namespaced && *ns != target.namespace) {
            let message = format!(
                "the namespace of the provided object does not match the namespace sent on the \
                 request: {given} and {}",
                target.namespace
            );
            return Err(ApiError::bad_request(message));
        }
        if !kind.custom {
            meta::strip_nulls(&mut object);
            if let Some(wrong) = strict::wrong_type(&served.shape, &object) {
                let message = format!(
                    "{} in version {:?} cannot be handled as a {}: {wrong}",
                    kind.kind, served.version, kind.kind
                );
                return Err(ApiError::bad_request(message));
            }
        }
        self.report_unknown(caller, target, &object)?;
        strict::prune(&served.shape, &mut object);
        Ok(convert::to_storage(kind, served, object))
    }

    fn report_unknown(
        &self,
        caller: &Caller,
        target: &Target,
        object: &Value,
    ) -> Result<(), ApiError> {
        if caller.field_validation == FieldValidation::Ignore {
            return Ok(());
        }
        let unknown = strict::unknown_fields(&target.served().shape, object);
        let unknown: Vec<String> =
            unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
        if caller.field_validation == FieldValidation::Strict && !unknown.is_empty() {
            let message = format!(
                "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
                target.kind.kind,
                target.version.1,
                target.kind.kind,
                unknown.join(", ")
            );
            return Err(ApiError::bad_request(message));
        }
        unknown.into_iter().for_each(|warning| caller.warn(warning));
        Ok(())
    }

    /// The common end of all writes. `new` is in the stored version; `recorded` is the state whose
    /// owners an apply has already written down.
    async fn finish(
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
        self.validate(target, old.as_deref(), &new)?;
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

    fn validate(&self, target: &Target, old: Option<&Value>, new: &Value) -> Result<(), ApiError> {
        let kind = &target.kind;
        let mut causes = objects::validate::object(kind, old, new);
        if kind.custom
            && let Some(schema) = &kind.storage().schema
        {
            causes.extend(objects::structural::validate(schema, new));
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

fn manager<'a>(
    caller: &'a Caller,
    target: &'a Target,
    api_version: &'a str,
    now: &'a str,
) -> Manager<'a> {
    let subresource = target.subresource.as_deref();
    let without_status = target.kind.status && subresource != Some("status");
    Manager { name: &caller.manager, api_version, subresource, now, without_status }
}

fn apply_conflict(conflicts: &[Conflict]) -> ApiError {
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|c| {
            let message = format!("conflict with {:?}", c.manager);
            json!({"reason": "FieldManagerConflict", "message": message, "field": c.field})
        })
        .collect();
    let list: Vec<String> =
        conflicts.iter().map(|c| format!("{:?}: {}", c.manager, c.field)).collect();
    let (count, plural) = (conflicts.len(), if conflicts.len() == 1 { "" } else { "s" });
    let lead = format!("Apply failed with {count} conflict{plural}: conflicts with ");
    ApiError::new(409, "Conflict", format!("{lead}{}", list.join("\n- ")))
        .with_details(json!({"causes": causes}))
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
