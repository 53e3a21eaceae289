//! The manifests of an installation: a profile and values in, Kubernetes objects out, as typed data
//! under Istio's names. `lateen up` applies them to the embedded cluster, `kubectl` to any other.

mod control_plane;
mod gateway;
mod mesh;
mod operator;
mod rbac;
mod values;
mod webhooks;

pub use operator::{OperatorError, Wishes};
pub use values::{Profile, Values};

use serde_json::{Value, json};

/// Everything of `profile`, in an order in which it can be applied.
pub fn manifests(profile: Profile, values: &Values) -> Vec<Value> {
    let mut all = vec![namespace(profile, values)];
    all.extend(api::crds());
    if profile == Profile::Empty {
        return all;
    }
    all.extend(rbac::objects(values));
    all.extend(mesh::config_maps(values));
    all.extend(control_plane::objects(values));
    all.extend(webhooks::objects(values));
    let gateways: &[gateway::Gateway] = match profile {
        Profile::Empty | Profile::Minimal => &[],
        Profile::Default => &[gateway::INGRESS],
        Profile::Demo => &[gateway::EGRESS, gateway::INGRESS_OF_DEMO],
    };
    let wanted = gateways.iter().filter(|g| !values.without.iter().any(|name| g.is(name)));
    all.extend(wanted.flat_map(|gateway| gateway::objects(gateway, values)));
    all
}

/// The annotation of the installation's namespace that says which profile it has.
pub const PROFILE: &str = "lateen.dev/profile";
/// The one that says which of the profile's gateways it has not, with commas.
pub const WITHOUT: &str = "lateen.dev/without";

fn namespace(profile: Profile, values: &Values) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": values.namespace,
            "labels": {"istio-injection": "disabled"},
            "annotations": {PROFILE: profile.name(), WITHOUT: values.without.join(",")}}})
}

/// `metadata` of an object in the installation's namespace.
fn meta(values: &Values, name: &str, app: &str) -> Value {
    json!({
        "name": name,
        "namespace": values.namespace,
        "labels": {
            "app": app,
            "istio.io/rev": values.revision,
            "install.operator.istio.io/owning-resource": "unknown",
            "release": "istio"}})
}

#[cfg(test)]
mod tests;
