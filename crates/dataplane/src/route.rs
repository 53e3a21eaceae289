//! Step: route. The head is made canonical, gets what a proxy adds, and is matched.

use crate::record::Record;
use crate::reply::Reply;
use crate::runtime::{BoundTable, ManagerRt};
use crate::view::{ClusterState, View};
use policy::edge::{self, Via};
use policy::normal::{self, Normalized};
use policy::{Decision, Flag, Forwarding, MirrorRule, NoTrace, Target};
use std::borrow::Cow;
use std::rc::Rc;
use wire::{Head, RequestHead};

/// A request that has a cluster to go to.
#[derive(Debug)]
pub struct Routed<'v> {
    pub forwarding: Forwarding<'v>,
    pub cluster: Rc<ClusterState>,
    /// Clusters that get a copy; those that do not exist get none.
    pub mirrors: Vec<(&'v MirrorRule, Rc<ClusterState>)>,
}

/// Makes the head canonical and adds what the connection manager adds.
pub fn prepare(
    manager: &ManagerRt,
    via: &Via<'_>,
    record: &mut Record,
) -> Result<(), Box<Reply<'static>>> {
    let request = &mut record.heads.request;
    let config = &manager.config;
    match normal::path(request.path(), manager.path) {
        Normalized::Unchanged => {}
        Normalized::Changed(path) => request.set_path(&path),
        Normalized::Redirect(path) => {
            let reply = Reply::new(307, "path_normalization_redirect").header("location", path);
            return Err(Box::new(reply));
        }
        Normalized::Rejected => {
            return Err(Box::new(Reply::new(400, "path_normalization_failed").closing()));
        }
    }
    if let Some(port) =
        record.stream.downstream.as_ref().and_then(|e| Some(e.local.address?.port()))
    {
        let host = normal::strip_host(request.authority(), config, port);
        if host.len() != request.authority().len() {
            let host = host.into_owned();
            request.set_authority(&host);
        }
    }
    underscores(config, request)?;
    if let Some(client) = edge::prepare(request, config, via, &record.worker.env) {
        let address = std::net::SocketAddr::new(client, 0);
        record.stream.remote = Some(Rc::new(policy::format::Shown::new(address)));
    }
    Ok(())
}

fn underscores(
    config: &ir::HttpManager,
    request: &mut wire::Request,
) -> Result<(), Box<Reply<'static>>> {
    let has = |name: &[u8]| name.contains(&b'_');
    match config.common.underscores {
        ir::Underscores::Allow => {}
        ir::Underscores::DropHeader => request.fields.retain(|name, _| !has(name)),
        ir::Underscores::RejectRequest => {
            if request.fields.iter().any(|(name, _)| has(name)) {
                let reply = Reply::new(400, "http1.unexpected_underscore").text("Bad Request");
                return Err(Box::new(reply.closing()));
            }
        }
    }
    Ok(())
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
            worker.shard.inc(record.stats().rq_redirect);
            let reply = Reply::new(r.status, "direct_response").header("location", r.location);
            Err(Box::new(reply.from(&bound.table, r.host, r.route)))
        }
        Decision::Direct { host, route, status, body } => {
            worker.shard.inc(record.stats().rq_direct_response);
            name_route(record, &host.name, &route.name);
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
            let cluster = cluster(view, bound, &forwarding, record);
            let Some(cluster) = cluster else {
                let reply = Reply::new(forwarding.rule.cluster_not_found, "cluster_not_found");
                return Err(Box::new(reply.flag(Flag::NoClusterFound)));
            };
            record.stream.cluster = Some(cluster.config.name.clone());
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

/// Whether the request may change the protocol of its connection, as it wishes to.
pub fn may_upgrade(manager: &ManagerRt, forwarding: &Forwarding<'_>, record: &Record) -> bool {
    let request = &record.heads.request;
    let kind = if request.method() == b"CONNECT" {
        &b"CONNECT"[..]
    } else {
        request.get(b"upgrade").unwrap_or_default()
    };
    let of = |list: &[ir::Upgrade]| {
        list.iter().find(|u| u.kind.as_bytes().eq_ignore_ascii_case(kind)).map(|u| u.enabled)
    };
    of(&forwarding.rule.upgrades).or_else(|| of(&manager.config.upgrades)).unwrap_or(false)
}
