//! A filter as Envoy's JSON. A single condition on metadata is not wrapped, as with Istio.

use ir::{
    Cidr, HeaderCondition, HeaderMatch, MetadataMatch, Pattern, Permission, Principal, Rbac,
    RbacAction, RbacPolicy, RbacRules, StringMatch, ValueMatch,
};
use serde_json::{Map, Value, json};

pub fn filter(rbac: &Rbac) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
    if let Some(of) = &rbac.rules {
        put("rules", rules(of));
    }
    if let Some(of) = &rbac.shadow {
        put("shadowRules", rules(of));
    }
    let texts = [
        ("rulesStatPrefix", &rbac.rules_prefix),
        ("shadowRulesStatPrefix", &rbac.shadow_prefix),
        ("statPrefix", &rbac.stat_prefix),
    ];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        put(name, json!(**text));
    }
    Value::Object(out)
}

fn rules(of: &RbacRules) -> Value {
    let each = of.policies.iter().map(|(name, p)| (name.to_string(), policy(p)));
    let policies: Map<String, Value> = each.collect();
    let mut out = json!({ "policies": policies });
    match of.action {
        RbacAction::Allow => {}
        RbacAction::Deny => out["action"] = json!("DENY"),
        RbacAction::Log => out["action"] = json!("LOG"),
    }
    out
}

fn policy(of: &RbacPolicy) -> Value {
    let permissions: Vec<Value> = of.permissions.iter().map(permission).collect();
    let principals: Vec<Value> = of.principals.iter().map(principal).collect();
    json!({"permissions": permissions, "principals": principals})
}

fn permission(of: &Permission) -> Value {
    let list =
        |all: &[Permission]| json!({"rules": all.iter().map(permission).collect::<Vec<_>>()});
    match of {
        Permission::Any => json!({"any": true}),
        Permission::All(all) => json!({ "andRules": list(all) }),
        Permission::OneOf(all) if matches!(all[..], [Permission::Metadata(_)]) => {
            permission(&all[0])
        }
        Permission::OneOf(all) => json!({ "orRules": list(all) }),
        Permission::Not(of) => json!({ "notRule": permission(of) }),
        Permission::Header(h) => json!({ "header": header(h) }),
        Permission::Path(m) => json!({"urlPath": {"path": text(m)}}),
        Permission::PathTemplate(t) => {
            json!({"uriTemplate": {"name": "uri-template", "typedConfig": {"pathTemplate": **t}}})
        }
        Permission::DestinationIp(c) => json!({ "destinationIp": cidr(c) }),
        Permission::DestinationPort(p) => json!({ "destinationPort": p }),
        Permission::DestinationPorts(a, b) => {
            json!({"destinationPortRange": {"start": a, "end": b}})
        }
        Permission::ServerName(m) => json!({ "requestedServerName": text(m) }),
        Permission::Metadata(m) => json!({ "metadata": metadata(m) }),
    }
}

fn principal(of: &Principal) -> Value {
    let list = |all: &[Principal]| json!({"ids": all.iter().map(principal).collect::<Vec<_>>()});
    match of {
        Principal::Any => json!({"any": true}),
        Principal::All(all) => json!({ "andIds": list(all) }),
        Principal::OneOf(all) if matches!(all[..], [Principal::Metadata(_)]) => principal(&all[0]),
        Principal::OneOf(all) => json!({ "orIds": list(all) }),
        Principal::Not(of) => json!({ "notId": principal(of) }),
        Principal::Authenticated(None) => json!({"authenticated": {}}),
        Principal::Authenticated(Some(m)) => json!({"authenticated": {"principalName": text(m)}}),
        Principal::SourceIp(c) => json!({ "sourceIp": cidr(c) }),
        Principal::DirectRemoteIp(c) => json!({ "directRemoteIp": cidr(c) }),
        Principal::RemoteIp(c) => json!({ "remoteIp": cidr(c) }),
        Principal::Header(h) => json!({ "header": header(h) }),
        Principal::Path(m) => json!({"urlPath": {"path": text(m)}}),
        Principal::Metadata(m) => json!({ "metadata": metadata(m) }),
    }
}

fn header(of: &HeaderMatch) -> Value {
    match &of.condition {
        HeaderCondition::Present(there) => json!({"name": *of.name, "presentMatch": there}),
        HeaderCondition::Value(m) => json!({"name": *of.name, "stringMatch": text(m)}),
        HeaderCondition::Range(a, b) => {
            json!({"name": *of.name, "rangeMatch": {"start": a, "end": b}})
        }
    }
}

fn text(of: &StringMatch) -> Value {
    let mut out = match &of.pattern {
        Pattern::Exact(s) => json!({ "exact": **s }),
        Pattern::Prefix(s) => json!({ "prefix": **s }),
        Pattern::Suffix(s) => json!({ "suffix": **s }),
        Pattern::Contains(s) => json!({ "contains": **s }),
        Pattern::Regex(s) => json!({"safeRegex": {"regex": **s}}),
    };
    if of.ignore_case {
        out["ignoreCase"] = json!(true);
    }
    out
}

fn cidr(of: &Cidr) -> Value {
    json!({"addressPrefix": of.base.to_string(), "prefixLen": of.bits})
}

fn metadata(of: &MetadataMatch) -> Value {
    let path: Vec<Value> = of.path.iter().map(|key| json!({ "key": **key })).collect();
    json!({"filter": *of.filter, "path": path, "value": value(&of.value)})
}

fn value(of: &ValueMatch) -> Value {
    match of {
        ValueMatch::Null => json!({"nullMatch": {}}),
        ValueMatch::Bool(b) => json!({ "boolMatch": b }),
        ValueMatch::Text(m) => json!({ "stringMatch": text(m) }),
        ValueMatch::Present(there) => json!({ "presentMatch": there }),
        ValueMatch::OneOf(inner) => json!({"listMatch": {"oneOf": value(inner)}}),
        ValueMatch::Any(list) => {
            let values: Vec<Value> = list.iter().map(value).collect();
            json!({"orMatch": {"valueMatchers": values}})
        }
    }
}
