//! A CRD as a kind of the registry.

use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

use super::{Kind, Registry, ScalePaths, Served};
use crate::meta::{at, items, text};

/// Why a CRD cannot be served.
#[derive(Debug, Error, PartialEq)]
pub enum CrdProblem {
    #[error("{0} is missing; every CustomResourceDefinition needs it")]
    Missing(&'static str),
    #[error("spec.versions has no version with `storage: true`; mark exactly one")]
    NoStorageVersion,
}

/// The kind that a CRD (in apiextensions.k8s.io/v1) defines.
pub fn from_crd(crd: &Value) -> Result<Kind, CrdProblem> {
    let need =
        |path: &[&str], what| text(crd, path).map(str::to_owned).ok_or(CrdProblem::Missing(what));
    let group = need(&["spec", "group"], "spec.group")?;
    let kind = need(&["spec", "names", "kind"], "spec.names.kind")?;
    let plural = need(&["spec", "names", "plural"], "spec.names.plural")?;
    let versions = items(crd, &["spec", "versions"]);
    let storage = versions
        .iter()
        .find(|v| at(v, &["storage"]) == Some(&Value::Bool(true)))
        .and_then(|v| text(v, &["name"]))
        .ok_or(CrdProblem::NoStorageVersion)?;
    let mut served: Vec<Served> = versions
        .iter()
        .filter(|v| {
            at(v, &["served"]) != Some(&Value::Bool(false)) || text(v, &["name"]) == Some(storage)
        })
        .filter_map(|v| version(v, &group, &kind))
        .collect();
    served.sort_by_key(|s| std::cmp::Reverse(super::version_order(&s.version)));
    let sub = |name: &str| versions.iter().find_map(|v| at(v, &["subresources", name]));
    let optional = |key: &str| text(crd, &["spec", "names", key]).map(str::to_owned);
    Ok(Kind {
        singular: optional("singular").unwrap_or_else(|| kind.to_lowercase()),
        list_kind: optional("listKind").unwrap_or_else(|| format!("{kind}List")),
        short_names: strings(crd, &["spec", "names", "shortNames"]),
        categories: strings(crd, &["spec", "names", "categories"]),
        namespaced: text(crd, &["spec", "scope"]) != Some("Cluster"),
        storage_version: storage.to_owned(),
        served,
        status: sub("status").is_some(),
        scale: sub("scale").map(scale),
        custom: true,
        stored: true,
        group,
        kind,
        plural,
    })
}

/// The first other kind that already has one of this kind's names in its group.
pub fn names_conflict(kind: &Kind, registry: &Registry) -> Option<String> {
    let taken = |other: &Kind| {
        other.group == kind.group
            && other.plural != kind.plural
            && (other.kind == kind.kind || other.singular == kind.singular)
    };
    registry.all().iter().find(|other| taken(other)).map(|other| other.qualified())
}

fn version(version: &Value, group: &str, kind: &str) -> Option<Served> {
    let name = text(version, &["name"])?;
    let schema = at(version, &["schema", "openAPIV3Schema"]);
    let deprecated = at(version, &["deprecated"]) == Some(&Value::Bool(true));
    let warning = text(version, &["deprecationWarning"])
        .map_or_else(|| format!("{group}/{name} {kind} is deprecated"), str::to_owned);
    Some(Served {
        group: group.to_owned(),
        version: name.to_owned(),
        deprecation: deprecated.then_some(warning),
        shape: crate::schema::from_structural(schema, group, name, kind),
        schema: schema.cloned().map(Arc::new),
        columns: Arc::new(items(version, &["additionalPrinterColumns"]).to_vec()),
    })
}

fn scale(scale: &Value) -> ScalePaths {
    let path = |key: &str| -> Vec<String> {
        let text = text(scale, &[key]).unwrap_or_default();
        text.split('.').filter(|p| !p.is_empty()).map(str::to_owned).collect()
    };
    ScalePaths {
        replicas: path("specReplicasPath"),
        status_replicas: path("statusReplicasPath"),
        selector: path("labelSelectorPath"),
    }
}

fn strings(object: &Value, path: &[&str]) -> Vec<String> {
    items(object, path).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
