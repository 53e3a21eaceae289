//! The filters that enforce a workload's policies, put where they stand in its filter chains.

use super::{Authorization, Carries, Setting, TrustDomains, authorize};
use crate::build::Build;
use base::OriginId;
use ir::{FilterChain, HttpFilter, HttpFilterConfig, NetworkFilter, Rbac, Terminal};

pub(crate) struct Guard {
    requests: Vec<Rbac>,
    connections: Vec<Rbac>,
}

const HTTP_RBAC: &str = "envoy.filters.http.rbac";

impl Guard {
    /// What TCP cannot ask is said where there are ports that are known to be TCP.
    pub fn of(b: &mut Build<'_>, has_tcp: bool) -> Guard {
        let policies = &b.world.authorization_policies;
        let policies = policies.of_workload(&b.proxy.namespace, &b.proxy.labels);
        let trust = TrustDomains::of(&b.world.mesh.config);
        // The mesh configuration has no external authorizers yet: what leads to one is denied.
        let setting = Setting { trust: &trust, provider: &|_| None };
        let of = |carries| authorize(policies.iter().map(|p| &**p), setting, carries);
        let (requests, connections) = (of(Carries::Http), of(Carries::Tcp));
        b.findings.extend(requests.findings.iter().cloned());
        if has_tcp {
            b.findings.extend(connections.findings.iter().cloned());
        }
        Guard { requests: in_order(requests), connections: in_order(connections) }
    }

    pub fn stand_in(&self, chains: &mut [FilterChain]) {
        for chain in chains {
            match &mut chain.terminal {
                Terminal::Http(manager) => self.before_requests(&mut manager.filters),
                _ => self.before_connections(&mut chain.network),
            }
        }
    }

    /// Behind who the peer is, before all else.
    fn before_requests(&self, filters: &mut Vec<HttpFilter>) {
        let known = |f: &HttpFilter| matches!(f.config, HttpFilterConfig::PeerMetadata(_));
        let at = filters.iter().position(known).map_or(0, |at| at + 1);
        let filter = |rbac: &Rbac| HttpFilter {
            name: HTTP_RBAC.into(),
            config: HttpFilterConfig::Rbac(Box::new(rbac.clone())),
            disabled: false,
            origin: OriginId::NONE,
        };
        filters.splice(at..at, self.requests.iter().map(filter));
    }

    fn before_connections(&self, filters: &mut Vec<NetworkFilter>) {
        let known = |f: &NetworkFilter| matches!(f, NetworkFilter::MetadataExchange { .. });
        let at = filters.iter().position(known).map_or(0, |at| at + 1);
        let filter = |rbac: &Rbac| NetworkFilter::Rbac(Box::new(rbac.clone()));
        filters.splice(at..at, self.connections.iter().map(filter));
    }
}

fn in_order(of: Authorization) -> Vec<Rbac> {
    of.custom.map(|c| c.choice).into_iter().chain(of.filters).collect()
}
