//! RequestAuthentications of one workload -> the filter that looks at the tokens of its requests. All
//! that are about it count together: a request needs no token, but one that it has must be good. Tokens
//! of issuers whose keys nobody could fetch are refused.

use crate::authorization::EXTERNAL;
use crate::build::Build;
use crate::{Proxy, ProxyKind};
use api::{JwtRule, RequestAuthentication};
use base::{Finding, OriginId};
use ir::{
    FilterChain, HttpFilter, HttpFilterConfig, JwtAuthn, JwtClaimHeader, JwtHeader, JwtNeed,
    JwtProvider, JwtRequirement, PathMatch, RouteMatch, Str, Terminal,
};
use registry::{Item, KeySets, KeySource};

/// The filter, if the workload has any issuers.
pub(crate) struct Tokens(Option<HttpFilter>);

pub(crate) const JWT_AUTHN: &str = "envoy.filters.http.jwt_authn";

/// Under this name policies find what a token claims.
pub(crate) const PAYLOAD: &str = "payload";

/// Claims that are lists of words, whoever issues the token.
const WORDS: [&str; 2] = ["scope", "permission"];

/// A set must hold a key, and of this one nobody has the private part: its `x` is the SHA-256 of the text
/// "Lateen: nobody has this key 1".
const NO_KEYS: &str = concat!(
    r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","kid":"nobody","#,
    r#""x":"bRBi1ol1FajjN9ms9e_tqqqFNnI8x3GAkxzBjpe-MkY","#,
    r#""y":"Mf4yS275-hbuStaiKor3aO18ic97Hof1GX2Q4Q6BkgY"}]}"#,
);

impl Tokens {
    pub fn of(b: &mut Build<'_>) -> Tokens {
        let world = b.world;
        let all = world.request_authentications.of_workload(&b.proxy.namespace, &b.proxy.labels);
        let items = all.iter().map(|item| &**item);
        let config = authenticate(items, &world.key_sets, b.proxy, &mut b.findings);
        Tokens(config.map(|config| HttpFilter {
            name: JWT_AUTHN.into(),
            config: HttpFilterConfig::JwtAuthn(Box::new(config)),
            disabled: false,
            origin: OriginId::NONE,
        }))
    }

    pub fn stand_in(&self, chains: &mut [FilterChain]) {
        let Some(filter) = &self.0 else { return };
        for chain in chains {
            if let Terminal::Http(manager) = &mut chain.terminal {
                let at = manager.filters.iter().position(|f| !is_before(&f.config));
                manager.filters.insert(at.unwrap_or(manager.filters.len()), filter.clone());
            }
        }
    }
}

/// Who the peer is, and what others decide about; all other access rules may ask for claims.
fn is_before(config: &HttpFilterConfig) -> bool {
    match config {
        HttpFilterConfig::PeerMetadata(_) | HttpFilterConfig::ExtAuthz(_) => true,
        HttpFilterConfig::Rbac(rbac) => *rbac.shadow_prefix == *EXTERNAL,
        _ => false,
    }
}

fn authenticate<'p>(
    policies: impl Iterator<Item = &'p Item<RequestAuthentication>>,
    keys: &KeySets,
    proxy: &Proxy,
    findings: &mut Vec<Finding>,
) -> Option<JwtAuthn> {
    let mut rules: Vec<(&JwtRule, Str)> = Vec::new();
    for policy in policies {
        for (index, rule) in policy.spec.jwt_rules.iter().enumerate() {
            let found = keys_of(rule, keys).unwrap_or_else(|say| {
                let path = format!("spec.jwtRules[{index}].jwks");
                findings.push(Finding::warning(path, say).about(policy.object.clone()));
                NO_KEYS.into()
            });
            rules.push((rule, found));
        }
    }
    rules.sort_by(|(a, _), (b, _)| a.issuer.cmp(&b.issuer));
    if rules.is_empty() {
        return None;
    }
    let clear_route_cache = proxy.kind == ProxyKind::Router;
    let providers = rules.into_iter().enumerate().map(|(index, (rule, keys))| {
        (name(index), JwtProvider { clear_route_cache, ..provider(rule, keys) })
    });
    let providers: std::collections::BTreeMap<_, _> = providers.collect();
    let all = ir::JwtRule {
        matches: RouteMatch::path(PathMatch::Prefix("/".into())),
        requires: JwtNeed::These(required(providers.len())),
    };
    Some(JwtAuthn {
        providers,
        rules: vec![all],
        bypass_cors_preflight: true,
        ..JwtAuthn::default()
    })
}

fn name(index: usize) -> Str {
    format!("origins-{index}").into()
}

/// No token, or good ones. Where issuers share a place, a token of one is none of the others', so that one
/// of them suffices.
fn required(providers: usize) -> JwtRequirement {
    let of = |index| JwtRequirement::Provider(name(index));
    let optional = |index| JwtRequirement::Any(vec![of(index), JwtRequirement::AllowMissing]);
    if providers == 1 {
        return optional(0);
    }
    let all = JwtRequirement::All((0..providers).map(optional).collect());
    JwtRequirement::Any((0..providers).map(of).chain([all]).collect())
}

/// An error says why there are none of use.
fn keys_of(rule: &JwtRule, keys: &KeySets) -> Result<Str, String> {
    let refused = format!("every token of issuer {:?} is refused", rule.issuer);
    let Some(source) = KeySource::of(rule) else {
        return match jwt::Keys::parse(&rule.jwks) {
            Ok(_) => Ok(jwt::Keys::public(&rule.jwks).into()),
            Err(bad) => Err(format!("{bad}: {refused}")),
        };
    };
    match (keys.get(&source), source) {
        (Some(found), _) => Ok(jwt::Keys::public(found).into()),
        (None, KeySource::Uri(uri)) => {
            Err(format!("the keys at {uri} are not fetched: until they are, {refused}"))
        }
        (None, KeySource::Issuer(_)) => {
            Err(format!("the issuer's keys are not fetched: until they are, {refused}"))
        }
    }
}

fn provider(rule: &JwtRule, keys: Str) -> JwtProvider {
    let strs = |list: &[String]| list.iter().map(|s| s.as_str().into()).collect();
    let lower = |name: &str| -> Str { name.to_ascii_lowercase().into() };
    let own = rule.space_delimited_claims.iter().map(String::as_str);
    let mut words: Vec<Str> = WORDS.into_iter().chain(own).map(Str::from).collect();
    let mut seen = std::collections::BTreeSet::new();
    words.retain(|word| seen.insert(word.clone()));
    let from = rule.from_headers.iter();
    let claims = rule.output_claim_to_headers.iter();
    JwtProvider {
        issuer: rule.issuer.as_str().into(),
        audiences: strs(&rule.audiences),
        keys,
        forward: rule.forward_original_token,
        from_headers: from
            .map(|h| JwtHeader { name: lower(&h.name), prefix: h.prefix.as_str().into() })
            .collect(),
        from_params: strs(&rule.from_params),
        from_cookies: strs(&rule.from_cookies),
        forward_payload_header: rule.output_payload_to_header.as_str().into(),
        payload_in_metadata: PAYLOAD.into(),
        space_delimited_claims: words,
        claim_to_headers: claims
            .map(|c| JwtClaimHeader { header: lower(&c.header), claim: c.claim.as_str().into() })
            .collect(),
        ..JwtProvider::default()
    }
}
