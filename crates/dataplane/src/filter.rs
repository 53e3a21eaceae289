//! Step: filter. What stands before the verdict on a request, in the order of the chain: injected faults,
//! cross-origin rules, limits of the rate, external authorization. A filter may answer, whatever the route says.

pub(crate) mod authz;
mod coding;
mod limit;
mod rbac;
mod tokens;

use crate::chain::Filter;
use crate::exchange::of_route;
use crate::forward::Downstream;
use crate::intake::{Broken, Gathered, Intake};
use crate::record::Record;
use crate::reply::{Reply, Shared};
use crate::route::{Routed, Router};
use crate::runtime::ManagerRt;
use authz::Check;
pub use coding::Coded;
use coding::Coding;
use ir::AbortStatus;
use limit::Told;
use policy::authz::{Changes, Edit};
use policy::cors::{CorsRule, Verdict};
use policy::fault::FaultRule;
use policy::{FilterRule, Flag};
use wire::Response;
use wire::h1::Body;

/// A request that passed all filters.
#[derive(Debug)]
pub struct Filtered<'v> {
    pub routed: Routed<'v>,
    pub passed: Passed<'v>,
}

/// What the filters that a request has passed say to the client, whoever answers.
#[derive(Clone, Debug, Default)]
pub struct Passed<'v> {
    /// The origin to which the answer is shown.
    cors: Option<Shared<'v>>,
    /// What limits of its rate say.
    told: Told,
    /// What authorizers ask for.
    edits: Vec<Edit>,
    /// What is to become of the body.
    codings: Vec<Coding<'v>>,
}

impl Passed<'_> {
    pub fn answer(&self, response: &mut Response) {
        if let Some((rule, origin)) = &self.cors {
            rule.answer(origin, response);
        }
        self.told.answer(response);
        Changes::answer(&self.edits, response);
    }
}

/// A request ends with a filter.
pub enum Stop<'v> {
    Reply(Box<Reply<'v>>),
    /// The client is gone.
    Gone,
}

impl<'v> Stop<'v> {
    fn mapped(self, change: impl Fn(Box<Reply<'v>>) -> Box<Reply<'v>>) -> Self {
        match self {
            Stop::Reply(reply) => Stop::Reply(change(reply)),
            Stop::Gone => Stop::Gone,
        }
    }
}

impl<'v> From<Box<Reply<'v>>> for Stop<'v> {
    fn from(reply: Box<Reply<'v>>) -> Self {
        Stop::Reply(reply)
    }
}

/// `router`: for filters that change a request so that its route may be another one.
pub async fn filter<'v, D: Downstream>(
    manager: &'v ManagerRt,
    router: Router<'v>,
    routed: Routed<'v>,
    record: &mut Record,
    intake: &mut Intake<'_, D>,
) -> Result<Filtered<'v>, Stop<'v>> {
    let mut filtered = Filtered { routed, passed: Passed::default() };
    match run(manager, router, &mut filtered, record, intake).await {
        Ok(()) => Ok(filtered),
        Err(Stop::Reply(reply)) => Err(Stop::Reply(Box::new(reply.passed(filtered.passed)))),
        Err(Stop::Gone) => Err(Stop::Gone),
    }
}

