//! Step: filter. What stands between route and upstream: injected faults, cross-origin rules. A
//! filter may answer instead of the upstream.

use crate::record::Record;
use crate::reply::Reply;
use crate::route::Routed;
use crate::runtime::ManagerRt;
use ir::AbortStatus;
use policy::Flag;
use policy::cors::{CorsRule, Verdict};
use policy::local::is_grpc;

/// A request that passed all filters.
#[derive(Debug)]
pub struct Filtered<'v> {
    pub routed: Routed<'v>,
    /// The origin to which the answer is shown.
    cors: Option<(&'v CorsRule, Vec<u8>)>,
}

impl Filtered<'_> {
    /// The filters' part in the answer.
    pub fn answer(&self, record: &mut Record) {
        if let Some((rule, origin)) = &self.cors {
            rule.answer(origin, &mut record.heads.response);
        }
    }
}

pub async fn filter<'v>(
    manager: &'v ManagerRt,
    routed: Routed<'v>,
    record: &mut Record,
) -> Result<Filtered<'v>, Box<Reply<'v>>> {
    inject_fault(manager, &routed, record).await?;
    let mut cors = None;
    if let Some(rule) = routed.forwarding.cors().filter(|_| manager.cors) {
        match rule.judge(&record.heads.request, &record.worker.env) {
            Verdict::Pass => {}
            Verdict::Answer(origin) => cors = Some((rule, origin)),
            Verdict::Preflight(response) => {
                let mut reply = Reply::new(response.status, "cors_response");
                let known = ALLOWED.iter();
                reply.headers = known
                    .filter_map(|name| {
                        Some((*name, wire::Head::get(&response, name.as_bytes())?.to_vec()))
                    })
                    .collect();
                return Err(Box::new(reply));
            }
        }
    }
    Ok(Filtered { routed, cors })
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
    let cluster = &routed.cluster.config.name;
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
            let reply = Reply::new(200, "fault_filter_abort").text("fault filter abort");
            if is_grpc(&record.heads.request) {
                reply.header("grpc-status", status.to_string())
            } else {
                reply
            }
        }
    };
    Err(Box::new(reply.flag(Flag::FaultInjected)))
}
