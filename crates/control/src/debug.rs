//! `/debug/…`: what the control plane knows and what it told whom. For the control plane's own
//! machine, and for callers with a token of the installation's namespace.

use crate::ads::Ads;
use crate::authority::Authority;
use crate::http::{json, reply};
use crate::listen::{Body, Peer};
use crate::world::World;
use ca::TokenAuthenticator;
use hyper::body::Incoming;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct Debug {
    pub worlds: watch::Receiver<Option<World>>,
    pub ads: Ads,
    pub authority: Authority,
    pub tokens: Arc<dyn TokenAuthenticator>,
    pub namespace: Arc<str>,
}

const PAGES: [&str; 10] = [
    "/debug/ca",
    "/debug/syncz",
    "/debug/configz",
    "/debug/endpointz",
    "/debug/registryz",
    "/debug/config_dump?proxyID=<pod>.<namespace>",
    "/debug/ndsz?proxyID=<pod>.<namespace>",
    "/debug/connections",
    "/debug/mesh",
    "/debug/list",
];

impl Debug {
    pub async fn answer(
        &self,
        peer: &Peer,
        request: &http::Request<Incoming>,
    ) -> http::Response<Body> {
        if let Err(why) = self.authorize(peer, request.headers()).await {
            return reply(401, "text/plain", why);
        }
        let Some(world) = self.worlds.borrow().clone() else {
            return reply(503, "text/plain", "waiting for the cluster's objects\n");
        };
        let page = match request.uri().path() {
            "/debug" | "/debug/" | "/debug/list" => json!(PAGES),
            "/debug/syncz" => self.ads.syncz(),
            "/debug/connections" => self.ads.connections(),
            "/debug/configz" => configz(&world),
            "/debug/endpointz" => endpointz(&world),
            "/debug/registryz" => registryz(&world),
            "/debug/ca" => self.authority.show(),
            "/debug/mesh" => world.facts.mesh.clone(),
            page @ ("/debug/config_dump" | "/debug/ndsz") => {
                let id = query(request, "proxyID").unwrap_or_default();
                let found = match page {
                    "/debug/ndsz" => self.ads.names(&id),
                    _ => self.ads.config_dump(&id),
                };
                match found {
                    Some(dump) => dump,
                    None => {
                        return reply(
                            404,
                            "text/plain",
                            format!("no proxy {id:?} is connected; /debug/syncz lists them\n"),
                        );
                    }
                }
            }
            _ => return reply(404, "text/plain", "no such page; /debug/list lists them\n"),
        };
        json(&page)
    }

    /// The pod itself may look, and a service account of the installation's namespace.
    pub(crate) async fn authorize(
        &self,
        peer: &Peer,
        headers: &http::HeaderMap,
    ) -> Result<(), String> {
        if peer.local {
            return Ok(());
        }
        let header = headers.get("authorization").and_then(|v| v.to_str().ok());
        let token = header
            .and_then(|v| v.strip_prefix("Bearer "))
            .ok_or("send `authorization: Bearer <token>`; `kubectl create token istiod -n istio-system --audience istio-ca` makes one\n")?;
        let caller = self.tokens.authenticate(token).await.map_err(|e| format!("{e}\n"))?;
        if *caller.identity.namespace == *self.namespace {
            Ok(())
        } else {
            Err(format!(
                "{} may not look here; use an account of {}\n",
                caller.identity, self.namespace
            ))
        }
    }
}

fn query(request: &http::Request<Incoming>, key: &str) -> Option<String> {
    let pairs = request.uri().query()?.split('&').filter_map(|p| p.split_once('='));
    pairs.into_iter().find(|(k, _)| *k == key).map(|(_, v)| v.to_owned())
}

fn configz(world: &World) -> Value {
    let objects = world.facts.objects.iter().map(|(about, age)| {
        json!({"kind": about.kind, "namespace": about.namespace, "name": about.name,
            "generation": age.generation})
    });
    objects.collect()
}

fn registryz(world: &World) -> Value {
    let services = world.snapshot.services.iter().map(|s| {
        let ports: Vec<Value> = s
            .ports
            .iter()
            .map(|p| json!({"name": p.name, "port": p.number, "protocol": format!("{:?}", p.protocol)}))
            .collect();
        json!({"hostname": s.host.to_string(), "ports": ports,
            "Attributes": {"Name": &*s.name, "Namespace": &*s.namespace}})
    });
    services.collect()
}

fn endpointz(world: &World) -> Value {
    let services = world.snapshot.services.iter().map(|s| {
        let endpoints = world.snapshot.endpoints.get(&s.key());
        let instances: Vec<Value> = endpoints
            .map(|e| e.instances.iter().map(|i| json!(format!("{i:?}"))).collect())
            .unwrap_or_default();
        json!({"svc": s.host.to_string(), "ep": instances})
    });
    services.collect()
}
