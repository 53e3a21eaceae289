//! Where a request or connection is sent: clusters with their shares and endpoints, and the head as the
//! upstream gets it.

use crate::destination::Reached;
use crate::place::Explainer;
use crate::request::{Passing, fields, sent};
use crate::{Draws, Endpoint, Explanation, Fact, Node, Pick};
use balance::{Picker, Want};
use base::{FixedEnv, OriginId};
use ir::{
    CertificateSource, Cluster, Destination, Discovery, EndpointGroup, Health, LoadBalancer,
    TcpDestination, WeightedCluster,
};
use policy::{Forwarding, Stream, hash};
use std::net::SocketAddr;
use wire::{Request, RequestHead, Response};

impl Passing<'_> {
    /// The clusters that may be drawn; where draws are repeated, the one that is.
    pub(crate) fn picks(
        &self,
        to: &Destination,
        forwarding: &Forwarding<'_>,
        head: &Request,
    ) -> Vec<Pick> {
        let explainer = self.explainer;
        let here = self.arrived.destination;
        match to {
            Destination::Cluster(name) => vec![explainer.pick(name, 100.0, None, here)],
            Destination::ClusterHeader(header) => {
                let value = head.field(header.as_bytes()).unwrap_or_default();
                vec![explainer.pick(&String::from_utf8_lossy(value), 100.0, None, here)]
            }
            Destination::Weighted(all) => {
                let mut picks = explainer.weighted(all, here);
                if let (Draws::From(_), Some(part)) = (self.draws, forwarding.part) {
                    picks.retain(|(place, _)| *place == part.place);
                }
                picks.into_iter().map(|(_, pick)| pick).collect()
            }
        }
    }

    /// Rewrites the head as the route says, and tells what has changed.
    pub(crate) fn send(
        &self,
        forwarding: &Forwarding<'_>,
        head: Request,
        told: &mut Explanation,
    ) -> Request {
        let mut forwarding = *forwarding;
        if self.draws == Draws::All {
            // What one of the clusters does to the head holds for its share only.
            forwarding.part = None;
        }
        let (stream, before) = (Stream::default(), sent(&head));
        let mut request = head;
        forwarding.rewrite(&mut request, &stream, false);
        let after = sent(&request);
        let rewrite = || self.field("rewrite", |h| h.rewrite.is_some());
        let headers = || self.field("headers", |h| h.headers.is_some());
        let mut say = |name, value: String, origin| told.facts.push(Fact { name, value, origin });
        if before.path != after.path {
            say("rewrite", format!("path {} to {}", before.path, after.path), rewrite());
        }
        if before.authority != after.authority {
            let origin = rewrite().or_else(headers);
            say("rewrite", format!("host {} to {}", before.authority, after.authority), origin);
        }
        let new = |f: &&(String, String)| !before.fields.contains(f);
        for (name, value) in after.fields.iter().filter(new) {
            say("request", format!("gets {name}: {value}"), headers());
        }
        let gone = |f: &&(String, String)| !after.fields.iter().any(|(n, _)| *n == f.0);
        for (name, _) in before.fields.iter().filter(gone) {
            say("request", format!("loses {name}"), headers());
        }
        let mut response = Response::new(200);
        forwarding.rewrite_response(&mut response, &request, &stream);
        told.answered_with = fields(&response);
        for (name, value) in &told.answered_with {
            let value = format!("gets {name}: {value}");
            told.facts.push(Fact { name: "response", value, origin: headers() });
        }
        told.sent = Some(after);
        request
    }

    /// The endpoint that a balancer without memory comes to.
    pub(crate) fn choose(
        &self,
        cluster: &str,
        forwarding: &Forwarding<'_>,
        request: &Request,
    ) -> Option<String> {
        let config = &self.explainer.compiled.config;
        let cluster = config.clusters.iter().find(|c| *c.name == *cluster)?;
        use LoadBalancer::{Maglev, Random, RingHash};
        if !matches!(cluster.lb, Random | RingHash { .. } | Maglev { .. }) {
            return None;
        }
        let Discovery::Eds(service) = &cluster.discovery else { return None };
        let key = if service.is_empty() { &cluster.name } else { service };
        let endpoints = config.endpoints.iter().find(|e| e.cluster == *key)?;
        let (remote, local) = (self.arrived.source, self.arrived.destination);
        let client = hash::Client { source: remote.ip(), remote, local };
        let hashed = hash::of_request(&forwarding.rule.hash, request, &client);
        // What is drawn when a worker takes a cluster over is no part of the request's draws.
        let made = FixedEnv::default();
        let mut picker = Picker::new(cluster, endpoints.clone(), &made);
        let id = picker.pick(&Want { hash: hashed.hash, ..Want::default() }, self.env)?;
        Some(picker.endpoint(id)?.address.to_string())
    }
}

