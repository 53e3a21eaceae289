//! Delegation: a rule may leave what becomes of its requests to a VirtualService without hosts. What
//! comes out is the rules as if they stood in one place: each match of the delegate narrowed by one of
//! the root, and what the delegate does not say taken from the root.

use crate::build::Build;
use api::{HttpMatchRequest, HttpRoute, StringMatch, VirtualService};
use base::Finding;
use registry::{Item, Snapshot};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One rule, with the object and field that it is written in.
pub(super) struct Rule<'a> {
    pub item: Cow<'a, Arc<Item<VirtualService>>>,
    pub http: Cow<'a, HttpRoute>,
    pub path: String,
}

/// The rules of a VirtualService with those of its delegates in their places.
pub(super) fn expanded<'a>(
    b: &mut Build<'_>,
    root: &'a Arc<Item<VirtualService>>,
) -> Vec<Rule<'a>> {
    let mut rules = Vec::new();
    for (index, http) in root.spec.http.iter().enumerate() {
        let path = format!("spec.http[{index}]");
        if http.delegate.is_none() {
            rules.push(Rule { item: Cow::Borrowed(root), http: Cow::Borrowed(http), path });
            continue;
        }
        let Some(delegate) = of_rule(b.world, root, http) else {
            let say = "the delegate is no VirtualService without hosts that is visible here; the \
                       rule is left out";
            b.say(&root.object, Finding::error(format!("{path}.delegate"), say).code("IST0101"));
            continue;
        };
        for (at, own) in delegate.spec.http.iter().enumerate() {
            let path = format!("spec.http[{at}]");
            if own.delegate.is_some() {
                let say = "a delegate delegates on, which is not possible; the rule is left out";
                b.say(&delegate.object, Finding::error(format!("{path}.delegate"), say));
                continue;
            }
            match merged(http, own) {
                Some(http) => {
                    let (item, http) = (Cow::Owned(delegate.clone()), Cow::Owned(http));
                    rules.push(Rule { item, http, path });
                }
                None => {
                    let say = format!(
                        "a match is no narrower than those of {}, which delegates to it; the rule is \
                         left out",
                        root.object
                    );
                    b.say(&delegate.object, Finding::warning(path, say));
                }
            }
        }
    }
    rules
}

/// The VirtualService that a rule delegates to. One level only: its own delegations do not count.
pub(super) fn of_rule(
    world: &Snapshot,
    root: &Item<VirtualService>,
    http: &HttpRoute,
) -> Option<Arc<Item<VirtualService>>> {
    let named = http.delegate.as_ref()?;
    let namespace = Some(named.namespace.as_str()).filter(|n| !n.is_empty());
    let item = world.virtual_services.get(namespace.unwrap_or(root.namespace()), &named.name)?;
    let usable = item.spec.is_delegate() && world.sees_route(item, root.namespace());
    usable.then(|| item.clone())
}

/// `None` when no request could reach the rule.
fn merged(root: &HttpRoute, own: &HttpRoute) -> Option<HttpRoute> {
    let mut out = own.clone();
    out.delegate = None;
    out.r#match = narrowed(&root.r#match, &own.r#match)?;
    out.name = match (root.name.as_str(), own.name.as_str()) {
        ("", name) | (name, "") => name.to_owned(),
        (a, b) => format!("{a}-{b}"),
    };
    out.rewrite = out.rewrite.or_else(|| root.rewrite.clone());
    out.timeout = out.timeout.or(root.timeout);
    out.retries = out.retries.or_else(|| root.retries.clone());
    out.fault = out.fault.or_else(|| root.fault.clone());
    out.cors_policy = out.cors_policy.or_else(|| root.cors_policy.clone());
    out.headers = out.headers.or_else(|| root.headers.clone());
    if out.mirror.is_none() && out.mirrors.is_empty() {
        out.mirror.clone_from(&root.mirror);
        out.mirrors.clone_from(&root.mirrors);
        out.mirror_percentage = out.mirror_percentage.or(root.mirror_percentage);
        out.mirror_percent = out.mirror_percent.or(root.mirror_percent);
    }
    Some(out)
}

