//! DestinationRules: merged where a namespace has several for one host, and looked up in Istio's
//! order: the client's namespace, the service's, the root's; the first that has one wins entirely.

use crate::{ExportTo, Item};
use api::{DestinationRule, Subset, TrafficPolicy};
use base::{Host, Labels, ObjectRef};
use std::collections::HashMap;
use std::sync::Arc;

/// One rule, or several of one host and namespace as one.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The newest of the versions of what it was merged from.
    pub version: u64,
    pub host: Host,
    pub namespace: String,
    pub policy: Option<TrafficPolicy>,
    /// The rule that `policy` stands in.
    pub policy_object: ObjectRef,
    /// With the rule and the index there that each was written at.
    pub subsets: Vec<(Subset, ObjectRef, usize)>,
    pub export_to: ExportTo,
    /// Clients it is for, all when `None`.
    pub selector: Option<Labels>,
}

impl Rule {
    pub fn subset(&self, name: &str) -> Option<&Subset> {
        self.subsets.iter().map(|(s, _, _)| s).find(|s| s.name == name)
    }
}

#[derive(Clone, Debug, Default)]
pub struct DestinationRules {
    pub version: u64,
    root: String,
    by_namespace: HashMap<String, HostIndex>,
    /// Whether any rule is for some clients of a namespace only.
    pub has_selectors: bool,
}

#[derive(Clone, Debug, Default)]
struct HostIndex {
    exact: HashMap<Host, Vec<Arc<Rule>>>,
    /// Most specific first.
    wildcards: Vec<Arc<Rule>>,
}

impl DestinationRules {
    /// `items` come oldest first. A rule that is as it was in `last` is the same `Arc`.
    pub(crate) fn index<'a>(
        version: u64,
        root: &str,
        default_export: &ExportTo,
        items: impl Iterator<Item = &'a Arc<Item<DestinationRule>>>,
        last: Option<&DestinationRules>,
    ) -> DestinationRules {
        let mut rules: HashMap<String, Vec<Rule>> = HashMap::new();
        for item in items {
            let Some(rule) = rule_of(item, default_export) else { continue };
            merge_into(rules.entry(rule.namespace.clone()).or_default(), rule);
        }
        let has_selectors = rules.values().flatten().any(|r| r.selector.is_some());
        let old = |namespace: &str| last.and_then(|l| l.by_namespace.get(namespace));
        let by_namespace =
            rules.into_iter().map(|(n, r)| (n.clone(), HostIndex::of(r, old(&n)))).collect();
        DestinationRules { version, root: root.to_owned(), by_namespace, has_selectors }
    }

    /// The rule that clients with these labels in `client` use for a service.
    pub fn find(
        &self,
        client: &str,
        labels: &Labels,
        service_namespace: &str,
        host: &Host,
    ) -> Option<&Arc<Rule>> {
        let in_root = client == self.root;
        let own = |r: &Rule| {
            r.selector.as_ref().is_none_or(|s| s.iter().all(|(k, v)| labels.get(k) == Some(v)))
                // A rule of the root namespace for everybody must not hide the service's own rules
                // from the clients that happen to live there.
                && (!in_root || only_own(&r.export_to, client))
        };
        let exported = |r: &Rule| r.selector.is_none() && r.export_to.reaches(&r.namespace, client);
        self.in_namespace(client, host, own)
            .or_else(|| self.in_namespace(service_namespace, host, exported))
            .or_else(|| self.in_namespace(&self.root, host, exported))
    }

    /// All rules, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        let indexes = self.by_namespace.values();
        indexes.flat_map(|i| i.exact.values().flatten().chain(&i.wildcards))
    }

    fn in_namespace(
        &self,
        namespace: &str,
        host: &Host,
        fits: impl Fn(&Rule) -> bool,
    ) -> Option<&Arc<Rule>> {
        self.by_namespace.get(namespace)?.find(host, fits)
    }
}

fn only_own(export: &ExportTo, own: &str) -> bool {
    matches!(export, ExportTo::Namespaces(list) if list.iter().all(|n| n == "." || n == own))
}

impl HostIndex {
    fn of(rules: Vec<Rule>, last: Option<&HostIndex>) -> HostIndex {
        let mut index = HostIndex::default();
        for rule in rules {
            let known = last.into_iter().flat_map(|l| l.of_host(&rule.host)).find(|k| ***k == rule);
            let rule = known.cloned().unwrap_or_else(|| Arc::new(rule));
            if rule.host.is_wildcard() {
                index.wildcards.push(rule);
            } else {
                index.exact.entry(rule.host.clone()).or_default().push(rule);
            }
        }
        index.wildcards.sort_by(|a, b| a.host.by_specificity(&b.host));
        index
    }

    fn of_host<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = &'a Arc<Rule>> {
        let wide = self.wildcards.iter().filter(move |r| r.host == *host);
        self.exact.get(host).into_iter().flatten().chain(wide)
    }

    /// Among those that fit, one with a selector before one without.
    fn find(&self, host: &Host, fits: impl Fn(&Rule) -> bool) -> Option<&Arc<Rule>> {
        let mut found: Option<&Arc<Rule>> = None;
        let exact = self.exact.get(host).into_iter().flatten();
        let covering = self.wildcards.iter().filter(|r| r.host.covers(host));
        for rule in exact.chain(covering).filter(|r| fits(r)) {
            match found {
                Some(best) if best.host != rule.host || best.selector.is_some() => break,
                Some(_) if rule.selector.is_none() => {}
                _ => found = Some(rule),
            }
        }
        found
    }
}

fn rule_of(item: &Item<DestinationRule>, default_export: &ExportTo) -> Option<Rule> {
    let selector = item.spec.workload_selector.as_ref().map(|s| s.match_labels.clone());
    let subset = |(i, s): (usize, &Subset)| (s.clone(), item.object.clone(), i);
    Some(Rule {
        version: item.version,
        host: item.hosts.first()?.clone(),
        namespace: item.namespace().to_owned(),
        policy: item.spec.traffic_policy.clone(),
        policy_object: item.object.clone(),
        subsets: item.spec.subsets.iter().enumerate().map(subset).collect(),
        export_to: item.export_to.clone().unwrap_or_else(|| default_export.clone()),
        selector: selector.filter(|s| !s.is_empty()),
    })
}

/// Adds a younger rule: to an older one of the same host that the same namespaces see, its subsets
/// (no name twice) and its policy if the older has none; otherwise as a rule of its own.
fn merge_into(rules: &mut Vec<Rule>, rule: Rule) {
    let same = |r: &&mut Rule| {
        r.host == rule.host
            && r.selector.is_none()
            && rule.selector.is_none()
            && covers(&r.export_to, &rule.export_to)
    };
    let Some(older) = rules.iter_mut().find(same) else {
        return rules.push(rule);
    };
    older.version = older.version.max(rule.version);
    for (subset, object, index) in rule.subsets {
        if older.subset(&subset.name).is_none() {
            older.subsets.push((subset, object, index));
        }
    }
    if older.policy.is_none() {
        older.policy = rule.policy;
        older.policy_object = rule.policy_object;
    }
}

fn covers(a: &ExportTo, b: &ExportTo) -> bool {
    match (a, b) {
        (ExportTo::Everybody, _) => true,
        (ExportTo::Namespaces(a), ExportTo::Namespaces(b)) => b.iter().all(|n| a.contains(n)),
        _ => a == b,
    }
}
