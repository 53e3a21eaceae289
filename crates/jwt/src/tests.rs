//! The examples of the RFCs, what is refused and why, and keys that must not verify.

use crate::{Algorithm, Audiences, BadKeys, CLOCK_SKEW, Keys, Refusal, Token};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use ir::Value;
use serde_json::json;

/// RFC 7519, 3.1, and RFC 7515, A.2 and A.3.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RS256_SIGNATURE: &str = concat!(
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7",
    "AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4",
    "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K",
    "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv",
    "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrB",
    "p0igcN_IoypGlUPQGe77Rw",
);
const ES256_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

fn rfc_keys() -> serde_json::Value {
    let n = concat!(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddx",
        "HmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMs",
        "D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSH",
        "SXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdV",
        "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8",
        "NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
    );
    json!([
        {"kty": "RSA", "n": n, "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
         "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty": "EC", "crv": "P-521",
         "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
         "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"},
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    ])
}

fn keys(list: serde_json::Value) -> Result<Keys, BadKeys> {
    Keys::parse(&json!({ "keys": list }).to_string())
}

fn part(value: impl ToString) -> String {
    B64.encode(value.to_string())
}

fn parse(header: &str, payload: &str) -> Result<Token, Refusal> {
    Token::parse(format!("{}.{}.{}", part(header), part(payload), part("s")).as_bytes())
}

#[test]
fn the_examples_of_the_rfcs_verify() {
    let set = keys(rfc_keys()).unwrap();
    for (header, signature) in
        [("eyJhbGciOiJSUzI1NiJ9", RS256_SIGNATURE), ("eyJhbGciOiJFUzI1NiJ9", ES256_SIGNATURE)]
    {
        let token = Token::parse(format!("{header}.{CLAIMS}.{signature}").as_bytes()).unwrap();
        assert_eq!(set.verify(&token), Ok(()));
        assert_eq!((&*token.issuer, token.payload()), ("joe", CLAIMS));
        assert_eq!(token.claim("http://example.com/is_root"), None, "a dot leads into an object");
        assert_eq!(token.claims["http://example.com/is_root"], Value::Bool(true));
        assert_eq!(token.check_time(1_300_819_380 + CLOCK_SKEW, CLOCK_SKEW), Ok(()));
        let late = token.check_time(1_300_819_381 + CLOCK_SKEW, CLOCK_SKEW);
        assert_eq!(late, Err(Refusal::Expired));
        let claims = String::from_utf8(B64.decode(CLAIMS).unwrap()).unwrap();
        let forged = part(claims.replace("joe", "eve"));
        let token = Token::parse(format!("{header}.{forged}.{signature}").as_bytes()).unwrap();
        assert!(set.verify(&token).is_err());
    }
}

