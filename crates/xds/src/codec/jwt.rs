//! Tokens that requests carry: whose are taken, from where, and of which requests they are required.

use super::at::At;
use super::common::{lower, read_data_source, strs};
use super::route::{read_match, write_match};
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{
    DataSource, HttpFilterConfig, JwtAuthn, JwtClaimHeader, JwtHeader, JwtNeed, JwtPerRoute,
    JwtProvider, JwtRequirement, JwtRule, Str,
};

pub(super) fn write(jwt: &JwtAuthn) -> Msg {
    let providers =
        jwt.providers.iter().map(|(name, p)| (name.clone(), Val::Msg(write_provider(p))));
    let named = jwt.named.iter().map(|(name, r)| (name.clone(), Val::Msg(write_requirement(r))));
    Msg::new(&JWT_AUTHN)
        .set("providers", Val::Map(providers.collect()))
        .set("rules", Val::list(&jwt.rules, write_rule))
        .set("requirement_map", Val::Map(named.collect()))
        .set("bypass_cors_preflight", jwt.bypass_cors_preflight)
        .set("strip_failure_response", jwt.strip_failure_response)
}

pub(super) fn read(at: &At) -> JwtAuthn {
    let jwt = JwtAuthn {
        providers: at.each_of_map("providers", read_provider).collect(),
        rules: at.each("rules", read_rule),
        named: at.each_of_map("requirement_map", read_requirement).collect(),
        bypass_cors_preflight: at.bool("bypass_cors_preflight"),
        strip_failure_response: at.bool("strip_failure_response"),
    };
    check_names(&jwt, at);
    jwt
}

/// What is required must be known: who requires a provider that there is not would get none.
fn check_names(jwt: &JwtAuthn, at: &At) {
    let mut all: Vec<&JwtRequirement> = jwt.named.values().collect();
    for rule in &jwt.rules {
        match &rule.requires {
            JwtNeed::Nothing => {}
            JwtNeed::These(requirement) => all.push(requirement),
            JwtNeed::Named(name) if jwt.named.contains_key(name) => {}
            JwtNeed::Named(name) => {
                at.error_in("rules", format!("requirement {name:?} is not in requirement_map"));
            }
        }
    }
    while let Some(requirement) = all.pop() {
        match requirement {
            JwtRequirement::Any(inner) | JwtRequirement::All(inner) => all.extend(inner),
            JwtRequirement::Provider(name) | JwtRequirement::ProviderAndAudiences(name, _)
                if !jwt.providers.contains_key(name) =>
            {
                at.error(format!("required provider {name:?} is not in providers"));
            }
            _ => {}
        }
    }
}

pub(super) fn write_per_route(own: &JwtPerRoute) -> Msg {
    Msg::new(&JWT_PER_ROUTE).set("requirement_name", &own.requirement)
}

pub(super) fn read_per_route(at: &At) -> HttpFilterConfig {
    if at.bool("disabled") {
        return HttpFilterConfig::Disabled;
    }
    let requirement = at.str("requirement_name");
    if requirement.is_empty() {
        at.error("says neither disabled nor a requirement_name");
    }
    HttpFilterConfig::JwtPerRoute(JwtPerRoute { requirement })
}

fn write_provider(p: &JwtProvider) -> Msg {
    let header =
        |h: &JwtHeader| Msg::new(&JWT_HEADER).set("name", &h.name).set("value_prefix", &h.prefix);
    let claim = |c: &JwtClaimHeader| {
        Msg::new(&JWT_CLAIM_TO_HEADER).set("header_name", &c.header).set("claim_name", &c.claim)
    };
    let normalize = (!p.space_delimited_claims.is_empty()).then(|| {
        Msg::new(&JWT_NORMALIZE).set("space_delimited_claims", strs(&p.space_delimited_claims))
    });
    let cache = p.cache_size.map(|size| Msg::new(&JWT_CACHE).set("jwt_cache_size", size));
    Msg::new(&JWT_PROVIDER)
        .set("issuer", &p.issuer)
        .set("audiences", strs(&p.audiences))
        .set("local_jwks", Msg::new(&DATA_SOURCE).set("inline_string", &p.keys))
        .set("forward", p.forward)
        .set("from_headers", Val::list(&p.from_headers, header))
        .set("from_params", strs(&p.from_params))
        .set("forward_payload_header", &p.forward_payload_header)
        .set("payload_in_metadata", &p.payload_in_metadata)
        .set("clock_skew_seconds", p.clock_skew_seconds)
        .set("pad_forward_payload_header", p.pad_forward_payload_header)
        .set_opt("jwt_cache_config", cache)
        .set("from_cookies", strs(&p.from_cookies))
        .set("header_in_metadata", &p.header_in_metadata)
        .set("claim_to_headers", Val::list(&p.claim_to_headers, claim))
        .set("failed_status_in_metadata", &p.failed_status_in_metadata)
        .set("clear_route_cache", p.clear_route_cache)
        .set_opt("normalize_payload_in_metadata", normalize)
}

