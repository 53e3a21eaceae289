//! Content: documents, compressed JSON, bytes, streams, slow drips, server-sent events.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

use super::describe::Describe;
use super::{made, pack};
use crate::echo::duration;
use crate::web::{self, Reply};

pub const INDEX: &str = include_str!("bodies/index.html");
const HTML: &str = include_str!("bodies/moby.html");
const XML: &str = include_str!("bodies/slides.xml");
const SVG: &str = include_str!("bodies/sail.svg");
/// A PNG of one transparent pixel.
const PNG: [u8; 67] = [
    0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0,
    0, 1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 10, b'I', b'D', b'A', b'T', 0x78, 0x9c,
    0x63, 0, 1, 0, 0, 5, 0, 1, 0x0d, 0x0a, 0x2d, 0xb4, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae,
    0x42, 0x60, 0x82,
];
const MOST_BYTES: usize = 10 << 20;
const LONGEST_STREAM: Duration = Duration::from_secs(60);

pub fn answer(describe: &Describe, parts: &[&str]) -> Option<Reply> {
    let plain = |body: &str| web::text(StatusCode::OK, "text/plain", body.to_owned());
    Some(match parts {
        ["html"] => web::html(HTML),
        ["json"] => describe.json(slides()),
        ["xml"] => web::text(StatusCode::OK, "application/xml", XML),
        ["robots.txt"] => plain("User-agent: *\nDisallow: /deny\n"),
        ["deny"] => plain("You should not be here.\n"),
        ["encoding", "utf8"] => web::html("<h1>Grüße, χαίρετε, привет, こんにちは, ⛵</h1>\n"),
        ["image" | "image.png"] | ["image", "png"] => {
            web::text(StatusCode::OK, "image/png", &PNG[..])
        }
        ["image", "svg"] => web::text(StatusCode::OK, "image/svg+xml", SVG),
        ["uuid"] => describe.json(json!({"uuid": uuid()})),
        ["base64", text] | ["base64", "decode", text] => base64(text),
        ["gzip"] => packed(describe, "gzip", "gzipped", pack::gzip),
        ["deflate"] => packed(describe, "deflate", "deflated", pack::zlib),
        ["bytes", count] => bytes(count)?,
        ["stream-bytes", count] => stream_bytes(count)?,
        ["stream", count] => stream(describe, count.parse().ok()?),
        ["drip"] => drip(describe),
        ["sse"] => events(describe),
        ["links", count] => web::redirect(&format!("/links/{count}/0")),
        ["links", count, offset] => links(count.parse().ok()?, offset.parse().ok()?),
        _ => return None,
    })
}

fn slides() -> Value {
    json!({"slideshow": {
        "author": "Yours Truly", "date": "date of publication", "title": "Sample Slide Show",
        "slides": [
            {"title": "Rig the sail", "type": "all"},
            {"title": "Overview", "type": "all", "items": ["Wind", "Water"]},
        ],
    }})
}

