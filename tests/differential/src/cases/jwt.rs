//! Tokens: good ones, ones that are not in time, for others, or of nobody; keys that are named wrongly or
//! stand for something else; several tokens and issuers; and what is left of them upstream and for rules.

use super::{Case, all_to, any_host};
use crate::bootstrap::RBAC;
use crate::client::Request;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA384, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};
use std::sync::LazyLock;

const JWT: &str =
    "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
const PER_ROUTE: &str =
    "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig";

/// The keys are made once in a process, and not from a seed: which they are decides nothing.
pub(super) fn cases() -> Vec<Case> {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
        let keys = Issuer::new();
        let other = Issuer::new();
        vec![
            times_and_audiences(&keys),
            algorithms(&keys, &other),
            malformed(&keys),
            places(&keys),
            several(&keys, &other),
            forged(&keys, &other),
            kept(&keys),
            ruled(&keys),
            lenient(&keys),
            keyless(&keys),
            of_routes(&keys),
        ]
    });
    CASES.clone()
}

/// Good signatures under headers or keys by which RFC 7515 (4.1.11) and RFC 7517 (4.2) forbid to believe them.
pub fn misread() -> Case {
    let by = Issuer::new();
    let mut keys = by.keys();
    let mut for_secrets = by.rsa_key("u");
    for_secrets["use"] = "enc".into();
    keys.push(for_secrets);
    let headers = [
        json!({ "alg": "EdDSA", "kid": "d" }),
        json!({ "alg": "EdDSA", "kid": "d", "crit": ["b64"] }),
        json!({ "alg": "RS256", "kid": "u" }),
    ];
    let requests = headers.iter().map(|h| bearing(&by.sign(h, r#"{"iss":"i"}"#))).collect();
    case("misread", filter(json!({ "p": provider("i", keys, json!({})) }), needs("p")), requests)
}

/// A token between other parameters.
pub fn in_the_query() -> Case {
    let by = Issuer::new();
    let token = by.token(json!({ "iss": "i" }));
    let requests = vec![Request::get(format!("/a?z=%31&access_token={token}&b=2"))];
    let provider = provider("i", by.keys(), json!({}));
    case("query", filter(json!({ "p": provider }), needs("p")), requests)
}

/// With a key of each type.
struct Issuer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Issuer {
    fn new() -> Issuer {
        let random = SystemRandom::new();
        let ec = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let made = "keys are made";
        let ec_key = EcdsaKeyPair::generate_pkcs8(ec, &random).expect(made);
        let ed_key = Ed25519KeyPair::generate_pkcs8(&random).expect(made);
        Issuer {
            rsa: RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect(made),
            ec: EcdsaKeyPair::from_pkcs8(ec, ec_key.as_ref()).expect(made),
            ed: Ed25519KeyPair::from_pkcs8(ed_key.as_ref()).expect(made),
        }
    }

    fn rsa_key(&self, id: &str) -> Value {
        let public = self.rsa.public_key();
        let n = B64.encode(public.modulus().big_endian_without_leading_zero());
        let e = B64.encode(public.exponent().big_endian_without_leading_zero());
        json!({ "kty": "RSA", "kid": id, "n": n, "e": e })
    }

    fn ec_key(&self, id: &str) -> Value {
        let point = self.ec.public_key().as_ref();
        let (x, y) = (B64.encode(&point[1..33]), B64.encode(&point[33..]));
        json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": x, "y": y })
    }

    fn ed_key(&self, id: &str) -> Value {
        let x = B64.encode(self.ed.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x })
    }

    fn keys(&self) -> Vec<Value> {
        vec![self.rsa_key("r"), self.ec_key("e"), self.ed_key("d")]
    }

    fn sign(&self, header: &Value, claims: &str) -> String {
        let signed = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims));
        let (random, bytes) = (SystemRandom::new(), signed.as_bytes());
        let rsa = |padding: &'static dyn aws_lc_rs::signature::RsaEncoding| {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(padding, &random, bytes, &mut signature).expect("it is signed");
            signature
        };
        let signature = match header["alg"].as_str() {
            Some("EdDSA") => self.ed.sign(bytes).as_ref().to_vec(),
            Some("ES256") => self.ec.sign(&random, bytes).expect("it is signed").as_ref().to_vec(),
            Some("PS384") => rsa(&RSA_PSS_SHA384),
            _ => rsa(&RSA_PKCS1_SHA256),
        };
        format!("{signed}.{}", B64.encode(signature))
    }

    fn token(&self, claims: Value) -> String {
        self.sign(&json!({ "alg": "EdDSA", "kid": "d" }), &claims.to_string())
    }
}

