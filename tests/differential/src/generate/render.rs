//! Configurations as one bootstrap: each is compiled alone, for its own proxy, and all that comes out
//! stands side by side, since their names and ports differ. What would come by discovery is put in place.

use super::Config;
use super::certificates::Certificates;
use super::stage::{Net, Node, WILDCARD};
use compile::Proxy;
use ir::{
    Address, CertificateSource, Cluster, DataSource, Direction, Discovery, FilterChain, Listener,
    Resource, RouteSource, SecretRef, Terminal, TlsCommon,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// The bootstrap for Envoy; [`ours`] makes it that of our proxy.
pub fn bootstrap(
    configs: &[Config],
    net: Net,
    certificates: &Certificates,
) -> Result<Value, String> {
    let mut names = BTreeSet::new();
    let (mut listeners, mut clusters) = (Vec::new(), Vec::new());
    for config in configs {
        let place = Place { net, certificates, config: compiled(config)? };
        for cluster in &place.config.clusters {
            // Those that every proxy has are there once.
            if names.insert(cluster.name.clone()) {
                clusters.push(json(&Resource::Cluster(Arc::new(place.cluster(cluster))))?);
            }
        }
        let served = place.config.listeners.iter().filter(|l| place.is_served(l));
        for listener in served {
            listeners.push(json(&Resource::Listener(Arc::new(place.listener(listener)?)))?);
        }
    }
    Ok(json!({
        "node": { "id": "test", "cluster": "test" },
        "admin": { "address": { "socket_address": {
            "address": net.listener(250), "port_value": ADMIN
        } } },
        "static_resources": { "listeners": listeners, "clusters": clusters },
    }))
}

pub const ADMIN: u16 = 9901;

/// The same for our proxy, which listens beside Envoy on addresses of its own.
pub fn ours(net: Net, text: &str) -> String {
    text.replace(&format!("127.{}.1.", net.0), &format!("127.{}.2.", net.0))
}

/// And back: what ours says, as Envoy would say it.
pub fn as_envoy(net: Net, text: &str) -> String {
    text.replace(&format!("127.{}.2.", net.0), &format!("127.{}.1.", net.0))
}

fn json(resource: &Resource) -> Result<Value, String> {
    let url = xds::codec::type_url_of(resource.key().kind);
    let bytes = xds::codec::encode(resource);
    let mut json = xds::codec::to_json(&url, &bytes).ok_or("a resource without a JSON form")?;
    json.as_object_mut().ok_or("a resource that is no object")?.remove("@type");
    Ok(json)
}

fn compiled(config: &Config) -> Result<Arc<compile::Whole>, String> {
    let mut store = registry::Store::new("cluster.local", "istio-system");
    for object in &config.objects {
        let text = |key: &str| object[key].as_str().unwrap_or_default();
        let kind = api::Kind::of(text("apiVersion"), text("kind"));
        let kind = kind.ok_or_else(|| format!("{}: an unknown kind", text("kind")))?;
        let applied = store.apply(kind, object);
        if let Some(said) = applied.findings.iter().find(|f| f.level == base::Level::Error) {
            return Err(format!("{}: {said:?} in {object}", config.name));
        }
    }
    Ok(compile::compile(&store.snapshot(), &proxy(&config.node)?).config)
}

fn proxy(node: &Node) -> Result<Proxy, String> {
    let (kind, name, namespace) = match node {
        Node::Sidecar { namespace } => ("sidecar", "client-v1-0", namespace.as_str()),
        Node::Gateway => ("router", "edge-0", "istio-system"),
    };
    let id = format!("{kind}~127.0.0.1~{name}.{namespace}~{namespace}.svc.cluster.local");
    let labels = match node {
        Node::Sidecar { .. } => json!({ "app": "client", "version": "v1" }),
        Node::Gateway => json!({ "istio": "ingressgateway" }),
    };
    let metadata = json!({ "LABELS": labels, "STOCK_ENVOY": "true", "INTERCEPTION_MODE": "NONE" });
    Proxy::parse(&id, &metadata).map_err(|e| e.to_string())
}

struct Place<'a> {
    net: Net,
    certificates: &'a Certificates,
    config: Arc<compile::Whole>,
}