impl Explainer<'_> {
    pub(crate) fn bytes_to(&self, to: &TcpDestination, reached: &Reached) -> Vec<Pick> {
        match to {
            TcpDestination::Cluster(name) => vec![self.pick(name, 100.0, None, reached.address)],
            TcpDestination::Weighted(all) => {
                self.weighted(all, reached.address).into_iter().map(|(_, pick)| pick).collect()
            }
        }
    }

    /// Those that get a share, with their places in the list.
    fn weighted(&self, all: &[WeightedCluster], here: SocketAddr) -> Vec<(usize, Pick)> {
        let total: f64 = all.iter().map(|c| f64::from(c.weight)).sum();
        let drawn = all.iter().enumerate().filter(|(_, c)| c.weight > 0);
        drawn
            .map(|(place, c)| {
                let share = 100.0 * f64::from(c.weight) / total.max(1.0);
                (place, self.pick(&c.name, share, Some(c.origin), here))
            })
            .collect()
    }

    fn pick(&self, name: &str, percent: f64, origin: Option<OriginId>, here: SocketAddr) -> Pick {
        let config = &self.compiled.config;
        let cluster = config.clusters.iter().find(|c| *c.name == *name);
        let groups: &[EndpointGroup] = match cluster.map(|c| &c.discovery) {
            Some(Discovery::Static(groups))
            | Some(Discovery::StrictDns { groups, .. })
            | Some(Discovery::LogicalDns { groups, .. }) => groups,
            Some(Discovery::Eds(service)) => {
                let key = if service.is_empty() { name } else { service };
                let found = config.endpoints.iter().find(|e| *e.cluster == *key);
                found.map_or(&[], |e| &e.groups)
            }
            Some(Discovery::OriginalDst | Discovery::ByHost(_)) | None => &[],
        };
        let defined = cluster.and_then(|c| self.origin(c.origin));
        let mut endpoints: Vec<Endpoint> = groups.iter().flat_map(|g| self.endpoints(g)).collect();
        if cluster.is_some_and(|c| matches!(c.discovery, Discovery::OriginalDst)) {
            endpoints.push(self.endpoint(here.to_string(), 1, 0, true, Some(here)));
        }
        Pick {
            cluster: Node {
                name: name.to_owned(),
                origin: origin.and_then(|o| self.origin(o)).or_else(|| defined.clone()),
            },
            percent,
            missing: cluster.is_none(),
            mutual: cluster.is_some_and(|c| is_mutual(c, self.proxy.grpc)),
            policy: cluster.map(|c| self.policy(c)).unwrap_or_default(),
            defined,
            endpoints,
            chosen: None,
        }
    }

    fn endpoints<'a>(&'a self, group: &'a EndpointGroup) -> impl Iterator<Item = Endpoint> + 'a {
        group.endpoints.iter().map(|e| {
            let at = match &e.address {
                ir::Address::Ip(at) => Some(*at),
                _ => None,
            };
            let healthy = matches!(e.health, Health::Unknown | Health::Healthy);
            let weight = e.weight.unwrap_or(1);
            self.endpoint(e.address.to_string(), weight, group.priority, healthy, at)
        })
    }

    fn endpoint(
        &self,
        address: String,
        weight: u32,
        priority: u32,
        healthy: bool,
        at: Option<SocketAddr>,
    ) -> Endpoint {
        let owner = at.and_then(|at| self.world.workloads.at(at.ip()));
        let workload = owner.map(|w| format!("{}.{}", w.name, w.namespace));
        Endpoint { address, weight, priority, healthy, workload }
    }

    /// What the cluster's own configuration says, as far as it matters to one request.
    fn policy(&self, cluster: &Cluster) -> Vec<Fact> {
        let origin = self.origin(cluster.origin);
        let fact = |name, value: String| Fact { name, value, origin: origin.clone() };
        let mut all = Vec::new();
        let balancer = match &cluster.lb {
            LoadBalancer::RingHash { .. } => "ring hash",
            // Of the others gRPC knows none.
            LoadBalancer::RoundRobin { .. } => "round robin",
            _ if self.proxy.grpc => "round robin",
            LoadBalancer::LeastRequest { .. } => "least request",
            LoadBalancer::Random => "random",
            LoadBalancer::Maglev { .. } => "Maglev",
            LoadBalancer::ClusterProvided => "where the client was going",
        };
        all.push(fact("balancer", balancer.to_owned()));
        if let Some(tls) = &cluster.tls {
            let name = if tls.sni.is_empty() { "without a name" } else { &*tls.sni };
            all.push(fact("tls", format!("to {name}")));
        }
        let matched = cluster.tls_matches.iter().find_map(|m| m.tls.as_ref());
        if let Some(tls) = matched.filter(|_| !self.proxy.grpc) {
            let say = format!("mutual TLS with endpoints that take it, to {}", tls.sni);
            all.push(fact("tls", say));
        }
        if self.proxy.grpc && cluster.tls.is_none() {
            let say = "none; without a proxy only a DestinationRule of mode ISTIO_MUTUAL begins it";
            all.push(fact("tls", say.to_owned()));
        }
        if cluster.outliers.is_some() && !self.proxy.grpc {
            all.push(fact("outliers", "endpoints that fail are left out for a time".into()));
        }
        all
    }
}

/// With the workload's own certificate, where endpoints take it.
fn is_mutual(cluster: &Cluster, grpc: bool) -> bool {
    let own = |source: &CertificateSource| match source {
        CertificateSource::Sds(secret) => &*secret.name == "default",
        CertificateSource::Inline(_) => false,
    };
    let matched = cluster.tls_matches.iter().filter(|_| !grpc).filter_map(|m| m.tls.as_ref());
    cluster.tls.iter().chain(matched).any(|tls| tls.common.certificates.iter().any(own))
}
