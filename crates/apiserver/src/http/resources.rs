//! The verbs on resources.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use objects::meta::{self, text};
use objects::selector::{FieldSelector, LabelSelector};
use objects::table;
use serde_json::{Value, json};

use super::answer::{self, Body};
use super::route::ResourcePath;
use super::{Context, Query, body, pods, reviews, watch};
use crate::client::{DeleteOptions, Propagation};
use crate::core::{Deleted, ListOptions, PatchKind, Target, scale_of};
use crate::error::ApiError;

pub async fn serve(
    context: &Context,
    path: ResourcePath,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let target = target(context, path)?;
    if let Some(action) = pods::action(&target) {
        return pods::perform(context, &target, action, request).await;
    }
    check_subresource(&target)?;
    let method = request.method().clone();
    if !target.kind.stored && method != Method::POST {
        return Err(ApiError::method_not_allowed());
    }
    let shown = Shown::wanted(&context.accept, &context.query)?;
    match (method, target.name.is_empty()) {
        (Method::GET | Method::HEAD, _) if context.query.flag("watch") => {
            watch::start(context, &target, shown)
        }
        (Method::GET | Method::HEAD, true) => list(context, &target, &shown),
        (Method::GET | Method::HEAD, false) => get(context, &target, &shown),
        (Method::POST, true) => create(context, &target, &shown, request).await,
        (Method::PUT, false) => update(context, &target, &shown, request).await,
        (Method::PATCH, false) => patch(context, &target, &shown, request).await,
        (Method::DELETE, collection) => delete(context, &target, collection, request).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

fn target(context: &Context, path: ResourcePath) -> Result<Target, ApiError> {
    let registry = context.core.registry();
    let kind = registry.by_plural(&path.group, &path.plural).ok_or_else(ApiError::no_such_path)?;
    Ok(Target {
        version: (path.group, path.version),
        namespace: if kind.namespaced { path.namespace } else { String::new() },
        kind: kind.clone(),
        name: path.name,
        subresource: path.subresource,
    })
}

fn check_subresource(target: &Target) -> Result<(), ApiError> {
    let known = match target.subresource.as_deref() {
        None => true,
        Some("status") => target.kind.status,
        Some("scale") => target.kind.scale.is_some(),
        Some("finalize") => target.is("", "namespaces"),
        Some(_) => false,
    };
    if known { Ok(()) } else { Err(ApiError::no_such_path()) }
}

pub fn list_options(query: &Query) -> Result<ListOptions, ApiError> {
    let bad = |e: objects::selector::SelectorError| ApiError::bad_request(e.to_string());
    let after = match query.get("continue").filter(|c| !c.is_empty()) {
        None => None,
        Some(token) => {
            let place = URL_SAFE_NO_PAD.decode(token).ok();
            let place = place.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            Some(place.ok_or_else(|| ApiError::bad_request("continue key is not valid"))?)
        }
    };
    Ok(ListOptions {
        labels: LabelSelector::parse(query.get("labelSelector").unwrap_or_default())
            .map_err(bad)?,
        fields: FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())
            .map_err(bad)?,
        limit: query.number("limit").filter(|l| *l > 0).and_then(|l| usize::try_from(l).ok()),
        after,
    })
}

fn list(context: &Context, target: &Target, shown: &Shown) -> Result<Response<Body>, ApiError> {
    let page = context.core.list(target, &list_options(&context.query)?);
    let items: Vec<Value> = page.items.iter().map(|o| context.core.present(target, o)).collect();
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some((place, left)) = &page.next {
        let token = URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).unwrap_or_default());
        let map = meta::as_map(&mut metadata);
        map.insert("continue".to_owned(), token.into());
        map.insert("remainingItemCount".to_owned(), json!(left));
    }
    let body = shown.many(target, items, metadata);
    Ok(answer::typed(200, shown.content_type(), &body))
}

fn get(context: &Context, target: &Target, shown: &Shown) -> Result<Response<Body>, ApiError> {
    let object = context.core.get(target)?;
    if target.subresource.as_deref() == Some("scale") {
        return Ok(answer::json(200, &scale_of(target, &object)?));
    }
    respond(context, target, shown, 200, &object)
}

