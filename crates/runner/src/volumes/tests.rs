//! Volumes follow their objects, completely and at once.

use super::*;
use crate::env::ServiceEnv;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

struct Fixed;

impl Sources for Fixed {
    fn config_map(&self, name: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        let both = || [("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())].into();
        (name == "settings").then(both)
    }
    fn secret(&self, _: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        None
    }
    fn services(&self, _: &str) -> Vec<ServiceEnv> {
        vec![]
    }
    fn node_ip(&self) -> IpAddr {
        "10.244.0.1".parse().unwrap()
    }
    fn pod_ips(&self) -> &[IpAddr] {
        &[]
    }
}

fn planned(volume: Value) -> Result<Content, VolumeError> {
    let object = Arc::new(json!({
        "metadata": {"name": "p", "namespace": "n", "labels": {"app": "web"}},
        "spec": {"volumes": [volume]}
    }));
    let pod = Pod::read(&object).unwrap();
    plan(&pod, &pod.spec.volumes[0], &Fixed)
}

fn names(content: &Content) -> Vec<&str> {
    match content {
        Content::Empty => vec![],
        Content::Files { files, .. } => files.keys().map(String::as_str).collect(),
    }
}

#[test]
fn every_supported_kind_is_planned() {
    assert_eq!(planned(json!({"name": "v", "emptyDir": {}})).unwrap(), Content::Empty);
    let all = planned(json!({"name": "v", "configMap": {"name": "settings"}})).unwrap();
    assert_eq!(names(&all), ["a", "b"]);
    let one = json!({"name": "v", "configMap": {"name": "settings", "items": [{"key": "b", "path": "deep/x"}]}});
    assert_eq!(names(&planned(one).unwrap()), ["deep/x"]);
    let optional = json!({"name": "v", "secret": {"secretName": "no", "optional": true}});
    assert_eq!(names(&planned(optional).unwrap()), Vec::<&str>::new());
    let projected = planned(json!({"name": "v", "projected": {"sources": [
        {"serviceAccountToken": {"path": "token", "audience": "istio-ca", "expirationSeconds": 43200}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}]}}));
    let Content::Files { files, tokens } = projected.unwrap() else { panic!("files") };
    assert_eq!(files["labels"].bytes, b"app=\"web\"");
    let audience = Some("istio-ca".to_owned());
    assert_eq!(tokens, [Token { path: "token".into(), audience, seconds: 43200 }]);
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let refused = |v: Value| planned(v).unwrap_err().to_string();
    let missing = refused(json!({"name": "v", "secret": {"secretName": "no"}}));
    assert_eq!(missing, "MountVolume.SetUp failed for volume \"v\": secret \"no\" not found");
    assert!(refused(json!({"name": "v", "hostPath": {"path": "/"}})).contains("kind hostPath"));
    let out = json!({"name": "v", "configMap": {"name": "settings", "items": [{"key": "a", "path": "../x"}]}});
    assert!(refused(out).contains("leaves the volume"));
}

#[test]
fn content_changes_as_a_whole_and_names_come_and_go() {
    let directory = std::env::temp_dir().join(format!("volume-{}", std::process::id()));
    let file = |text: &str| File { bytes: text.into(), mode: 0o600 };
    let old: BTreeMap<_, _> = [("a".to_owned(), file("1")), ("d/b".to_owned(), file("2"))].into();
    assert!(write(&directory, &old, 1).unwrap());
    assert!(!write(&directory, &old, 2).unwrap(), "the same again changes nothing");
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).ok();
    assert_eq!((read("a").as_deref(), read("d/b").as_deref()), (Some("1"), Some("2")));
    let new: BTreeMap<_, _> = [("a".to_owned(), file("3"))].into();
    assert!(write(&directory, &new, 3).unwrap());
    assert_eq!((read("a").as_deref(), read("d/b")), (Some("3"), None));
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 3, "a, ..data and its version");
    std::fs::remove_dir_all(directory).unwrap();
}
