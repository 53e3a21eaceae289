//! Role-based access control, compiled: who may do what. Policies are asked in the order of their names, and
//! the first that matches is the one that is named; of many policies only those are looked at that could
//! match by what they are indexed by.

mod expression;
mod index;
mod near;
#[cfg(test)]
mod tests;

use crate::format::Peer;
use base::Finding;
use expression::{Permit, Who};
use index::Index;
use ir::{Metadata, Rbac, RbacAction, RbacPolicy, RbacRules, Str};
pub use near::{Half, Near};
use std::net::{IpAddr, SocketAddr};
use wire::RequestHead;

/// A compiled [`Rbac`].
#[derive(Debug)]
pub struct RbacRule {
    pub rules: Option<Rules>,
    pub shadow: Option<Rules>,
    pub rules_prefix: Str,
    pub shadow_prefix: Str,
}

/// A compiled [`RbacRules`].
#[derive(Debug)]
pub struct Rules {
    action: RbacAction,
    policies: Vec<Policy>,
    index: Index,
}

#[derive(Debug)]
struct Policy {
    name: Str,
    permissions: Vec<Permit>,
    principals: Vec<Who>,
    /// It could not be compiled whole: nobody is allowed by it, and everybody is denied.
    broken: bool,
}

/// What is asked, and by whom. Without a head it is a connection, of which conditions on requests do not
/// hold.
#[derive(Debug)]
pub struct Access<'a, H: ?Sized> {
    pub head: Option<&'a H>,
    pub peer: Option<&'a Peer>,
    /// The other end of the connection.
    pub direct: Option<IpAddr>,
    /// The client: whom `x-forwarded-for` names, where it is trusted.
    pub remote: Option<IpAddr>,
    pub local: Option<SocketAddr>,
    pub server_name: &'a str,
    pub metadata: &'a Metadata,
}

/// What became of it, and the policy that decided, if one did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement<'r> {
    pub allowed: bool,
    pub policy: Option<&'r Str>,
}

impl RbacRule {
    /// What is wrong with a policy is reported under `path`; of such a policy nothing matches.
    pub fn new(from: &Rbac, path: &str, findings: &mut Vec<Finding>) -> Self {
        let mut rules = |rules: &Option<RbacRules>, field: &str| {
            let at = format!("{path}.{field}");
            rules.as_ref().map(|rules| Rules::new(rules, &at, findings))
        };
        Self {
            rules: rules(&from.rules, "rules"),
            shadow: rules(&from.shadow, "shadow_rules"),
            rules_prefix: from.rules_prefix.clone(),
            shadow_prefix: from.shadow_prefix.clone(),
        }
    }
}

impl Rules {
    pub fn new(from: &RbacRules, path: &str, findings: &mut Vec<Finding>) -> Self {
        let mut policies = Vec::with_capacity(from.policies.len());
        for (name, policy) in &from.policies {
            policies.push(Policy::new(name, policy, &format!("{path}.policies[{name}]"), findings));
        }
        let broken = policies.iter().map(|p| p.broken);
        let index = Index::new(from.policies.values().zip(broken));
        Self { action: from.action, policies, index }
    }

    pub fn judge<H: RequestHead + ?Sized>(&self, access: &Access<'_, H>) -> Judgement<'_> {
        let matching = self.index.first(access, |i| {
            let policy = &self.policies[i];
            if policy.broken { self.action == RbacAction::Deny } else { policy.matches(access) }
        });
        let policy = matching.map(|i| &self.policies[i].name);
        let allowed = match self.action {
            RbacAction::Allow => policy.is_some(),
            RbacAction::Deny => policy.is_none(),
            RbacAction::Log => true,
        };
        Judgement { allowed, policy }
    }
}

impl Policy {
    fn new(name: &Str, from: &RbacPolicy, path: &str, findings: &mut Vec<Finding>) -> Self {
        let known = findings.len();
        let permissions = from.permissions.iter().map(|p| Permit::new(p, path, findings)).collect();
        let principals = from.principals.iter().map(|p| Who::new(p, path, findings)).collect();
        let broken = findings.len() > known;
        Self { name: name.clone(), permissions, principals, broken }
    }

    fn matches<H: RequestHead + ?Sized>(&self, access: &Access<'_, H>) -> bool {
        self.permissions.iter().any(|p| p.matches(access))
            && self.principals.iter().any(|p| p.matches(access))
    }
}

impl<'a, H: RequestHead + ?Sized> Access<'a, H> {
    /// Without query and fragment.
    fn path(&self) -> Option<&'a [u8]> {
        let path = self.head?.path();
        let end = path.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(path.len());
        Some(&path[..end])
    }

    /// The names of the peer's certificate, one of which has to match.
    fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        let peer = self.peer.filter(|p| p.tls_version.is_some());
        let sans = peer.into_iter().flat_map(|p| p.uri_san.iter().chain(&p.dns_sans));
        let subject = peer.map(|p| p.subject.as_deref().unwrap_or_default());
        sans.map(|s| s.as_bytes()).chain(subject.map(str::as_bytes))
    }
}