fn respond(
    context: &Context,
    target: &Target,
    shown: &Shown,
    code: u16,
    object: &Value,
) -> Result<Response<Body>, ApiError> {
    if target.subresource.as_deref() == Some("scale") {
        return Ok(answer::json(code, &scale_of(target, object)?));
    }
    let object = context.core.present(target, object);
    Ok(answer::typed(code, shown.content_type(), &shown.one(target, object, true)))
}

async fn create(
    context: &Context,
    target: &Target,
    shown: &Shown,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let bytes = body::read(request).await?;
    let mut object = body::parse_object(&context.content_type, &bytes)?;
    if !target.kind.stored {
        return Ok(answer::json(201, &reviews::answer(context, target, object)?));
    }
    if meta::kind(&object).is_empty() {
        let map = meta::as_map(&mut object);
        map.insert("apiVersion".to_owned(), target.api_version().into());
        map.insert("kind".to_owned(), target.kind.kind.clone().into());
    }
    if target.kind.namespaced && target.namespace.is_empty() {
        return Err(ApiError::method_not_allowed());
    }
    let created = context.core.create(&context.caller, target, object).await?;
    respond(context, target, shown, 201, &created)
}

async fn update(
    context: &Context,
    target: &Target,
    shown: &Shown,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let bytes = body::read(request).await?;
    let object = body::parse_object(&context.content_type, &bytes)?;
    let updated = context.core.update(&context.caller, target, object).await?;
    respond(context, target, shown, 200, &updated)
}

async fn patch(
    context: &Context,
    target: &Target,
    shown: &Shown,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let media = context.content_type.split(';').next().unwrap_or_default().trim();
    let how = match media {
        "application/json-patch+json" => PatchKind::Json,
        "application/merge-patch+json" => PatchKind::Merge,
        "application/strategic-merge-patch+json" => PatchKind::Strategic,
        "application/apply-patch+yaml" => PatchKind::Apply,
        _ => {
            let message = format!(
                "patches of type {media:?} are not understood; use application/json-patch+json, \
                 application/merge-patch+json, application/strategic-merge-patch+json or \
                 application/apply-patch+yaml"
            );
            return Err(ApiError::new(415, "UnsupportedMediaType", message));
        }
    };
    if how == PatchKind::Apply && context.query.get("fieldManager").is_none() {
        return Err(ApiError::bad_request("PatchOptions.fieldManager is required for apply patch"));
    }
    let bytes = body::read(request).await?;
    let change = match how {
        PatchKind::Json => body::parse(media, &bytes)?,
        _ => body::parse_object(media, &bytes)?,
    };
    let existed = context.core.store.get(&target.key()).is_some();
    let patched = context.core.patch(&context.caller, target, how, &change).await?;
    respond(context, target, shown, if existed { 200 } else { 201 }, &patched)
}

async fn delete(
    context: &Context,
    target: &Target,
    collection: bool,
    request: Request<Incoming>,
) -> Result<Response<Body>, ApiError> {
    let bytes = body::read(request).await?;
    let options = delete_options(context, &bytes)?;
    if collection {
        let list = list_options(&context.query)?;
        let gone = context.core.delete_collection(&context.caller, target, &list, &options).await?;
        let items: Vec<Value> = gone.iter().map(|o| context.core.present(target, o)).collect();
        let metadata = json!({"resourceVersion": context.core.store.revision().to_string()});
        return Ok(answer::json(200, &Shown::Objects.many(target, items, metadata)));
    }
    match context.core.delete(&context.caller, target, &options).await? {
        Deleted::Pending(object) => respond(context, target, &Shown::Objects, 200, &object),
        Deleted::Gone(object) if target.is("", "pods") => {
            respond(context, target, &Shown::Objects, 200, &object)
        }
        Deleted::Gone(object) => {
            let details = json!({"name": target.name, "group": target.kind.group,
                "kind": target.kind.plural, "uid": meta::uid(&object)});
            let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
                "status": "Success", "details": details});
            Ok(answer::json(200, &status))
        }
    }
}

