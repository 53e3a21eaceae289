//! Step: verdict. What the route says of a request that passed all filters: it is forwarded, sent
//! elsewhere, answered directly, or there is nothing for it.

use crate::filter::{Filtered, Passed};
use crate::record::Record;
use crate::reply::Reply;
use crate::route::Routed;
use crate::view::{ClusterState, View};
use policy::{Decision, Flag, Forwarding, MirrorRule, Redirection};
use std::borrow::Cow;
use std::rc::Rc;
use wire::RequestHead;

/// A request that is to be forwarded.
#[derive(Debug)]
pub struct Destined<'v> {
    pub forwarding: Forwarding<'v>,
    pub cluster: Rc<ClusterState>,
    /// Clusters that get a copy; those that do not exist get none.
    pub mirrors: Vec<(&'v MirrorRule, Rc<ClusterState>)>,
    /// The filters' part in the answer.
    pub passed: Passed<'v>,
}

pub fn verdict<'v>(
    filtered: Filtered<'v>,
    view: &View,
    record: &Record,
) -> Result<Destined<'v>, Box<Reply<'v>>> {
    let Filtered { routed, passed } = filtered;
    match routed.decision {
        Decision::Forward(forwarding) => destined(&routed, forwarding, passed, view),
        ref other => Err(Box::new(answer(other, &routed, record).passed(passed))),
    }
}

fn destined<'v>(
    routed: &Routed<'v>,
    forwarding: Forwarding<'v>,
    passed: Passed<'v>,
    view: &View,
) -> Result<Destined<'v>, Box<Reply<'v>>> {
    let Some(cluster) = routed.cluster.clone() else {
        let reply = Reply::new(forwarding.rule.cluster_not_found, "cluster_not_found");
        let reply = reply.flag(Flag::NoClusterFound).of_forwarding(forwarding);
        return Err(Box::new(reply.passed(passed)));
    };
    let mirror = |rule: &'v MirrorRule| {
        let place = routed.bound?.clusters[rule.cluster as usize]?;
        Some((rule, view.clusters[place as usize].clone()))
    };
    let mirrors = forwarding.rule.mirrors.iter().filter_map(mirror).collect();
    Ok(Destined { forwarding, cluster, mirrors, passed })
}

/// What is answered to a request that is not forwarded.
fn answer<'v>(decision: &Decision<'v>, routed: &Routed<'v>, record: &Record) -> Reply<'v> {
    let not_found = || Reply::new(404, "route_not_found").flag(Flag::NoRouteFound);
    let Some(bound) = routed.bound else { return not_found() };
    let (shard, stats) = (&record.worker.shard, record.stats());
    match decision {
        Decision::Redirect(to) => {
            shard.inc(stats.rq_redirect);
            let Redirection { host, route, .. } = *to;
            let location = to.location(&record.heads.request);
            let reply = Reply::new(to.status(), "direct_response").header("location", location);
            reply.from(&bound.table, host, route)
        }
        Decision::Direct { host, route, status, body } => {
            shard.inc(stats.rq_direct_response);
            let mut reply =
                Reply::new(*status, "direct_response").from(&bound.table, host, Some(route));
            if (300..400).contains(status) {
                // Envoy treats it as a redirect to where the client is already.
                reply = reply.header("location", same_place(&record.heads.request));
            }
            reply.body = Cow::Borrowed(*body);
            reply
        }
        Decision::NotFound | Decision::NonForwarding { .. } | Decision::Forward(_) => not_found(),
    }
}

fn same_place(request: &wire::Request) -> Vec<u8> {
    [request.scheme(), b"://", request.authority(), request.path()].concat()
}
