//! The virtual hosts of a gateway's route configuration: where the hosts of its servers and of the
//! VirtualServices that bind to them meet.

use super::servers::{Bound, PortGroup};
use crate::build::Build;
use crate::names;
use crate::outbound::{config, virtual_host};
use crate::route::{Place, http_routes, is_catch_all};
use crate::scope::Scope;
use base::{Host, OriginId};
use ir::{Action, RequireTls, RouteConfig, Str, VirtualHost};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub(super) fn route_config(
    b: &mut Build<'_>,
    scope: &Scope,
    group: &PortGroup,
    name: Str,
    servers: &[&Bound],
) -> RouteConfig {
    let mut hosts: BTreeMap<Host, VirtualHost> = BTreeMap::new();
    let mut done = HashSet::new();
    for bound in servers {
        add_routes(b, scope, bound, &mut hosts, &mut done);
        if bound.redirects_to_https() {
            for server_host in &bound.hosts {
                let host = host_entry(&mut hosts, &server_host.host, bound);
                host.require_tls = RequireTls::All;
            }
        }
    }
    let redirecting: Vec<&Bound> =
        servers.iter().copied().filter(|s| s.redirects_to_https()).collect();
    for (name, host) in &mut hosts {
        if redirecting.iter().any(|s| s.hosts.iter().any(|h| h.host.covers(name))) {
            host.require_tls = RequireTls::All;
        }
    }
    let mut list: Vec<VirtualHost> = hosts.into_values().collect();
    list.sort_by(|a, b| a.name.cmp(&b.name));
    if list.is_empty() {
        // Nothing is routed yet, and every request is answered 404.
        let port = servers.first().map_or(group.port, |s| s.server_port);
        let name = names::host_port("blackhole", port);
        list.push(VirtualHost {
            name,
            domains: vec!["*".into()],
            origin: OriginId::NONE,
            ..VirtualHost::default()
        });
    }
    config(name, list.into_iter().map(Arc::new).collect())
}

fn add_routes(
    b: &mut Build<'_>,
    scope: &Scope,
    bound: &Bound,
    hosts: &mut BTreeMap<Host, VirtualHost>,
    done: &mut HashSet<(String, Host)>,
) {
    let gateways = [bound.gateway_name()];
    for item in bound.routes(b) {
        for host in &item.hosts {
            let mut meets: Vec<Host> = Vec::new();
            for server in bound.hosts.iter().filter(|s| s.admits(item.namespace())) {
                if server.host.covers(host) {
                    meets.push(host.clone());
                } else if host.covers(&server.host) {
                    meets.push(server.host.clone());
                }
            }
            for meet in meets {
                if !done.insert((item.object.to_string(), meet.clone())) {
                    continue;
                }
                let place = Place {
                    scope,
                    gateways: &gateways,
                    port: bound.server_port,
                    tls: bound.transport.is_tls(),
                };
                let routes = http_routes(b, &place, &item);
                if routes.is_empty() {
                    continue;
                }
                let entry = host_entry(hosts, &meet, bound);
                if !ends_with_catch_all(entry) {
                    entry.routes.extend(routes);
                }
            }
        }
    }
}

fn host_entry<'a>(
    hosts: &'a mut BTreeMap<Host, VirtualHost>,
    host: &Host,
    bound: &Bound,
) -> &'a mut VirtualHost {
    hosts.entry(host.clone()).or_insert_with(|| {
        let name = names::host_port(host.as_str(), bound.server_port);
        virtual_host(name, vec![host.as_str().into()], Vec::new(), bound.origin)
    })
}

/// Of several VirtualServices for one host the older one's rules come first; after a rule that takes
/// everything nothing follows.
fn ends_with_catch_all(host: &VirtualHost) -> bool {
    let last = host.routes.last();
    last.is_some_and(|r| is_catch_all(&r.matches) && !matches!(r.action, Action::NonForwarding))
}
