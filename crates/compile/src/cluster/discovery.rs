//! Where a cluster's endpoints come from.

use super::Policy;
use crate::ProxyKind;
use crate::build::Build;
use crate::endpoints::{self, Selection};
use api::SimpleLb;
use ir::{Discovery, DnsCache, DnsFamily, EndpointGroup, Str};
use registry::{Resolution, Service, ServicePort};

pub(super) fn of(
    b: &Build<'_>,
    service: &Service,
    port: &ServicePort,
    selection: &Selection,
    policy: &Policy<'_>,
    name: &Str,
) -> Discovery {
    if policy.simple() == Some(SimpleLb::Passthrough) {
        return Discovery::OriginalDst;
    }
    match &service.resolution {
        Resolution::Endpoints => Discovery::Eds(name.clone()),
        // Who comes to a gateway comes to its address, and has chosen none of the service's; gRPC chooses
        // among all of them by itself.
        Resolution::Headless if b.proxy.kind == ProxyKind::Router || b.proxy.grpc => {
            Discovery::Eds(name.clone())
        }
        // Without HTTP nothing names the host.
        Resolution::DynamicDns if port.protocol.is_http() => Discovery::ByHost(dns_cache(b)),
        Resolution::Headless | Resolution::None | Resolution::DynamicDns => Discovery::OriginalDst,
        Resolution::Dns => dns(b, groups(b, service, selection)),
        Resolution::DnsRoundRobin => match dns(b, groups(b, service, selection)) {
            Discovery::StrictDns { groups, refresh, respect_ttl, family } => {
                Discovery::LogicalDns { groups, refresh, respect_ttl, family }
            }
            other => other,
        },
        Resolution::Alias(target) => dns(b, vec![endpoints::named(target, port.number)]),
    }
}

/// Of connections that are passed on as they came: never to wherever they were going, since only
/// endpoints that the registry knows can be told to have a sidecar.
pub(super) fn passed_on(
    b: &Build<'_>,
    service: &Service,
    selection: &Selection,
    name: &Str,
) -> Discovery {
    match &service.resolution {
        Resolution::Dns | Resolution::DnsRoundRobin => dns(b, groups(b, service, selection)),
        _ => Discovery::Eds(name.clone()),
    }
}

fn groups(b: &Build<'_>, service: &Service, selection: &Selection) -> Vec<EndpointGroup> {
    let known = b.world.endpoints.get(&service.key());
    known.map(|e| selection.groups(e, &selection.client(b.proxy))).unwrap_or_default()
}

/// Of the proxy; `both` where it has both.
fn family(b: &Build<'_>, both: DnsFamily) -> DnsFamily {
    match b.proxy.families() {
        (true, true) => both,
        (false, true) => DnsFamily::V6Only,
        _ => DnsFamily::V4Only,
    }
}

/// One for all hosts that requests name.
pub(crate) fn dns_cache(b: &Build<'_>) -> DnsCache {
    let refresh = Some(b.world.mesh.config.dns_refresh_rate.0);
    DnsCache { name: "by-host".into(), refresh, family: family(b, DnsFamily::V4Preferred) }
}

fn dns(b: &Build<'_>, groups: Vec<EndpointGroup>) -> Discovery {
    let family = family(b, DnsFamily::All);
    let refresh = Some(b.world.mesh.config.dns_refresh_rate.0);
    Discovery::StrictDns { groups, refresh, respect_ttl: true, family }
}
