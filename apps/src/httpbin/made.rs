//! Answers made to order: status, delay, redirects, headers, cookies, caching.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::Flavour;
use super::describe::Describe;
use crate::echo::duration;
use crate::web::{self, Reply};

const LONGEST_DELAY: Duration = Duration::from_secs(10);
const MOST_REDIRECTS: u32 = 50;

pub async fn answer(describe: &Describe<'_>, parts: &[&str]) -> Option<Reply> {
    let call = describe.call;
    Some(match parts {
        ["status", codes] => status(codes),
        ["delay", seconds] => {
            let Some(delay) = duration(seconds) else { return Some(bad("delay")) };
            tokio::time::sleep(delay.min(LONGEST_DELAY)).await;
            match describe.flavour {
                Flavour::Go => describe.get(),
                Flavour::Python => describe.with_body(),
            }
        }
        ["redirect", n] | ["relative-redirect", n] => redirect(n, ""),
        ["absolute-redirect", n] => {
            redirect(n, &format!("http://{}", call.header("host").unwrap_or("localhost")))
        }
        ["redirect-to"] => redirect_to(describe),
        ["response-headers"] => response_headers(describe),
        ["cookies"] => {
            let cookies: BTreeMap<_, _> = call.cookies().into_iter().collect();
            match describe.flavour {
                Flavour::Python => describe.json(json!({"cookies": cookies})),
                Flavour::Go => describe.json(json!(cookies)),
            }
        }
        ["cookies", "set"] => cookies(&call.query_pairs(), ""),
        ["cookies", "set", name, value] => {
            cookies(&[(web::unescape(name), web::unescape(value))], "")
        }
        ["cookies", "delete"] => cookies(&call.query_pairs(), "; Max-Age=0"),
        ["cache"] => cache(describe),
        ["cache", seconds] => {
            let mut reply = describe.get();
            web::set(&mut reply, "cache-control", &format!("public, max-age={seconds}"));
            reply
        }
        ["etag", tag] => etag(describe, tag),
        _ => return None,
    })
}

fn bad(what: &str) -> Reply {
    web::text(StatusCode::BAD_REQUEST, "text/plain", format!("Invalid {what}\n"))
}

/// `503`, `200,503` (either), or `200:9,503:1` (by weight).
fn status(codes: &str) -> Reply {
    let choices: Option<Vec<(StatusCode, f64)>> = codes
        .split(',')
        .map(|choice| {
            let (code, weight) = choice.split_once(':').unwrap_or((choice, "1"));
            let weight = weight.parse::<f64>().ok().filter(|w| *w >= 0.0)?;
            Some((code.trim().parse().ok()?, weight))
        })
        .collect();
    let Some(choices) = choices else { return bad("status code") };
    let mut at = random() * choices.iter().map(|(_, weight)| weight).sum::<f64>();
    let chosen = choices.iter().find(|(_, weight)| {
        at -= weight;
        at < 0.0
    });
    let code = chosen.or(choices.last()).map_or(StatusCode::OK, |(code, _)| *code);
    let mut reply = web::text(code, "text/html; charset=utf-8", "");
    match code.as_u16() {
        301 | 302 | 303 | 305 | 307 => web::set(&mut reply, "location", "/redirect/1"),
        401 => web::set(&mut reply, "www-authenticate", "Basic realm=\"Fake Realm\""),
        407 => web::set(&mut reply, "proxy-authenticate", "Basic realm=\"Fake Realm\""),
        418 => *reply.body_mut() = web::text(code, "", "I'm a teapot!\n").into_body(),
        _ => {}
    }
    reply
}

/// A number in [0, 1). Nothing depends on its quality.
pub fn random() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = RandomState::new().hash_one(0) >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

fn redirect(count: &str, base: &str) -> Reply {
    let Ok(count) = count.parse::<u32>() else { return bad("count") };
    let kind = if base.is_empty() { "relative-redirect" } else { "absolute-redirect" };
    match count.min(MOST_REDIRECTS) {
        0 | 1 => web::redirect(&format!("{base}/get")),
        count => web::redirect(&format!("{base}/{kind}/{}", count - 1)),
    }
}

fn redirect_to(describe: &Describe) -> Reply {
    let mut pairs = describe.call.query_pairs();
    if describe.call.method != Method::GET {
        pairs.extend(web::form_pairs(&String::from_utf8_lossy(&describe.call.body)));
    }
    let find = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str());
    let Some(url) = find("url") else { return bad("URL") };
    let mut reply = web::redirect(url);
    let code = find("status_code").and_then(|code| code.parse::<u16>().ok());
    if let Some(code) = code.filter(|code| (300..400).contains(code)) {
        *reply.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::FOUND);
    }
    reply
}

fn response_headers(describe: &Describe) -> Reply {
    let args = describe.args();
    let mut reply = describe.json(args);
    for (name, value) in describe.call.query_pairs() {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(&value)) {
            if name == "content-type" {
                reply.headers_mut().insert(name, value);
            } else if !matches!(name.as_str(), "content-length" | "transfer-encoding") {
                reply.headers_mut().append(name, value);
            }
        }
    }
    reply
}

fn cookies(pairs: &[(String, String)], attributes: &str) -> Reply {
    let mut reply = web::redirect("/cookies");
    for (name, value) in pairs {
        let cookie = format!("{name}={value}; Path=/{attributes}");
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            reply.headers_mut().append("set-cookie", cookie);
        }
    }
    reply
}

fn cache(describe: &Describe) -> Reply {
    let known = ["if-modified-since", "if-none-match"];
    if known.iter().any(|name| describe.call.header(name).is_some()) {
        return web::text(StatusCode::NOT_MODIFIED, "", "");
    }
    let mut reply = describe.get();
    web::set(&mut reply, "last-modified", "Thu, 01 Jan 2026 00:00:00 GMT");
    web::set(&mut reply, "etag", "\"lateen\"");
    reply
}

fn etag(describe: &Describe, tag: &str) -> Reply {
    let listed = |header: &str| {
        let value = describe.call.header(header)?;
        let mut tags =
            value.split(',').map(|t| t.trim().trim_start_matches("W/").trim_matches('"'));
        Some(tags.any(|given| given == tag || given == "*"))
    };
    let mut reply = match (listed("if-none-match"), listed("if-match")) {
        (Some(true), _) => web::text(StatusCode::NOT_MODIFIED, "", ""),
        (None, Some(false)) => web::text(StatusCode::PRECONDITION_FAILED, "", ""),
        _ => describe.json(Value::Null),
    };
    if reply.status() == StatusCode::OK {
        reply = describe.get();
    }
    web::set(&mut reply, "etag", &format!("\"{tag}\""));
    reply
}
