//! What gRPC's own xDS clients and servers are told, who are in the mesh without a proxy: the configuration of
//! a sidecar that would stand beside them, in the shapes that gRPC knows (its proposals A27, A28, A29, A36,
//! A41). They ask by name, and get no more than they ask for. What they could not carry out is left out where
//! that only costs a feature, and closes the door where it would open one.

mod cluster;
mod listener;
mod route;

use crate::server::{Encoded, Layer};
use ir::{Cluster, Config, Endpoints, Kind, ResourceKey, Str, VirtualHost};
use prost::Message;
use proto::envoy::google::protobuf::Any;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Those of the resources `wanted` that there are.
pub fn resources<'a>(
    config: &Config,
    wanted: impl Iterator<Item = &'a ResourceKey> + Clone,
) -> Layer {
    let sight = Sight::of(config, wanted.clone());
    wanted.filter_map(|key| Some((key.clone(), sight.one(key)?))).collect()
}

/// A sidecar's configuration, seen from an application. What is asked for is looked for once, however much it
/// is: the configuration may be large, and so may the wishes of somebody who means harm.
struct Sight<'a> {
    config: &'a Config,
    clusters: HashMap<&'a str, &'a Cluster>,
    /// By their services.
    endpoints: HashMap<&'a str, &'a Endpoints>,
    /// By each of the names that were asked for.
    hosts: HashMap<String, Vec<&'a VirtualHost>>,
}

impl<'a> Sight<'a> {
    fn of<'k>(config: &'a Config, wanted: impl Iterator<Item = &'k ResourceKey>) -> Sight<'a> {
        let (mut clusters, mut hosts) = (HashSet::new(), HashSet::new());
        for key in wanted {
            match key.kind {
                Kind::Cluster | Kind::Endpoints => drop(clusters.insert(&*key.name)),
                Kind::Listener => {
                    hosts.extend(target(&key.name).map(|(host, _)| host.to_ascii_lowercase()));
                }
                Kind::Route => hosts.extend(listener::host_of_route(&key.name).map(|(h, _)| h)),
                Kind::Secret | Kind::Names => {}
            }
        }
        let all = config.clusters.iter().filter(|c| clusters.contains(&*c.name));
        let clusters: HashMap<_, _> = all.map(|c| (&*c.name, &**c)).collect();
        let services: HashSet<Str> =
            clusters.values().filter_map(|c| crate::endpoints_of(c)).collect();
        let all = config.endpoints.iter().filter(|e| services.contains(&e.cluster));
        let endpoints = all.map(|e| (&*e.cluster, &**e)).collect();
        Sight { config, clusters, endpoints, hosts: hosts_of(config, &hosts) }
    }

    fn one(&self, key: &ResourceKey) -> Option<Encoded> {
        match key.kind {
            Kind::Listener => match key.name.strip_prefix(listener::INBOUND) {
                Some(address) => listener::of_server(self.config, &key.name, address.parse().ok()?),
                None => {
                    let (host, port) = target(&key.name)?;
                    let host = self.virtual_host(&host.to_ascii_lowercase(), port)?;
                    Some(listener::of_client(&key.name, &host.name))
                }
            },
            Kind::Route => {
                let (host, port) = listener::host_of_route(&key.name)?;
                let host = self.virtual_host(&host, Some(port))?;
                // One name for each: others would be as many copies of it.
                let own = listener::route_name(&host.name);
                (own == *key.name).then(|| route::of(&key.name, host))
            }
            Kind::Cluster => cluster::of(self.clusters.get(&*key.name)?),
            Kind::Endpoints => {
                let cluster = self.clusters.get(&*key.name)?;
                let service = crate::endpoints_of(cluster);
                let found = service.and_then(|s| self.endpoints.get(&*s).copied());
                cluster::endpoints(cluster, found)
            }
            Kind::Secret | Kind::Names => None,
        }
    }

    /// The one that answers to a name. Without a port it is that of port 80, else the only one.
    fn virtual_host(&self, host: &str, port: Option<u16>) -> Option<&'a VirtualHost> {
        let found = self.hosts.get(host)?;
        let at = |port| found.iter().find(|h| port_of(h) == Some(port)).copied();
        match (port, &found[..]) {
            (Some(port), _) => at(port),
            (None, [only]) => Some(only),
            (None, _) => at(80),
        }
    }
}

/// Those that answer to any of these names, or have it themselves: of services whose port is detected the
/// domain is `*`.
fn hosts_of<'a>(
    config: &'a Config,
    wanted: &HashSet<String>,
) -> HashMap<String, Vec<&'a VirtualHost>> {
    let mut found: HashMap<String, Vec<&VirtualHost>> = HashMap::new();
    if wanted.is_empty() {
        return found;
    }
    for host in config.routes.iter().flat_map(|r| &r.virtual_hosts) {
        let own = target(&host.name).filter(|(_, port)| port.is_some()).map(|(name, _)| name);
        let Some(own) = own else { continue };
        let others = host.domains.iter().map(|d| &**d).filter(|d| *d != own);
        for name in std::iter::once(own).chain(others) {
            let name = lower(name);
            if wanted.contains(&*name) {
                found.entry(name.into_owned()).or_default().push(host);
            }
        }
    }
    found
}

fn lower(name: &str) -> Cow<'_, str> {
    match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(name.to_ascii_lowercase()),
        false => Cow::Borrowed(name),
    }
}

fn port_of(host: &VirtualHost) -> Option<u16> {
    target(&host.name)?.1
}

/// `host:port`, or `host` alone.
fn target(name: &str) -> Option<(&str, Option<u16>)> {
    match name.rsplit_once(':') {
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((name, None)),
    }
}

fn encoded(message: &impl Message, needs: Vec<ResourceKey>) -> Encoded {
    Encoded::with(message.encode_to_vec().into(), needs.into())
}

/// A message in its envelope.
fn any(name: &str, message: &impl Message) -> Any {
    raw(name, message.encode_to_vec())
}

fn raw(name: &str, value: Vec<u8>) -> Any {
    Any { type_url: format!("{}{name}", crate::message::TYPE_HOST), value }
}

#[cfg(test)]
mod tests;
