//! Keeps the node's rules, its names and the host's way in as the services say.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use apiserver::{Client, Event, Ref};
use futures::future::BoxFuture;
use net::service::{ServiceNet, ServiceRule};
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::Shared;
use crate::dns::{self, Table};
use crate::services::{self, Wish};

/// Changes that come together are applied together; endpoints must not wait longer.
const SETTLE: Duration = Duration::from_millis(10);

/// Whoever holds the host's side: listening sockets and the name server.
pub trait HostSide: Send + Sync {
    /// Makes these the names that pods find.
    fn names(&self, table: Table) -> BoxFuture<'_, ()>;
    /// Listens on the host for these and nothing else; the answer gives each wish's address, by
    /// key, where it got one.
    fn relays(&self, wishes: Vec<Wish>) -> BoxFuture<'_, Vec<(String, IpAddr)>>;
}

/// A node that nobody reaches from outside.
pub struct NoHost;

impl HostSide for NoHost {
    fn names(&self, _: Table) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn relays(&self, _: Vec<Wish>) -> BoxFuture<'_, Vec<(String, IpAddr)>> {
        Box::pin(async { vec![] })
    }
}

/// Follows services and endpoints until the process ends.
pub async fn follow(shared: Arc<Shared>, host: Arc<dyn HostSide>) {
    let mut events = shared.client.subscribe();
    let mut rules = None;
    let (show, shown) = watch::channel(None);
    tokio::spawn(show_host(shared.clone(), host, shown));
    loop {
        update(&shared, &mut rules, &show);
        loop {
            match events.recv().await {
                Ok(event) if concerns(&event) => break,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return,
            }
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// Endpoints of an ending pod are taken out first, but not waited for longer than this.
const UNLISTED: Duration = Duration::from_secs(3);
/// So long proxies and rules take, generously, to hear of it.
const HEARD: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(20);

/// Returns when no service sends anything new to these addresses.
pub async fn unlisted(shared: Arc<Shared>, ips: Vec<IpAddr>) {
    let ips: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
    let listed = |ready_only: bool| {
        let slices = shared.client.list("discovery.k8s.io", "endpointslices", None);
        slices.iter().any(|slice| lists(slice, &ips, ready_only))
    };
    if !listed(false) {
        return;
    }
    let deadline = tokio::time::Instant::now() + UNLISTED;
    while listed(true) && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK).await;
    }
    tokio::time::sleep(HEARD).await;
}

fn lists(slice: &Value, ips: &[String], ready_only: bool) -> bool {
    let endpoints = slice.pointer("/endpoints").and_then(Value::as_array).into_iter().flatten();
    endpoints.into_iter().any(|e| {
        let ready = e.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true);
        let addresses = e.pointer("/addresses").and_then(Value::as_array).into_iter().flatten();
        (ready || !ready_only)
            && addresses.filter_map(Value::as_str).any(|a| ips.iter().any(|ip| ip == a))
    })
}

fn concerns(event: &Event) -> bool {
    let (group, resource) = (event.resource.0.as_str(), event.resource.1.as_str());
    matches!((group, resource), ("", "services") | ("discovery.k8s.io", "endpointslices"))
}

/// What the host's side should show.
#[derive(Clone, PartialEq)]
struct HostView {
    table: Table,
    wishes: Vec<Wish>,
}

/// Applies the rules at once, and leaves the host's side to its own task: rules must not wait
/// for a holder that is being started again.
fn update(
    shared: &Shared,
    applied: &mut Option<Vec<ServiceRule>>,
    show: &watch::Sender<Option<HostView>>,
) {
    let services = shared.client.list("", "services", None);
    let slices = shared.client.list("discovery.k8s.io", "endpointslices", None);
    let rules = services::rules(&services, &slices, &shared.config.node_ips);
    if applied.as_ref() != Some(&rules) {
        match net::service::apply(&service_net(shared), &rules) {
            Ok(()) => *applied = Some(rules),
            Err(e) => tracing::error!("the rules of the services: {e}"),
        }
    }
    let table = dns::table(&shared.config.domain, &services, &slices);
    let wishes = services::wishes(&services, shared.config.load_balancers);
    let view = Some(HostView { table, wishes });
    show.send_if_modified(|old| {
        let changed = *old != view;
        *old = view;
        changed
    });
}

/// Tells the host's side the latest view; those in between may be skipped.
async fn show_host(
    shared: Arc<Shared>,
    host: Arc<dyn HostSide>,
    mut views: watch::Receiver<Option<HostView>>,
) {
    let mut told: Option<HostView> = None;
    while views.changed().await.is_ok() {
        let Some(view) = views.borrow_and_update().clone() else { continue };
        if told.as_ref().map(|t| &t.table) != Some(&view.table) {
            host.names(view.table.clone()).await;
        }
        if told.as_ref().map(|t| &t.wishes) != Some(&view.wishes) {
            let given = host.relays(view.wishes.clone()).await;
            let services = shared.client.list("", "services", None);
            show_addresses(&shared.client, &services, &given).await;
        }
        told = Some(view);
    }
}

fn service_net(shared: &Shared) -> ServiceNet {
    let config = &shared.config;
    let mut inside = config.service_blocks.clone();
    inside.push((IpAddr::from([10, 244, 0, 0]), 16));
    inside.push((IpAddr::from([0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0]), 112));
    ServiceNet {
        service_blocks: config.service_blocks.clone(),
        own: vec![config.dns_ip],
        node: config.node_ips.clone(),
        inside,
        outbound_relay: config.outbound_relay,
    }
}

/// Writes load balancers' addresses into their services, and takes away what is none any more.
async fn show_addresses(client: &Client, services: &[Arc<Value>], given: &[(String, IpAddr)]) {
    for service in services {
        let key = format!("{}/{}", services::namespace(service), services::name(service));
        let ip = given.iter().find(|(k, _)| *k == key).map(|(_, ip)| *ip);
        let Some(patch) = services::balancer_status(service, ip) else { continue };
        let reference = Ref {
            group: String::new(),
            resource: "services".to_owned(),
            namespace: Some(services::namespace(service).to_owned()),
            name: services::name(service).to_owned(),
        };
        if let Err(e) = client.merge_patch(&reference, Some("status"), patch).await {
            tracing::warn!("the address of {key}: {}", e.message);
        }
    }
}
