//! What admission says about one object: the findings of its kind.

use base::{Finding, Level, ObjectRef};
use serde_json::Value;

/// Findings about `object`; kinds that nothing is known of have none.
pub(crate) fn findings(object: &Value) -> Vec<Finding> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]);
    let meta = &object["metadata"];
    let about = ObjectRef::new(&kind, text(&meta["namespace"]), text(&meta["name"]));
    let own = api::validate(&kind, object).into_iter().map(|f| f.about(about.clone()));
    own.chain(patches(&about, object))
        .chain(analyze::admission(object).into_iter().filter(is_worth_it).map(softened))
        .collect()
}

/// What an EnvoyFilter patches is known where Envoy's API is.
fn patches(about: &ObjectRef, object: &Value) -> Vec<Finding> {
    if about.kind != "EnvoyFilter" {
        return Vec::new();
    }
    match api::decode::<api::Object<api::EnvoyFilter>>("EnvoyFilter", object) {
        Ok(read) => {
            let spec = &read.object.spec;
            let mut all = envoyfilter::check(about, spec);
            for (index, name, bytes) in envoyfilter::values(about, spec) {
                all.extend(xds::unsupported_in(&name, &bytes).into_iter().map(|f| {
                    let at = if f.path.is_empty() { String::new() } else { format!(".{}", f.path) };
                    let path = format!("spec.configPatches[{index}].patch.value{at}");
                    let say = "proxies that are lateen-proxy refuse the patch";
                    Finding::warning(path, format!("{}: {say}", f.message)).about(about.clone())
                }));
            }
            all
        }
        // What cannot be read has been said by its shape.
        Err(_) => Vec::new(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_patch_brings_and_we_cannot_carry_out_is_a_warning() {
        let of = |name: &str| {
            json!({"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
                "metadata": {"name": "a", "namespace": "default"},
                "spec": {"configPatches": [{"applyTo": "HTTP_FILTER", "patch": {
                    "operation": "INSERT_FIRST", "value": {"name": "x", "typed_config": {"@type":
                        format!("type.googleapis.com/envoy.extensions.filters.http.{name}")}}}}]}})
        };
        let said = |name: &str| {
            let all = findings(&of(name));
            assert!(all.iter().all(|f| f.level == Level::Warning), "{all:?}");
            all.iter().filter(|f| f.path.ends_with("value.typed_config")).count()
        };
        assert_eq!(said("lua.v3.Lua"), 1);
        assert_eq!(said("local_ratelimit.v3.LocalRateLimit"), 0);
    }
}