async fn run<'v, D: Downstream>(
    manager: &'v ManagerRt,
    router: Router<'v>,
    filtered: &mut Filtered<'v>,
    record: &mut Record,
    intake: &mut Intake<'_, D>,
) -> Result<(), Stop<'v>> {
    let Filtered { routed, passed } = filtered;
    for step in &manager.steps {
        let scope = routed.decision.scope();
        let to = routed.decision.forwarding();
        let of_route = |reply| of_route(reply, to);
        if !scope.runs(&step.name, step.off) {
            continue;
        }
        match &step.filter {
            Filter::Fault(chain) => {
                let rule = scope.fault(&step.name).unwrap_or(chain);
                inject_fault(rule, record).await.map_err(of_route)?;
            }
            Filter::Cors => {
                if let Some(rule) = scope.cors(&step.name) {
                    // To preflights a route's headers mean nothing.
                    passed.cors = share(rule, record)?;
                }
            }
            Filter::Limit(chain) => {
                let rule = scope.limit(&step.name).unwrap_or(chain);
                let left = limit::count(&scope, rule, record).map_err(of_route)?;
                passed.told.left = left.or(passed.told.left);
            }
            Filter::Ask(rule) => {
                // What asks others is large, and no part of the state of requests that ask nobody.
                let asked = Box::pin(limit::ask(&scope, rule, record));
                let added = asked.await.map_err(of_route)?;
                passed.told.headers.extend(added);
            }
            Filter::Guard(guard) => {
                rbac::judge(guard, scope.rbac(&step.name), record).map_err(of_route)?;
            }
            Filter::Buffer(chain) => {
                let own = scope.own(&step.name);
                let max = if let Some(FilterRule::Buffer(own)) = own { own } else { chain };
                buffer(*max, record, intake).await.map_err(|stop| stop.mapped(of_route))?;
            }
            Filter::ToMetadata(chain) => {
                let own = scope.own(&step.name);
                let rules = if let Some(FilterRule::ToMetadata(own)) = own { own } else { chain };
                rules.apply(&mut record.heads.request, &mut record.stream.metadata);
            }
            Filter::Compress(rule) => {
                coding::compress(rule, &mut record.heads.request, passed, intake);
            }
            Filter::Web => coding::web(&mut record.heads.request, passed, intake),
            Filter::Tokens(rule) => {
                if tokens::judge(rule, scope.own(&step.name), record).map_err(of_route)? {
                    *routed = router.again(record);
                }
            }
            Filter::Authz(rule) => {
                let cluster = routed.cluster.clone();
                let check = Check { name: &step.name, rule, scope, cluster };
                let allowed = Box::pin(check.run(record, intake))
                    .await
                    .map_err(|stop| stop.mapped(of_route))?;
                passed.edits.extend(allowed.response);
                if allowed.reroute {
                    *routed = router.again(record);
                }
            }
        }
    }
    Ok(())
}

/// Waits until the request is whole, and tells its length.
async fn buffer<'v, D: Downstream>(
    max: u32,
    record: &mut Record,
    intake: &mut Intake<'_, D>,
) -> Result<(), Stop<'v>> {
    if intake.upgrade || intake.body == Body::Empty {
        return Ok(());
    }
    gather(intake, max as usize, false).await?;
    let length = intake.replay.bytes().len();
    intake.body = Body::Length(length as u64);
    record.heads.request.fields.set(b"content-length", length.to_string().as_bytes());
    Ok(())
}

/// Reads the body up to a bound; says whether that is all of it. `partial`: there may be more.
async fn gather<'v, D: Downstream>(
    intake: &mut Intake<'_, D>,
    max: usize,
    partial: bool,
) -> Result<bool, Stop<'v>> {
    let reply = match intake.gather(max).await {
        Ok(Gathered::Whole) => return Ok(true),
        Ok(Gathered::Part) if partial => return Ok(false),
        Ok(Gathered::Part) | Err(Broken::NoRoom) => Reply::too_long(),
        Err(Broken::Gone) => return Err(Stop::Gone),
        Err(Broken::Malformed) => Reply::bad_body(),
        Err(Broken::Unreadable(why)) => Reply::unreadable(why),
        Err(Broken::Idle) => Reply::idle(false),
    };
    Err(Stop::Reply(Box::new(reply)))
}

/// Whether the answer may be shown to another origin.
fn share<'v>(
    rule: &'v CorsRule,
    record: &mut Record,
) -> Result<Option<Shared<'v>>, Box<Reply<'v>>> {
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

async fn inject_fault<'v>(rule: &FaultRule, record: &mut Record) -> Result<(), Box<Reply<'v>>> {
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
