//! Access rules of a filter chain, compiled, with what they count; the same for requests and connections.

use base::Finding;
use ir::{Rbac, Str, Value};
use policy::rbac::{Access, Judgement, RbacRule};
use policy::{Stream, metadata};
use std::collections::BTreeMap;
use telemetry::{RbacStats, Registry, Shard};
use wire::{Request, RequestHead};

#[derive(Debug)]
pub struct Guard {
    rule: RbacRule,
    stats: RbacStats,
    shadow_stats: RbacStats,
}

/// What is said of one request or connection.
#[derive(Debug)]
pub struct Verdict {
    /// Why it is denied, as the log has it.
    pub denied: Option<String>,
    /// What rules that are only observed say, for filters that come later.
    pub said: BTreeMap<Str, Value>,
}

impl Guard {
    /// Of requests under a connection manager of this prefix.
    pub fn http(
        rbac: &Rbac,
        manager: &str,
        path: &str,
        registry: &Registry,
        findings: &mut Vec<Finding>,
    ) -> Self {
        Self {
            rule: RbacRule::new(rbac, path, findings),
            stats: RbacStats::http(registry, manager, &rbac.rules_prefix),
            shadow_stats: RbacStats::http(registry, manager, &rbac.shadow_prefix),
        }
    }

    pub fn network(
        rbac: &Rbac,
        path: &str,
        registry: &Registry,
        findings: &mut Vec<Finding>,
    ) -> Self {
        Self {
            rule: RbacRule::new(rbac, path, findings),
            stats: RbacStats::network(registry, &rbac.stat_prefix, ""),
            shadow_stats: RbacStats::network(registry, &rbac.stat_prefix, &rbac.shadow_prefix),
        }
    }

    /// Whether a connection would be allowed; nothing is counted. What rules that are only observed say is
    /// noted in it.
    pub fn allows(&self, connection: &mut Stream) -> bool {
        let access = access::<Request>(None, connection);
        let allowed = self.rule.rules.as_ref().is_none_or(|rules| rules.judge(&access).allowed);
        let said = said(&self.rule, self.rule.shadow.as_ref().map(|shadow| shadow.judge(&access)));
        metadata::add(&mut connection.metadata, &"envoy.filters.network.rbac".into(), said);
        allowed
    }

    /// `head` of a request; without one it is a connection. `own`: the rules of its route.
    pub fn judge<H: RequestHead>(
        &self,
        own: Option<&RbacRule>,
        head: Option<&H>,
        stream: &Stream,
        shard: &Shard,
    ) -> Verdict {
        let rule = own.unwrap_or(&self.rule);
        let access = access(head, stream);
        let observed = rule.shadow.as_ref().map(|shadow| shadow.judge(&access));
        if let Some(found) = &observed {
            let stats = &self.shadow_stats;
            shard.inc(if found.allowed { stats.shadow_allowed } else { stats.shadow_denied });
        }
        let said = said(rule, observed);
        let found = rule.rules.as_ref().map(|rules| rules.judge(&access));
        if let Some(found) = &found {
            shard.inc(if found.allowed { self.stats.allowed } else { self.stats.denied });
        }
        Verdict { denied: found.filter(|found| !found.allowed).map(details), said }
    }
}

/// For filters that come later.
fn said(rule: &RbacRule, observed: Option<Judgement<'_>>) -> BTreeMap<Str, Value> {
    let mut said = BTreeMap::new();
    let Some(found) = observed else { return said };
    let key = |name: &str| Str::from(format!("{}{name}", rule.shadow_prefix));
    let result = if found.allowed { "allowed" } else { "denied" };
    said.insert(key("shadow_engine_result"), Value::String(result.into()));
    if let Some(policy) = found.policy {
        said.insert(key("shadow_effective_policy_id"), Value::String(policy.clone()));
    }
    said
}

fn access<'a, H>(head: Option<&'a H>, stream: &'a Stream) -> Access<'a, H> {
    let ends = stream.downstream.as_deref();
    let ip = |shown: &policy::format::Shown| shown.address.map(|a| a.ip());
    let peer = stream.peer.as_deref();
    Access {
        head,
        peer,
        direct: ends.and_then(|e| ip(&e.remote)),
        remote: stream.remote.as_deref().and_then(ip),
        local: ends.and_then(|e| e.local.address),
        server_name: peer.and_then(|p| p.server_name.as_deref()).unwrap_or_default(),
        metadata: &stream.metadata,
    }
}

fn details(found: Judgement<'_>) -> String {
    // Names are in the log as one word.
    let policy = found.policy.map_or("none".into(), |name| name.replace(char::is_whitespace, "_"));
    format!("rbac_access_denied_matched_policy[{policy}]")
}
