//! Rules and matches of a VirtualService that the rules before them leave nothing for. The first rule
//! that matches counts, so an equal match later never does.

use super::Report;
use crate::{HttpMatchRequest, L4MatchAttributes, TlsMatchAttributes, VirtualService};
use base::Finding;

pub(super) fn check(spec: &VirtualService, report: &mut Report) {
    let http: Vec<Rule<'_, HttpMatchRequest>> = spec
        .http
        .iter()
        .map(|r| Rule { name: &r.name, matches: &r.r#match, conclusive: r.delegate.is_none() })
        .collect();
    check_rules("http", &http, report);
    let tls: Vec<Rule<'_, TlsMatchAttributes>> =
        spec.tls.iter().map(|r| Rule { name: "", matches: &r.r#match, conclusive: true }).collect();
    check_rules("tls", &tls, report);
    let tcp: Vec<Rule<'_, L4MatchAttributes>> =
        spec.tcp.iter().map(|r| Rule { name: "", matches: &r.r#match, conclusive: true }).collect();
    check_rules("tcp", &tcp, report);
}

struct Rule<'a, M> {
    name: &'a str,
    matches: &'a [M],
    /// What it matches goes no further. A rule that delegates may give requests back.
    conclusive: bool,
}

/// The conditions of one match of a rule.
trait Match {
    fn name(&self) -> &str {
        ""
    }
    fn same(&self, other: &Self) -> bool;
    /// Not the same, but everything that `other` matches is matched here.
    fn contains(&self, _other: &Self) -> bool {
        false
    }
    fn is_everything(&self) -> bool;
}

/// A match that came earlier.
struct Seen<'a, M> {
    what: &'a M,
    rule: String,
    index: usize,
}

fn check_rules<M: Match>(field: &str, rules: &[Rule<'_, M>], report: &mut Report) {
    let mut all: Option<String> = None;
    let mut seen: Vec<Seen<'_, M>> = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let (path, label) = (format!("spec.{field}[{index}]"), label(rule.name, index));
        if let Some(before) = &all {
            unreachable(&path, &label, &format!("rule {before} matches everything"), report);
            continue;
        }
        let mut repeated = 0;
        for (at, m) in rule.matches.iter().enumerate() {
            let same = seen.iter().find(|s| s.what.same(m));
            repeated += usize::from(same.is_some_and(|s| s.index != index));
            if let Some(earlier) = same.or_else(|| seen.iter().find(|s| s.what.contains(m))) {
                let path = format!("{path}.match[{at}]");
                ineffective(&path, &label, &self::label(m.name(), at), &earlier.rule, report);
            }
            if rule.conclusive {
                seen.push(Seen { what: m, rule: label.clone(), index });
            }
        }
        if repeated > 0 && repeated == rule.matches.len() {
            unreachable(&path, &label, "all of its matches stand in rules before it", report);
        }
        let everything = rule.matches.is_empty() || rule.matches.iter().any(M::is_everything);
        if everything && rule.conclusive {
            all = Some(label);
        }
    }
}

/// By its name, else by its number.
fn label(name: &str, index: usize) -> String {
    if name.is_empty() { format!("#{index}") } else { format!("{name:?}") }
}

fn unreachable(path: &str, rule: &str, reason: &str, report: &mut Report) {
    let say = format!("VirtualService rule {rule} not used ({reason}).");
    report.findings.push(Finding::warning(path, say).code("IST0130"));
}

fn ineffective(path: &str, rule: &str, this: &str, earlier: &str, report: &mut Report) {
    let say = format!(
        "VirtualService rule {rule} match {this} is not used (duplicate/overlapping match in rule \
         {earlier})."
    );
    report.findings.push(Finding::info(path, say).code("IST0131"));
}

impl Match for HttpMatchRequest {
    fn name(&self) -> &str {
        &self.name
    }

    fn same(&self, other: &Self) -> bool {
        let conditions =
            |m: &Self| Self { name: String::new(), stat_prefix: String::new(), ..m.clone() };
        conditions(self) == conditions(other)
    }

    fn contains(&self, other: &Self) -> bool {
        let prefix = |m: &Self| m.uri.as_ref().and_then(|u| u.prefix.clone());
        let (Some(short), Some(long)) = (prefix(self), prefix(other)) else { return false };
        fn free<T: PartialEq + Default>(mine: &T, theirs: &T) -> bool {
            *mine == T::default() || mine == theirs
        }
        long.starts_with(&short)
            && self.ignore_uri_case == other.ignore_uri_case
            && free(&self.scheme, &other.scheme)
            && free(&self.method, &other.method)
            && free(&self.authority, &other.authority)
            && free(&self.headers, &other.headers)
            && free(&self.without_headers, &other.without_headers)
            && free(&self.query_params, &other.query_params)
            && free(&self.port, &other.port)
            && free(&self.source_labels, &other.source_labels)
            && free(&self.source_namespace, &other.source_namespace)
            && free(&self.gateways, &other.gateways)
    }

    fn is_everything(&self) -> bool {
        let root = self.uri.as_ref().is_some_and(|u| u.prefix.as_deref() == Some("/"));
        let rest = Self { uri: if root { None } else { self.uri.clone() }, ..self.clone() };
        Self::default().same(&rest)
    }
}

impl Match for TlsMatchAttributes {
    fn same(&self, other: &Self) -> bool {
        self == other
    }

    fn is_everything(&self) -> bool {
        false
    }
}

impl Match for L4MatchAttributes {
    fn same(&self, other: &Self) -> bool {
        self == other
    }

    fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}