fn narrowed(root: &[HttpMatchRequest], own: &[HttpMatchRequest]) -> Option<Vec<HttpMatchRequest>> {
    if root.is_empty() {
        return Some(own.to_vec());
    }
    if own.is_empty() {
        return Some(root.to_vec());
    }
    let mut all = Vec::new();
    for own in own {
        let before = all.len();
        all.extend(root.iter().filter_map(|root| both(root, own)));
        if all.len() == before {
            // One that the root does not let through spoils the rule.
            return None;
        }
    }
    Some(all)
}

/// All conditions of both; `None` where the delegate's is not narrower than the root's.
fn both(root: &HttpMatchRequest, own: &HttpMatchRequest) -> Option<HttpMatchRequest> {
    let text = |a: &str, b: &str| match (a, b) {
        ("", x) | (x, "") => Some(x.to_owned()),
        (a, b) => (a == b).then(|| a.to_owned()),
    };
    if root.ignore_uri_case != own.ignore_uri_case {
        return None;
    }
    let gateways = match (root.gateways.is_empty(), own.gateways.is_empty()) {
        (true, _) => own.gateways.clone(),
        (_, true) => root.gateways.clone(),
        _ if own.gateways.iter().all(|g| root.gateways.contains(g)) => own.gateways.clone(),
        _ => return None,
    };
    let port = match (root.port, own.port) {
        (Some(a), Some(b)) if a != b => return None,
        (a, b) => b.or(a),
    };
    let same = |(k, v): (&String, &String)| root.source_labels.get(k).is_none_or(|r| r == v);
    if !own.source_labels.iter().all(same) {
        return None;
    }
    let mut source_labels = root.source_labels.clone();
    source_labels.extend(own.source_labels.clone());
    Some(HttpMatchRequest {
        name: match (root.name.as_str(), own.name.as_str()) {
            ("", name) | (name, "") => name.to_owned(),
            (a, b) => format!("{a}-{b}"),
        },
        uri: narrower(root.uri.as_ref(), own.uri.as_ref())?,
        scheme: narrower(root.scheme.as_ref(), own.scheme.as_ref())?,
        method: narrower(root.method.as_ref(), own.method.as_ref())?,
        authority: narrower(root.authority.as_ref(), own.authority.as_ref())?,
        headers: union(&root.headers, &own.headers)?,
        without_headers: union(&root.without_headers, &own.without_headers)?,
        query_params: union(&root.query_params, &own.query_params)?,
        port,
        source_labels,
        source_namespace: text(&root.source_namespace, &own.source_namespace)?,
        gateways,
        ignore_uri_case: own.ignore_uri_case,
        stat_prefix: if own.stat_prefix.is_empty() { &root.stat_prefix } else { &own.stat_prefix }
            .clone(),
    })
}

fn union(
    root: &BTreeMap<String, StringMatch>,
    own: &BTreeMap<String, StringMatch>,
) -> Option<BTreeMap<String, StringMatch>> {
    let mut out = root.clone();
    for (key, value) in own {
        let value = narrower(root.get(key), Some(value))??;
        out.insert(key.clone(), value);
    }
    Some(out)
}

/// The one of the two that holds for both; `None` when neither does.
fn narrower(root: Option<&StringMatch>, own: Option<&StringMatch>) -> Option<Option<StringMatch>> {
    let (Some(root), Some(own)) = (root, own) else { return Some(own.or(root).cloned()) };
    let inside = match (&root.exact, &root.prefix) {
        _ if root == own || root.is_presence() => true,
        (None, Some(prefix)) => {
            let text = own.exact.as_ref().or(own.prefix.as_ref());
            text.is_some_and(|t| t.starts_with(prefix.as_str()))
        }
        // Whether one regex takes all that another takes is not decided here.
        _ => false,
    };
    inside.then(|| Some(own.clone()))
}
