//! What admission says about one object: the findings of its kind.

use base::{Finding, ObjectRef};
use serde_json::Value;

/// Findings about `object`; kinds that nothing is known of have none.
pub(crate) fn findings(object: &Value) -> Vec<Finding> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]);
    let meta = &object["metadata"];
    let about = ObjectRef::new(&kind, text(&meta["namespace"]), text(&meta["name"]));
    api::validate(&kind, object).into_iter().map(|f| f.about(about.clone())).collect()
}
