//! The one record of a request: whatever becomes of it, the record is written when it is dropped,
//! and feeds counters and access logs.

use crate::istio::{self, Peers};
use crate::recent::Noted;
use crate::runtime::ManagerRt;
use crate::view::{ClusterState, View};
use crate::worker::Worker;
use base::Env;
use policy::format::{Ends, Peer, Shown};
use policy::{Info, Stream};
use std::rc::Rc;
use std::sync::Arc;
use wire::{Request, Response};

/// The heads of one exchange.
#[derive(Debug, Default)]
pub struct Heads {
    pub request: Request,
    pub response: Response,
}

/// The client's connection, as records show it.
#[derive(Clone, Debug)]
pub struct Client {
    pub ends: Rc<Ends>,
    pub remote: Rc<Shown>,
    pub peer: Option<Rc<Peer>>,
}

#[derive(Debug)]
pub struct Record {
    pub heads: Heads,
    pub stream: Stream,
    pub worker: Rc<Worker>,
    pub view: Rc<View>,
    manager: Arc<ManagerRt>,
    /// A request head was read; otherwise there is nothing to show of it.
    pub has_request: bool,
    /// A response head was sent.
    pub has_response: bool,
    pub cluster: Option<Rc<ClusterState>>,
    /// The status of a local answer before it was put in the client's terms (gRPC).
    pub charged: Option<u16>,
    pub peers: Peers,
    pub grpc_status: Option<u32>,
    /// The request as it came, once it was looked at.
    pub noted: Option<Noted>,
}

impl Record {
    pub fn new(
        worker: &Rc<Worker>,
        view: &Rc<View>,
        manager: &Arc<ManagerRt>,
        client: &Client,
        heads: Heads,
    ) -> Self {
        worker.shard.inc(manager.stats.rq_total);
        worker.shard.up(manager.stats.rq_active);
        let stream = Stream {
            began: worker.env.now(),
            start: worker.env.wall(),
            downstream: Some(client.ends.clone()),
            remote: Some(client.remote.clone()),
            peer: client.peer.clone(),
            ..Default::default()
        };
        Self {
            heads,
            stream,
            worker: worker.clone(),
            view: view.clone(),
            manager: manager.clone(),
            has_request: false,
            has_response: false,
            cluster: None,
            charged: None,
            peers: Peers::default(),
            grpc_status: None,
            noted: None,
        }
    }

    /// Time since the request began.
    pub fn elapsed(&self) -> std::time::Duration {
        self.worker.env.now().since(self.stream.began)
    }

    /// Under which the connection manager counts.
    pub fn prefix(&self) -> &ir::Str {
        &self.manager.config.stat_prefix
    }

    pub fn stats(&self) -> &telemetry::HttpStats {
        &self.manager.stats
    }

    fn count(&self) {
        let (shard, stats) = (&self.worker.shard, &self.manager.stats);
        let took = self.stream.duration.unwrap_or_default().as_millis() as u64;
        shard.down(stats.rq_active);
        shard.inc(stats.rq_completed);
        match self.stream.protocol {
            Some(wire::Version::Http2) => shard.inc(stats.rq_http2_total),
            _ => shard.inc(stats.rq_http1_total),
        }
        shard.observe(stats.rq_time, took);
        if self.stream.status != 0 {
            self.worker.count_code(&self.manager.config.stat_prefix, self.stream.status);
        }
        if self.stream.flags.has(policy::Flag::NoRouteFound) {
            shard.inc(stats.no_route);
        }
        if self.stream.flags.has(policy::Flag::NoClusterFound) {
            shard.inc(stats.no_cluster);
        }
        if let Some(cluster) = &self.cluster {
            shard.inc(cluster.stats.rq_completed);
            if self.stream.status != 0 {
                let registry = &self.worker.shared.registry;
                let status = self.charged.unwrap_or(self.stream.status);
                cluster.codes.borrow_mut().count(status, registry, shard);
                shard.observe(cluster.stats.rq_time, took);
            }
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.stream.duration = Some(self.elapsed());
        self.count();
        istio::count(&self.manager, self);
        let info = Info {
            request: self.has_request.then_some(&self.heads.request as &dyn wire::RequestHead),
            response: self.has_response.then_some(&self.heads.response as &dyn wire::Head),
            stream: &self.stream,
        };
        for (rule, sink) in &self.manager.logs {
            if let Some(Some(buffer)) = self.view.logs.get(*sink as usize) {
                buffer.append(|out| rule.write(&info, &self.worker.env, out));
            }
        }
        if let Some(noted) = self.noted.take() {
            self.worker.recent.keep(noted, &self.heads.request, &self.stream);
        }
        self.worker.stock.take_back_heads(std::mem::take(&mut self.heads));
    }
}
