//! Where a cluster's endpoints come from.

use super::Policy;
use crate::build::Build;
use crate::endpoints::{self, Selection};
use api::SimpleLb;
use ir::{Discovery, DnsFamily, EndpointGroup, Str};
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

fn groups(b: &Build<'_>, service: &Service, selection: &Selection) -> Vec<EndpointGroup> {
    let known = b.world.endpoints.get(&service.key());
    known.map(|e| selection.groups(e, &selection.client(b.proxy))).unwrap_or_default()
}

fn dns(b: &Build<'_>, groups: Vec<EndpointGroup>) -> Discovery {
    let v4 = b.proxy.ips.iter().any(|ip| ip.is_ipv4());
    let v6 = b.proxy.ips.iter().any(|ip| ip.is_ipv6());
    let family = match (v4, v6) {
        (true, true) => DnsFamily::All,
        (false, true) => DnsFamily::V6Only,
        _ => DnsFamily::V4Only,
    };
    let refresh = Some(b.world.mesh.config.dns_refresh_rate.0);
    Discovery::StrictDns { groups, refresh, respect_ttl: true, family }
}
