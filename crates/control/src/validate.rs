//! What admission says about one object: the findings of its kind.

use base::{Finding, Level, ObjectRef};
use serde_json::Value;

/// Findings about `object`; kinds that nothing is known of have none.
pub(crate) fn findings(object: &Value) -> Vec<Finding> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]);
    let meta = &object["metadata"];
    let about = ObjectRef::new(&kind, text(&meta["namespace"]), text(&meta["name"]));
    let own = api::validate(&kind, object).into_iter().chain(envoyfilter::admission(object));
    let own = own.map(|f| f.about(about.clone()));
    own.chain(analyze::admission(object).into_iter().filter(is_worth_it).map(softened)).collect()
}

/// Hints that everybody would see at every apply stay with `lateen analyze`.
fn is_worth_it(finding: &Finding) -> bool {
    finding.level != Level::Info
}

/// What analysis calls an error is stored by Istio too: a warning, with the code to look up.
fn softened(finding: Finding) -> Finding {
    let message = format!("[{}] {}", finding.code, finding.message);
    Finding { level: Level::Warning, message, ..finding }
}