/// Options of a deletion, from the body or the query.
pub fn delete_options(context: &Context, bytes: &[u8]) -> Result<DeleteOptions, ApiError> {
    let body = match bytes.is_empty() {
        true => Value::Null,
        false => body::parse_object(&context.content_type, bytes)?,
    };
    let query = &context.query;
    let propagation = text(&body, &["propagationPolicy"]).or(query.get("propagationPolicy"));
    let orphans = body.get("orphanDependents").and_then(Value::as_bool);
    let propagation = match (propagation, orphans) {
        (Some("Foreground"), _) => Some(Propagation::Foreground),
        (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
        (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
        (Some(other), _) => {
            return Err(ApiError::bad_request(format!(
                "propagationPolicy {other:?} is not known; use Foreground, Background or Orphan"
            )));
        }
        (None, None) => None,
    };
    let grace = meta::number(&body, &["gracePeriodSeconds"]);
    let dry_run = meta::items(&body, &["dryRun"]).iter().any(|d| d == "All");
    Ok(DeleteOptions {
        grace_seconds: grace
            .or_else(|| query.get("gracePeriodSeconds").and_then(|g| g.parse().ok())),
        uid: text(&body, &["preconditions", "uid"]).map(str::to_owned),
        resource_version: text(&body, &["preconditions", "resourceVersion"]).map(str::to_owned),
        propagation,
        dry_run: dry_run || context.caller.dry_run,
    })
}

/// The form in which objects are wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shown {
    Objects,
    Table(table::Include),
    Metadata,
}

impl Shown {
    fn wanted(accept: &str, query: &Query) -> Result<Shown, ApiError> {
        for media in accept.split(',') {
            let mut parts = media.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let form = parts.find_map(|p| p.strip_prefix("as="));
            match (name, form) {
                ("application/json", Some("Table")) => {
                    let include = match query.get("includeObject") {
                        Some("Object") => table::Include::Object,
                        Some("None") => table::Include::Nothing,
                        _ => table::Include::Metadata,
                    };
                    return Ok(Shown::Table(include));
                }
                (
                    "application/json",
                    Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                ) => {
                    return Ok(Shown::Metadata);
                }
                ("application/json" | "application/*" | "*/*" | "", None) => {
                    return Ok(Shown::Objects);
                }
                _ => {}
            }
        }
        if accept.is_empty() || accept.contains("application/json") {
            return Ok(Shown::Objects);
        }
        let message = "only the following media types are accepted: application/json";
        Err(ApiError::new(406, "NotAcceptable", message))
    }

    pub fn content_type(&self) -> &'static str {
        "application/json"
    }

    /// One object; `columns` tells whether a table names its columns.
    pub fn one(&self, target: &Target, object: Value, columns: bool) -> Value {
        match self {
            Shown::Objects => object,
            Shown::Metadata => partial(object),
            Shown::Table(include) => {
                let version = object.pointer("/metadata/resourceVersion").cloned();
                let metadata = json!({"resourceVersion": version});
                let now = crate::time::unix_seconds();
                let mut table = table::render(
                    &target.kind,
                    target.served(),
                    &[object],
                    metadata,
                    *include,
                    now,
                );
                if !columns {
                    meta::as_map(&mut table).insert("columnDefinitions".to_owned(), json!([]));
                }
                table
            }
        }
    }

    pub fn many(&self, target: &Target, items: Vec<Value>, metadata: Value) -> Value {
        match self {
            Shown::Objects => json!({"kind": target.kind.list_kind,
                "apiVersion": target.api_version(), "metadata": metadata, "items": items}),
            Shown::Metadata => {
                let items: Vec<Value> = items.into_iter().map(partial).collect();
                json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": metadata, "items": items})
            }
            Shown::Table(include) => {
                let now = crate::time::unix_seconds();
                table::render(&target.kind, target.served(), &items, metadata, *include, now)
            }
        }
    }

    pub fn bookmark(&self, object: Value, revision: u64) -> Value {
        match self {
            Shown::Objects => object,
            Shown::Metadata => partial(object),
            Shown::Table(_) => json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": revision.to_string()},
                "columnDefinitions": [], "rows": [{"cells": [], "object": object}]}),
        }
    }
}

fn partial(object: Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_default()})
}
