//! Which workload a word means, and which proxy a request is explained at.

use super::Given;
use analyze::{PodView, World};
use anyhow::{Context, Result, bail};
use api::Gateway;
use base::{Host, Labels};
use explain::{Asked, Side, Workload};
use registry::Item;

/// Who asks; without a word, somebody in the namespace of whom nothing is known.
pub fn client(given: &Given, from: Option<&str>) -> Result<Workload> {
    match from {
        Some(word) => Ok(workload(pod(&given.world, word, &given.namespace)?)),
        None => Ok(Workload { namespace: given.namespace.clone(), ..Workload::default() }),
    }
}

/// `POD`, `POD.NAMESPACE`, `deploy/NAME`, `deploy/NAME.NAMESPACE`. A Deployment is asked about through one of
/// its pods, if it has some.
pub fn pod<'a>(world: &'a World, word: &str, namespace: &str) -> Result<PodView<'a>> {
    let (kind, name) = word.split_once('/').unwrap_or(("pod", word));
    let (name, namespace) = name.split_once('.').unwrap_or((name, namespace));
    let named = |p: &PodView<'_>| p.owner.name() == name && p.namespace() == namespace;
    let absent = || format!("no {kind} {name:?} in namespace {namespace:?}");
    if kind.starts_with("po") {
        return world.pods().find(named).with_context(absent);
    }
    let template = world.templates().find(named).with_context(absent)?;
    let own = |p: &PodView<'_>| p.namespace() == namespace && p.matches(&template.labels);
    Ok(world.pods().find(own).unwrap_or(template))
}

pub fn workload(pod: PodView<'_>) -> Workload {
    let templates = pod.annotations.get("inject.istio.io/templates").map(String::as_str);
    Workload {
        proxyless: templates.unwrap_or_default().split(',').any(|t| t.trim() == "grpc-agent"),
        name: pod.owner.name().to_owned(),
        namespace: pod.namespace().to_owned(),
        ip: pod.owner.value["status"]["podIP"].as_str().and_then(|ip| ip.parse().ok()),
        labels: pod.labels,
    }
}

/// Whether a Gateway selects pods like this one.
pub fn is_gateway(world: &World, pod: &PodView<'_>) -> bool {
    let mut selectors = world.snapshot.gateways.iter().map(|g| &g.spec.selector);
    selectors.any(|selector| !selector.is_empty() && pod.matches(selector))
}

/// The proxy that is asked: `gateway`, `gateway/NAME`, `server`, or a workload.
pub fn side_of(given: &Given, at: Option<&str>, client: Workload, asked: &Asked) -> Result<Side> {
    let Some(at) = at else { return Ok(Side::Client(client)) };
    match at.split_once('/') {
        None if at == "gateway" => gateway(given, asked).map(Side::Gateway),
        Some(("gateway", name)) => {
            let (name, namespace) = name.split_once('.').unwrap_or((name, &given.namespace));
            let found = given.world.snapshot.gateways.get(namespace, name);
            let found =
                found.with_context(|| format!("no Gateway {name:?} in namespace {namespace:?}"))?;
            Ok(Side::Gateway(selected(given, &found.spec.selector)))
        }
        None if at == "server" => server(given, asked).map(Side::Server),
        _ => {
            let found = pod(&given.world, at, &given.namespace)?;
            let side = if is_gateway(&given.world, &found) { Side::Gateway } else { Side::Server };
            Ok(side(workload(found)))
        }
    }
}

/// The workload of the Gateway that takes the host at the port; else of the one that takes the host.
fn gateway(given: &Given, asked: &Asked) -> Result<Workload> {
    let gateways = &given.world.snapshot.gateways;
    let host = Host::parse(&asked.host).ok();
    let takes = |gateway: &Item<Gateway>, with_port: bool| {
        gateway.spec.servers.iter().any(|server| {
            let hosts = server.hosts.iter().filter_map(|h| {
                Host::parse(h.split_once('/').map_or(h.as_str(), |(_, host)| host)).ok()
            });
            let port = server.port.number == u32::from(asked.port);
            (port || !with_port)
                && hosts.into_iter().any(|h| host.as_ref().is_some_and(|own| h.covers(own)))
        })
    };
    let found = gateways
        .iter()
        .find(|g| takes(g, true))
        .or_else(|| gateways.iter().find(|g| takes(g, false)))
        .or_else(|| gateways.iter().next());
    let Some(found) = found else { bail!("there is no Gateway object") };
    Ok(selected(given, &found.spec.selector))
}

/// A pod that a Gateway selects; where there is none, what such a pod would be.
fn selected(given: &Given, selector: &Labels) -> Workload {
    let world = &given.world;
    match world.workloads().find(|p| p.matches(selector)) {
        Some(pod) => workload(pod),
        None => Workload {
            name: String::new(),
            namespace: world.root.clone(),
            labels: selector.clone(),
            ..Workload::default()
        },
    }
}

/// A pod behind the service that the request is for.
fn server(given: &Given, asked: &Asked) -> Result<Workload> {
    let snapshot = &given.world.snapshot;
    let service = explain::service(snapshot, &asked.host, &given.namespace)
        .with_context(|| format!("no service has the host {:?}", asked.host))?;
    let pod = given
        .behind(service)
        .next()
        .with_context(|| format!("no workload is behind {}", service.host))?;
    Ok(workload(pod))
}
