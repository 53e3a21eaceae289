//! Who a request says that it comes from: its tokens are looked for where their issuers say, held against
//! what is required of the request, and what they claim is made known to what comes after.

mod apply;
mod cache;
mod extract;
mod provider;
mod require;

use crate::matching::{HeaderMatcher, QueryMatcher, split_query};
use crate::table::PathMatcher;
use base::{Env, Finding};
use ir::{JwtAuthn, JwtNeed, RouteMatch, Str, Value};
use provider::Provider;
use require::{Need, Run};
use std::collections::BTreeMap;
use wire::{Head, Request, RequestHead};

pub use ::jwt::Refusal;
pub use cache::TokenCache;

/// A compiled [`JwtAuthn`].
#[derive(Debug)]
pub struct TokenRule {
    providers: Vec<Provider>,
    rules: Vec<(Match, Demand)>,
    named: BTreeMap<Str, Need>,
    /// Headers that only what was verified may fill, of all providers.
    reserved: Vec<Str>,
    bypass_cors_preflight: bool,
    /// Refusals do not say why.
    pub strip_failure_response: bool,
}

#[derive(Debug)]
enum Demand {
    Nothing,
    This(Need),
    Named(Str),
}

/// What came of a request.
#[derive(Debug, Default, PartialEq)]
pub struct Judged {
    pub refused: Option<Denial>,
    /// For filters that come later.
    pub said: BTreeMap<Str, Value>,
    /// The route is to be looked for again.
    pub reroute: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Denial {
    Token(Refusal),
    /// The route names a requirement that there is not.
    NoSuchRequirement(Str),
}

impl Denial {
    pub fn status(&self) -> u16 {
        match self {
            Denial::Token(refusal) => refusal.status(),
            Denial::NoSuchRequirement(_) => 403,
        }
    }

    /// What the client reads.
    pub fn text(&self) -> String {
        match self {
            Denial::Token(refusal) => refusal.to_string(),
            Denial::NoSuchRequirement(_) => format!("Failed JWT authentication: {}", self.reason()),
        }
    }

    fn reason(&self) -> String {
        match self {
            Denial::Token(refusal) => refusal.to_string(),
            Denial::NoSuchRequirement(name) => format!("Wrong requirement_name: {name}"),
        }
    }

    /// As the log has it, in one word.
    pub fn details(&self) -> String {
        format!("jwt_authn_access_denied{{{}}}", self.reason().replace(' ', "_"))
    }
}

impl TokenRule {
    /// A provider without a key that is of use refuses all of its tokens, and is reported.
    pub fn new(from: &JwtAuthn, path: &str, findings: &mut Vec<Finding>) -> Self {
        let providers = from.providers.iter();
        let providers: Vec<_> =
            providers.map(|(name, p)| Provider::new(name, p, path, findings)).collect();
        let named = from.named.iter();
        let named = named.map(|(name, r)| (name.clone(), Need::new(r, &providers))).collect();
        let demand = |need: &JwtNeed| match need {
            JwtNeed::Nothing => Demand::Nothing,
            JwtNeed::These(requirement) => Demand::This(Need::new(requirement, &providers)),
            JwtNeed::Named(name) => Demand::Named(name.clone()),
        };
        let mut rules = Vec::new();
        for (i, rule) in from.rules.iter().enumerate() {
            let matches = Match::new(&rule.matches, &format!("{path}.rules[{i}]"), findings);
            rules.push((matches, demand(&rule.requires)));
        }
        let reserved = from.providers.values().flat_map(extract::reserved).collect();
        Self {
            rules,
            named,
            providers,
            reserved,
            bypass_cors_preflight: from.bypass_cors_preflight,
            strip_failure_response: from.strip_failure_response,
        }
    }

    /// `own`: the requirement that the route names. Tokens that are used up leave the request.
    pub fn judge(
        &self,
        own: Option<&Str>,
        request: &mut Request,
        cache: &mut TokenCache,
        env: &impl Env,
    ) -> Judged {
        // Whichever provider is asked in the end: nobody else may say what another one's tokens say.
        for name in &self.reserved {
            request.fields.remove(name.as_bytes());
        }
        if self.bypass_cors_preflight && is_preflight(request) {
            return Judged::default();
        }
        let need = match own {
            Some(name) => self.named(name),
            None => self.demand(request, env),
        };
        match need {
            Ok(None) => Judged::default(),
            Ok(Some(need)) => {
                let now = env.wall().0 / 1_000_000_000;
                let mut run = Run::new(&self.providers, request, cache, now);
                let outcome = need.judge(&mut run);
                run.judged(outcome.err().map(Denial::Token))
            }
            Err(denial) => Judged { refused: Some(denial), ..Judged::default() },
        }
    }

    fn named(&self, name: &Str) -> Result<Option<&Need>, Denial> {
        match self.named.get(name) {
            Some(need) => Ok(Some(need)),
            None => Err(Denial::NoSuchRequirement(name.clone())),
        }
    }

    fn demand(&self, request: &Request, env: &impl Env) -> Result<Option<&Need>, Denial> {
        match self.rules.iter().find(|(m, _)| m.matches(request, env)) {
            None | Some((_, Demand::Nothing)) => Ok(None),
            Some((_, Demand::This(need))) => Ok(Some(need)),
            Some((_, Demand::Named(name))) => self.named(name),
        }
    }
}

fn is_preflight(request: &Request) -> bool {
    let says = |name: &[u8]| request.get(name).is_some_and(|value| !value.is_empty());
    request.method() == b"OPTIONS" && says(b"origin") && says(b"access-control-request-method")
}

/// The condition of one rule.
#[derive(Debug)]
struct Match {
    path: PathMatcher,
    headers: Vec<HeaderMatcher>,
    query: Vec<QueryMatcher>,
    grpc: bool,
    fraction: Option<u32>,
}

impl Match {
    fn new(from: &RouteMatch, path: &str, findings: &mut Vec<Finding>) -> Self {
        let mut headers = Vec::new();
        for header in &from.headers {
            headers.push(HeaderMatcher::new(header, path, findings));
        }
        let mut query = Vec::new();
        for parameter in &from.query {
            query.push(QueryMatcher::new(parameter, path, findings));
        }
        Self {
            path: PathMatcher::new(&from.path, from.ignore_case, path, findings),
            headers,
            query,
            grpc: from.grpc,
            fraction: from.runtime_fraction.map(|f| f.per_million()),
        }
    }

    fn matches(&self, request: &Request, env: &impl Env) -> bool {
        let (path, query) = split_query(request.path());
        let is_grpc = || request.get(b"content-type").is_some_and(crate::decide::is_grpc);
        self.path.matches(path, request.method() == b"CONNECT").is_some()
            && self.headers.iter().all(|h| h.matches(request))
            && self.query.iter().all(|q| q.matches(query))
            && (!self.grpc || is_grpc())
            && self.fraction.is_none_or(|f| env.below(1_000_000) < u64::from(f))
    }
}

#[cfg(test)]
mod tests;