fn provider(issuer: &str, keys: Vec<Value>, extra: Value) -> Value {
    let keys = json!({ "keys": keys }).to_string();
    let mut provider = json!({ "issuer": issuer, "local_jwks": { "inline_string": keys } });
    crate::bootstrap::merge(&mut provider, extra);
    provider
}

fn filter(providers: Value, requirement: Value) -> Value {
    let rules = json!([{ "match": { "prefix": "/" }, "requires": requirement }]);
    json!({ "name": "jwt", "typed_config": {
        "@type": JWT, "providers": providers, "rules": rules, "bypass_cors_preflight": true,
    } })
}

fn needs(place: &str) -> Value {
    json!({ "provider_name": place })
}

fn or_missing(place: &str) -> Value {
    json!({ "requires_any": { "requirements": [needs(place), { "allow_missing": {} }] } })
}

fn case(name: &str, filter: Value, requests: Vec<Request>) -> Case {
    Case::new(&format!("jwt_{name}"), any_host(vec![all_to("a", json!({}))]), requests)
        .filter(filter)
}

fn bearing(token: &str) -> Request {
    Request::get("/a").with("authorization", &format!("Bearer {token}"))
}

const FAR: u64 = 32_503_680_000;

fn times_and_audiences(by: &Issuer) -> Case {
    let provider = provider("i", by.keys(), json!({ "audiences": ["https://me/", "us"] }));
    let claims = [
        json!({ "iss": "i", "aud": "me" }),
        json!({ "iss": "i", "aud": ["x", "http://us"], "exp": FAR, "nbf": 1, "iat": FAR }),
        json!({ "iss": "i", "aud": "me", "exp": 1_000_000_000 }),
        json!({ "iss": "i", "aud": "me", "nbf": FAR }),
        json!({ "iss": "i", "aud": "me", "nbf": FAR, "exp": 5 }),
        json!({ "iss": "i", "aud": "you" }),
        json!({ "iss": "i" }),
        json!({ "iss": "j", "aud": "me" }),
        json!({ "aud": "me" }),
        json!({ "iss": "i", "aud": "me", "exp": FAR as f64 + 0.5 }),
    ];
    let mut requests: Vec<Request> = claims.into_iter().map(|c| bearing(&by.token(c))).collect();
    requests.push(Request::get("/a"));
    requests.push(Request::get(format!("/{}?b=1", "p".repeat(300))));
    let mut preflight = Request::get("/a").method("OPTIONS").with("origin", "http://b");
    preflight = preflight.with("access-control-request-method", "PUT");
    requests.push(preflight);
    case("times", filter(json!({ "p": provider }), needs("p")), requests)
}

/// Keys with names, one of them for one algorithm alone.
fn algorithms(by: &Issuer, other: &Issuer) -> Case {
    let mut only = other.rsa_key("only");
    only["alg"] = "RS256".into();
    let mut keys = by.keys();
    keys.push(only);
    let provider = provider("i", keys, json!({}));
    let claims = r#"{"iss":"i"}"#;
    let mut requests = Vec::new();
    for (alg, id) in [
        ("RS256", "r"),
        ("PS384", "r"),
        ("ES256", "e"),
        ("EdDSA", "d"),
        ("RS256", "e"),
        ("RS256", "d"),
        ("ES256", "r"),
        ("EdDSA", "r"),
        ("ES384", "r"),
        ("RS256", "none"),
        ("RS256", "only"),
        ("PS384", "only"),
        ("HS256", "r"),
        ("HS256", "only"),
        ("none", "r"),
        ("RS999", "r"),
    ] {
        for issuer in [by, other] {
            requests.push(bearing(&issuer.sign(&json!({ "alg": alg, "kid": id }), claims)));
        }
    }
    for alg in ["RS256", "PS384", "ES256", "EdDSA"] {
        requests.push(bearing(&by.sign(&json!({ "alg": alg }), claims)));
    }
    // Signed under one name, sent under another.
    let token = by.sign(&json!({ "alg": "RS256", "kid": "r" }), claims);
    let signature = token.rsplit('.').next().unwrap_or_default();
    for alg in ["none", "HS256", "ES256", "PS384"] {
        let header = B64.encode(json!({ "alg": alg, "kid": "r" }).to_string());
        requests.push(bearing(&format!("{header}.{}.{signature}", B64.encode(claims))));
        requests.push(bearing(&format!("{header}.{}.", B64.encode(claims))));
    }
    case("algorithms", filter(json!({ "p": provider }), needs("p")), requests)
}

