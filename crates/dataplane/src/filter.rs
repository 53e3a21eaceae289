//! Step: filter. What stands between route and upstream, in the order of the chain: injected faults,
//! cross-origin rules, limits of the rate. A filter may answer instead of the upstream.

mod limit;

use crate::record::Record;
use crate::reply::{Reply, Shared};
use crate::route::Routed;
use crate::runtime::{ManagerRt, Step};
use crate::view::ClusterState;
use ir::AbortStatus;
use limit::Told;
use policy::Flag;
use policy::cors::Verdict;
use std::rc::Rc;

/// A request that passed all filters.
#[derive(Debug)]
pub struct Filtered<'v> {
    pub routed: Routed<'v>,
    pub cluster: Rc<ClusterState>,
    /// The origin to which the answer is shown.
    pub cors: Option<Shared<'v>>,
    /// What limits of its rate say to the client.
    told: Told,
}

impl Filtered<'_> {
    /// The filters' part in the answer.
    pub fn answer(&self, record: &mut Record) {
        if let Some((rule, origin)) = &self.cors {
            rule.answer(origin, &mut record.heads.response);
        }
        self.told.answer(&mut record.heads.response);
    }
}

pub async fn filter<'v>(
    manager: &'v ManagerRt,
    routed: Routed<'v>,
    record: &mut Record,
) -> Result<Filtered<'v>, Box<Reply<'v>>> {
    let forwarding = routed.forwarding;
    let of_route = |reply: Box<Reply<'v>>| Box::new(reply.of_forwarding(forwarding, None));
    let (mut cors, mut told) = (None, Told::default());
    for step in &manager.steps {
        match step {
            Step::Fault => inject_fault(manager, &routed, record).await.map_err(of_route)?,
            // To preflights a route's headers mean nothing.
            Step::Cors => cors = share(&routed, record)?,
            Step::Limit(name, chain) => {
                let left = limit::count(&routed, name, chain, record).map_err(of_route)?;
                told.left = left.or(told.left);
            }
            Step::Ask(rule) => {
                let added = limit::ask(&routed, rule, record).await.map_err(of_route)?;
                told.headers.extend(added);
            }
        }
    }
    let Some(cluster) = routed.cluster.clone() else {
        let reply = Reply::new(forwarding.rule.cluster_not_found, "cluster_not_found");
        let reply = reply.flag(Flag::NoClusterFound);
        return Err(Box::new(reply.of_forwarding(forwarding, cors)));
    };
    Ok(Filtered { routed, cluster, cors, told })
}

/// Whether the answer may be shown to another origin.
fn share<'v>(
    routed: &Routed<'v>,
    record: &mut Record,
) -> Result<Option<Shared<'v>>, Box<Reply<'v>>> {
    let Some(rule) = routed.forwarding.cors() else { return Ok(None) };
    match rule.judge(&record.heads.request, &record.worker.env) {
        Verdict::Pass => Ok(None),
        Verdict::Answer(origin) => Ok(Some((rule, origin))),
        Verdict::Preflight(response) => {
            let mut reply = Reply::new(response.status, "cors_response");
            let known = ALLOWED.iter();
            reply.headers = known
                .filter_map(|name| {
                    let value = wire::Head::get(&response, name.as_bytes())?;
                    Some(((*name).into(), value.to_vec()))
                })
                .collect();
            Err(Box::new(reply))
        }
    }
}

const ALLOWED: [&str; 6] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-max-age",
    "access-control-expose-headers",
];

async fn inject_fault<'v>(
    manager: &'v ManagerRt,
    routed: &Routed<'v>,
    record: &mut Record,
) -> Result<(), Box<Reply<'v>>> {
    let chain = manager.fault.as_ref().map(|(_, rule)| rule);
    let Some(rule) = routed.forwarding.fault(chain) else { return Ok(()) };
    let cluster = record.stream.cluster.as_deref().unwrap_or_default();
    let injected = rule.odds(&record.heads.request, cluster).draw(&record.worker.env);
    if let Some(delay) = injected.delay {
        record.stream.flags.set(Flag::DelayInjected);
        tokio::time::sleep(delay).await;
    }
    let Some(abort) = injected.abort else { return Ok(()) };
    let reply = match abort {
        AbortStatus::Http(status) => {
            Reply::new(status, "fault_filter_abort").text("fault filter abort")
        }
        AbortStatus::Grpc(status) => {
            Reply::new(200, "fault_filter_abort").text("fault filter abort").grpc(status)
        }
    };
    Err(Box::new(reply.flag(Flag::FaultInjected)))
}
