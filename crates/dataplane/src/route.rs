//! Step: route. The head is made canonical, gets what a proxy adds, and is matched.

use crate::recent::Noted;
use crate::record::Record;
use crate::reply::Reply;
use crate::runtime::{BoundTable, ManagerRt};
use crate::view::{ClusterState, View};
use policy::edge::Via;
use policy::receive::{self, Refusal};
use policy::{Decision, Flag, Forwarding, MirrorRule, NoTrace, Target};
use std::borrow::Cow;
use std::rc::Rc;
use wire::RequestHead;

/// A request that is to be forwarded.
#[derive(Debug)]
pub struct Routed<'v> {
    pub forwarding: Forwarding<'v>,
    /// `None`: there is none of that name, which matters only if no filter answers.
    pub cluster: Option<Rc<ClusterState>>,
    /// Clusters that get a copy; those that do not exist get none.
    pub mirrors: Vec<(&'v MirrorRule, Rc<ClusterState>)>,
}

/// Makes the head canonical and adds what the connection manager adds.
pub fn prepare(
    manager: &ManagerRt,
    via: &Via<'_>,
    record: &mut Record,
) -> Result<(), Box<Reply<'static>>> {
    let ends = record.stream.downstream.as_ref();
    let port = ends.and_then(|e| Some(e.local.address?.port()));
    let request = &mut record.heads.request;
    let client = receive::prepare(request, &manager.config, via, port, &record.worker.env);
    if let Some(client) = client.map_err(|refusal| Box::new(refused(refusal)))? {
        let address = std::net::SocketAddr::new(client, 0);
        record.stream.remote = Some(Rc::new(policy::format::Shown::new(address)));
    }
    Ok(())
}

/// The answer to a request that gets no further than its head.
pub fn refused(refusal: Refusal) -> Reply<'static> {
    let reply = Reply::new(refusal.status(), refusal.details());
    match refusal {
        Refusal::Version => reply.text("Upgrade Required").closing(),
        Refusal::Path(path) => reply.header("location", path),
        Refusal::ForbiddenPath => reply.closing(),
        Refusal::Underscore => reply.text("Bad Request").closing(),
    }
}

/// Finds the route and its cluster.
pub fn route<'v>(
    view: &'v View,
    table: Option<&'v BoundTable>,
    record: &mut Record,
) -> Result<Routed<'v>, Box<Reply<'v>>> {
    let not_found = || Box::new(Reply::new(404, "route_not_found").flag(Flag::NoRouteFound));
    let Some(bound) = table else { return Err(not_found()) };
    let worker = record.worker.clone();
    match bound.table.decide(&record.heads.request, &worker.env, &mut NoTrace) {
        Decision::NotFound | Decision::NonForwarding { .. } => Err(not_found()),
        Decision::Redirect(r) => {
            note(record, |n| n.routed(r.host, r.route));
            worker.shard.inc(record.stats().rq_redirect);
            let reply = Reply::new(r.status, "direct_response").header("location", r.location);
            Err(Box::new(reply.from(&bound.table, r.host, r.route)))
        }
        Decision::Direct { host, route, status, body } => {
            worker.shard.inc(record.stats().rq_direct_response);
            name_route(record, &host.name, &route.name);
            note(record, |n| n.routed(host, Some(route)));
            let mut reply =
                Reply::new(status, "direct_response").from(&bound.table, host, Some(route));
            if (300..400).contains(&status) {
                // Envoy treats it as a redirect to where the client is already.
                reply = reply.header("location", same_place(&record.heads.request));
            }
            reply.body = Cow::Borrowed(body);
            Err(Box::new(reply))
        }
        Decision::Forward(forwarding) => {
            name_route(record, &forwarding.host.name, &forwarding.route.name);
            note(record, |n| n.routed(forwarding.host, Some(forwarding.route)));
            let cluster = cluster(view, bound, &forwarding, record);
            if let Some(cluster) = &cluster {
                record.stream.cluster = Some(cluster.config.name.clone());
            }
            let mirror = |rule: &'v MirrorRule| {
                let place = bound.clusters[rule.cluster as usize]?;
                Some((rule, view.clusters[place as usize].clone()))
            };
            let mirrors = forwarding.rule.mirrors.iter().filter_map(mirror).collect();
            Ok(Routed { forwarding, cluster, mirrors })
        }
    }
}

fn same_place(request: &wire::Request) -> Vec<u8> {
    [request.scheme(), b"://", request.authority(), request.path()].concat()
}

fn note(record: &mut Record, say: impl FnOnce(&mut Noted)) {
    if let Some(noted) = &mut record.noted {
        say(noted);
    }
}

fn name_route(record: &mut Record, host: &ir::Str, route: &ir::Str) {
    record.stream.virtual_host = Some(host.clone());
    if !route.is_empty() {
        record.stream.route = Some(route.clone());
    }
}

fn cluster(
    view: &View,
    bound: &BoundTable,
    forwarding: &Forwarding<'_>,
    record: &mut Record,
) -> Option<Rc<ClusterState>> {
    let place = match forwarding.to {
        Target::Cluster(n) => {
            if bound.clusters[n as usize].is_none() {
                record.stream.cluster = Some(bound.table.clusters[n as usize].clone());
            }
            bound.clusters[n as usize]
        }
        Target::Header => {
            let name = record.heads.request.field(forwarding.cluster_header()?.as_bytes())?;
            view.runtime.cluster(std::str::from_utf8(name).ok()?)
        }
        Target::Nowhere => None,
    };
    Some(view.clusters[place? as usize].clone())
}