fn read_provider(at: &At) -> JwtProvider {
    let header = |h: &At| JwtHeader { name: named(h, "name"), prefix: h.str("value_prefix") };
    let claim =
        |c: &At| JwtClaimHeader { header: named(c, "header_name"), claim: c.str("claim_name") };
    let normalize = at.msg("normalize_payload_in_metadata");
    JwtProvider {
        issuer: at.str("issuer"),
        audiences: at.strs("audiences"),
        keys: read_keys(at),
        forward: at.bool("forward"),
        from_headers: at.each("from_headers", header),
        from_params: at.strs("from_params"),
        from_cookies: at.strs("from_cookies"),
        forward_payload_header: at.str("forward_payload_header"),
        pad_forward_payload_header: at.bool("pad_forward_payload_header"),
        payload_in_metadata: at.str("payload_in_metadata"),
        space_delimited_claims: normalize
            .map(|n| n.strs("space_delimited_claims"))
            .unwrap_or_default(),
        header_in_metadata: at.str("header_in_metadata"),
        failed_status_in_metadata: at.str("failed_status_in_metadata"),
        clock_skew_seconds: at.u32("clock_skew_seconds"),
        cache_size: at.msg("jwt_cache_config").map(|c| c.u32("jwt_cache_size")),
        claim_to_headers: at.each("claim_to_headers", claim),
        clear_route_cache: at.bool("clear_route_cache"),
    }
}

fn named(at: &At, field: &str) -> Str {
    let name = lower(at.str(field));
    if name.is_empty() {
        at.error_in(field, "must not be empty");
    }
    name
}

fn read_keys(at: &At) -> Str {
    let Some(source) = at.msg("local_jwks") else {
        at.error_in("local_jwks", "is missing: nobody else knows the keys");
        return Str::default();
    };
    match read_data_source(&source) {
        DataSource::Bytes(bytes) => String::from_utf8_lossy(&bytes).into(),
        DataSource::File(_) => {
            source.error_in("filename", "is not read; keys stand in inline_string");
            Str::default()
        }
    }
}

fn write_rule(rule: &JwtRule) -> Msg {
    let msg = Msg::new(&JWT_RULE).set("match", write_match(&rule.matches));
    match &rule.requires {
        JwtNeed::Nothing => msg,
        JwtNeed::These(requirement) => msg.set("requires", write_requirement(requirement)),
        JwtNeed::Named(name) => msg.set("requirement_name", name),
    }
}

fn read_rule(at: &At) -> JwtRule {
    let matches = at.msg("match").map(|m| read_match(&m));
    if matches.is_none() {
        at.error_in("match", "is missing");
    }
    let anything = || ir::RouteMatch::path(ir::PathMatch::Prefix("/".into()));
    let requires = match at.msg("requires") {
        Some(requirement) => JwtNeed::These(read_requirement(&requirement)),
        None => at.opt_str("requirement_name").map_or(JwtNeed::Nothing, JwtNeed::Named),
    };
    JwtRule { matches: matches.unwrap_or_else(anything), requires }
}

fn write_requirement(requirement: &JwtRequirement) -> Msg {
    let msg = Msg::new(&JWT_REQUIREMENT);
    let list = |ty, inner: &Vec<JwtRequirement>| {
        Msg::new(ty).set("requirements", Val::list(inner, write_requirement))
    };
    match requirement {
        JwtRequirement::Nothing => msg,
        JwtRequirement::Provider(name) => msg.set("provider_name", name),
        JwtRequirement::ProviderAndAudiences(name, audiences) => {
            let both = Msg::new(&JWT_AUDIENCES).set("provider_name", name);
            msg.set("provider_and_audiences", both.set("audiences", strs(audiences)))
        }
        JwtRequirement::Any(inner) => msg.set("requires_any", list(&JWT_ANY, inner)),
        JwtRequirement::All(inner) => msg.set("requires_all", list(&JWT_ALL, inner)),
        JwtRequirement::AllowMissingOrFailed => {
            msg.set("allow_missing_or_failed", Msg::new(&JWT_EMPTY))
        }
        JwtRequirement::AllowMissing => msg.set("allow_missing", Msg::new(&JWT_EMPTY)),
    }
}

/// Nesting is bounded where messages are read.
fn read_requirement(at: &At) -> JwtRequirement {
    let list = |inner: &At| inner.each("requirements", read_requirement);
    if let Some(name) = at.opt_str("provider_name") {
        JwtRequirement::Provider(name)
    } else if let Some(both) = at.msg("provider_and_audiences") {
        JwtRequirement::ProviderAndAudiences(both.str("provider_name"), both.strs("audiences"))
    } else if let Some(inner) = at.msg("requires_any") {
        JwtRequirement::Any(list(&inner))
    } else if let Some(inner) = at.msg("requires_all") {
        JwtRequirement::All(list(&inner))
    } else if at.has("allow_missing_or_failed") {
        JwtRequirement::AllowMissingOrFailed
    } else if at.has("allow_missing") {
        JwtRequirement::AllowMissing
    } else {
        JwtRequirement::Nothing
    }
}
