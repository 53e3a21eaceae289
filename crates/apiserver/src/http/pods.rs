//! Subresources that do something: logs, programs and ports of pods, evictions, bindings, and
//! tokens of service accounts.

mod exec;
mod forward;
mod socket;
mod spdy;
mod tunnel;

use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use objects::meta::{self, items, number, text};
use serde_json::{Value, json};

use super::answer::{self, Body};
use super::{Context, body, resources};
use crate::core::{PatchKind, Target};
use crate::error::ApiError;
use crate::kubelet::LogOptions;

#[derive(Debug, Clone, Copy)]
pub enum Action {
    Log,
    Exec,
    Attach,
    PortForward,
    Evict,
    Bind,
    Token,
}

pub fn action(target: &Target) -> Option<Action> {
    let sub = target.subresource.as_deref()?;
    match (target.kind.group.as_str(), target.kind.plural.as_str(), sub) {
        ("", "pods", "log") => Some(Action::Log),
        ("", "pods", "exec") => Some(Action::Exec),
        ("", "pods", "attach") => Some(Action::Attach),
        ("", "pods", "portforward") => Some(Action::PortForward),
        ("", "pods", "eviction") => Some(Action::Evict),
        ("", "pods", "binding") => Some(Action::Bind),
        ("", "serviceaccounts", "token") => Some(Action::Token),
        _ => None,
    }
}

