//! Admission webhooks: which ones an operation concerns, what they are asked, and what becomes
//! of their answers.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use objects::meta::{self, at, items, text};
use objects::selector::LabelSelector;
use objects::{convert, patch};
use serde_json::{Value, json};

use super::Operation;
use super::webhook_call::{CallError, call};
use crate::core::{Caller, Core, Target};
use crate::error::ApiError;

const GROUP: &str = "admissionregistration.k8s.io";

impl Core {
    /// Lets the mutating webhooks change the object; those that ask for it are called again when
    /// a later one changed it.
    pub(crate) async fn mutate(
        &self,
        caller: &Caller,
        target: &Target,
        operation: Operation,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<(), ApiError> {
        let webhooks = self.webhooks(target, "mutatingwebhookconfigurations");
        let mut changed_after = vec![false; webhooks.len()];
        for (index, webhook) in webhooks.iter().enumerate() {
            if self.mutate_by(webhook, caller, target, operation, old, new).await? {
                changed_after[..index].fill(true);
            }
        }
        for (webhook, _) in webhooks.iter().zip(changed_after).filter(|(_, changed)| *changed) {
            if text(webhook, &["reinvocationPolicy"]) == Some("IfNeeded") {
                self.mutate_by(webhook, caller, target, operation, old, new).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn validating_webhooks(
        &self,
        caller: &Caller,
        target: &Target,
        operation: Operation,
        old: Option<&Value>,
        new: &Value,
    ) -> Result<(), ApiError> {
        for webhook in self.webhooks(target, "validatingwebhookconfigurations") {
            self.ask(&webhook, caller, target, operation, old, new).await?;
        }
        Ok(())
    }

    async fn mutate_by(
        &self,
        webhook: &Value,
        caller: &Caller,
        target: &Target,
        operation: Operation,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<bool, ApiError> {
        let Some(answer) = self.ask(webhook, caller, target, operation, old, new).await? else {
            return Ok(false);
        };
        let Some(operations) = &answer.patch else { return Ok(false) };
        let name = text(webhook, &["name"]).unwrap_or_default();
        let shown = convert::from_storage(&target.kind, answer.served(target), new);
        let patched = patch::json::apply(&shown, operations).map_err(|error| {
            ApiError::internal(format!(
                "the patch of admission webhook {name:?} does not apply: {error}"
            ))
        })?;
        let patched = convert::to_storage(&target.kind, answer.served(target), patched);
        let changed = patched != *new;
        *new = patched;
        Ok(changed)
    }

    /// All webhooks, by the names of their configurations. Those configurations themselves are
    /// exempt, so that a broken webhook can be removed.
    fn webhooks(&self, target: &Target, plural: &str) -> Vec<Value> {
        if target.kind.group == GROUP {
            return Vec::new();
        }
        let configurations = self.store.list(GROUP, plural, None, None).objects;
        configurations.iter().flat_map(|c| items(c, &["webhooks"]).to_vec()).collect()
    }

    /// Asks one webhook, if it is concerned.
    async fn ask(
        &self,
        webhook: &Value,
        caller: &Caller,
        target: &Target,
        operation: Operation,
        old: Option<&Value>,
        new: &Value,
    ) -> Result<Option<Answer>, ApiError> {
        let Some(version) = matching_version(webhook, target, operation) else { return Ok(None) };
        if !self.selected(webhook, target, old, new) {
            return Ok(None);
        }
        let name = text(webhook, &["name"]).unwrap_or_default();
        let review = review(webhook, caller, target, &version, operation, old, new);
        let seconds = meta::number(webhook, &["timeoutSeconds"]).unwrap_or(10).clamp(1, 30);
        let deadline = Duration::from_secs(seconds.unsigned_abs());
        let client_config = at(webhook, &["clientConfig"]).cloned().unwrap_or_default();
        let called = tokio::time::timeout(deadline, call(self, &client_config, &review)).await;
        let answer = match called {
            Ok(Ok(response)) => parse_answer(&response, &review, version),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(CallError::Timeout(seconds)),
        };
        match answer {
            Ok(answer) => {
                answer.warnings.iter().for_each(|w| caller.warn(w.clone()));
                if answer.allowed { Ok(Some(answer)) } else { Err(denied(name, &answer)) }
            }
            Err(error) if text(webhook, &["failurePolicy"]) == Some("Ignore") => {
                tracing::warn!(webhook = name, %error, "an admission webhook failed and is ignored");
                Ok(None)
            }
            Err(error) => {
                let message =
                    format!("failed calling webhook {name:?}: failed to call webhook: {error}");
                Err(ApiError::internal(message))
            }
        }
    }

    fn selected(&self, webhook: &Value, target: &Target, old: Option<&Value>, new: &Value) -> bool {
        let none = Value::Null;
        let selector = at(webhook, &["objectSelector"]).unwrap_or(&none);
        let selector = LabelSelector::from_value(selector);
        let objects = [Some(new), old].into_iter().flatten().filter(|o| !o.is_null());
        let mut labels = objects.map(|o| meta::labels(o));
        if !selector.is_empty() && !labels.any(|l| selector.matches(l)) {
            return false;
        }
        let selector =
            LabelSelector::from_value(at(webhook, &["namespaceSelector"]).unwrap_or(&none));
        if selector.is_empty() {
            return true;
        }
        if target.is("", "namespaces") {
            return selector.matches(meta::labels(if new.is_null() {
                old.unwrap_or(new)
            } else {
                new
            }));
        }
        if !target.kind.namespaced {
            return true;
        }
        let key = crate::store::Key {
            group: String::new(),
            plural: "namespaces".to_owned(),
            namespace: String::new(),
            name: target.namespace.clone(),
        };
        self.store.get(&key).is_some_and(|ns| selector.matches(meta::labels(&ns)))
    }
}

/// What a webhook said.
struct Answer {
    allowed: bool,
    status: Value,
    patch: Option<Value>,
    warnings: Vec<String>,
    /// (group, version) in which it was asked.
    version: (String, String),
}

impl Answer {
    fn served<'a>(&self, target: &'a Target) -> &'a objects::kinds::Served {
        target
            .kind
            .served(&self.version.0, &self.version.1)
            .unwrap_or_else(|| target.kind.storage())
    }
}

/// The (group, version) under which a webhook's rules know this operation: the caller's, or with
/// `Equivalent` any other of the kind.
fn matching_version(
    webhook: &Value,
    target: &Target,
    operation: Operation,
) -> Option<(String, String)> {
    let rules = items(webhook, &["rules"]);
    let fits = |group: &str, version: &str| {
        rules.iter().any(|rule| rule_matches(rule, target, operation, group, version))
    };
    if fits(&target.version.0, &target.version.1) {
        return Some(target.version.clone());
    }
    if text(webhook, &["matchPolicy"]) == Some("Exact") {
        return None;
    }
    let other = target.kind.served.iter().find(|s| fits(&s.group, &s.version))?;
    Some((other.group.clone(), other.version.clone()))
}

fn rule_matches(
    rule: &Value,
    target: &Target,
    operation: Operation,
    group: &str,
    version: &str,
) -> bool {
    let has = |key: &str, wanted: &str| {
        items(rule, &[key]).iter().filter_map(Value::as_str).any(|v| v == "*" || v == wanted)
    };
    let scope = match text(rule, &["scope"]) {
        Some("Namespaced") => target.kind.namespaced,
        Some("Cluster") => !target.kind.namespaced,
        _ => true,
    };
    let plural = target.kind.plural.as_str();
    let resource = items(rule, &["resources"]).iter().filter_map(Value::as_str).any(|r| {
        let (resource, sub) = r.split_once('/').unwrap_or((r, ""));
        let sub_fits = match target.subresource.as_deref() {
            None => sub.is_empty() || sub == "*",
            Some(own) => sub == "*" || sub == own,
        };
        (resource == "*" || resource == plural) && sub_fits
    });
    scope
        && resource
        && has("apiGroups", group)
        && has("apiVersions", version)
        && has("operations", operation.name())
}

fn review(
    webhook: &Value,
    caller: &Caller,
    target: &Target,
    version: &(String, String),
    operation: Operation,
    old: Option<&Value>,
    new: &Value,
) -> Value {
    let kind = &target.kind;
    let served = kind.served(&version.0, &version.1).unwrap_or_else(|| kind.storage());
    let show = |object: &Value| match object {
        Value::Null => Value::Null,
        object => convert::from_storage(kind, served, object),
    };
    let versions = items(webhook, &["admissionReviewVersions"]);
    let v1 = versions.is_empty() || versions.iter().any(|v| v == "v1");
    let gvk = |g: &str, v: &str| json!({"group": g, "version": v, "kind": kind.kind});
    let gvr = |g: &str, v: &str| json!({"group": g, "version": v, "resource": kind.plural});
    let mut request = json!({
        "uid": crate::random::uuid(),
        "kind": gvk(&version.0, &version.1),
        "resource": gvr(&version.0, &version.1),
        "requestKind": gvk(&target.version.0, &target.version.1),
        "requestResource": gvr(&target.version.0, &target.version.1),
        "name": target.name,
        "operation": operation.name(),
        "userInfo": caller.user.info(),
        "object": show(new),
        "oldObject": old.map_or(Value::Null, show),
        "dryRun": caller.dry_run,
        "options": {"kind": format!("{}Options", title(operation)), "apiVersion": "meta.k8s.io/v1"},
    });
    let map = meta::as_map(&mut request);
    if kind.namespaced {
        map.insert("namespace".to_owned(), target.namespace.clone().into());
    } else if target.is("", "namespaces") {
        map.insert("namespace".to_owned(), target.name.clone().into());
    }
    if let Some(sub) = &target.subresource {
        map.insert("subResource".to_owned(), sub.clone().into());
        map.insert("requestSubResource".to_owned(), sub.clone().into());
    }
    let api = if v1 { "admission.k8s.io/v1" } else { "admission.k8s.io/v1beta1" };
    json!({"kind": "AdmissionReview", "apiVersion": api, "request": request})
}

fn title(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "Create",
        Operation::Update => "Update",
        Operation::Delete => "Delete",
    }
}

fn parse_answer(
    answer: &Value,
    review: &Value,
    version: (String, String),
) -> Result<Answer, CallError> {
    let bad = |why: &str| CallError::Answer(why.to_owned());
    let response = at(answer, &["response"]).ok_or_else(|| bad("it has no `response`"))?;
    if at(response, &["uid"]) != at(review, &["request", "uid"]) {
        return Err(bad("its `response.uid` is not the request's"));
    }
    let patch = match text(response, &["patch"]).filter(|p| !p.is_empty()) {
        None => None,
        Some(encoded) => {
            let bytes = STANDARD.decode(encoded).map_err(|_| bad("its patch is not base64"))?;
            Some(serde_json::from_slice(&bytes).map_err(|_| bad("its patch is not JSON"))?)
        }
    };
    Ok(Answer {
        allowed: at(response, &["allowed"]) == Some(&Value::Bool(true)),
        status: at(response, &["status"]).cloned().unwrap_or_default(),
        patch,
        warnings: items(response, &["warnings"])
            .iter()
            .filter_map(|w| w.as_str().map(str::to_owned))
            .collect(),
        version,
    })
}

fn denied(name: &str, answer: &Answer) -> ApiError {
    let message = text(&answer.status, &["message"]).or(text(&answer.status, &["reason"]));
    let message = match message {
        Some(message) => format!("admission webhook {name:?} denied the request: {message}"),
        None => format!("admission webhook {name:?} denied the request without explanation"),
    };
    let code = meta::number(&answer.status, &["code"]).and_then(|c| u16::try_from(c).ok());
    let code = code.filter(|c| (400..600).contains(c)).unwrap_or(403);
    let reason = text(&answer.status, &["reason"]).unwrap_or("Forbidden");
    ApiError {
        code,
        reason: reason.to_owned(),
        message,
        details: at(&answer.status, &["details"]).cloned().map(Box::new),
    }
}
