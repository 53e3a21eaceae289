//! Create, update and patch: from a request's body to the object that is wanted. All of them end
//! in `finish`.

use std::sync::Arc;

use objects::apply::Conflict;
use objects::{convert, meta, patch, strict};
use serde_json::{Value, json};

use super::caller::FieldValidation;
use super::finish::manager;
use super::{Caller, Core, Target, scale};
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
        // A field that is null is a field that is absent.
        meta::strip_nulls(&mut object);
        if !kind.custom
            && let Some(wrong) = strict::wrong_type(&served.shape, &object)
        {
            let message = format!(
                "{} in version {:?} cannot be handled as a {}: {wrong}",
                kind.kind, served.version, kind.kind
            );
            return Err(ApiError::bad_request(message));
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
