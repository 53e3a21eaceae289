//! `productpage`: the shop's face. Asks `details` (3 s) and `reviews` (3 s, two tries) for every page,
//! and shows what it gets; what it does not get is said on the page, which itself is a 200.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::{PORT, authority, page};
use crate::flags::{Flags, env, pod_name};
use crate::web::{self, Call, Reply};
use crate::{client, trace};

const PATIENCE: Duration = Duration::from_secs(3);
const REVIEW_TRIES: usize = 2;
const SESSION: &str = "session";
/// Floods end somewhere, whatever `FLOOD_FACTOR` says.
const LARGEST_FLOOD: usize = 1000;

/// Answers that other services gave, by service and status, for `/metrics`.
type Counts = Rc<RefCell<BTreeMap<(&'static str, u16), u64>>>;

/// What another service said: its status and its JSON, or an apology in the same shape.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

pub async fn run(flags: &Flags) -> anyhow::Result<()> {
    let listener = web::listen(flags.port(PORT)?).await?;
    let counts = Counts::default();
    web::serve(listener, move |call| {
        let counts = counts.clone();
        async move { answer(&call, &counts).await }
    })
    .await
}

async fn answer(call: &Call, counts: &Counts) -> Reply {
    let parts = call.parts();
    match parts.as_slice() {
        [""] | ["index.html"] => web::html(page::index()),
        ["health"] => {
            web::text(StatusCode::OK, "text/html; charset=utf-8", "Product page is healthy")
        }
        ["metrics"] => web::text(StatusCode::OK, "text/plain; version=0.0.4", metrics(counts)),
        ["static", file] => page::file(file).unwrap_or_else(web::not_found),
        ["login"] if call.method == Method::POST => login(call),
        ["logout"] => logout(call),
        ["productpage"] => product_page(call, counts).await,
        ["api", "v1", "products"] => web::json(StatusCode::OK, &json!([product()])),
        ["api", "v1", "products", id, rest @ ..] => api(call, id, rest, counts).await,
        _ => web::not_found(),
    }
}

pub fn product() -> Value {
    json!({
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": page::DESCRIPTION,
    })
}

async fn product_page(call: &Call, counts: &Counts) -> Reply {
    let headers = outgoing(call);
    flood(&headers);
    let details = details(&headers, "0", counts).await;
    let reviews = reviews(&headers, "0", counts).await;
    web::html(page::product(&details, &reviews, user(call).as_deref(), &pod_name()))
}

async fn api(call: &Call, id: &str, rest: &[&str], counts: &Counts) -> Reply {
    if id.parse::<u64>().is_err() {
        let message = json!({"error": "please provide numeric product ID"});
        return web::json(StatusCode::BAD_REQUEST, &message);
    }
    let headers = outgoing(call);
    let answer = match rest {
        [] => details(&headers, id, counts).await,
        ["reviews"] => reviews(&headers, id, counts).await,
        ["ratings"] => ratings(&headers, id, counts).await,
        _ => return web::not_found(),
    };
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    web::json(status, &answer.body)
}

async fn details(headers: &HeaderMap, id: &str, counts: &Counts) -> Answer {
    let sorry = "Sorry, product details are currently unavailable for this book.";
    ask("details", &format!("/details/{id}"), headers, 1, sorry, counts).await
}

async fn reviews(headers: &HeaderMap, id: &str, counts: &Counts) -> Answer {
    let sorry = "Sorry, product reviews are currently unavailable for this book.";
    ask("reviews", &format!("/reviews/{id}"), headers, REVIEW_TRIES, sorry, counts).await
}

async fn ratings(headers: &HeaderMap, id: &str, counts: &Counts) -> Answer {
    let sorry = "Sorry, product ratings are currently unavailable for this book.";
    ask("ratings", &format!("/ratings/{id}"), headers, 1, sorry, counts).await
}

/// The other service's answer if it is a good one within the tries; otherwise its status (500 if it
/// gave none) and the apology.
async fn ask(
    service: &'static str,
    path: &str,
    headers: &HeaderMap,
    tries: usize,
    sorry: &str,
    counts: &Counts,
) -> Answer {
    let mut status = 500;
    for _ in 0..tries {
        let answer = client::get(&authority(service), path, headers, PATIENCE).await;
        let body = match answer {
            Ok((code, body)) => {
                status = code.as_u16();
                (code == StatusCode::OK).then(|| serde_json::from_slice(&body).ok()).flatten()
            }
            Err(error) => {
                eprintln!("{service}: {error:#}");
                status = 500;
                None
            }
        };
        *counts.borrow_mut().entry((service, status)).or_default() += 1;
        if let Some(body) = body {
            return Answer { status, body };
        }
    }
    Answer { status, body: json!({"error": sorry}) }
}

/// `FLOOD_FACTOR` sends so many more requests to `reviews` per page, and forgets about them.
fn flood(headers: &HeaderMap) {
    let factor = env("FLOOD_FACTOR").and_then(|text| text.parse().ok()).unwrap_or(0_usize);
    for _ in 0..factor.min(LARGEST_FLOOD) {
        let headers = headers.clone();
        tokio::task::spawn_local(async move {
            let _ = client::get(&authority("reviews"), "/reviews/0", &headers, PATIENCE).await;
        });
    }
}

/// The headers that go on, with the name of whoever is signed in.
fn outgoing(call: &Call) -> HeaderMap {
    let mut headers = trace::passed_on(&call.headers);
    headers.remove("end-user");
    if let Some(user) = user(call).and_then(|user| HeaderValue::from_str(&user).ok()) {
        headers.insert("end-user", user);
    }
    headers
}

/// Who is signed in. There are no passwords, so there is nothing to protect the cookie for.
fn user(call: &Call) -> Option<String> {
    let (_, value) = call.cookies().into_iter().find(|(name, _)| name == SESSION)?;
    Some(web::unescape(&value)).filter(|user| !user.is_empty())
}

fn login(call: &Call) -> Reply {
    let form = web::form_pairs(&String::from_utf8_lossy(&call.body));
    let user = form.into_iter().find(|(key, _)| key == "username").map(|(_, value)| value);
    let user: String = user
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .take(64)
        .collect();
    session(call, &escape(&user), "HttpOnly; SameSite=Lax")
}

fn logout(call: &Call) -> Reply {
    session(call, "", "Max-Age=0; HttpOnly; SameSite=Lax")
}

fn session(call: &Call, value: &str, attributes: &str) -> Reply {
    let back = call.header("referer").and_then(local_path).unwrap_or("/productpage");
    let mut reply = web::redirect(back);
    web::set(&mut reply, "set-cookie", &format!("{SESSION}={value}; Path=/; {attributes}"));
    reply
}

/// The path of a URL, so that nobody is sent to another site.
fn local_path(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let path = &rest[rest.find('/')?..];
    (!path.starts_with("//") && !path.starts_with("/log")).then_some(path)
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'@' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn metrics(counts: &Counts) -> String {
    let mut text = String::from(
        "# HELP request_result Answers of the services that the page asks.\n\
         # TYPE request_result counter\n",
    );
    for ((service, status), count) in counts.borrow().iter() {
        text.push_str(&format!(
            "request_result_total{{destination_app=\"{service}\",response_code=\"{status}\"}} {count}\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_in_goes_back_to_a_page_of_this_site() {
        assert_eq!(local_path("http://shop/productpage?u=normal"), Some("/productpage?u=normal"));
        assert_eq!(local_path("http://shop//evil.example/"), None);
        assert_eq!(local_path("http://shop/logout"), None);
        assert_eq!(local_path("nonsense"), None);
    }

    #[test]
    fn names_survive_the_cookie() {
        assert_eq!(escape("jason"), "jason");
        assert_eq!(web::unescape(&escape("a b;c=d")), "a b;c=d");
    }
}
