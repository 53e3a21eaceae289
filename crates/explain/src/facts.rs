//! What holds for a forwarded request besides where it goes, with the field that says so: timeout,
//! retries, mirrors. A field may stand in the rule, or in the one that delegates to it; otherwise it is a
//! default.

use crate::Fact;
use crate::request::{Passing, percent};
use api::{HttpRoute, VirtualService};
use base::Origin;
use ir::{Forward, HashSource, RetryPolicy};
use policy::Forwarding;
use registry::Item;
use std::time::Duration;

/// The rule of a VirtualService that a route was compiled from.
pub(crate) struct Rule<'w> {
    pub item: &'w Item<VirtualService>,
    pub http: &'w HttpRoute,
    path: &'w str,
}

pub(crate) fn of(
    passing: &Passing<'_>,
    written: &Forward,
    forwarding: &Forwarding<'_>,
) -> Vec<Fact> {
    let mut all = Vec::new();
    let mut say = |name, value: String, origin| all.push(Fact { name, value, origin });
    say("timeout", timeout(written.timeout), passing.field("timeout", |h| h.timeout.is_some()));
    let retries = written.retry.as_ref().map_or_else(|| "none".to_owned(), retries);
    say("retries", retries, passing.field("retries", |h| h.retries.is_some()));
    for (mirror, rule) in written.mirrors.iter().zip(&forwarding.rule.mirrors) {
        let share = match rule.fraction {
            1_000_000 => String::new(),
            fraction => format!(" for {} of requests", percent(fraction)),
        };
        let origin = passing
            .field("mirrors", |h| !h.mirrors.is_empty())
            .or_else(|| passing.field("mirror", |h| h.mirror.is_some()));
        say("mirror", format!("{}{share}", mirror.cluster), origin);
    }
    for hash in &written.hash {
        let by = match &hash.source {
            HashSource::Header(name) => format!("header {name}"),
            HashSource::Cookie { name, .. } => format!("cookie {name}"),
            HashSource::SourceIp => "the client's address".to_owned(),
            HashSource::Query(name) => format!("query parameter {name}"),
            HashSource::FilterState(name) => format!("filter state {name}"),
        };
        say("hash", format!("like requests stay together by {by}"), None);
    }
    all
}

fn timeout(written: Option<Duration>) -> String {
    match written {
        None => "15s".to_owned(),
        Some(t) if t.is_zero() => "none".to_owned(),
        Some(t) => format!("{t:?}"),
    }
}

fn retries(retry: &RetryPolicy) -> String {
    let mut text = format!("{} on {}", retry.num_retries.unwrap_or(1), retry.on.join(","));
    if !retry.retriable_status_codes.is_empty() {
        let codes: Vec<String> = retry.retriable_status_codes.iter().map(u32::to_string).collect();
        text += &format!(" ({})", codes.join(","));
    }
    if let Some(limit) = retry.per_try_timeout {
        text += &format!(", {limit:?} for each try");
    }
    if let Some(backoff) = &retry.backoff {
        text += &format!(", {:?} between them", backoff.base);
    }
    text
}

impl<'a> Passing<'a> {
    pub(crate) fn fact(&self, name: &'static str, value: impl Into<String>) -> Fact {
        Fact { name, value: value.into(), origin: None }
    }

    /// The rule that the route comes from; none where it is a default.
    pub(crate) fn rule(&self) -> Option<Rule<'a>> {
        let explainer = self.explainer;
        let origin = explainer.compiled.origins.get(self.written?.origin)?;
        let item = explainer
            .world
            .virtual_services
            .get(&origin.object.namespace, &origin.object.name)
            .filter(|_| origin.object.kind == "VirtualService")?;
        let path = origin.path.split(".match").next()?;
        let index: usize = path.strip_prefix("spec.http[")?.strip_suffix(']')?.parse().ok()?;
        Some(Rule { item, http: item.spec.http.get(index)?, path })
    }

    /// Where a field of the route's rule is written: there, or in a rule that delegates to it.
    pub(crate) fn field(&self, name: &str, has: impl Fn(&HttpRoute) -> bool) -> Option<Origin> {
        let rule = self.rule()?;
        let at = |item: &Item<VirtualService>, path: &str| Origin {
            object: item.object.clone(),
            path: format!("{path}.{name}"),
            line: None,
        };
        if has(rule.http) {
            return Some(at(rule.item, rule.path));
        }
        let delegates = |root: &Item<VirtualService>, http: &HttpRoute| {
            http.delegate.as_ref().is_some_and(|d| {
                let namespace =
                    if d.namespace.is_empty() { root.namespace() } else { &d.namespace };
                namespace == rule.item.namespace() && d.name == rule.item.name()
            })
        };
        let roots = self.explainer.world.virtual_services.iter();
        roots.into_iter().find_map(|root| {
            let mut rules = root.spec.http.iter().enumerate();
            let (index, _) = rules.find(|(_, http)| delegates(root, http) && has(http))?;
            Some(at(root, &format!("spec.http[{index}]")))
        })
    }
}
