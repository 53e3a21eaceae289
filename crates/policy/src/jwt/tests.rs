//! Where tokens are found, what is required, and what is left of them. Signatures are made for the test.

use super::*;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base::{FixedEnv, WallTime};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use ir::{JwtClaimHeader, JwtHeader, JwtProvider, JwtRequirement, JwtRule, PathMatch};

struct Issuer(Ed25519KeyPair);

impl Issuer {
    fn new(seed: u8) -> Issuer {
        Issuer(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn keys(&self) -> Str {
        let x = B64.encode(self.0.public_key());
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#).into()
    }

    fn token(&self, claims: &str) -> String {
        let signed = format!("{}.{}", B64.encode(r#"{"alg":"EdDSA"}"#), B64.encode(claims));
        format!("{signed}.{}", B64.encode(self.0.sign(signed.as_bytes())))
    }
}

fn provider(issuer: &str, by: &Issuer) -> JwtProvider {
    JwtProvider {
        issuer: issuer.into(),
        keys: by.keys(),
        payload_in_metadata: "payload".into(),
        ..JwtProvider::default()
    }
}

fn rule(providers: Vec<JwtProvider>, requirement: JwtRequirement) -> TokenRule {
    let named = providers.into_iter().enumerate();
    let all = JwtRule {
        matches: RouteMatch::path(PathMatch::Prefix("/".into())),
        requires: JwtNeed::These(requirement),
    };
    let config = JwtAuthn {
        providers: named.map(|(i, p)| (Str::from(format!("p{i}")), p)).collect(),
        rules: vec![all],
        bypass_cors_preflight: true,
        ..JwtAuthn::default()
    };
    TokenRule::new(&config, "", &mut Vec::new())
}

fn provided(place: usize) -> JwtRequirement {
    JwtRequirement::Provider(format!("p{place}").into())
}

fn or_missing(place: usize) -> JwtRequirement {
    JwtRequirement::Any(vec![provided(place), JwtRequirement::AllowMissing])
}

fn judge(rule: &TokenRule, request: &mut Request) -> Judged {
    let env = FixedEnv::seeded(1);
    env.wall.set(WallTime(1_000_000_000_000));
    rule.judge(None, request, &mut TokenCache::default(), &env)
}

fn request(path: &str, fields: &[(&str, &str)]) -> Request {
    let mut request = Request::new(b"GET", b"h", path.as_bytes());
    for (name, value) in fields {
        request.fields.push(name.as_bytes(), value.as_bytes());
    }
    request
}

fn refused(judged: &Judged) -> Option<Refusal> {
    match &judged.refused {
        Some(Denial::Token(refusal)) => Some(*refusal),
        Some(other) => panic!("{other:?}"),
        None => None,
    }
}

#[test]
fn a_token_is_taken_from_its_place_and_known_afterwards() {
    let issuer = Issuer::new(1);
    let token = issuer.token(r#"{"iss":"a","sub":"s","scope":"x  y","n":{"m":7}}"#);
    let claim =
        |header: &str, claim: &str| JwtClaimHeader { header: header.into(), claim: claim.into() };
    let rule = rule(
        vec![JwtProvider {
            forward_payload_header: "x-payload".into(),
            space_delimited_claims: vec!["scope".into()],
            claim_to_headers: vec![claim("x-m", "n.m"), claim("x-none", "z")],
            clear_route_cache: true,
            ..provider("a", &issuer)
        }],
        or_missing(0),
    );
    let bearer = format!("Bearer {token}");
    let fields = [("authorization", &*bearer), ("x-m", "forged"), ("x-none", "forged")];
    let mut asked = request("/a?b=1", &fields);
    let judged = judge(&rule, &mut asked);
    assert_eq!(judged.refused, None);
    assert!(judged.reroute);
    let payload = &judged.said["payload"];
    assert_eq!(payload.get("sub").and_then(Value::as_str), Some("s"));
    let words = ["x", "y"].map(|w| Value::String(w.into())).to_vec();
    assert_eq!(payload.get("scope"), Some(&Value::List(words)));
    assert_eq!(asked.get(b"authorization"), None);
    assert_eq!(asked.get(b"x-m"), Some(b"7".as_slice()));
    assert_eq!(asked.get(b"x-none"), None, "strangers cannot say it");
    assert_eq!(asked.get(b"x-payload"), token.split('.').nth(1).map(str::as_bytes));
    let mut asked = request(&format!("/a?b=1&access_token={token}&c"), &[]);
    assert_eq!(judge(&rule, &mut asked).refused, None);
    assert_eq!(asked.path(), b"/a?b=1&c");
    let mut nobody = request("/", &[("x-m", "forged")]);
    assert_eq!(judge(&rule, &mut nobody), Judged::default());
    assert_eq!(nobody.get(b"x-m"), None);
}

#[test]
fn places_are_those_that_the_issuer_names() {
    let issuer = Issuer::new(1);
    let token = issuer.token(r#"{"iss":"a"}"#);
    let header = JwtHeader { name: "x-jwt".into(), prefix: "t ".into() };
    let rule = rule(
        vec![JwtProvider {
            from_headers: vec![header],
            from_params: vec!["q".into()],
            from_cookies: vec!["c".into()],
            forward: true,
            ..provider("a", &issuer)
        }],
        or_missing(0),
    );
    let (good, bad) = (format!("t {token}"), format!("t x{token}"));
    let cookie = format!("b=2; c={token}");
    let in_query = format!("/?%71={token}");
    let bearer = format!("Bearer {token}");
    let bad_cookie = [("x-jwt", &*good), ("cookie", "c=")];
    let malformed = Some(Refusal::HeaderJson);
    for (path, fields, taken, expected) in [
        ("/", vec![("x-jwt", &*good)], true, None),
        ("/", vec![("cookie", &*cookie)], true, None),
        (&*in_query, vec![], true, None),
        ("/", vec![("authorization", &*bearer)], false, None),
        ("/", vec![("x-jwt", &*token)], false, None),
        ("/", vec![("x-jwt", &*good), ("x-jwt", &*bad)], false, malformed),
        ("/", vec![("x-jwt", &*bad), ("x-jwt", &*good)], true, malformed),
        ("/", bad_cookie.to_vec(), false, Some(Refusal::BadFormat)),
    ] {
        let mut asked = request(path, &fields);
        let judged = judge(&rule, &mut asked);
        assert_eq!(refused(&judged).is_some(), expected.is_some(), "{path} {fields:?}");
        assert_eq!(!judged.said.is_empty(), taken, "{path} {fields:?}");
        assert_eq!(asked.fields.len(), fields.len(), "forwarded as it was");
    }
}

#[test]
fn requirements_are_met_or_say_what_is_wrong() {
    let (a, b) = (Issuer::new(1), Issuer::new(2));
    let providers = || {
        let audiences = vec!["me".into()];
        vec![provider("a", &a), JwtProvider { audiences, ..provider("b", &b) }]
    };
    let any = || JwtRequirement::Any(vec![provided(0), provided(1)]);
    // As Istio asks for tokens of two issuers.
    let mesh = || {
        let both = JwtRequirement::All(vec![or_missing(0), or_missing(1)]);
        JwtRequirement::Any(vec![provided(0), provided(1), both])
    };
    let of_a = a.token(r#"{"iss":"a"}"#);
    let of_b = b.token(r#"{"iss":"b","aud":["me","you"]}"#);
    let table = [
        (provided(0), None, Some(Refusal::Missing)),
        (provided(0), Some(of_a.clone()), None),
        (provided(0), Some(of_b.clone()), Some(Refusal::UnknownIssuer)),
        (provided(0), Some(b.token(r#"{"iss":"a"}"#)), Some(Refusal::Verification)),
        (provided(0), Some(a.token(r#"{"iss":"a","exp":939}"#)), Some(Refusal::Expired)),
        (provided(0), Some(a.token(r#"{"iss":"a","nbf":1061}"#)), Some(Refusal::NotYetValid)),
        (provided(1), Some(b.token(r#"{"iss":"b"}"#)), Some(Refusal::AudienceNotAllowed)),
        (provided(1), Some(of_b.clone()), None),
        (
            JwtRequirement::ProviderAndAudiences("p1".into(), vec!["you".into()]),
            Some(of_b.clone()),
            None,
        ),
        (
            JwtRequirement::ProviderAndAudiences("p0".into(), vec!["you".into()]),
            Some(of_a.clone()),
            Some(Refusal::AudienceNotAllowed),
        ),
        (any(), Some(of_b.clone()), None),
        (any(), None, Some(Refusal::Missing)),
        (any(), Some(a.token(r#"{"iss":"c"}"#)), Some(Refusal::UnknownIssuer)),
        (any(), Some(a.token(r#"{"iss":"b","aud":"me"}"#)), Some(Refusal::Verification)),
        (or_missing(0), Some("x".into()), Some(Refusal::BadFormat)),
        (mesh(), None, None),
        (mesh(), Some(of_a.clone()), None),
        (mesh(), Some(of_b.clone()), None),
        (mesh(), Some(a.token(r#"{"iss":"c"}"#)), Some(Refusal::UnknownIssuer)),
        (mesh(), Some(b.token(r#"{"iss":"a"}"#)), Some(Refusal::Verification)),
        // The first takes the token out of the request.
        (
            JwtRequirement::All(vec![provided(0), provided(1)]),
            Some(of_a.clone()),
            Some(Refusal::Missing),
        ),
        (JwtRequirement::AllowMissing, None, None),
        (JwtRequirement::AllowMissing, Some(of_b.clone()), None),
        (JwtRequirement::AllowMissing, Some("x".into()), Some(Refusal::BadFormat)),
        (JwtRequirement::AllowMissingOrFailed, Some("x".into()), None),
        (
            JwtRequirement::Any(vec![JwtRequirement::AllowMissing]),
            Some("x".into()),
            Some(Refusal::BadFormat),
        ),
        (JwtRequirement::Any(Vec::new()), Some(of_a.clone()), Some(Refusal::Missing)),
        (JwtRequirement::All(Vec::new()), Some(of_a), Some(Refusal::Missing)),
        (JwtRequirement::Nothing, Some("x".into()), None),
        (JwtRequirement::Provider("none".into()), Some(of_b), Some(Refusal::UnknownIssuer)),
    ];
    for (requirement, token, expected) in table {
        let rule = rule(providers(), requirement.clone());
        let bearer = token.as_ref().map(|t| format!("Bearer {t}"));
        let fields: Vec<_> = bearer.iter().map(|b| ("authorization", &**b)).collect();
        let judged = judge(&rule, &mut request("/", &fields));
        assert_eq!(refused(&judged), expected, "{requirement:?} {token:?}");
    }
}

/// What a rule of access reads from a header must not be said by who has another issuer's token.
#[test]
fn headers_of_one_issuer_are_not_filled_by_the_bearer_of_another_ones_token() {
    let (one, two) = (Issuer::new(1), Issuer::new(2));
    let copied = |issuer: &str, by: &Issuer, header: &str| JwtProvider {
        claim_to_headers: vec![JwtClaimHeader { header: header.into(), claim: "sub".into() }],
        ..provider(issuer, by)
    };
    let providers = vec![copied("a", &one, "x-one"), copied("b", &two, "x-two")];
    let rule = rule(providers, JwtRequirement::Any(vec![provided(0), provided(1)]));
    let bearer = format!("Bearer {}", two.token(r#"{"iss":"b","sub":"s"}"#));
    let fields = [("authorization", &*bearer), ("x-one", "forged"), ("x-two", "forged")];
    let mut asked = request("/", &fields);
    assert_eq!(judge(&rule, &mut asked).refused, None);
    assert_eq!(asked.get(b"x-one"), None);
    assert_eq!(asked.get(b"x-two"), Some(b"s".as_slice()));
}

#[test]
fn without_keys_all_tokens_are_refused_and_none_is_no_token() {
    let issuer = Issuer::new(1);
    let keyless = JwtProvider { keys: r#"{"keys":[]}"#.into(), ..provider("a", &issuer) };
    let rule = rule(vec![keyless], or_missing(0));
    let bearer = format!("Bearer {}", issuer.token(r#"{"iss":"a"}"#));
    let judged = judge(&rule, &mut request("/", &[("authorization", &bearer)]));
    assert_eq!(refused(&judged), Some(Refusal::NoKeys));
    assert_eq!(judge(&rule, &mut request("/", &[])).refused, None);
}

#[test]
fn preflights_need_no_token_and_routes_may_name_a_requirement() {
    let issuer = Issuer::new(1);
    let mut rule = rule(vec![provider("a", &issuer)], provided(0));
    rule.named.insert("open".into(), Need::Nothing);
    let mut preflight = request("/", &[("origin", "o"), ("access-control-request-method", "PUT")]);
    preflight.set_method(b"OPTIONS");
    assert_eq!(judge(&rule, &mut preflight).refused, None);
    let ask = |own: &str| {
        let env = FixedEnv::seeded(1);
        let own = Str::from(own);
        rule.judge(Some(&own), &mut request("/", &[]), &mut TokenCache::default(), &env).refused
    };
    assert_eq!(ask("open"), None);
    let denial = ask("shut").unwrap();
    assert_eq!(denial.status(), 403);
}

#[test]
fn verified_tokens_are_kept_in_bounds_and_still_expire() {
    let issuer = Issuer::new(1);
    let once = rule(vec![provider("a", &issuer)], provided(0));
    let env = FixedEnv::seeded(1);
    let mut cache = TokenCache::default();
    let ask = |rule: &TokenRule, token: &str, cache: &mut TokenCache, now: u64| {
        env.wall.set(WallTime(now * 1_000_000_000));
        let bearer = format!("Bearer {token}");
        let mut request = request("/", &[("authorization", &bearer)]);
        refused(&rule.judge(None, &mut request, cache, &env))
    };
    let token = issuer.token(r#"{"iss":"a","exp":1000}"#);
    assert_eq!(ask(&once, &token, &mut cache, 900), None);
    assert_eq!(cache.len(), 1);
    assert_eq!(ask(&once, &token, &mut cache, 1000), None);
    assert_eq!(ask(&once, &token, &mut cache, 1061), Some(Refusal::Expired));
    let others = rule(vec![provider("a", &Issuer::new(2))], provided(0));
    assert_eq!(ask(&others, &token, &mut cache, 900), Some(Refusal::Verification));
    for i in 0..5_000 {
        let token = issuer.token(&format!(r#"{{"iss":"a","n":{i}}}"#));
        assert_eq!(ask(&once, &token, &mut cache, 900), None);
    }
    assert!((1024..=2048).contains(&cache.len()), "{}", cache.len());
}