impl Place<'_> {
    /// Those that capture are left out: here clients connect to where they want to go.
    fn is_served(&self, listener: &Listener) -> bool {
        listener.direction == Direction::Outbound && !listener.name.starts_with("virtual")
    }

    fn listener(&self, listener: &Listener) -> Result<Listener, String> {
        let mut listener = listener.clone();
        listener.address = self.address(&listener.address);
        listener.bind_to_port = true;
        for chain in listener.chains.iter_mut().chain(&mut listener.default_chain) {
            self.chain(chain)?;
        }
        Ok(listener)
    }

    fn address(&self, address: &Address) -> Address {
        match address {
            Address::Ip(at) if at.ip().is_unspecified() || at.ip() == Ipv4Addr::LOCALHOST => {
                let ip: Option<IpAddr> = self.net.listener(WILDCARD).parse().ok();
                ip.map_or_else(|| address.clone(), |ip| Address::Ip(SocketAddr::new(ip, at.port())))
            }
            other => other.clone(),
        }
    }

    fn chain(&self, chain: &mut FilterChain) -> Result<(), String> {
        if let Some(tls) = &mut chain.tls {
            self.secrets(&mut tls.common);
        }
        if let Terminal::Http(manager) = &mut chain.terminal
            && let RouteSource::Rds(name) = &manager.routes
        {
            let found = self.config.routes.iter().find(|r| r.name == *name);
            let found = found.ok_or_else(|| format!("no route configuration {name}"))?;
            manager.routes = RouteSource::Inline(found.clone());
        }
        Ok(())
    }

    fn cluster(&self, cluster: &Cluster) -> Cluster {
        let mut cluster = cluster.clone();
        if let Discovery::Eds(_) = cluster.discovery {
            let known = self.config.endpoints.iter().find(|e| e.cluster == cluster.name);
            cluster.discovery =
                Discovery::Static(known.map(|e| e.groups.clone()).unwrap_or_default());
        }
        if let Some(tls) = &mut cluster.tls {
            self.secrets(&mut tls.common);
        }
        // The upstreams have no proxies, so this is for nobody; its certificates would come from an agent.
        cluster.tls_matches.clear();
        cluster
    }

    /// Secrets that the agent reads from files, as files; those of the workload itself are a client's here.
    fn secrets(&self, common: &mut TlsCommon) {
        const WORKLOAD: &str = "/etc/certs/client.pem~/etc/certs/client.key";
        for source in &mut common.certificates {
            if let CertificateSource::Sds(name) = source
                && let Some((chain, key)) = of_agent(name, "file-cert:")
                    .or_else(|| of_agent(name, "default").map(|_| WORKLOAD))
                    .and_then(|n| n.split_once('~'))
            {
                let file = |path: &str| DataSource::File(self.certificates.real(path).into());
                let certificate = ir::Certificate { chain: file(chain), key: file(key) };
                *source = CertificateSource::Inline(certificate);
            }
        }
        let Some(validation) = &mut common.validation else { return };
        let of_roots = |name: &'_ SecretRef| {
            let path = of_agent(name, "file-root:");
            path.or_else(|| of_agent(name, "ROOTCA").map(|_| "/etc/certs/ca.pem"))
                .map(str::to_owned)
        };
        if let Some(path) = validation.roots_sds.as_ref().and_then(of_roots) {
            validation.roots = Some(DataSource::File(self.certificates.real(&path).into()));
            validation.roots_sds = None;
        }
        if let Some(DataSource::File(path)) = &mut validation.crl {
            *path = self.certificates.real(path).into();
        }
    }
}

fn of_agent<'a>(secret: &'a SecretRef, prefix: &str) -> Option<&'a str> {
    secret.name.strip_prefix(prefix)
}
