//! Authentication: Basic (announced, or hidden behind a 404) and Bearer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use serde_json::json;

use super::describe::Describe;
use crate::web::{self, Reply};

pub fn answer(describe: &Describe, parts: &[&str]) -> Reply {
    match parts {
        ["basic-auth", user, password] => basic(describe, user, password, StatusCode::UNAUTHORIZED),
        ["hidden-basic-auth", user, password] => {
            basic(describe, user, password, StatusCode::NOT_FOUND)
        }
        ["bearer"] => bearer(describe),
        _ => web::not_found(),
    }
}

fn credentials<'a>(describe: &'a Describe, scheme: &str) -> Option<&'a str> {
    let (given, rest) = describe.call.header("authorization")?.split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

fn basic(describe: &Describe, user: &str, password: &str, refused: StatusCode) -> Reply {
    let given = credentials(describe, "basic").and_then(|text| STANDARD.decode(text).ok());
    let expected = format!("{}:{}", web::unescape(user), web::unescape(password));
    if given.as_deref() == Some(expected.as_bytes()) {
        return describe.json(json!({"authenticated": true, "user": web::unescape(user)}));
    }
    let mut reply = web::text(refused, "", "");
    if refused == StatusCode::UNAUTHORIZED {
        web::set(&mut reply, "www-authenticate", "Basic realm=\"Fake Realm\"");
    }
    reply
}

fn bearer(describe: &Describe) -> Reply {
    if let Some(token) = credentials(describe, "bearer") {
        return describe.json(json!({"authenticated": true, "token": token}));
    }
    let mut reply = web::text(StatusCode::UNAUTHORIZED, "", "");
    web::set(&mut reply, "www-authenticate", "Bearer");
    reply
}
