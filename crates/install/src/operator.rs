//! What an installation is told by a file of kind IstioOperator. Fields that would have no effect are
//! refused: whoever writes one counts on it.

use crate::{Profile, Values};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum OperatorError {
    #[error("the file is a {0}, and should be an IstioOperator of install.istio.io/v1alpha1")]
    Kind(String),
    #[error("IstioOperator: {0}")]
    Field(String),
    #[error(
        "spec.components.{list}: there is no gateway {name:?} here; it would have to be {known}"
    )]
    Gateway { list: &'static str, name: String, known: &'static str },
    #[error("spec.components.{0}.enabled: the control plane cannot be left out; use profile empty")]
    ControlPlane(&'static str),
}

/// What a file wishes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    pub profile: Option<Profile>,
    /// Gateways of the profile that are left out, by name.
    pub without: Vec<String>,
    /// Laid over the mesh configuration.
    pub mesh: Map<String, Value>,
    /// Laid over the values that injection reads.
    pub injection: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Operator {
    #[serde(default)]
    profile: String,
    #[serde(default)]
    components: Components,
    #[serde(default)]
    mesh_config: Map<String, Value>,
    #[serde(default)]
    values: Overlay,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Components {
    #[serde(default)]
    base: Component,
    #[serde(default)]
    pilot: Component,
    #[serde(default)]
    ingress_gateways: Vec<GatewayComponent>,
    #[serde(default)]
    egress_gateways: Vec<GatewayComponent>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Component {
    enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewayComponent {
    name: String,
    enabled: Option<bool>,
}

/// The values that something here reads.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Overlay {
    #[serde(default)]
    global: Map<String, Value>,
    #[serde(default)]
    sidecar_injector_webhook: Map<String, Value>,
}

impl Wishes {
    pub fn read(object: &Value) -> Result<Wishes, OperatorError> {
        let kind = object["kind"].as_str().unwrap_or("document without a kind");
        if kind != "IstioOperator" || object["apiVersion"] != "install.istio.io/v1alpha1" {
            return Err(OperatorError::Kind(kind.to_owned()));
        }
        let spec = object.get("spec").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        let spec: Operator =
            serde_json::from_value(spec).map_err(|e| OperatorError::Field(format!("spec: {e}")))?;
        let Components { base, pilot, ingress_gateways, egress_gateways } = spec.components;
        for (name, component) in [("base", base), ("pilot", pilot)] {
            if component.enabled == Some(false) {
                return Err(OperatorError::ControlPlane(name));
            }
        }
        let mut without = left_out("ingressGateways", &ingress_gateways, "istio-ingressgateway")?;
        without.extend(left_out("egressGateways", &egress_gateways, "istio-egressgateway")?);
        let profile = Some(spec.profile.as_str()).filter(|p| !p.is_empty()).map(str::parse);
        let profile = profile.transpose();
        let mut injection = Map::new();
        let overlays = [
            ("global", spec.values.global),
            ("sidecarInjectorWebhook", spec.values.sidecar_injector_webhook),
        ];
        for (key, map) in overlays.into_iter().filter(|(_, map)| !map.is_empty()) {
            injection.insert(key.to_owned(), map.into());
        }
        Ok(Wishes {
            profile: profile.map_err(|e| OperatorError::Field(format!("spec.profile: {e}")))?,
            without,
            mesh: spec.mesh_config,
            injection,
        })
    }

    /// Puts all but the profile into the values.
    pub fn fill(&self, values: &mut Values) {
        values.without.clone_from(&self.without);
        values.mesh.clone_from(&self.mesh);
        values.injection.clone_from(&self.injection);
    }
}

fn left_out(
    list: &'static str,
    gateways: &[GatewayComponent],
    known: &'static str,
) -> Result<Vec<String>, OperatorError> {
    if let Some(other) = gateways.iter().find(|g| g.name != known) {
        return Err(OperatorError::Gateway { list, name: other.name.clone(), known });
    }
    let off = gateways.iter().filter(|g| g.enabled == Some(false));
    Ok(off.map(|g| g.name.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: Value) -> Result<Wishes, String> {
        let object = json!({"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec});
        Wishes::read(&object).map_err(|e| e.to_string())
    }

    #[test]
    fn gateways_are_left_out_and_settings_laid_over() {
        let off = |name: &str| json!([{"name": name, "enabled": false}]);
        let wishes = read(json!({"profile": "demo",
            "components": {"ingressGateways": off("istio-ingressgateway"), "egressGateways": off("istio-egressgateway")},
            "meshConfig": {"accessLogFile": ""}, "values": {"global": {"proxy": {"logLevel": "debug"}}}}))
        .unwrap();
        assert_eq!(wishes.profile, Some(Profile::Demo));
        let mut values = Values::default();
        wishes.fill(&mut values);
        let all = crate::manifests(Profile::Demo, &values);
        let names: Vec<&str> = all
            .iter()
            .filter(|o| matches!(o["kind"].as_str(), Some("Deployment" | "Service")))
            .filter_map(|o| o["metadata"]["name"].as_str())
            .collect();
        assert_eq!(names, ["istiod", "istiod"]);
        let config = all.iter().find(|o| o["kind"] == "ConfigMap").unwrap();
        assert!(config["data"]["mesh"].as_str().unwrap().contains("accessLogFile: ''"));
        assert_eq!(values.injection["global"]["proxy"]["logLevel"], "debug");
    }

    #[test]
    fn what_would_have_no_effect_is_refused() {
        for (spec, says) in [
            (json!({"profile": "ambient"}), "spec.profile: there is no profile"),
            (json!({"components": {"cni": {"enabled": true}}}), "unknown field `cni`"),
            (json!({"components": {"pilot": {"enabled": false}}}), "components.pilot.enabled"),
            (json!({"components": {"egressGateways": [{"name": "mine"}]}}), "no gateway \"mine\""),
            (json!({"revision": "canary"}), "unknown field `revision`"),
            (json!({"values": {"pilot": {}}}), "unknown field `pilot`"),
        ] {
            let said = read(spec.clone()).unwrap_err();
            assert!(said.contains(says), "{spec}: {said}");
        }
        let other = json!({"apiVersion": "v1", "kind": "Service"});
        assert_eq!(Wishes::read(&other), Err(OperatorError::Kind("Service".into())));
    }
}
