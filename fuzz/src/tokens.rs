//! Tokens of end users and sets of keys: with the keys of RFC 7515's example no other claims are believed
//! than the example's.

use jwt::{CLOCK_SKEW, Keys, Token};
use std::sync::LazyLock;

/// RFC 7515, appendix A.3.
const SIGNED: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxl\
                      LmNvbS9pc19yb290Ijp0cnVlfQ";
const SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
const KEYS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

static TRUSTED: LazyLock<Keys> = LazyLock::new(|| Keys::parse(KEYS).expect("a set of keys"));

pub fn run(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Keys::parse(text);
    }
    let Ok(token) = Token::parse(bytes) else { return };
    let _ = token.check_time(1_300_819_380, CLOCK_SKEW);
    token.claim("a.b.c");
    if TRUSTED.verify(&token).is_ok() {
        assert!(bytes.starts_with(SIGNED.as_bytes()), "believed without a signature: {token:?}");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let none = "eyJhbGciOiJub25lIn0";
    let claims = SIGNED.split('.').next_back().unwrap_or_default();
    [
        format!("{SIGNED}.{SIGNATURE}"),
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{SIGNATURE}"),
        KEYS.to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}
