//! What there is to say about an EnvoyFilter when somebody writes it, to the webhook and to the command line.

use crate::read::read;
use api::{EnvoyFilter, Object};
use base::Finding;
use prost::Message as _;
use prost_reflect::ReflectMessage as _;
use serde_json::Value;

const INTERNAL: &str = "EnvoyFilter exposes internal implementation details that may change at any time. \
    Prefer other APIs if possible, and exercise extreme caution, especially around upgrades.";

/// Findings about an object; of another kind there are none. What our own data plane would refuse is a warning,
/// since the proxies that are selected may be Envoy.
pub fn admission(object: &Value) -> Vec<Finding> {
    if object["kind"] != KIND {
        return Vec::new();
    }
    // What cannot be read is said by its shape.
    let Ok(decoded) = api::decode::<Object<EnvoyFilter>>(KIND, object) else { return Vec::new() };
    let about = decoded.object.reference(KIND);
    let (patches, findings) = read(&about, &decoded.object.spec);
    let mut all = vec![Finding::warning("", INTERNAL)];
    all.extend(findings);
    for patch in patches {
        let Some(value) = &patch.value else { continue };
        let name = value.descriptor().full_name().to_owned();
        for refused in xds::unsupported_in(&name, &value.encode_to_vec()) {
            let at = if refused.path.is_empty() { "" } else { "." };
            let path =
                format!("spec.configPatches[{}].patch.value{at}{}", patch.index, refused.path);
            let say = "proxies that are lateen-proxy refuse the patch";
            all.push(Finding::warning(path, format!("{}: {say}", refused.message)));
        }
    }
    all
}

const KIND: &str = "EnvoyFilter";

#[cfg(test)]
mod tests {
    use super::*;
    use base::Level;
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
            let all = admission(&of(name));
            assert!(all.iter().all(|f| f.level == Level::Warning), "{all:?}");
            all.iter().filter(|f| f.path.ends_with("value.typed_config")).count()
        };
        assert_eq!(said("lua.v3.Lua"), 1);
        assert_eq!(said("local_ratelimit.v3.LocalRateLimit"), 0);
    }
}