pub async fn perform(
    context: &Context,
    target: &Target,
    action: Action,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let post = request.method() == Method::POST;
    match action {
        Action::Log if request.method() == Method::GET => log(context, target).await,
        Action::Exec => exec::exec(context, target, request).await,
        Action::Attach => exec::attach(context, target, request).await,
        Action::PortForward => forward::forward(context, target, request),
        Action::Evict if post => evict(context, target, request).await,
        Action::Bind if post => bind(context, target, request).await,
        Action::Token if post => token(context, target, request).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// The container that a request means: the named one, or the only one.
fn container(context: &Context, pod: &Value) -> Result<String, ApiError> {
    let names = |key: &str| -> Vec<String> {
        let list = items(pod, &["spec", key]).iter();
        list.filter_map(|c| text(c, &["name"]).map(str::to_owned)).collect()
    };
    let (containers, init) = (names("containers"), names("initContainers"));
    let pod_name = meta::name(pod);
    match context.query.get("container").filter(|c| !c.is_empty()) {
        Some(wanted) if containers.iter().chain(&init).any(|c| c == wanted) => {
            Ok(wanted.to_owned())
        }
        Some(wanted) => {
            let message = format!("container {wanted} is not valid for pod {pod_name}");
            Err(ApiError::bad_request(message))
        }
        None => match containers.as_slice() {
            [one] => Ok(one.clone()),
            _ => {
                let own = meta::annotation(pod, "kubectl.kubernetes.io/default-container");
                if let Some(own) = own.filter(|c| containers.iter().any(|x| x == c)) {
                    return Ok(own.to_owned());
                }
                let mut message = format!(
                    "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                    containers.join(" ")
                );
                if !init.is_empty() {
                    message
                        .push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
                }
                Err(ApiError::bad_request(message))
            }
        },
    }
}

async fn log(context: &Context, target: &Target) -> Result<Response<Body>, ApiError> {
    let pod = context.core.get(target)?;
    let container = container(context, &pod)?;
    let query = &context.query;
    let options = LogOptions {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines: query.number("tailLines"),
        since_seconds: query.number("sinceSeconds"),
        since_time: query.get("sinceTime").map(str::to_owned),
        limit_bytes: query.number("limitBytes"),
    };
    let kubelet = &context.core.kubelet;
    let lines = kubelet.logs(&target.namespace, &target.name, &container, options).await?;
    Ok(answer::streamed("text/plain", lines))
}

/// Deletes a pod unless a disruption budget forbids it.
async fn evict(
    context: &Context,
    target: &Target,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let bytes = body::read(request).await?;
    let eviction = body::parse_object(&context.content_type, &bytes)?;
    let pod = context.core.get(target)?;
    let namespace = Some(target.namespace.as_str());
    for budget in context.core.store.list("policy", "poddisruptionbudgets", namespace, None).objects
    {
        let selector = budget.pointer("/spec/selector").cloned().unwrap_or_default();
        let selector = objects::selector::LabelSelector::from_value(&selector);
        if !selector.matches(meta::labels(&pod)) {
            continue;
        }
        if number(&budget, &["status", "disruptionsAllowed"]).unwrap_or(0) <= 0 {
            let message = "Cannot evict pod as it would violate the pod's disruption budget.";
            let cause = json!({"reason": "DisruptionBudget", "message": format!("The disruption budget {} does not allow an eviction now", meta::name(&budget))});
            return Err(ApiError::new(429, "TooManyRequests", message)
                .with_details(json!({"causes": [cause]})));
        }
    }
    let options = eviction.get("deleteOptions").cloned().unwrap_or(json!({}));
    let options = serde_json::to_vec(&options).unwrap_or_default();
    let options = resources::delete_options(context, &options)?;
    let whole = Target { subresource: None, ..target.clone() };
    context.core.delete(&context.caller, &whole, &options).await?;
    Ok(answer::json(201, &success()))
}

/// Puts a pod on a node.
async fn bind(
    context: &Context,
    target: &Target,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let bytes = body::read(request).await?;
    let binding = body::parse_object(&context.content_type, &bytes)?;
    let node = text(&binding, &["target", "name"]).unwrap_or_default();
    let pod = context.core.get(target)?;
    if let Some(taken) = text(&pod, &["spec", "nodeName"]).filter(|n| !n.is_empty()) {
        let why = format!("pod {} is already assigned to node {taken:?}", target.name);
        return Err(ApiError::conflict("", "pods/binding", &target.name, &why));
    }
    let whole = Target { subresource: None, ..target.clone() };
    let change = json!({"spec": {"nodeName": node}});
    context.core.patch(&context.caller, &whole, PatchKind::Merge, &change).await?;
    let status = Target { subresource: Some("status".to_owned()), ..target.clone() };
    let condition =
        json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": crate::time::now()});
    let change = json!({"status": {"conditions": [condition]}});
    context.core.patch(&context.caller, &status, PatchKind::Strategic, &change).await?;
    Ok(answer::json(201, &success()))
}

/// Answers a `TokenRequest`.
async fn token(
    context: &Context,
    target: &Target,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let bytes = body::read(request).await?;
    let mut asked = body::parse_object(&context.content_type, &bytes)?;
    let audiences: Vec<String> = items(&asked, &["spec", "audiences"])
        .iter()
        .filter_map(|a| a.as_str().map(str::to_owned))
        .collect();
    let seconds = number(&asked, &["spec", "expirationSeconds"]).unwrap_or(3600);
    if seconds < 600 {
        let cause = objects::validate::Cause::invalid(
            "spec.expirationSeconds",
            &json!(seconds),
            "may not specify a duration less than 10 minutes",
        );
        return Err(ApiError::invalid("authentication.k8s.io", "TokenRequest", "", &[cause]));
    }
    let bound = bound_object(context, target, &asked)?;
    let bound = bound.as_ref().map(|(k, n, u)| (k.as_str(), n.as_str(), u.as_str()));
    let issued = context.core.issue_token(
        &target.namespace,
        &target.name,
        &audiences,
        seconds.unsigned_abs(),
        bound,
    )?;
    let status =
        json!({"token": issued.token, "expirationTimestamp": crate::time::rfc3339(issued.expires)});
    let map = meta::as_map(&mut asked);
    map.insert("kind".to_owned(), "TokenRequest".into());
    map.insert("apiVersion".to_owned(), "authentication.k8s.io/v1".into());
    map.insert("status".to_owned(), status);
    Ok(answer::json(201, &asked))
}

/// (kind, name, uid) of the pod or secret that a token shall be bound to.
fn bound_object(
    context: &Context,
    target: &Target,
    asked: &Value,
) -> Result<Option<(String, String, String)>, ApiError> {
    let Some(reference) = asked.pointer("/spec/boundObjectRef").filter(|r| !r.is_null()) else {
        return Ok(None);
    };
    let name = text(reference, &["name"]).unwrap_or_default();
    let (kind, plural) = match text(reference, &["kind"]) {
        Some("Pod") => ("pod", "pods"),
        Some("Secret") => ("secret", "secrets"),
        other => {
            let message =
                format!("cannot bind token for object of type {}", other.unwrap_or_default());
            return Err(ApiError::bad_request(message));
        }
    };
    let key = crate::store::Key {
        group: String::new(),
        plural: plural.to_owned(),
        namespace: target.namespace.clone(),
        name: name.to_owned(),
    };
    let object =
        context.core.store.get(&key).ok_or_else(|| ApiError::not_found("", plural, name))?;
    let uid = meta::uid(&object);
    if text(reference, &["uid"]).is_some_and(|u| !u.is_empty() && u != uid) {
        let why = "the UID in the bound object reference does not match the UID in record";
        return Err(ApiError::conflict("", plural, name, why));
    }
    Ok(Some((kind.to_owned(), name.to_owned(), uid.to_owned())))
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}
