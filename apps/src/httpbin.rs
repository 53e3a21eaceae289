//! `httpbin`: answers that show the request, and answers made to order. Two programs of that name are
//! in use: the Python one (names and values of headers as text) and the Go one (values as lists).
//!
//! Files: `describe` (a request as JSON), `made` (status, delay, redirects, headers, cookies),
//! `guarded` (authentication), `bodies` (content and streams), `pack` (gzip and deflate).

mod bodies;
mod describe;
mod guarded;
mod made;
mod pack;

use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::flags::{Flags, pod_name};
use crate::web::{self, Call, Reply};
use crate::websocket;
use describe::Describe;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Python,
    Go,
}

pub async fn run(flags: &Flags, flavour: Flavour) -> anyhow::Result<()> {
    let default = match flavour {
        Flavour::Python => 80,
        Flavour::Go => 8080,
    };
    // `gunicorn -b 0.0.0.0:8080 httpbin:app -k gevent`
    let bound = flags.get("b").or_else(|| flags.get("bind"));
    let bound = bound.and_then(|text| text.rsplit(':').next()?.parse().ok());
    let port = match bound {
        Some(port) => port,
        None => match flags.get("port").map(str::to_owned).or_else(|| crate::flags::env("PORT")) {
            Some(_) => flags.port(default)?,
            None => default,
        },
    };
    let listener = web::listen(port).await?;
    web::serve_raw(listener, move |request, peer| async move {
        if request.uri().path() == "/websocket/echo" {
            return websocket::upgrade(request);
        }
        match web::whole(request, peer).await {
            Ok(call) => dressed(&call, flavour).await,
            Err(reply) => reply,
        }
    })
    .await
}

/// The answer with the headers that all answers have.
async fn dressed(call: &Call, flavour: Flavour) -> Reply {
    let mut reply = answer(call, flavour).await;
    cross_origin(call, &mut reply);
    if flavour == Flavour::Python {
        web::set(&mut reply, "server", "gunicorn/19.9.0");
    }
    reply
}

async fn answer(call: &Call, flavour: Flavour) -> Reply {
    if call.method == Method::OPTIONS {
        return web::text(StatusCode::OK, "", "");
    }
    let parts = call.parts();
    if let Some(allowed) = only(&parts).filter(|allowed| !allows(allowed, &call.method)) {
        let mut reply =
            web::text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "Method Not Allowed\n");
        web::set(&mut reply, "allow", allowed.as_str());
        return reply;
    }
    let describe = Describe { call, flavour };
    match parts.as_slice() {
        [""] => web::html(bodies::INDEX),
        ["get" | "head"] => describe.get(),
        ["post" | "put" | "patch" | "delete"] => describe.with_body(),
        ["anything", ..] => describe.anything(),
        ["headers"] => describe.json(json!({"headers": describe.headers()})),
        ["ip"] => describe.json(json!({"origin": describe.origin()})),
        ["user-agent"] => {
            describe.json(json!({"user-agent": call.header("user-agent").unwrap_or_default()}))
        }
        ["hostname"] => describe.json(json!({"hostname": pod_name()})),
        ["basic-auth" | "hidden-basic-auth" | "bearer", ..] => guarded::answer(&describe, &parts),
        _ => match made::answer(&describe, &parts).await {
            Some(reply) => reply,
            None => bodies::answer(&describe, &parts).unwrap_or_else(web::not_found),
        },
    }
}

/// The method of the paths that are named after one.
fn only(parts: &[&str]) -> Option<Method> {
    match parts {
        ["get"] => Some(Method::GET),
        ["post"] => Some(Method::POST),
        ["put"] => Some(Method::PUT),
        ["patch"] => Some(Method::PATCH),
        ["delete"] => Some(Method::DELETE),
        _ => None,
    }
}

fn allows(allowed: &Method, method: &Method) -> bool {
    allowed == method || (allowed == Method::GET && method == Method::HEAD)
}

fn cross_origin(call: &Call, reply: &mut Reply) {
    let origin = call.header("origin").unwrap_or("*").to_owned();
    web::set(reply, "access-control-allow-origin", &origin);
    let headers = reply.headers_mut();
    headers.insert("access-control-allow-credentials", HeaderValue::from_static("true"));
    if call.method == Method::OPTIONS {
        let methods = "GET, POST, HEAD, PUT, DELETE, PATCH, OPTIONS";
        headers.insert("access-control-allow-methods", HeaderValue::from_static(methods));
        headers.insert("access-control-max-age", HeaderValue::from_static("3600"));
        if let Some(asked) = call.headers.get("access-control-request-headers") {
            headers.insert("access-control-allow-headers", asked.clone());
        }
    }
}

#[cfg(test)]
mod tests;
