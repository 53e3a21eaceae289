//! What stands before a connection, compiled: rules of access, and services that are asked about it, in the
//! order of its chain. The first that refuses is the last that is asked.

use crate::filter::authz::grpc;
use crate::forward::grpc::unary;
use crate::guard::Guard;
use crate::identify::Identified;
use crate::record::Client;
use base::Finding;
use ir::{FilterChain, NetworkAuthz, NetworkFilter};
use policy::authz::Answer;
use policy::metadata::{self, MetadataMatcher};
use policy::{Flag, Stream};
use std::time::Duration;
use telemetry::{NetworkAuthzStats, Registry};
use wire::Request;

#[derive(Debug)]
pub enum Gate {
    Rules(Box<Guard>),
    Ask(Box<Inquiry>),
}

/// A compiled [`NetworkAuthz`].
#[derive(Debug)]
pub struct Inquiry {
    config: NetworkAuthz,
    metadata: Option<MetadataMatcher>,
    stats: NetworkAuthzStats,
}

/// Why a connection is served no further than to say so in the log.
#[derive(Debug)]
pub struct Refusal {
    pub why: String,
    pub flag: Option<Flag>,
}

/// Of a service that does not say, as in Envoy.
const PATIENCE: Duration = Duration::from_millis(200);

const RBAC: &str = "envoy.filters.network.rbac";

/// Those of a chain.
pub fn gates(
    chain: &FilterChain,
    path: &str,
    registry: &Registry,
    findings: &mut Vec<Finding>,
) -> Vec<Gate> {
    let gate = |filter: &NetworkFilter| match filter {
        NetworkFilter::Rbac(rbac) => {
            Some(Gate::Rules(Box::new(Guard::network(rbac, path, registry, findings))))
        }
        NetworkFilter::ExtAuthz(authz) => {
            Some(Gate::Ask(Box::new(Inquiry::new(authz, path, registry, findings))))
        }
        _ => None,
    };
    chain.network.iter().filter_map(gate).collect()
}

/// What they say of a connection. They judge once, before anything is passed on.
pub async fn refusal(gates: &[Gate], connection: &Identified) -> Option<Refusal> {
    if gates.is_empty() {
        return None;
    }
    let mut stream = known(&connection.client);
    for gate in gates {
        let refused = match gate {
            Gate::Rules(guard) => {
                let shard = &connection.worker.shard;
                let verdict = guard.judge::<Request>(None, None, &stream, shard);
                metadata::add(&mut stream.metadata, &RBAC.into(), verdict.said);
                verdict.denied.map(|why| Refusal { why, flag: None })
            }
            Gate::Ask(inquiry) => inquiry.refusal(connection, &stream).await,
        };
        if refused.is_some() {
            return refused;
        }
    }
    None
}

/// What there is to judge by.
fn known(client: &Client) -> Stream {
    Stream {
        downstream: Some(client.ends.clone()),
        remote: Some(client.remote.clone()),
        peer: client.peer.clone(),
        ..Stream::default()
    }
}

/// Whether rules forbid a connection by now. Services are not asked anew.
pub fn forbid(gates: &[Gate], client: &Client) -> bool {
    if gates.is_empty() {
        return false;
    }
    let mut stream = known(client);
    gates.iter().any(|gate| match gate {
        Gate::Rules(guard) => !guard.allows(&mut stream),
        Gate::Ask(_) => false,
    })
}

/// Whether a connection would be served without asking anybody; nothing is counted.
pub fn is_free(gates: &[Gate], mut stream: Stream) -> bool {
    gates.iter().all(|gate| match gate {
        Gate::Rules(guard) => guard.allows(&mut stream),
        Gate::Ask(inquiry) => !inquiry.concerns(&stream),
    })
}

impl Inquiry {
    fn new(
        from: &NetworkAuthz,
        path: &str,
        registry: &Registry,
        findings: &mut Vec<Finding>,
    ) -> Self {
        let metadata = from.enabled_metadata.as_ref();
        Self {
            metadata: metadata.map(|m| MetadataMatcher::new(m, path, findings)),
            stats: NetworkAuthzStats::new(registry, &from.stat_prefix),
            config: from.clone(),
        }
    }

    fn concerns(&self, stream: &Stream) -> bool {
        self.metadata.as_ref().is_none_or(|m| m.matches(&stream.metadata))
    }

    async fn refusal(&self, connection: &Identified, stream: &Stream) -> Option<Refusal> {
        let (shard, stats) = (&connection.worker.shard, &self.stats);
        if !self.concerns(stream) {
            shard.inc(stats.disabled);
            return None;
        }
        shard.inc(stats.total);
        let details = match self.ask(connection, stream).await {
            Answer::Allowed(_) => {
                shard.inc(stats.ok);
                return None;
            }
            Answer::Denied(_) => {
                shard.inc(stats.denied);
                "ext_authz_denied"
            }
            Answer::Failed => {
                shard.inc(stats.error);
                if self.config.failure_mode_allow {
                    shard.inc(stats.failure_mode_allowed);
                    return None;
                }
                "ext_authz_error"
            }
        };
        shard.inc(stats.cx_closed);
        Some(Refusal { why: details.into(), flag: Some(Flag::UnauthorizedExternalService) })
    }

    async fn ask(&self, connection: &Identified, stream: &Stream) -> Answer {
        let service = &self.config.service;
        let view = &connection.view;
        let place = view.runtime.cluster(&service.cluster);
        let Some(cluster) = place.and_then(|place| view.clusters.get(place as usize)) else {
            tracing::debug!("external authorization: there is no cluster {:?}", service.cluster);
            return Answer::Failed;
        };
        let question = grpc::of_connection(&self.config, stream);
        let patience = service.timeout.unwrap_or(PATIENCE);
        let asked = unary(&connection.worker, cluster, grpc::CHECK, &question, patience).await;
        asked.map(grpc::answer).unwrap_or_else(|e| {
            tracing::debug!("external authorization: {e}");
            Answer::Failed
        })
    }
}
