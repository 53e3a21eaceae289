//! Which workload a word means, and which proxy a request is explained at.

use super::Given;
use analyze::World;
use anyhow::{Context, Result, bail};
use api::Gateway;
use base::{Host, Labels};
use explain::{Asked, Side, Workload};
use registry::Item;
use serde_json::Value;

/// Who asks; without a word, somebody in the namespace of whom nothing is known.
pub fn client(given: &Given, from: Option<&str>) -> Result<Workload> {
    match from {
        Some(word) => workload(&given.world, word, &given.namespace),
        None => Ok(Workload { namespace: given.namespace.clone(), ..Workload::default() }),
    }
}

/// `POD`, `POD.NAMESPACE`, `deploy/NAME`, `deploy/NAME.NAMESPACE`.
pub fn workload(world: &World, word: &str, namespace: &str) -> Result<Workload> {
    let (kind, name) = word.split_once('/').unwrap_or(("pod", word));
    let (name, namespace) = name.split_once('.').unwrap_or((name, namespace));
    let is_pod = kind.starts_with("po");
    let found = if is_pod {
        world.pods().find(|p| p.owner.name() == name && p.namespace() == namespace)
    } else {
        world.templates().find(|p| p.owner.name() == name && p.namespace() == namespace)
    };
    let found = found.with_context(|| format!("no {kind} {name:?} in namespace {namespace:?}"))?;
    // A Deployment is asked about through one of its pods, if it has some.
    let pod = world.pods().find(|p| {
        p.namespace() == namespace
            && if is_pod { p.owner.name() == name } else { p.matches(&found.labels) }
    });
    let (namespace, ip) = (namespace.to_owned(), pod.as_ref().and_then(|p| ip(&p.owner.value)));
    let labels = pod.map_or(found.labels, |p| p.labels);
    Ok(Workload { name: name.to_owned(), namespace, labels, ip })
}

fn ip(pod: &Value) -> Option<std::net::IpAddr> {
    pod["status"]["podIP"].as_str()?.parse().ok()
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
            let found = workload(&given.world, at, &given.namespace)?;
            let is_gateway =
                given.world.snapshot.gateways.iter().any(|g| {
                    !g.spec.selector.is_empty() && includes(&found.labels, &g.spec.selector)
                });
            Ok(if is_gateway { Side::Gateway(found) } else { Side::Server(found) })
        }
    }
}

fn includes(labels: &Labels, selector: &Labels) -> bool {
    selector.iter().all(|(k, v)| labels.get(k) == Some(v))
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
        Some(pod) => Workload {
            name: pod.owner.name().to_owned(),
            namespace: pod.namespace().to_owned(),
            ip: ip(&pod.owner.value),
            labels: pod.labels,
        },
        None => Workload {
            name: String::new(),
            namespace: world.root.clone(),
            labels: selector.clone(),
            ip: None,
        },
    }
}

/// A pod behind the service that the request is for.
fn server(given: &Given, asked: &Asked) -> Result<Workload> {
    let snapshot = &given.world.snapshot;
    let service = explain::service(snapshot, &asked.host, &given.namespace)
        .with_context(|| format!("no service has the host {:?}", asked.host))?;
    let found = given.world.workloads().find(|p| {
        p.namespace() == &*service.namespace
            && !service.selector.is_empty()
            && p.matches(&service.selector)
    });
    let pod = found.with_context(|| format!("no workload is behind {}", service.host))?;
    Ok(Workload {
        name: pod.owner.name().to_owned(),
        namespace: pod.namespace().to_owned(),
        ip: ip(&pod.owner.value),
        labels: pod.labels,
    })
}