fn malformed(by: &Issuer) -> Case {
    let header = json!({ "alg": "EdDSA", "kid": "d" });
    let payloads = [
        "[]",
        "",
        "{",
        r#"{"iss":1}"#,
        r#"{"iss":"i","sub":1}"#,
        r#"{"iss":"i","exp":"1"}"#,
        r#"{"iss":"i","exp":-1}"#,
        r#"{"iss":"i","nbf":true}"#,
        r#"{"iss":"i","iat":"x"}"#,
        r#"{"iss":"i","iat":1e30}"#,
        r#"{"iss":"i","jti":{}}"#,
        r#"{"iss":"i","aud":[1]}"#,
        r#"{"iss":"i","iss":"i"}"#,
    ];
    let mut requests: Vec<Request> =
        payloads.iter().filter(|p| !p.is_empty()).map(|p| bearing(&by.sign(&header, p))).collect();
    for header in [json!({ "alg": 1 }), json!({}), json!({ "alg": "EdDSA", "kid": 1 })] {
        requests.push(bearing(&by.sign(&header, r#"{"iss":"i"}"#)));
    }
    let good = by.token(json!({ "iss": "i" }));
    let (start, end) = good.split_at(good.len() - 4);
    for text in [
        "x",
        "a.b.c",
        "a.b",
        "a.b.c.d",
        "!!.e30.e30",
        &format!("{start}!{end}"),
        &format!("{good}x"),
        &format!("{good}.x"),
        "e30.e30.e30",
        &good.to_uppercase(),
        &format!("{good}="),
        &format!("{good}=="),
        &format!("{good}==="),
        &format!("{start} {end}"),
        &format!("{start}\t{end}"),
        &good.replacen('.', "=.", 1),
        &good.replacen('.', " .", 1),
        &good.replacen('.', "+.", 1),
    ] {
        requests.push(bearing(text));
    }
    let long = by.token(json!({ "iss": "i", "long": "x".repeat(20_000) }));
    requests.push(bearing(&long));
    case(
        "malformed",
        filter(json!({ "p": provider("i", by.keys(), json!({})) }), needs("p")),
        requests,
    )
}

fn places(by: &Issuer) -> Case {
    let from = json!({
        "from_headers": [{ "name": "X-Jwt" }, { "name": "x-tagged", "value_prefix": "t " }],
        "from_params": ["q"], "from_cookies": ["c"],
    });
    let good = by.token(json!({ "iss": "i" }));
    let bad = by.token(json!({ "iss": "i", "exp": 1 }));
    let tagged = format!("a t {good}");
    let requests = vec![
        Request::get("/a").with("x-jwt", &good),
        Request::get("/a").with("x-jwt", &format!("Bearer {good}")),
        Request::get("/a").with("x-tagged", &tagged),
        Request::get("/a").with("x-tagged", &good),
        Request::get(format!("/a?q={good}")),
        Request::get(format!("/a?a=1&%71={good}&y=2")),
        Request::get(format!("/a?q={bad}&q={good}")),
        Request::get("/a?q="),
        Request::get("/a").with("cookie", &format!("b=1; c={good}")),
        Request::get("/a").with("cookie", &format!("c={bad}; c={good}")),
        Request::get("/a").with("cookie", "c="),
        bearing(&good),
        Request::get(format!("/a?access_token={good}")),
        Request::get("/a").with("x-jwt", &good).with("x-jwt", &bad),
        Request::get("/a").with("x-jwt", &bad).with("x-jwt", &good),
        Request::get("/a").with("x-jwt", &good).with("x-jwt", &good),
        Request::get(format!("/a?q={bad}")).with("x-jwt", &good),
    ];
    case(
        "places",
        filter(json!({ "p": provider("i", by.keys(), from) }), or_missing("p")),
        requests,
    )
}

/// As Istio asks for tokens of two issuers in one place.
fn several(one: &Issuer, two: &Issuer) -> Case {
    let providers = json!({
        "one": provider("i", one.keys(), json!({ "forward": true })),
        "two": provider("j", two.keys(), json!({ "audiences": ["me"] })),
    });
    let all = json!({ "requires_all": { "requirements": [or_missing("one"), or_missing("two")] } });
    let any = json!({ "requires_any": { "requirements": [needs("one"), needs("two"), all] } });
    let of_one = one.token(json!({ "iss": "i" }));
    let of_two = two.token(json!({ "iss": "j", "aud": "me" }));
    let bearer = |t: &str| format!("Bearer {t}");
    let requests = vec![
        Request::get("/a"),
        bearing(&of_one),
        bearing(&of_two),
        bearing(&one.token(json!({ "iss": "j", "aud": "me" }))),
        bearing(&two.token(json!({ "iss": "i" }))),
        bearing(&two.token(json!({ "iss": "j" }))),
        bearing(&one.token(json!({ "iss": "k" }))),
        bearing(&one.token(json!({ "iss": "i", "exp": 1 }))),
        bearing("x"),
        bearing(&of_one).with("authorization", &bearer(&of_two)),
        bearing(&of_two).with("authorization", &bearer(&of_one)),
        bearing(&of_one).with("authorization", "Basic YTpi"),
        Request::get("/a").with("authorization", "Basic YTpi"),
        Request::get("/a").with("authorization", &format!("bearer {of_one}")),
        Request::get("/a").with("authorization", &format!("Bearer  {of_one}")),
        Request::get("/a").with("authorization", &format!("Bearer {of_one}, x")),
        Request::get("/a").with("authorization", "Bearer "),
    ];
    case("several", filter(providers, any), requests)
}

/// Who has a token of one issuer says in a header what another issuer's tokens would say there.
fn forged(one: &Issuer, two: &Issuer) -> Case {
    let copied = |header: &str| json!({ "claim_to_headers": [{ "header_name": header, "claim_name": "sub" }] });
    let providers = json!({
        "one": provider("i", one.keys(), copied("x-one")),
        "two": provider("j", two.keys(), copied("x-two")),
    });
    let any = json!({ "requires_any": { "requirements": [needs("one"), needs("two")] } });
    let of_one = one.token(json!({ "iss": "i", "sub": "s" }));
    let of_two = two.token(json!({ "iss": "j", "sub": "t" }));
    let forging = |token: &str| bearing(token).with("x-one", "forged").with("x-two", "forged");
    let requests = vec![forging(&of_one), forging(&of_two)];
    case("forged", filter(providers, any), requests)
}

/// What arrives upstream.
fn kept(by: &Issuer) -> Case {
    let claim = |header: &str, claim: &str| json!({ "header_name": header, "claim_name": claim });
    let extra = json!({
        "forward_payload_header": "x-payload", "pad_forward_payload_header": true,
        "claim_to_headers": [
            claim("x-sub", "sub"), claim("X-Deep", "n.m"), claim("x-flag", "flag"),
            claim("x-num", "num"), claim("x-part", "part"), claim("x-none", "none"),
        ],
    });
    let claims = json!({
        "iss": "i", "sub": "s", "n": { "m": "deep" }, "flag": true, "num": 1_700_000_000_u64,
        "part": -1.5, "none": null,
    });
    let token = by.token(claims);
    let requests = vec![
        bearing(&token),
        bearing(&token).with("x-sub", "forged").with("x-payload", "forged"),
        Request::get("/a").with("x-sub", "forged").with("x-payload", "forged"),
        Request::get(format!("/a?access_token={token}")),
    ];
    case("kept", filter(json!({ "p": provider("i", by.keys(), extra) }), or_missing("p")), requests)
}

/// Access rules that ask for claims, as Istio writes them.
fn ruled(by: &Issuer) -> Case {
    let extra = json!({
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": { "space_delimited_claims": ["scope"] },
    });
    let claim = |path: &[&str], value: Value| {
        let path: Vec<Value> =
            ["payload"].iter().chain(path).map(|key| json!({ "key": key })).collect();
        json!({ "metadata": { "filter": "envoy.filters.http.jwt_authn", "path": path, "value": value } })
    };
    let text = |value: &str| json!({ "string_match": { "exact": value } });
    let in_list = |value: &str| json!({ "list_match": { "one_of": text(value) } });
    let both = json!([claim(&["iss"], text("i")), claim(&["sub"], text("s"))]);
    let principals = json!([
        { "and_ids": { "ids": both } }, claim(&["scope"], in_list("read")),
        claim(&["groups"], in_list("g1")), claim(&["n", "m"], text("x")),
    ]);
    let policy = json!({ "permissions": [{ "any": true }], "principals": principals });
    let rbac = json!({ "name": "rbac", "typed_config": {
        "@type": RBAC, "rules": { "action": "ALLOW", "policies": { "p": policy } },
    } });
    let claims = [
        json!({ "iss": "i", "sub": "s" }),
        json!({ "iss": "i", "sub": "t" }),
        json!({ "iss": "i", "scope": "write  read" }),
        json!({ "iss": "i", "scope": "reading" }),
        json!({ "iss": "i", "scope": ["read"] }),
        json!({ "iss": "i", "groups": ["g0", "g1"] }),
        json!({ "iss": "i", "groups": "g1" }),
        json!({ "iss": "i", "n": { "m": "x" } }),
        json!({ "iss": "i", "n.m": "x" }),
    ];
    let mut requests: Vec<Request> = claims.into_iter().map(|c| bearing(&by.token(c))).collect();
    requests.push(Request::get("/a"));
    case(
        "ruled",
        filter(json!({ "p": provider("i", by.keys(), extra) }), or_missing("p")),
        requests,
    )
    .filter(rbac)
}

fn lenient(by: &Issuer) -> Case {
    let provider = provider("i", by.keys(), json!({}));
    let requests = vec![
        Request::get("/a"),
        bearing(&by.token(json!({ "iss": "i" }))),
        bearing(&by.token(json!({ "iss": "i", "exp": 1 }))),
        bearing("x"),
    ];
    let failed = json!({ "requires_any": { "requirements": [needs("p"), { "allow_missing_or_failed": {} }] } });
    case("lenient", filter(json!({ "p": provider }), failed), requests)
}

/// What an issuer gets whose keys nobody could fetch.
fn keyless(by: &Issuer) -> Case {
    let key = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "nobody",
        "x": "bRBi1ol1FajjN9ms9e_tqqqFNnI8x3GAkxzBjpe-MkY",
        "y": "Mf4yS275-hbuStaiKor3aO18ic97Hof1GX2Q4Q6BkgY" });
    let provider = provider("i", vec![key], json!({}));
    let requests = vec![
        Request::get("/a"),
        bearing(&by.token(json!({ "iss": "i" }))),
        bearing(&by.token(json!({ "iss": "j" }))),
        bearing(&by.token(json!({ "iss": "i", "exp": 1 }))),
    ];
    case("keyless", filter(json!({ "p": provider }), or_missing("p")), requests)
}

fn of_routes(by: &Issuer) -> Case {
    let own = |config: Value| json!({ "typed_per_filter_config": { "jwt": config } });
    let named = own(json!({ "@type": PER_ROUTE, "requirement_name": "strict" }));
    let off = own(json!({ "@type": PER_ROUTE, "disabled": true }));
    let route = |prefix: &str, extra: Value| {
        let mut route = all_to("a", json!({}));
        crate::bootstrap::merge(&mut route, extra);
        route["match"] = json!({ "prefix": prefix });
        route
    };
    let routes = vec![route("/strict", named), route("/off", off), route("/", json!({}))];
    let mut filter = filter(json!({ "p": provider("i", by.keys(), json!({})) }), or_missing("p"));
    filter["typed_config"]["requirement_map"] = json!({ "strict": needs("p") });
    let requests = ["/strict", "/off", "/else"]
        .into_iter()
        .flat_map(|path| {
            let with = |t: &str| Request::get(path).with("authorization", &format!("Bearer {t}"));
            [Request::get(path), with("x"), with(&by.token(json!({ "iss": "i" })))]
        })
        .collect();
    Case::new("jwt_of_routes", any_host(routes), requests).filter(filter)
}
