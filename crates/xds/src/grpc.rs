//! What gRPC's own xDS clients and servers are told, who are in the mesh without a proxy: the configuration of
//! a sidecar that would stand beside them, in the shapes that gRPC knows (its proposals A27, A28, A29, A36,
//! A41). They ask by name, and get no more than they ask for. What they could not carry out is left out where
//! that only costs a feature, and closes the door where it would open one.

mod cluster;
mod listener;
mod route;

use crate::server::{Encoded, Layer};
use ir::{Cluster, Config, Kind, ResourceKey, RouteConfig, VirtualHost};
use prost::Message;
use proto::envoy::google::protobuf::Any;
use std::sync::Arc;

/// Those of the resources `wanted` that there are.
pub fn resources<'a>(config: &Config, wanted: impl Iterator<Item = &'a ResourceKey>) -> Layer {
    let sight = Sight(config);
    wanted.filter_map(|key| Some((key.clone(), sight.one(key)?))).collect()
}

/// A sidecar's configuration, seen from an application.
struct Sight<'a>(&'a Config);

impl Sight<'_> {
    fn one(&self, key: &ResourceKey) -> Option<Encoded> {
        match key.kind {
            Kind::Listener => match key.name.strip_prefix(listener::INBOUND) {
                Some(address) => listener::of_server(self.0, &key.name, address.parse().ok()?),
                None => {
                    let (host, port) = target(&key.name)?;
                    Some(listener::of_client(&key.name, &self.virtual_host(host, port)?.name))
                }
            },
            Kind::Route => {
                let name = listener::host_of_route(&key.name)?;
                Some(route::of(&key.name, self.hosts().find(|h| *h.name == *name)?))
            }
            Kind::Cluster => cluster::of(self.cluster(&key.name)?),
            Kind::Endpoints => cluster::endpoints(self.0, self.cluster(&key.name)?),
            Kind::Secret | Kind::Names => None,
        }
    }

    fn cluster(&self, name: &str) -> Option<&Arc<Cluster>> {
        self.0.clusters.iter().find(|c| *c.name == *name)
    }

    fn hosts(&self) -> impl Iterator<Item = &Arc<VirtualHost>> {
        self.0.routes.iter().flat_map(|r| &r.virtual_hosts)
    }

    /// The one that answers to a name. Without a port it is that of port 80, else the only one.
    fn virtual_host(&self, host: &str, port: Option<u16>) -> Option<&Arc<VirtualHost>> {
        let mut found: Vec<&Arc<VirtualHost>> =
            self.0.routes.iter().filter_map(|r| named(r, host)).collect();
        let at = |h: &Arc<VirtualHost>| target(&h.name).and_then(|(_, port)| port);
        match port {
            Some(_) => found.into_iter().find(|h| at(h) == port),
            None if found.len() == 1 => found.pop(),
            None => found.into_iter().find(|h| at(h) == Some(80)),
        }
    }
}

/// The virtual host of a name. Of services whose port is detected the domain is `*`, and the name is their own.
fn named<'a>(routes: &'a RouteConfig, host: &str) -> Option<&'a Arc<VirtualHost>> {
    routes.virtual_hosts.iter().find(|h| {
        let own = target(&h.name).is_some_and(|(name, port)| port.is_some() && name == host);
        own || h.domains.iter().any(|d| d.eq_ignore_ascii_case(host))
    })
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