fn uuid() -> String {
    let mut bytes: Vec<u8> = (0..16).map(|_| (made::random() * 256.0) as u8).collect();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn base64(text: &str) -> Reply {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    let text = web::unescape(text);
    match URL_SAFE.decode(&text).or_else(|_| STANDARD.decode(&text)) {
        Ok(decoded) => web::text(StatusCode::OK, "text/html; charset=utf-8", decoded),
        Err(_) => web::text(StatusCode::BAD_REQUEST, "text/plain", "Incorrect Base64 data\n"),
    }
}

fn packed(
    describe: &Describe,
    encoding: &'static str,
    said: &str,
    pack: impl Fn(&[u8]) -> Vec<u8>,
) -> Reply {
    let value = json!({
        said: true,
        "headers": describe.headers(),
        "method": describe.call.method.as_str(),
        "origin": describe.origin(),
    });
    let body = pack(format!("{value:#}\n").as_bytes());
    let mut reply = web::text(StatusCode::OK, "application/json", body);
    web::set(&mut reply, "content-encoding", encoding);
    reply
}

fn some_bytes(count: usize) -> Vec<u8> {
    let mut state = (made::random() * 1e18) as u64 | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn bytes(count: &str) -> Option<Reply> {
    let count = count.parse::<usize>().ok()?.min(MOST_BYTES);
    Some(web::text(StatusCode::OK, "application/octet-stream", some_bytes(count)))
}

fn stream_bytes(count: &str) -> Option<Reply> {
    let mut left = count.parse::<usize>().ok()?.min(MOST_BYTES);
    let (sender, reply) = web::streamed("application/octet-stream");
    tokio::task::spawn_local(async move {
        while left > 0 {
            let piece = some_bytes(left.min(10 << 10));
            left -= piece.len();
            if sender.send(Bytes::from(piece)).await.is_err() {
                return;
            }
        }
    });
    Some(reply)
}

/// So many lines, each the request with its number.
fn stream(describe: &Describe, count: usize) -> Reply {
    let (sender, reply) = web::streamed("application/json");
    let mut value = json!({
        "url": describe.url(),
        "args": describe.args(),
        "headers": describe.headers(),
        "origin": describe.origin(),
    });
    tokio::task::spawn_local(async move {
        for id in 0..count.min(100) {
            value["id"] = json!(id);
            if sender.send(Bytes::from(format!("{value}\n"))).await.is_err() {
                return;
            }
        }
    });
    reply
}

fn seconds(describe: &Describe, name: &str, default: f64) -> Duration {
    let asked = describe.call.query(name).and_then(|text| duration(&text));
    asked.unwrap_or(Duration::from_secs_f64(default)).min(LONGEST_STREAM)
}

/// `numbytes` stars over `duration` seconds, after `delay` seconds.
fn drip(describe: &Describe) -> Reply {
    let count = describe.call.query("numbytes").and_then(|n| n.parse().ok()).unwrap_or(10_usize);
    let count = count.clamp(1, MOST_BYTES);
    let code = describe.call.query("code").and_then(|code| code.parse().ok());
    let (over, delay) = (seconds(describe, "duration", 2.0), seconds(describe, "delay", 0.0));
    let (sender, mut reply) = web::streamed("application/octet-stream");
    *reply.status_mut() = code.unwrap_or(StatusCode::OK);
    reply.headers_mut().insert("content-length", HeaderValue::from(count));
    tokio::task::spawn_local(async move {
        tokio::time::sleep(delay).await;
        let pause = over.div_f64(count as f64);
        for _ in 0..count {
            if sender.send(Bytes::from_static(b"*")).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    });
    reply
}

/// `count` server-sent events over `duration` seconds, after `delay` seconds.
fn events(describe: &Describe) -> Reply {
    let count = describe.call.query("count").and_then(|n| n.parse().ok()).unwrap_or(10_usize);
    let count = count.clamp(1, 10_000);
    let (over, delay) = (seconds(describe, "duration", 5.0), seconds(describe, "delay", 0.0));
    let (sender, mut reply) = web::streamed("text/event-stream; charset=utf-8");
    web::set(&mut reply, "cache-control", "no-store");
    tokio::task::spawn_local(async move {
        tokio::time::sleep(delay).await;
        let pause = over.div_f64(count as f64);
        for id in 0..count {
            let event = format!("event: ping\ndata: {{\"id\":{id}}}\n\n");
            if sender.send(Bytes::from(event)).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    });
    reply
}

fn links(count: usize, offset: usize) -> Reply {
    let count = count.clamp(1, 256);
    let links = (0..count).map(|index| match index == offset {
        true => format!("{index} "),
        false => format!("<a href='/links/{count}/{index}'>{index}</a> "),
    });
    let links: String = links.collect();
    web::html(format!("<html><head><title>Links</title></head><body>{links}</body></html>"))
}
