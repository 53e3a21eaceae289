//! What a resource refers to: a configuration is complete when everything that is referred to is there.

use ir::{
    Action, CertificateSource, Cluster, Config, Destination, Discovery, FilterChain, Forward,
    HttpFilterConfig, HttpManager, Kind, Listener, NetworkFilter, Resource, ResourceKey,
    RouteConfig, RouteSource, SecretRef, SecretSource, Str, TcpDestination, Terminal, TlsCommon,
    TracingProvider, VirtualHost,
};
use std::collections::BTreeSet;

/// The keys that this resource names, each once, sorted.
pub fn references(resource: &Resource) -> Vec<ResourceKey> {
    let mut found = Found::default();
    match resource {
        Resource::Cluster(c) => found.cluster(c),
        Resource::Listener(l) => found.listener(l),
        Resource::Route(r) => found.routes(r),
        Resource::Endpoints(_) | Resource::Secret(_) | Resource::Names(_) => {}
    }
    found.keys.into_iter().collect()
}

/// Those that a virtual host names.
pub(crate) fn host_references(host: &VirtualHost) -> Vec<ResourceKey> {
    let mut found = Found::default();
    found.host(host);
    found.keys.into_iter().collect()
}

/// The name under which a cluster's endpoints are discovered.
pub fn endpoints_of(cluster: &Cluster) -> Option<Str> {
    match &cluster.discovery {
        Discovery::Eds(service) if service.is_empty() => Some(cluster.name.clone()),
        Discovery::Eds(service) => Some(service.clone()),
        _ => None,
    }
}

/// The secrets that a configuration names and its own stream does not bring.
pub fn secrets_elsewhere(config: &Config) -> BTreeSet<SecretRef> {
    let mut found = Found::default();
    config.clusters.iter().for_each(|c| found.cluster(c));
    config.listeners.iter().for_each(|l| found.listener(l));
    found.elsewhere
}

#[derive(Default)]
struct Found {
    keys: BTreeSet<ResourceKey>,
    elsewhere: BTreeSet<SecretRef>,
}

impl Found {
    fn add(&mut self, kind: Kind, name: &Str) {
        if !name.is_empty() {
            self.keys.insert(ResourceKey { kind, name: name.clone() });
        }
    }

    fn cluster(&mut self, c: &Cluster) {
        if let Some(name) = endpoints_of(c) {
            self.add(Kind::Endpoints, &name);
        }
        let matches = c.tls_matches.iter().filter_map(|m| m.tls.as_ref());
        for tls in c.tls.iter().chain(matches) {
            self.tls(&tls.common);
        }
    }

    fn tls(&mut self, tls: &TlsCommon) {
        for certificate in &tls.certificates {
            if let CertificateSource::Sds(secret) = certificate {
                self.secret(secret);
            }
        }
        if let Some(secret) = tls.validation.as_ref().and_then(|v| v.roots_sds.as_ref()) {
            self.secret(secret);
        }
    }

    /// Those of a cluster come by another stream.
    fn secret(&mut self, secret: &SecretRef) {
        match &secret.from {
            SecretSource::Static | SecretSource::Ads => self.add(Kind::Secret, &secret.name),
            SecretSource::Cluster(_) => {
                self.elsewhere.insert(secret.clone());
            }
        }
    }

    fn listener(&mut self, l: &Listener) {
        l.chains.iter().chain(&l.default_chain).for_each(|c| self.chain(c));
    }

    fn chain(&mut self, c: &FilterChain) {
        if let Some(tls) = &c.tls {
            self.tls(&tls.common);
        }
        for filter in &c.network {
            if let NetworkFilter::ExtAuthz(authz) = filter {
                self.add(Kind::Cluster, &authz.service.cluster);
            }
        }
        match &c.terminal {
            Terminal::Http(m) => self.manager(m),
            Terminal::Tcp(t) => match &t.to {
                TcpDestination::Cluster(name) => self.add(Kind::Cluster, name),
                TcpDestination::Weighted(list) => {
                    list.iter().for_each(|c| self.add(Kind::Cluster, &c.name));
                }
            },
            Terminal::Close => {}
        }
    }

    fn manager(&mut self, m: &HttpManager) {
        for filter in &m.filters {
            match &filter.config {
                HttpFilterConfig::RateLimit(limit) => self.add(Kind::Cluster, &limit.cluster),
                HttpFilterConfig::ExtAuthz(authz) => {
                    self.add(Kind::Cluster, authz.service.cluster());
                }
                _ => {}
            }
        }
        match &m.routes {
            RouteSource::Inline(routes) => self.routes(routes),
            RouteSource::Rds(name) => self.add(Kind::Route, name),
        }
        match m.tracing.as_ref().and_then(|t| t.provider.as_ref()) {
            Some(TracingProvider::Zipkin { cluster, .. })
            | Some(TracingProvider::OpenTelemetry { cluster, .. }) => {
                self.add(Kind::Cluster, cluster)
            }
            None => {}
        }
    }

    fn routes(&mut self, r: &RouteConfig) {
        r.virtual_hosts.iter().for_each(|v| self.host(v));
    }

    fn host(&mut self, v: &VirtualHost) {
        self.filters(&v.per_filter);
        for route in &v.routes {
            self.filters(&route.per_filter);
            if let Action::Forward(forward) = &route.action {
                self.forward(forward);
            }
        }
    }

    /// Services that routes ask in place of the chain's.
    fn filters(&mut self, list: &[(Str, HttpFilterConfig)]) {
        for (_, config) in list {
            if let HttpFilterConfig::AuthzSettings(own) = config
                && let Some(service) = &own.service
            {
                self.add(Kind::Cluster, service.cluster());
            }
        }
    }

    fn forward(&mut self, f: &Forward) {
        match &f.to {
            Destination::Cluster(name) => self.add(Kind::Cluster, name),
            Destination::Weighted(list) => {
                for c in list {
                    self.add(Kind::Cluster, &c.name);
                    self.filters(&c.per_filter);
                }
            }
            Destination::ClusterHeader(_) => {}
        }
        f.mirrors.iter().for_each(|m| self.add(Kind::Cluster, &m.cluster));
    }
}
