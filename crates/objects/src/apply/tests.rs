use super::*;

fn shape() -> Shape {
    crate::schema::builtin("apps", "v1", "Deployment").unwrap()
}

fn by(name: &str) -> Manager<'_> {
    Manager {
        name,
        api_version: "apps/v1",
        subresource: None,
        now: "2026-01-01T00:00:00Z",
        without_status: false,
    }
}

fn deployment(replicas: Value, containers: Value) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}}});
    meta::strip_nulls(&mut object);
    object
}

fn managers(object: &Value) -> Vec<(String, String)> {
    let entries = meta::items(object, &["metadata", "managedFields"]).iter();
    let text = |e: &Value, k: &str| meta::text(e, &[k]).unwrap_or_default().to_owned();
    entries.map(|e| (text(e, "manager"), text(e, "operation"))).collect()
}

#[test]
fn another_managers_field_conflicts_until_forced() {
    let mine = deployment(json!(1), json!([{"name": "a", "image": "a:1"}]));
    let live = apply(&shape(), None, &mine, &by("me"), false).unwrap();
    let theirs = deployment(json!(2), json!([{"name": "b", "image": "b:1"}]));
    let conflicts = apply(&shape(), Some(&live), &theirs, &by("you"), false).unwrap_err();
    assert_eq!(conflicts, [Conflict { manager: "me".into(), field: ".spec.replicas".into() }]);
    let forced = apply(&shape(), Some(&live), &theirs, &by("you"), true).unwrap();
    assert_eq!(forced["spec"]["replicas"], 2);
    assert_eq!(meta::items(&forced, &["spec", "template", "spec", "containers"]).len(), 2);
    // The loser still applies its other fields without conflict.
    let less = deployment(Value::Null, json!([{"name": "a", "image": "a:2"}]));
    let last = apply(&shape(), Some(&forced), &less, &by("me"), false).unwrap();
    assert_eq!(last["spec"]["replicas"], 2);
    assert_eq!(last["spec"]["template"]["spec"]["containers"][0]["image"], "a:2");
}

#[test]
fn what_is_no_longer_applied_goes_away() {
    let two =
        deployment(json!(1), json!([{"name": "a", "image": "a"}, {"name": "b", "image": "b"}]));
    let live = apply(&shape(), None, &two, &by("me"), false).unwrap();
    let one = deployment(Value::Null, json!([{"name": "a", "image": "a"}]));
    let result = apply(&shape(), Some(&live), &one, &by("me"), false).unwrap();
    assert_eq!(result["spec"].get("replicas"), None);
    let containers = meta::items(&result, &["spec", "template", "spec", "containers"]);
    assert_eq!(containers, [json!({"name": "a", "image": "a"})]);
}

#[test]
fn shared_values_are_shared_and_survive_one_owner() {
    let object = deployment(json!(3), json!([{"name": "a", "image": "a"}]));
    let live = apply(&shape(), None, &object, &by("me"), false).unwrap();
    let both = apply(&shape(), Some(&live), &object, &by("you"), false).unwrap();
    assert_eq!(managers(&both).len(), 2);
    let less = deployment(Value::Null, json!([{"name": "a", "image": "a"}]));
    let result = apply(&shape(), Some(&both), &less, &by("me"), false).unwrap();
    assert_eq!(result["spec"]["replicas"], 3);
}

#[test]
fn an_update_takes_fields_from_appliers() {
    let object = deployment(json!(1), json!([{"name": "a", "image": "a"}]));
    let live = apply(&shape(), None, &object, &by("me"), false).unwrap();
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = json!(5);
    record_update(&shape(), Some(&live), &mut scaled, &by("scaler"));
    let names = managers(&scaled);
    assert!(names.contains(&("scaler".into(), "Update".into())), "{names:?}");
    let conflicts = apply(&shape(), Some(&scaled), &object, &by("me"), false).unwrap_err();
    assert_eq!(conflicts[0].manager, "scaler");
}

#[test]
fn a_first_write_owns_everything_but_the_identity() {
    let mut object = deployment(json!(1), json!([{"name": "a", "image": "a"}]));
    record_update(&shape(), None, &mut object, &by("kubectl-create"));
    let fields = &object["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(fields.get("f:metadata"), None);
    assert_eq!(fields["f:spec"]["f:replicas"], json!({}));
    let same = object.clone();
    record_update(&shape(), Some(&same), &mut object, &by("other"));
    assert_eq!(object, same);
}
