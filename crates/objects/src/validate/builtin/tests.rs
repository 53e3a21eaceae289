use super::*;
use crate::kinds::Registry;

fn fields(group: &str, kind: &str, old: Option<Value>, mut new: Value) -> Vec<String> {
    crate::defaults::fill(group, kind, &mut new);
    let registry = Registry::builtin();
    let kind = registry.by_kind(group, kind).unwrap();
    let causes = crate::validate::object(kind, old.as_ref(), &new);
    causes.into_iter().map(|c| c.field).collect()
}

#[test]
fn users_mistakes_are_named_by_field() {
    let meta = json!({"name": "a"});
    let cases = [
        (
            "",
            "Pod",
            json!({"metadata": {"name": "A_"}, "spec": {}}),
            vec!["metadata.name", "spec.containers"],
        ),
        (
            "",
            "Pod",
            json!({"metadata": meta, "spec": {"containers": [
            {"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/x"}]}, {"name": "c", "image": "j"}]}}),
            vec!["spec.containers[0].volumeMounts[0].name", "spec.containers[1].name"],
        ),
        (
            "",
            "Service",
            json!({"metadata": meta, "spec": {"ports": [{"port": 80}, {"port": 81}]}}),
            vec!["spec.ports[0].name", "spec.ports[1].name"],
        ),
        (
            "",
            "Service",
            json!({"metadata": meta, "spec": {"type": "X", "ports": [{"port": 0}]}}),
            vec!["spec.type", "spec.ports[0].port"],
        ),
        (
            "apps",
            "Deployment",
            json!({"metadata": meta, "spec": {"replicas": -1, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}),
            vec!["spec.replicas", "spec.template.metadata.labels"],
        ),
        (
            "",
            "ConfigMap",
            json!({"metadata": {"name": "a", "labels": {"x": "-"}}, "data": {"a/b": ""}}),
            vec!["metadata.labels", "data[a/b]"],
        ),
    ];
    for (group, kind, object, wanted) in cases {
        assert_eq!(fields(group, kind, None, object.clone()), wanted, "{object}");
    }
}

#[test]
fn a_pods_image_may_change_but_not_its_command() {
    let mut old =
        json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    crate::defaults::fill("", "Pod", &mut old);
    let mut new = old.clone();
    new["spec"]["containers"][0]["image"] = json!("j");
    assert!(fields("", "Pod", Some(old.clone()), new.clone()).is_empty());
    new["spec"]["containers"][0]["command"] = json!(["x"]);
    assert_eq!(fields("", "Pod", Some(old), new), ["spec"]);
}
