//! The filters that enforce a workload's policies, put where they stand in its filter chains.

use super::{Authorization, Authorizer, Carries, Custom, Setting, TrustDomains, authorize};
use crate::build::Build;
use base::{Host, OriginId};
use ir::{FilterChain, HttpFilter, HttpFilterConfig, NetworkFilter, Rbac, Terminal};

pub(crate) struct Guard {
    requests: Vec<HttpFilter>,
    connections: Vec<NetworkFilter>,
    /// Who is asked.
    pub asks: Option<Host>,
}

const HTTP_RBAC: &str = "envoy.filters.http.rbac";
const HTTP_AUTHZ: &str = "envoy.filters.http.ext_authz";

impl Guard {
    /// What TCP cannot ask is said where there are ports that are known to be TCP.
    pub fn of(b: &mut Build<'_>, has_tcp: bool) -> Guard {
        let policies = &b.world.authorization_policies;
        let policies = policies.of_workload(&b.proxy.namespace, &b.proxy.labels);
        let mesh = &b.world.mesh.config;
        let trust = TrustDomains::of(mesh);
        let services = &b.world.services;
        let find = |name: &str| Authorizer::find(&mesh.extension_providers, services, name);
        let setting = Setting { trust: &trust, provider: &|name| find(name).map(|a| a.reach()) };
        let of = |carries| authorize(policies.iter().map(|p| &**p), setting, carries);
        let (requests, connections) = (of(Carries::Http), of(Carries::Tcp));
        b.findings.extend(requests.findings.iter().cloned());
        if has_tcp {
            b.findings.extend(connections.findings.iter().cloned());
        }
        let asked = requests.custom.as_ref().and_then(|c| c.provider.as_ref());
        let authorizer = asked.and_then(|asked| find(&asked.provider).ok());
        Guard {
            asks: authorizer.as_ref().map(|a| a.service.host.clone()),
            requests: of_requests(requests, authorizer.as_ref()),
            connections: of_connections(connections, authorizer.as_ref()),
        }
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
        filters.splice(at..at, self.requests.iter().cloned());
    }

    fn before_connections(&self, filters: &mut Vec<NetworkFilter>) {
        let known = |f: &NetworkFilter| matches!(f, NetworkFilter::MetadataExchange { .. });
        let at = filters.iter().position(known).map_or(0, |at| at + 1);
        filters.splice(at..at, self.connections.iter().cloned());
    }
}

/// Who is asked, asked behind the rules that choose what about.
fn of_requests(of: Authorization, authorizer: Option<&Authorizer<'_>>) -> Vec<HttpFilter> {
    let filter = |name: &str, config| HttpFilter {
        name: name.into(),
        config,
        disabled: false,
        origin: OriginId::NONE,
    };
    let rules = |rbac: Rbac| filter(HTTP_RBAC, HttpFilterConfig::Rbac(Box::new(rbac)));
    let mut filters = Vec::new();
    if let Some(Custom { choice, provider }) = of.custom {
        filters.push(rules(choice));
        let asks = provider.zip(authorizer).map(|(asked, a)| Box::new(a.of_requests(&asked.rules)));
        filters.extend(asks.map(|asks| filter(HTTP_AUTHZ, HttpFilterConfig::ExtAuthz(asks))));
    }
    filters.extend(of.filters.into_iter().map(rules));
    filters
}

fn of_connections(of: Authorization, authorizer: Option<&Authorizer<'_>>) -> Vec<NetworkFilter> {
    let rules = |rbac: Rbac| NetworkFilter::Rbac(Box::new(rbac));
    let mut filters = Vec::new();
    if let Some(Custom { choice, provider }) = of.custom {
        filters.push(rules(choice));
        let asks = provider.zip(authorizer).and_then(|(asked, a)| a.of_connections(&asked.rules));
        filters.extend(asks.map(|asks| NetworkFilter::ExtAuthz(Box::new(asks))));
    }
    filters.extend(of.filters.into_iter().map(rules));
    filters
}
