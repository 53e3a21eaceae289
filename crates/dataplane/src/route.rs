//! Step: route. The head is made canonical, gets what a proxy adds, and its route is found.

use crate::recent::Noted;
use crate::record::Record;
use crate::reply::Reply;
use crate::runtime::{BoundTable, ManagerRt};
use crate::view::{ClusterState, View};
use policy::edge::Via;
use policy::receive::{self, Refusal};
use policy::{Decision, Forwarding, NoTrace, Redirection, Target};
use std::rc::Rc;
use wire::RequestHead;

/// A request whose route was looked for.
#[derive(Debug)]
pub struct Routed<'v> {
    pub decision: Decision<'v>,
    /// `None`: the table does not exist, either.
    pub bound: Option<&'v BoundTable>,
    /// Of a request that is to be forwarded. `None`: there is none of that name, which matters only if no
    /// filter answers.
    pub cluster: Option<Rc<ClusterState>>,
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

/// Where routes are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Router<'v> {
    pub view: &'v View,
    /// `None`: it does not exist.
    pub table: Option<&'v BoundTable>,
}

impl<'v> Router<'v> {
    /// Looks again, for a request that a filter has changed.
    pub fn again(self, record: &mut Record) -> Routed<'v> {
        record.stream.cluster = None;
        record.stream.route = None;
        record.stream.virtual_host = None;
        route(self, record)
    }
}

/// Finds the route and its cluster. What it says comes after the filters.
pub fn route<'v>(router: Router<'v>, record: &mut Record) -> Routed<'v> {
    let Router { view, table } = router;
    let Some(bound) = table else {
        return Routed { decision: Decision::NotFound, bound: None, cluster: None };
    };
    let worker = record.worker.clone();
    let decision = bound.table.decide(
        &record.heads.request,
        &record.stream.metadata,
        &worker.env,
        &mut NoTrace,
    );
    let mut of_decision = None;
    match &decision {
        Decision::Redirect(Redirection { host, route: Some(route), .. })
        | Decision::Direct { host, route, .. } => {
            name_route(record, &host.name, &route.name);
            note(record, |n| n.routed(host, Some(route)));
        }
        Decision::Redirect(to) => note(record, |n| n.routed(to.host, None)),
        Decision::Forward(forwarding) => {
            name_route(record, &forwarding.host.name, &forwarding.route.name);
            note(record, |n| n.routed(forwarding.host, Some(forwarding.route)));
            of_decision = cluster(view, bound, forwarding, record);
            if let Some(cluster) = &of_decision {
                record.stream.cluster = Some(cluster.config.name.clone());
            }
        }
        Decision::NotFound | Decision::NonForwarding { .. } => {}
    }
    Routed { decision, bound: Some(bound), cluster: of_decision }
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
