//! Where filters find what the configuration says of one request: the weighted cluster, the route and the
//! virtual host that were found for it, the most specific first. Nothing was found for a request without
//! a route; then only the chain's own configuration holds.

use crate::FilterRule;
use crate::authz::AuthzOwn;
use crate::cors::CorsRule;
use crate::fault::FaultRule;
use crate::rate_limit::{LimitRule, Subject};
use crate::rbac::RbacRule;
use crate::table::{ForwardRule, Part, Route, VirtualHost};
use ir::Str;
use std::net::IpAddr;

/// What was found for a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'t> {
    part: &'t [(Str, FilterRule)],
    route: &'t [(Str, FilterRule)],
    host: Option<&'t VirtualHost>,
    /// Of requests that are to be forwarded.
    rule: Option<&'t ForwardRule>,
}

impl<'t> Scope<'t> {
    pub(crate) fn of_route(host: &'t VirtualHost, route: &'t Route) -> Self {
        Self { part: &[], route: &route.filters, host: Some(host), rule: None }
    }

    pub(crate) fn of_forwarding(
        host: &'t VirtualHost,
        route: &'t Route,
        part: Option<&'t Part>,
        rule: &'t ForwardRule,
    ) -> Self {
        let part = part.map(|p| p.filters.as_slice()).unwrap_or_default();
        Self { part, rule: Some(rule), ..Self::of_route(host, route) }
    }

    /// Whether the request is to be forwarded.
    pub fn forwards(&self) -> bool {
        self.rule.is_some()
    }

    /// What the most specific level says of the filter of this name.
    pub fn own(&self, filter: &str) -> Option<&'t FilterRule> {
        let mut rules = self.levels().into_iter().flatten();
        rules.find(|(name, _)| **name == *filter).map(|(_, rule)| rule)
    }

    /// Whether the filter of this name runs; `off`: only where the configuration says more of it.
    pub fn runs(&self, filter: &str, off: bool) -> bool {
        match self.own(filter) {
            Some(FilterRule::Disabled) => false,
            Some(_) => true,
            None => !off,
        }
    }

    /// The fault rule of this request, where it has one of its own.
    pub fn fault(&self, filter: &str) -> Option<&'t FaultRule> {
        if let Some(FilterRule::Fault(rule)) = self.own(filter) { Some(rule) } else { None }
    }

    /// The cross-origin rule of this request; there is none for what is answered here.
    pub fn cors(&self, filter: &str) -> Option<&'t CorsRule> {
        let rule = self.rule?;
        match self.own(filter) {
            Some(FilterRule::Cors(rule)) => Some(rule),
            _ => rule.cors.as_ref(),
        }
    }

    /// The limit of this request, where it has one of its own.
    pub fn limit(&self, filter: &str) -> Option<&'t LimitRule> {
        if let Some(FilterRule::Limit(rule)) = self.own(filter) { Some(rule) } else { None }
    }

    /// What is said of the authorization of this request.
    /// The access rules of this request, where it has its own.
    pub fn rbac(&self, filter: &str) -> Option<&'t RbacRule> {
        if let Some(FilterRule::Rbac(rule)) = self.own(filter) { Some(rule) } else { None }
    }

    pub fn authz(&self, filter: &str) -> Option<&'t AuthzOwn> {
        if let Some(FilterRule::Authz(own)) = self.own(filter) { Some(own) } else { None }
    }

    /// What an authorizer is told beside the request: all levels together, the most specific last.
    pub fn authz_context(&self, filter: &str) -> impl Iterator<Item = &'t (Str, Str)> {
        let levels = self.levels().into_iter().rev();
        let own = levels.filter_map(move |level| level.iter().find(|(name, _)| **name == *filter));
        own.flat_map(|(_, rule)| match rule {
            FilterRule::Authz(own) => own.settings.context.as_slice(),
            _ => &[],
        })
    }

    /// The most specific first.
    fn levels(&self) -> [&'t [(Str, FilterRule)]; 3] {
        let host = self.host.map(|h| h.filters.as_slice()).unwrap_or_default();
        [self.part, self.route, host]
    }

    /// What is asked of buckets on behalf of this request.
    pub fn subject<'s, H>(
        &self,
        head: &'s H,
        cluster: &'s str,
        remote: Option<IpAddr>,
    ) -> Subject<'s, H>
    where
        't: 's,
    {
        let host = self.host.filter(|_| self.forwards());
        Subject {
            head,
            cluster: self.rule.map(|_| cluster),
            remote,
            route: self.rule.map(|r| r.limits.as_slice()).unwrap_or_default(),
            host: host.map(|h| h.limits.as_slice()).unwrap_or_default(),
            include_host: self.rule.is_some_and(|r| r.include_host_limits),
        }
    }
}
