//! What admission says about one object: the findings of its kind.

use api::Kind;
use base::{Finding, ObjectRef};
use serde_json::Value;

/// Findings about `object`; kinds that nothing is known of yet have none.
pub(crate) fn findings(object: &Value) -> Vec<Finding> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let Some(kind) = Kind::of(&version, &kind) else { return Vec::new() };
    let meta = &object["metadata"];
    let about = ObjectRef::new(kind.name(), text(&meta["namespace"]), text(&meta["name"]));
    let findings = of_kind(kind, object);
    findings.into_iter().map(|f| f.about(about.clone())).collect()
}

fn of_kind(kind: Kind, object: &Value) -> Vec<Finding> {
    // A registry of its own reads the object exactly as the control plane will.
    registry::Store::new("cluster.local", "istio-system").apply(kind, object).findings
}
