use serde_json::json;

use super::*;

fn key(name: &str) -> Key {
    Key {
        group: String::new(),
        plural: "configmaps".to_owned(),
        namespace: "default".to_owned(),
        name: name.to_owned(),
    }
}

fn scratch(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("apiserver-store-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn revision(object: &Value) -> u64 {
    objects::meta::resource_version(object).unwrap()
}

#[test]
fn a_write_needs_the_revision_it_has_seen() {
    let dir = scratch("stale");
    let store = Store::open(&dir.join("db")).unwrap();
    let first = store.put(&key("a"), None, json!({"data": {"x": "1"}})).unwrap();
    assert!(matches!(store.put(&key("a"), None, json!({})), Err(WriteError::Stale)));
    let second = store.put(&key("a"), Some(revision(&first)), json!({"data": {"x": "2"}})).unwrap();
    assert!(revision(&second) > revision(&first));
    assert!(matches!(store.remove(&key("a"), revision(&first)), Err(WriteError::Stale)));
    store.remove(&key("a"), revision(&second)).unwrap();
    assert!(store.get(&key("a")).is_none());
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn everything_is_there_after_reopening() {
    let dir = scratch("reopen");
    let store = Store::open(&dir.join("db")).unwrap();
    let a = store.put(&key("a"), None, json!({"metadata": {"uid": "u"}, "x": 1})).unwrap();
    store.put(&key("b"), None, json!({"x": 2})).unwrap();
    let gone = store.put(&key("c"), None, json!({"x": 3})).unwrap();
    store.remove(&key("c"), revision(&gone)).unwrap();
    let last = store.revision();
    drop(store);
    let store = Store::open(&dir.join("db")).unwrap();
    assert_eq!(store.revision(), last);
    assert_eq!(store.get(&key("a")).as_deref(), Some(&*a));
    assert!(store.get(&key("c")).is_none());
    let Since::Records(records, _) = store.since("", "configmaps", revision(&a)) else { panic!() };
    let changes: Vec<_> = records.iter().map(|r| r.event.change).collect();
    assert_eq!(changes, [Change::Added, Change::Added, Change::Deleted]);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn history_is_bounded_and_says_so() {
    let dir = scratch("bounded");
    let store = Store::open(&dir.join("db")).unwrap();
    let first = revision(&store.put(&key("a"), None, json!({})).unwrap());
    let mut last = first;
    for n in 0..(history_bound("configmaps") as u64 + 300) {
        last = revision(&store.put(&key("a"), Some(last), json!({"n": n})).unwrap());
    }
    assert!(matches!(store.since("", "configmaps", first), Since::Forgotten));
    assert!(
        matches!(store.since("", "configmaps", last - 1), Since::Records(r, _) if r.len() == 1)
    );
    drop(store);
    let store = Store::open(&dir.join("db")).unwrap();
    assert!(matches!(store.since("", "configmaps", first), Since::Forgotten));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn dependents_are_found_by_their_owner() {
    let dir = scratch("owner");
    let store = Store::open(&dir.join("db")).unwrap();
    let child = json!({"metadata": {"ownerReferences": [{"uid": "parent"}]}});
    let child = store.put(&key("child"), None, child).unwrap();
    assert_eq!(store.dependents("parent"), [key("child")]);
    store.remove(&key("child"), revision(&child)).unwrap();
    assert!(store.dependents("parent").is_empty());
    std::fs::remove_dir_all(dir).unwrap();
}