/// RFC 7515, A.4 and RFC 8037, A.4: what they sign is no claims, so the token is made by hand.
#[test]
fn signatures_of_other_payloads_verify() {
    let set = keys(rfc_keys()).unwrap();
    let es512 = "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
    let eddsa =
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    for (algorithm, signed, signature) in [
        (Algorithm::Es512, "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA", es512),
        (Algorithm::EdDsa, "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc", eddsa),
    ] {
        let mut token = parse(r#"{"alg":"ES512"}"#, "{}").unwrap();
        token.algorithm = algorithm;
        token.signed = signed.into();
        token.signature = B64.decode(signature).unwrap();
        assert_eq!(set.verify(&token), Ok(()));
        token.signature.truncate(63);
        assert!(set.verify(&token).is_err());
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    let ok = r#"{"alg":"RS256"}"#;
    let table = [
        (r#"{}"#, "{}", Refusal::HeaderAlgorithm),
        (r#"{"alg":1}"#, "{}", Refusal::HeaderAlgorithm),
        (r#"{"alg":"none"}"#, "{}", Refusal::UnknownAlgorithm),
        (r#"{"alg":"rs256"}"#, "{}", Refusal::UnknownAlgorithm),
        (r#"{"alg":"RS256","alg":"RS256"}"#, "{}", Refusal::HeaderJson),
        (r#"{"alg":"RS256","kid":1}"#, "{}", Refusal::HeaderKeyId),
        (r#"{"alg":"RS256","crit":["b64"]}"#, "{}", Refusal::HeaderCritical),
        ("[]", "{}", Refusal::HeaderJson),
        (ok, "[]", Refusal::PayloadJson),
        (ok, r#"{"a":{"b":1,"b":2}}"#, Refusal::PayloadJson),
        (ok, r#"{"iss":"a"} {}"#, Refusal::PayloadJson),
        (ok, r#"{"iss":1}"#, Refusal::Issuer),
        (ok, r#"{"sub":null}"#, Refusal::Subject),
        (ok, r#"{"iat":"1"}"#, Refusal::IssuedAt),
        (ok, r#"{"iat":-1}"#, Refusal::IssuedAtRange),
        (ok, r#"{"nbf":"1"}"#, Refusal::NotBefore),
        (ok, r#"{"nbf":1e20}"#, Refusal::NotBeforeRange),
        (ok, r#"{"exp":[]}"#, Refusal::Expires),
        (ok, r#"{"exp":-5}"#, Refusal::ExpiresRange),
        (ok, r#"{"jti":1}"#, Refusal::TokenId),
        (ok, r#"{"aud":1}"#, Refusal::Audience),
        (ok, r#"{"aud":["a",1]}"#, Refusal::Audience),
    ];
    for (header, payload, refusal) in table {
        assert_eq!(parse(header, payload), Err(refusal), "{header} {payload}");
    }
    let long =
        format!("{}.{}.c2ln", part(ok), part(format!("{{\"a\":\"{}\"}}", "x".repeat(65_536))));
    let header = part(ok);
    for (text, refusal) in [
        (String::new(), Refusal::BadFormat),
        ("a.b".into(), Refusal::BadFormat),
        ("a.b.c.d".into(), Refusal::BadFormat),
        ("..".into(), Refusal::BadFormat),
        (long, Refusal::BadFormat),
        ("&.e30.c2ln".into(), Refusal::HeaderEncoding),
        ("e30==.e30.c2ln".into(), Refusal::HeaderEncoding),
        ("e30=.e30.c2ln".into(), Refusal::HeaderAlgorithm),
        (format!("{header}.e3:0.c2ln"), Refusal::PayloadEncoding),
        (format!("{header}.e.c2ln"), Refusal::PayloadEncoding),
        (format!("{header}.e30.c2l+"), Refusal::SignatureEncoding),
    ] {
        assert_eq!(Token::parse(text.as_bytes()), Err(refusal), "{text:.40}");
    }
    assert_eq!(Token::parse(b"\xff.e30.c2ln"), Err(Refusal::BadFormat));
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(parse(ok, &format!(r#"{{"a":{deep}}}"#)), Err(Refusal::PayloadJson));
}

#[test]
fn clocks_may_differ_a_little_and_not_more() {
    let token = parse(r#"{"alg":"RS256"}"#, r#"{"nbf":1000,"exp":2000.9}"#).unwrap();
    for (now, expected) in [
        (939, Err(Refusal::NotYetValid)),
        (940, Ok(())),
        (2060, Ok(())),
        (2061, Err(Refusal::Expired)),
        (u64::MAX, Err(Refusal::Expired)),
    ] {
        assert_eq!(token.check_time(now, CLOCK_SKEW), expected, "{now}");
    }
    let eternal = parse(r#"{"alg":"RS256"}"#, "{}").unwrap();
    assert_eq!(eternal.check_time(u64::MAX, 0), Ok(()));
    let zero = parse(r#"{"alg":"RS256"}"#, r#"{"exp":0}"#).unwrap();
    assert_eq!(zero.check_time(1000, 60), Err(Refusal::Expired));
}

#[test]
fn audiences_are_compared_without_scheme_and_last_slash() {
    let wanted = Audiences::new(["https://a.example/", "b"]);
    for (named, expected) in
        [("a.example", true), ("http://a.example", true), ("b/", true), ("c", false), ("", false)]
    {
        assert_eq!(wanted.allow([named]), expected, "{named}");
    }
    assert!(!wanted.allow([]) && wanted.allow(["c", "b"]));
    assert!(Audiences::default().allow([]));
}

/// A pair of keys for each algorithm, made for the test.
struct Issuer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Issuer {
    fn new() -> Issuer {
        let random = SystemRandom::new();
        let size = aws_lc_rs::rsa::KeySize::Rsa2048;
        let ec = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
        let ec_key = EcdsaKeyPair::generate_pkcs8(ec, &random).unwrap();
        let ed_key = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Issuer {
            rsa: RsaKeyPair::generate(size).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(ec, ec_key.as_ref()).unwrap(),
            ed: Ed25519KeyPair::from_pkcs8(ed_key.as_ref()).unwrap(),
        }
    }

    fn rsa_key(&self, more: serde_json::Value) -> serde_json::Value {
        let public = self.rsa.public_key();
        let n = B64.encode(public.modulus().big_endian_without_leading_zero());
        let e = B64.encode(public.exponent().big_endian_without_leading_zero());
        with(json!({"kty": "RSA", "n": n, "e": e}), more)
    }

    fn ec_key(&self, more: serde_json::Value) -> serde_json::Value {
        let point = self.ec.public_key().as_ref();
        let (x, y) = (B64.encode(&point[1..49]), B64.encode(&point[49..]));
        with(json!({"kty": "EC", "crv": "P-384", "x": x, "y": y}), more)
    }

    fn token(&self, header: serde_json::Value) -> Token {
        let signed = format!("{}.{}", part(&header), part("{}"));
        let random = SystemRandom::new();
        let padding: Option<&'static dyn signature::RsaEncoding> = match header["alg"].as_str() {
            Some("RS256") => Some(&signature::RSA_PKCS1_SHA256),
            Some("RS384") => Some(&signature::RSA_PKCS1_SHA384),
            Some("RS512") => Some(&signature::RSA_PKCS1_SHA512),
            Some("PS256") => Some(&signature::RSA_PSS_SHA256),
            Some("PS384") => Some(&signature::RSA_PSS_SHA384),
            Some("PS512") => Some(&signature::RSA_PSS_SHA512),
            _ => None,
        };
        let signature = match (padding, header["alg"].as_str()) {
            (Some(padding), _) => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(padding, &random, signed.as_bytes(), &mut signature).unwrap();
                signature
            }
            (_, Some("EdDSA")) => self.ed.sign(signed.as_bytes()).as_ref().to_vec(),
            _ => self.ec.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec(),
        };
        Token::parse(format!("{signed}.{}", B64.encode(signature)).as_bytes()).unwrap()
    }
}

fn with(mut key: serde_json::Value, more: serde_json::Value) -> serde_json::Value {
    for (name, value) in more.as_object().unwrap() {
        key[name] = value.clone();
    }
    key
}

#[test]
fn every_algorithm_verifies_by_its_own_key_and_by_no_other() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let x = B64.encode(issuer.ed.public_key());
    let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
    let set = keys(json!([issuer.rsa_key(json!({})), issuer.ec_key(json!({})), okp])).unwrap();
    for name in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "EdDSA"] {
        assert_eq!(set.verify(&issuer.token(json!({"alg": name}))), Ok(()), "{name}");
        let stranger = set.verify(&other.token(json!({"alg": name})));
        assert!(stranger.is_err(), "{name}");
        // What was signed under one name does not pass under another.
        for claimed in ["HS256", "RS256", "PS256", "ES256", "ES384", "EdDSA"] {
            let mut token = issuer.token(json!({"alg": name}));
            token.algorithm = Algorithm::of(claimed).unwrap();
            assert_eq!(set.verify(&token).is_ok(), claimed == name, "{name} as {claimed}");
        }
    }
}

#[test]
fn keys_are_chosen_by_their_names_and_algorithms() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let named = |key: &Issuer, id: &str| key.rsa_key(json!({"kid": id, "alg": "RS256"}));
    let set = keys(json!([named(&issuer, "1"), named(&other, "2")])).unwrap();
    for (header, expected) in [
        (json!({"alg": "RS256", "kid": "1"}), Ok(())),
        (json!({"alg": "RS256"}), Ok(())),
        (json!({"alg": "RS256", "kid": ""}), Ok(())),
        (json!({"alg": "RS256", "kid": "2"}), Err(Refusal::Verification)),
        (json!({"alg": "RS256", "kid": "3"}), Err(Refusal::NoSuchKey)),
        (json!({"alg": "RS512", "kid": "1"}), Err(Refusal::NoSuchKey)),
        (json!({"alg": "ES384", "kid": "1"}), Err(Refusal::NoSuchKey)),
    ] {
        assert_eq!(set.verify(&issuer.token(header.clone())), expected, "{header}");
    }
}

#[test]
fn keys_for_something_else_are_no_keys() {
    let issuer = Issuer::new();
    for more in [
        json!({"use": "enc"}),
        json!({"key_ops": ["encrypt"]}),
        json!({"alg": "ES256"}),
        json!({"alg": "RSA-OAEP"}),
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "EC"}),
        json!({"n": "AQAB"}),
        json!({"e": "Ag"}),
    ] {
        let found = keys(json!([issuer.rsa_key(more.clone())]));
        assert_eq!(found.err(), Some(BadKeys::NoneOfUse), "{more}");
    }
    for more in [json!({"crv": "P-256"}), json!({"y": "AQAB"}), json!({"alg": "ES256"})] {
        assert!(keys(json!([issuer.ec_key(more.clone())])).is_err(), "{more}");
    }
    let verify = issuer.rsa_key(json!({"use": "sig", "key_ops": ["verify"]}));
    assert!(keys(json!([{"kty": "new"}, 7, verify])).is_ok());
    assert_eq!(Keys::parse("{}").err(), Some(BadKeys::NoList));
    assert_eq!(Keys::parse("[]").err(), Some(BadKeys::NotJson));
    assert_eq!(Keys::parse(r#"{"keys":[],"keys":[]}"#).err(), Some(BadKeys::NotJson));
    assert_eq!(keys(json!([])).err(), Some(BadKeys::NoneOfUse));
    assert_eq!(keys(json!(vec![0; 257])).err(), Some(BadKeys::TooMany));
    assert_eq!(Keys::parse(&" ".repeat(1 << 21)).err(), Some(BadKeys::TooLong));
}

#[test]
fn private_parts_are_not_passed_on() {
    let key = Issuer::new().rsa_key(json!({}));
    let public = json!({ "keys": [key] }).to_string();
    assert_eq!(Keys::public(&public), public);
    let private = with(
        key,
        json!({"d": "x", "p": "x", "q": "x", "dp": "x", "dq": "x", "qi": "x", "oth": []}),
    );
    let set = json!({ "keys": [private, {"kty": "oct", "k": "secret"}] }).to_string();
    let shown = Keys::public(&set);
    assert!(
        !shown.contains("\"x\"") && !shown.contains("secret") && !shown.contains("oth"),
        "{shown}"
    );
    assert!(Keys::parse(&shown).is_ok());
    assert_eq!(Keys::public("no JSON"), "no JSON");
}
