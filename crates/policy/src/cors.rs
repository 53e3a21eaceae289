//! Cross-origin requests: who may ask, and what is said to them.

use crate::matching::Matcher;
use base::{Env, Finding};
use ir::{Cors, HttpFilter, HttpFilterConfig, HttpManager, Str};
use wire::{Head, Request, RequestHead, Response};

const REQUEST_METHOD: &[u8] = b"access-control-request-method";
const REQUEST_HEADERS: &[u8] = b"access-control-request-headers";

/// A compiled [`Cors`].
#[derive(Debug)]
pub struct CorsRule {
    origins: Vec<Matcher>,
    methods: Str,
    headers: Str,
    expose: Str,
    max_age: Str,
    credentials: bool,
    /// In parts of a million.
    enabled: u32,
    forward_others: bool,
}

/// The filter's name, if the chain has it; what it does is said by routes.
pub fn in_chain(manager: &HttpManager) -> Option<&Str> {
    let is_cors = |f: &&HttpFilter| matches!(f.config, HttpFilterConfig::Cors(_)) && !f.disabled;
    manager.filters.iter().find(is_cors).map(|f| &f.name)
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Verdict {
    /// Goes on; the answer gets no headers.
    Pass,
    /// Goes on; the answer gets headers for this origin.
    Answer(Vec<u8>),
    /// A preflight, answered here.
    Preflight(Response),
}

impl CorsRule {
    pub fn new(from: &Cors, path: &str, findings: &mut Vec<Finding>) -> Self {
        let origins = from.allow_origins.iter();
        Self {
            origins: origins.map(|o| Matcher::new(o, path, findings)).collect(),
            methods: from.allow_methods.clone(),
            headers: from.allow_headers.clone(),
            expose: from.expose_headers.clone(),
            max_age: from.max_age.clone(),
            credentials: from.allow_credentials.unwrap_or(false),
            enabled: from.enabled.map_or(1_000_000, |f| f.per_million()),
            forward_others: from.forward_not_matching_preflights.unwrap_or(true),
        }
    }

    pub fn judge(&self, request: &Request, env: &impl Env) -> Verdict {
        let Some(origin) = request.get(b"origin") else { return Verdict::Pass };
        if self.enabled < 1_000_000 && env.below(1_000_000) >= u64::from(self.enabled) {
            return Verdict::Pass;
        }
        let preflight = request.method() == b"OPTIONS"
            && request.get(REQUEST_METHOD).is_some_and(|m| !m.is_empty());
        // An origin of `*` stands for all of them.
        let allowed = self.origins.iter().any(|m| m.matches(b"*") || m.matches(origin));
        match (preflight, allowed) {
            (false, true) => Verdict::Answer(origin.to_vec()),
            (true, true) => Verdict::Preflight(self.preflight(request, Some(origin))),
            (true, false) if !self.forward_others => {
                Verdict::Preflight(self.preflight(request, None))
            }
            _ => Verdict::Pass,
        }
    }

    /// `origin`: where it is one that may ask.
    fn preflight(&self, request: &Request, origin: Option<&[u8]>) -> Response {
        let mut response = Response::new(200);
        let fields = &mut response.fields;
        if let Some(origin) = origin {
            fields.push(b"access-control-allow-origin", origin);
        }
        if self.credentials {
            fields.push(b"access-control-allow-credentials", b"true");
        }
        let asked = |name: &[u8]| request.get(name).unwrap_or_default();
        // Of `*`, what was asked for.
        for (name, allowed, asked) in [
            (&b"access-control-allow-methods"[..], &self.methods, asked(REQUEST_METHOD)),
            (b"access-control-allow-headers", &self.headers, asked(REQUEST_HEADERS)),
        ] {
            if !allowed.is_empty() {
                fields.push(name, if &**allowed == "*" { asked } else { allowed.as_bytes() });
            }
        }
        if !self.max_age.is_empty() {
            fields.push(b"access-control-max-age", self.max_age.as_bytes());
        }
        if origin.is_some() && !self.expose.is_empty() {
            fields.push(b"access-control-expose-headers", self.expose.as_bytes());
        }
        response
    }

    /// Adds what a browser needs to see to an answer.
    pub fn answer(&self, origin: &[u8], response: &mut Response) {
        response.fields.set(b"access-control-allow-origin", origin);
        if self.credentials {
            response.fields.set(b"access-control-allow-credentials", b"true");
        }
        if !self.expose.is_empty() {
            response.fields.set(b"access-control-expose-headers", self.expose.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::FixedEnv;
    use ir::StringMatch;

    #[test]
    fn preflights_are_answered_and_others_marked() {
        let cors = Cors {
            allow_origins: vec![StringMatch::exact("http://a")],
            allow_methods: "GET,POST".into(),
            forward_not_matching_preflights: Some(false),
            ..Default::default()
        };
        let rule = CorsRule::new(&cors, "", &mut Vec::new());
        let env = FixedEnv::seeded(1);
        let judge = |method: &[u8], origin: &[u8]| {
            let mut request = Request::new(method, b"h", b"/");
            request.fields.push(b"origin", origin);
            request.fields.push(b"access-control-request-method", b"GET");
            rule.judge(&request, &env)
        };
        let Verdict::Preflight(response) = judge(b"OPTIONS", b"http://a") else { panic!() };
        assert_eq!(response.get(b"access-control-allow-methods"), Some(&b"GET,POST"[..]));
        let Verdict::Preflight(response) = judge(b"OPTIONS", b"http://b") else { panic!() };
        assert_eq!(response.get(b"access-control-allow-methods"), Some(&b"GET,POST"[..]));
        assert_eq!(response.get(b"access-control-allow-origin"), None);
        let Verdict::Answer(origin) = judge(b"GET", b"http://a") else { panic!() };
        let mut response = Response::new(200);
        rule.answer(&origin, &mut response);
        assert_eq!(response.get(b"access-control-allow-origin"), Some(&b"http://a"[..]));
        assert!(matches!(judge(b"GET", b"http://b"), Verdict::Pass));
    }
}
