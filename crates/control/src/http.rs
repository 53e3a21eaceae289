//! The HTTP side doors: readiness, metrics and debug pages, webhooks. Small bodies in, small bodies out.

use crate::debug::Debug;
use crate::listen::{Body, Peer, Serve};
use crate::metrics::Metrics;
use crate::webhook;
use crate::world::World;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::watch;

/// Admission reviews carry one object, and objects end at 3 MiB.
const MAX_BODY: usize = 4 << 20;

pub(crate) fn reply(
    status: u16,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> http::Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = http::Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let kind = http::HeaderValue::from_static(kind);
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

pub(crate) fn json(value: &Value) -> http::Response<Body> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    reply(200, "application/json", text)
}

fn text(status: u16, body: impl Into<Bytes>) -> http::Response<Body> {
    reply(status, "text/plain; charset=utf-8", body)
}

/// Ready once there is a world to serve.
#[derive(Clone)]
pub(crate) struct Ready {
    pub worlds: watch::Receiver<Option<World>>,
    pub debug: Debug,
}

impl Serve for Ready {
    async fn serve(self, peer: Peer, request: http::Request<Incoming>) -> http::Response<Body> {
        match request.uri().path() {
            "/ready" if self.worlds.borrow().is_some() => text(200, ""),
            "/ready" => text(503, "waiting for the cluster's objects\n"),
            path if path.starts_with("/debug") => self.debug.answer(&peer, &request).await,
            _ => text(404, "not found\n"),
        }
    }
}

/// Metrics, version, debug pages.
#[derive(Clone)]
pub(crate) struct Monitoring {
    pub metrics: Arc<Metrics>,
    pub debug: Debug,
}

impl Serve for Monitoring {
    async fn serve(self, peer: Peer, request: http::Request<Incoming>) -> http::Response<Body> {
        match request.uri().path() {
            "/metrics" => reply(200, "text/plain; version=0.0.4", self.metrics.print()),
            "/version" => json(&serde_json::json!({"version": env!("CARGO_PKG_VERSION")})),
            path if path.starts_with("/debug") => self.debug.answer(&peer, &request).await,
            _ => text(404, "not found\n"),
        }
    }
}

/// The webhooks of the API server.
#[derive(Clone)]
pub(crate) struct Webhooks {
    pub worlds: watch::Receiver<Option<World>>,
    pub revision: Arc<str>,
    pub metrics: Arc<Metrics>,
}

impl Serve for Webhooks {
    async fn serve(self, _: Peer, request: http::Request<Incoming>) -> http::Response<Body> {
        let path = request.uri().path().to_owned();
        if path == "/ready" {
            return text(200, "");
        }
        let review = match read_json(request).await {
            Ok(review) => review,
            Err(why) => return text(400, why),
        };
        if !review["request"].is_object() {
            return text(400, "the body is not an AdmissionReview: it has no `request`\n");
        }
        // Both may carry more behind the first word: the cluster and network of the caller.
        if path.starts_with("/inject") {
            let world = self.worlds.borrow().clone();
            match world {
                Some(world) => {
                    json(&webhook::inject(&review, &world, &self.revision, &self.metrics))
                }
                None => text(503, "waiting for the cluster's objects\n"),
            }
        } else if path.starts_with("/validate") {
            json(&webhook::validate(&review, &self.metrics))
        } else {
            text(404, "not found\n")
        }
    }
}

async fn read_json(request: http::Request<Incoming>) -> Result<Value, String> {
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await;
    let body = body.map_err(|e| format!("the body cannot be read: {e}\n"))?.to_bytes();
    serde_json::from_slice(&body).map_err(|e| format!("the body is not JSON: {e}\n"))
}
