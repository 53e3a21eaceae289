//! A CustomResourceDefinition's status: accepted names and whether it is served. Here that is
//! decided at once, when the definition is written.

use objects::kinds::{Registry, from_crd, names_conflict};
use objects::meta::{at, child, items, text};
use serde_json::{Value, json};

/// Held by a definition that is being deleted while it still has objects.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

pub fn establish(registry: &Registry, old: Option<&Value>, crd: &mut Value) {
    let Ok(kind) = from_crd(crd) else { return };
    let taken = names_conflict(&kind, registry);
    let names = at(crd, &["spec", "names"]).cloned().unwrap_or_default();
    let before = old.map(|o| items(o, &["status", "conditions"]).to_vec()).unwrap_or_default();
    let condition = |name: &str, ok: bool, reason: &str, message: &str| {
        let status = if ok { "True" } else { "False" };
        let same = before
            .iter()
            .find(|c| text(c, &["type"]) == Some(name) && text(c, &["status"]) == Some(status));
        let since = same.and_then(|c| text(c, &["lastTransitionTime"]).map(str::to_owned));
        json!({"type": name, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": since.unwrap_or_else(crate::time::now)})
    };
    let conditions = match &taken {
        None => json!([
            condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
            condition(
                "Established",
                true,
                "InitialNamesAccepted",
                "the initial names have been accepted"
            ),
        ]),
        Some(other) => {
            let message = format!("the names are in use by {other}");
            json!([
                condition("NamesAccepted", false, "KindConflict", &message),
                condition("Established", false, "NotAccepted", "not all names are accepted"),
            ])
        }
    };
    let mut stored: Vec<Value> =
        old.map(|o| items(o, &["status", "storedVersions"]).to_vec()).unwrap_or_default();
    if !stored.contains(&json!(kind.storage_version)) {
        stored.push(json!(kind.storage_version));
    }
    let status = child(crd, "status");
    status.insert("conditions".to_owned(), conditions);
    status.insert(
        "acceptedNames".to_owned(),
        if taken.is_none() { names } else { json!({"plural": "", "kind": ""}) },
    );
    status.insert("storedVersions".to_owned(), stored.into());
}
