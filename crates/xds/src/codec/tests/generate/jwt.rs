//! Requirements of tokens.

use super::Gen;
use ir::{
    JwtAuthn, JwtClaimHeader, JwtHeader, JwtNeed, JwtProvider, JwtRequirement, JwtRule, PathMatch,
    RouteMatch, Str,
};

impl Gen {
    pub(super) fn jwt_authn(&self) -> JwtAuthn {
        let providers: Vec<Str> = (0..1 + self.below(3)).map(|i| format!("p{i}").into()).collect();
        let one = |_| providers[self.below(providers.len() as u64) as usize].clone();
        let named: Vec<Str> = (0..1 + self.below(2)).map(|i| format!("r{i}").into()).collect();
        let rule = |requires| JwtRule {
            matches: RouteMatch::path(PathMatch::Prefix(self.word())),
            requires,
        };
        let mut rules = self.some_of(|| match self.yes() {
            true => rule(JwtNeed::Nothing),
            false => rule(JwtNeed::These(self.requirement(&one, 2))),
        });
        rules.push(rule(JwtNeed::Named(named[0].clone())));
        JwtAuthn {
            rules,
            named: named.into_iter().map(|name| (name, self.requirement(&one, 2))).collect(),
            bypass_cors_preflight: self.yes(),
            strip_failure_response: self.yes(),
            providers: providers.iter().map(|name| (name.clone(), self.jwt_provider())).collect(),
        }
    }

    fn requirement(&self, provider: &impl Fn(()) -> Str, depth: u32) -> JwtRequirement {
        let list = || (0..2).map(|_| self.requirement(provider, depth - 1)).collect();
        match self.below(if depth == 0 { 5 } else { 15 }) {
            0 => JwtRequirement::Nothing,
            1 => JwtRequirement::Provider(provider(())),
            2 => JwtRequirement::ProviderAndAudiences(provider(()), self.some_of(|| self.word())),
            3 => JwtRequirement::AllowMissing,
            4 => JwtRequirement::AllowMissingOrFailed,
            5..=9 => JwtRequirement::Any(list()),
            _ => JwtRequirement::All(list()),
        }
    }

    fn jwt_provider(&self) -> JwtProvider {
        let header = || JwtHeader { name: self.word(), prefix: self.text() };
        let claim = || JwtClaimHeader { header: self.word(), claim: self.word() };
        JwtProvider {
            issuer: self.text(),
            audiences: self.some_of(|| self.word()),
            keys: self.text(),
            forward: self.yes(),
            from_headers: self.some_of(header),
            from_params: self.some_of(|| self.word()),
            from_cookies: self.some_of(|| self.word()),
            forward_payload_header: self.text(),
            pad_forward_payload_header: self.yes(),
            payload_in_metadata: self.text(),
            space_delimited_claims: self.some_of(|| self.word()),
            header_in_metadata: self.text(),
            failed_status_in_metadata: self.text(),
            clock_skew_seconds: self.below(100) as u32,
            cache_size: self.opt(|| self.below(100) as u32),
            claim_to_headers: self.some_of(claim),
            clear_route_cache: self.yes(),
        }
    }
}
