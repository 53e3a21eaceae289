//! The routes of one host (A28): conditions on path and headers, weighted clusters, timeouts, retries, and what
//! consistent hashing goes by.

use crate::server::{Encoded, Encoder};
use ir::{
    Action, Forward, HttpFilterConfig, MaxStream, PathMatch, Resource, RetryPolicy, Route,
    RouteConfig, Str, VirtualHost, WeightedCluster,
};
use std::sync::Arc;

pub(super) fn of(name: &Str, host: &VirtualHost) -> Encoded {
    let own = VirtualHost {
        name: host.name.clone(),
        // Whatever the application calls it: it asked for this host.
        domains: vec!["*".into()],
        routes: host.routes.iter().filter_map(route).collect(),
        ..VirtualHost::default()
    };
    let config = RouteConfig {
        name: name.clone(),
        virtual_hosts: vec![Arc::new(own)],
        ..RouteConfig::default()
    };
    Encoder::default().encode(&Resource::Route(Arc::new(config)))
}

/// One that gRPC leaves out itself is left out here: those for parameters of a query, and for CONNECT.
fn route(route: &Route) -> Option<Route> {
    if !route.matches.query.is_empty() || !route.matches.metadata.is_empty() {
        return None;
    }
    let mut matches = route.matches.clone();
    matches.path = match matches.path {
        PathMatch::Connect => return None,
        PathMatch::PathSeparatedPrefix(prefix) => {
            PathMatch::Regex(format!("{}(/.*)?", quoted(&prefix)).into())
        }
        path => path,
    };
    // Every request that asks is one of gRPC.
    matches.grpc = false;
    let action = match &route.action {
        Action::Forward(forward) => Action::Forward(Box::new(kept(forward))),
        other => other.clone(),
    };
    Some(Route {
        name: route.name.clone(),
        matches,
        action,
        headers: Default::default(),
        decorator: "".into(),
        per_filter: faults(&route.per_filter),
        metadata: Default::default(),
        stat_prefix: "".into(),
        origin: route.origin,
    })
}

fn kept(forward: &Forward) -> Forward {
    let mut kept = Forward::to(forward.to.clone());
    if let ir::Destination::Weighted(clusters) = &mut kept.to {
        clusters.iter_mut().for_each(|c| *c = share(c));
    }
    // gRPC reads the newer of the two fields only.
    let timeout = forward.timeout.filter(|t| !t.is_zero());
    kept.max_stream = forward.max_stream.clone().or_else(|| {
        Some(MaxStream { max_stream_duration: Some(timeout?), ..MaxStream::default() })
    });
    kept.retry = forward.retry.as_ref().and_then(retry);
    kept.hash = forward.hash.clone();
    kept
}

fn share(cluster: &WeightedCluster) -> WeightedCluster {
    WeightedCluster {
        name: cluster.name.clone(),
        weight: cluster.weight,
        headers: Default::default(),
        host_rewrite: "".into(),
        metadata_match: Default::default(),
        per_filter: faults(&cluster.per_filter),
        origin: cluster.origin,
    }
}

/// No retries are said by no policy: a policy of none is refused.
fn retry(policy: &RetryPolicy) -> Option<RetryPolicy> {
    let kept = RetryPolicy {
        on: policy.on.clone(),
        num_retries: policy.num_retries,
        backoff: policy.backoff,
        ..RetryPolicy::default()
    };
    (kept.num_retries != Some(0)).then_some(kept)
}

/// The only filter of clients that both of us know.
fn faults(filters: &[(Str, HttpFilterConfig)]) -> Vec<(Str, HttpFilterConfig)> {
    let is_fault = |f: &&(Str, HttpFilterConfig)| matches!(f.1, HttpFilterConfig::Fault(_));
    filters.iter().filter(is_fault).cloned().collect()
}

/// As a regular expression of RE2.
fn quoted(text: &str) -> String {
    text.chars()
        .flat_map(|c| (!c.is_alphanumeric()).then_some('\\').into_iter().chain([c]))
        .collect()
}
