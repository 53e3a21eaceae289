//! The admission webhooks: `/inject` makes pods members, `/validate` refuses configuration that
//! could only be misunderstood. Both are pure functions over the review; HTTP is around them.

use crate::metrics::Metrics;
use crate::world::World;
use base::{Finding, Level};
use base64::Engine;
use inject::{Context, Decision};
use serde_json::{Value, json};

/// Answers an injection review.
pub(crate) fn inject(review: &Value, world: &World, revision: &str, metrics: &Metrics) -> Value {
    metrics.count("sidecar_injection_requests_total", &[]);
    let request = &review["request"];
    let pod = &request["object"];
    let namespace = request["namespace"].as_str().unwrap_or_default();
    let facts = &world.facts;
    let none = std::collections::BTreeMap::new();
    let ctx = Context {
        namespace,
        namespace_labels: Some(facts.namespaces.get(namespace).unwrap_or(&none)),
        mesh: &facts.mesh,
        proxy_configs: &world.facts.proxy_configs,
        values: &facts.injection,
        nodes_run_native: inject::nodes_run_native(facts.kubelets.values().map(String::as_str)),
        revision,
        owner: None,
    };
    match inject::inject(pod, &ctx) {
        Decision::Skip(_) => {
            metrics.count("sidecar_injection_skip_total", &[]);
            allowed(review)
        }
        Decision::Patch(ops) => {
            metrics.count("sidecar_injection_success_total", &[]);
            patched(review, &ops)
        }
        Decision::Refuse(findings) => {
            metrics.count("sidecar_injection_failure_total", &[]);
            denied(review, &findings)
        }
    }
}

/// Answers a validation review.
pub(crate) fn validate(review: &Value, metrics: &Metrics) -> Value {
    let findings = crate::validate::findings(&review["request"]["object"]);
    let refused: Vec<Finding> =
        findings.iter().filter(|f| f.level == Level::Error).cloned().collect();
    if !refused.is_empty() {
        metrics.count("galley_validation_failed", &[]);
        return denied(review, &refused);
    }
    metrics.count("galley_validation_passed", &[]);
    let warnings: Vec<String> =
        findings.iter().filter(|f| f.level != Level::Error).map(Finding::to_string).collect();
    let mut answer = allowed(review);
    if !warnings.is_empty() {
        answer["response"]["warnings"] = warnings.into();
    }
    answer
}

fn allowed(review: &Value) -> Value {
    answer(review, json!({"allowed": true}))
}

fn patched(review: &Value, ops: &[inject::JsonPatchOp]) -> Value {
    let text = serde_json::to_vec(ops).unwrap_or_default();
    let patch = base64::engine::general_purpose::STANDARD.encode(text);
    answer(review, json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
}

fn denied(review: &Value, findings: &[Finding]) -> Value {
    let why: Vec<String> = findings.iter().map(Finding::to_string).collect();
    answer(
        review,
        json!({"allowed": false, "status": {
        "code": 400, "reason": "BadRequest", "message": why.join("; ")}}),
    )
}

fn answer(review: &Value, mut response: Value) -> Value {
    response["uid"] = review["request"]["uid"].clone();
    let version = review["apiVersion"].as_str().unwrap_or("admission.k8s.io/v1");
    json!({"apiVersion": version, "kind": "AdmissionReview", "response": response})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(object: Value) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {"uid": "u-1", "namespace": "default", "object": object}})
    }

    fn world() -> World {
        let mut loader = crate::world::Loader::new("cluster.local", "istio-system", &[]);
        let resource = crate::world::resource_of(api::Kind::Namespace);
        let object = json!({"metadata": {"name": "default",
            "labels": {"istio-injection": "enabled"}}});
        loader.take(k8s::Change::Apply { resource, object });
        loader.world()
    }

    #[test]
    fn a_pod_of_an_enabled_namespace_gets_a_patch() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        let metrics = Metrics::default();
        let answer = inject(&review(pod), &world(), "default", &metrics);
        let response = &answer["response"];
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(true)));
        let patch = base64::engine::general_purpose::STANDARD
            .decode(response["patch"].as_str().unwrap())
            .unwrap();
        assert!(String::from_utf8(patch).unwrap().contains("istio-proxy"));
        assert!(metrics.print().contains("sidecar_injection_success_total 1"));
    }

    #[test]
    fn a_pod_with_a_bad_annotation_is_refused_and_told_why() {
        let pod = json!({"metadata": {"name": "p",
            "annotations": {"sidecar.istio.io/interceptionMode": "MAYBE"}},
            "spec": {"containers": [{"name": "a"}]}});
        let answer = inject(&review(pod), &world(), "default", &Metrics::default());
        assert_eq!(answer["response"]["allowed"], false);
        let why = answer["response"]["status"]["message"].as_str().unwrap();
        assert!(why.contains("interceptionMode"), "{why}");
    }

    #[test]
    fn configuration_that_cannot_work_is_refused() {
        let route = |weight: i64| {
            json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": {"name": "x", "namespace": "default"},
                "spec": {"hosts": ["reviews"], "http": [{"route": [
                    {"destination": {"host": "reviews"}, "weight": weight}]}]}})
        };
        let good = validate(&review(route(100)), &Metrics::default());
        assert_eq!(good["response"]["allowed"], true, "{good}");
        let bad = validate(&review(route(-1)), &Metrics::default());
        assert_eq!(bad["response"]["allowed"], false, "{bad}");
    }

    #[test]
    fn what_analysis_says_of_an_object_alone_is_a_warning() {
        let rule = json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "x", "namespace": "default"},
            "spec": {"host": "a.example", "trafficPolicy": {"tls": {"mode": "SIMPLE"}}}});
        let response = &validate(&review(rule), &Metrics::default())["response"];
        assert_eq!(response["allowed"], true);
        let warning = response["warnings"][0].as_str().unwrap();
        let start = "DestinationRule default/x: spec.trafficPolicy.tls: [IST0128]";
        assert!(warning.starts_with(start), "{warning}");
    }

    /// Where they are at hand: what is refused says why, and names a field.
    #[test]
    fn released_documents_are_answered_by_the_webhook() {
        use serde::Deserialize;
        let Some(dir) = released::folder("validation") else { return };
        let (mut accepted, mut refused) = (0, 0);
        for file in std::fs::read_dir(dir).unwrap().map(|f| f.unwrap().path()) {
            if file.extension().is_none_or(|e| e != "yaml") {
                continue;
            }
            // A colon before a bracket ends a plain scalar in YAML; Go's reader lets it pass.
            let text = std::fs::read_to_string(&file).unwrap();
            let text = text.replace("001:db8::]", "\"001:db8::\"]");
            for document in serde_yaml_ng::Deserializer::from_str(&text) {
                let document = Value::deserialize(document).unwrap();
                let expected = document.get("_err").is_none();
                let answer = validate(&review(document.clone()), &Metrics::default());
                let response = &answer["response"];
                assert_eq!(response["allowed"], expected, "{document}: {response}");
                let why = response["status"]["message"].as_str().unwrap_or(": spec");
                assert!(why.contains(": spec"), "{document}: {why}");
                *(if expected { &mut accepted } else { &mut refused }) += 1;
            }
        }
        assert!(accepted >= 12 && refused >= 20, "{accepted} and {refused}");
    }
}
