//! Which service a host name means to the objects of a namespace: the compiler's own resolution.

use crate::world::World;
use api::{Destination, VirtualService};
use base::Host;
use registry::{ExportTo, Item, Service};

impl World {
    pub fn resolve(&self, name: &str, namespace: &str) -> Option<Host> {
        Host::resolve(name, namespace, &self.snapshot.domain).ok()
    }

    /// The service that clients in `from` reach by a host: one of exactly that name, else one whose
    /// wildcard stands for it.
    pub fn service(&self, host: &Host, from: &str) -> Option<&Service> {
        let snapshot = &self.snapshot;
        let seen = |s: &&Service| snapshot.sees_service(s, from);
        let exact = snapshot.services.of_host(host).iter().map(|s| &**s).find(seen);
        exact.or_else(|| {
            let wide = snapshot.services.iter().map(|s| &**s);
            wide.filter(|s| s.host.is_wildcard() && s.host.covers(host)).find(seen)
        })
    }

    /// The namespaces whose proxies obey a VirtualService; its own stands for all.
    pub fn clients_of<'a>(&self, item: &'a Item<VirtualService>) -> Vec<&'a str> {
        let own = item.namespace();
        match &item.export_to {
            Some(ExportTo::Namespaces(list)) => {
                list.iter().map(|n| if n == "." { own } else { n.as_str() }).collect()
            }
            _ => vec![own],
        }
    }
}

/// Where a VirtualService sends requests to.
pub struct Target<'a> {
    pub path: String,
    /// `None`: a route without a destination.
    pub destination: Option<&'a Destination>,
    /// Index of the HTTP rule, when it is one.
    pub http: bool,
}

/// Every destination of a VirtualService, mirrors included.
pub fn targets(spec: &VirtualService) -> Vec<Target<'_>> {
    let mut all = Vec::new();
    let mut add = |path: String, destination, http| all.push(Target { path, destination, http });
    for (i, rule) in spec.http.iter().enumerate() {
        for (j, route) in rule.route.iter().enumerate() {
            add(format!("spec.http[{i}].route[{j}].destination"), route.destination.as_ref(), true);
        }
        if let Some(mirror) = &rule.mirror {
            add(format!("spec.http[{i}].mirror"), Some(mirror), true);
        }
        for (j, mirror) in rule.mirrors.iter().enumerate() {
            let path = format!("spec.http[{i}].mirrors[{j}].destination");
            add(path, mirror.destination.as_ref(), true);
        }
    }
    for (i, rule) in spec.tls.iter().enumerate() {
        for (j, route) in rule.route.iter().enumerate() {
            add(format!("spec.tls[{i}].route[{j}].destination"), route.destination.as_ref(), false);
        }
    }
    for (i, rule) in spec.tcp.iter().enumerate() {
        for (j, route) in rule.route.iter().enumerate() {
            add(format!("spec.tcp[{i}].route[{j}].destination"), route.destination.as_ref(), false);
        }
    }
    all
}
