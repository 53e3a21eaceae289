use super::program::{mentions_old, nanoseconds, nesting};
use super::*;
use serde_json::json;

fn rule(source: &str) -> Value {
    json!({"x-kubernetes-validations": [{"rule": source}]})
}

/// The messages for a value under one rule.
fn said(source: &str, value: Value) -> Vec<String> {
    let found = judge(&rule(source), None, &value);
    assert!(found.unjudged.is_empty(), "{:?}", found.unjudged);
    found.causes.into_iter().map(|c| c.message).collect()
}

#[test]
fn rules_as_crds_have_them() {
    let table = [
        ("0 < self && self <= 65535", json!(80), json!(0)),
        ("duration(self) >= duration('1ms')", json!("1h2s"), json!("1us")),
        ("!('*' in self && self.size() > 1)", json!(["*"]), json!(["*", "b"])),
        ("self.all(key, key.size() != 0)", json!({"a": 1}), json!({"": 1})),
        (
            "(has(self.a) ? 1 : 0) + (has(self.b) ? 1 : 0) <= 1",
            json!({"a": 1, "b": null}),
            json!({"a": 1, "b": 2}),
        ),
        (
            "self.all(p1, self.exists_one(p2, p1.name == p2.name))",
            json!([{"name": "a"}, {"name": "b"}]),
            json!([{"name": "a"}, {"name": "a"}]),
        ),
        (
            "self.filter(f, f.type == 'CORS').size() <= 1",
            json!([{"type": "CORS"}, {"type": "x"}]),
            json!([{"type": "CORS"}, {"type": "CORS"}]),
        ),
        (
            "self.startsWith('unix://') ? self.substring(7, 8) == '/' : true",
            json!("unix:///a"),
            json!("unix://a"),
        ),
        ("self.all(k, k.split('/')[0].size() < 4)", json!({"a/bcdef": 1}), json!({"abcd/e": 1})),
        ("self.matches('^[a-z]+$')", json!("abc"), json!("a1")),
    ];
    for (source, good, bad) in table {
        assert_eq!(said(source, good), Vec::<String>::new(), "{source}");
        let bad = said(source, bad);
        assert_eq!(bad.len(), 1, "{source}: {bad:?}");
        assert!(bad[0].contains(&format!("failed rule: {source}")), "{bad:?}");
    }
}

#[test]
fn a_rule_that_asks_for_what_is_not_there_fails() {
    let said = said("self.missing == 1", json!({}));
    assert!(said[0].contains("missing"), "{said:?}");
}

#[test]
fn causes_say_where_and_why() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"ports": {"type": "array", "items": {"type": "object",
            "properties": {"if": {"type": "string"}, "share": {"type": "number"}},
            "x-kubernetes-validations": [
                {"rule": "self.share * 0.5 < 1.0", "message": " too much ", "fieldPath": ".share",
                 "reason": "FieldValueForbidden"},
                {"rule": "!has(self.__if__) || self.__if__ != 'x'",
                 "messageExpression": "'not ' + self.__if__"}]}}}}}});
    let object = json!({"spec": {"ports": [{"share": 1}, {"share": 2}, {"if": "x", "share": 0}]}});
    let found = judge(&schema, None, &object);
    let causes: Vec<_> =
        found.causes.iter().map(|c| (c.field.as_str(), c.reason, c.message.as_str())).collect();
    assert_eq!(
        causes,
        [
            ("spec.ports[1].share", "FieldValueForbidden", "Forbidden: too much"),
            ("spec.ports[2]", "FieldValueInvalid", "Invalid value: \"object\": not x"),
        ]
    );
}

#[test]
fn a_change_is_compared_with_what_was() {
    let schema = json!({"properties": {
        "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]},
        "list": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object",
                "x-kubernetes-validations": [{"rule": "self.n >= oldSelf.n"}]}}}});
    let old = json!({"fixed": "a", "list": [{"name": "x", "n": 2}]});
    let fields = |old: Option<&Value>, new: Value| -> Vec<String> {
        judge(&schema, old, &new).causes.into_iter().map(|c| c.field).collect()
    };
    assert!(fields(None, json!({"fixed": "b"})).is_empty());
    assert!(fields(Some(&json!({})), json!({"fixed": "b"})).is_empty());
    assert_eq!(fields(Some(&old), json!({"fixed": "b"})), ["fixed"]);
    let moved = json!({"list": [{"name": "y", "n": 0}, {"name": "x", "n": 1}]});
    assert_eq!(fields(Some(&old), moved), ["list[1]"]);
    let bad = json!({"old": 1});
    assert_eq!(judge(&rule("has(self.new)"), None, &bad).causes.len(), 1);
    assert!(judge(&rule("has(self.new)"), Some(&bad), &bad).causes.is_empty(), "nothing changed");
}

#[test]
fn what_cannot_be_judged_is_said() {
    let unjudged = |source: &str, value: Value| {
        let found = judge(&rule(source), None, &value);
        assert!(found.causes.is_empty(), "{:?}", found.causes);
        found.unjudged
    };
    assert!(unjudged("url(self).getScheme() == 'http'", json!("x"))[0].contains("url"));
    assert_eq!(unjudged("((", json!(1)).len(), 1);
    assert_eq!(unjudged("self", json!(1)).len(), 1);
    let many: Vec<u32> = (0..1000).collect();
    let costly = unjudged("self.all(a, self.all(b, a == b || a != b))", json!(many));
    assert!(costly[0].contains("too large"), "{costly:?}");
}

#[test]
fn the_parts_of_rules_are_read() {
    assert_eq!(nesting("self.all(a, a.exists(b, b > (1)) && self.map(c, c)[0])"), 2);
    assert_eq!(nesting("self.all(a, true) && self.all(b, true)"), 1);
    assert_eq!(nesting("self == 'all(all(all('"), 0);
    assert!(mentions_old("has(oldSelf.x)") && !mentions_old("self.oldSelfie"));
    let table = [
        ("1h30m", Some(5_400_000_000_000)),
        ("1.5s", Some(1_500_000_000)),
        ("-1ms", Some(-1_000_000)),
    ];
    for (text, expected) in table {
        assert_eq!(nanoseconds(text), expected, "{text}");
    }
    assert_eq!((nanoseconds(""), nanoseconds("5"), nanoseconds("1x")), (None, None, None));
}
