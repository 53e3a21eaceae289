//! Copies of requests for other clusters, whose answers nobody waits for. A copy is sent when the
//! body is known to its end; bodies that are too long to be kept are not copied.

use super::Effort;
use super::call::{Nowhere, Whole, call_within};
use crate::replay::Kept;
use crate::worker::Worker;
use base::Env;
use std::rc::Rc;
use std::time::Duration;
use wire::h1::Body;
use wire::{Request, RequestHead};

/// A copy that takes longer than this is given up, where the route allows any time.
const TIMEOUT: Duration = Duration::from_secs(15);

impl Effort<'_, '_> {
    /// Sends the copies that the route asks for, once, if the request is known to its end: its upstream
    /// and those of the copies get it at the same time, whatever time any of them takes.
    pub(super) fn mirror(&mut self, worker: &Rc<Worker>, request: &Request) {
        let to = self.job.to;
        if self.mirrored || to.mirrors.is_empty() {
            return;
        }
        let Some(body) = self.replay.copy(self.job.body == Body::Empty) else { return };
        self.mirrored = true;
        let body = Rc::new(body);
        let env = &worker.env;
        for (rule, cluster) in &to.mirrors {
            if env.below(1_000_000) >= u64::from(rule.fraction) {
                continue;
            }
            let mut request = request.clone();
            if rule.host_suffix {
                let host = shadow(request.authority());
                request.set_authority(&host);
            }
            let kind = self.job.body;
            let (worker, cluster) = (worker.clone(), cluster.clone());
            let mut source = Whole::new(Shared(body.clone()));
            let time = self.times.whole.unwrap_or(TIMEOUT);
            tokio::task::spawn_local(async move {
                let mut sink = Nowhere;
                let ends = (&mut source, &mut sink);
                // Whatever becomes of a copy is for the counters of its cluster only.
                let _ = call_within(&worker, &cluster, &request, kind, ends, time).await;
            });
        }
    }
}

/// `host:port` as `host-shadow:port`.
fn shadow(authority: &[u8]) -> Vec<u8> {
    let (host, port) = policy::normal::split_port(authority);
    [host, b"-shadow", if port.is_some() { &authority[host.len()..] } else { b"" }].concat()
}

/// The body that all copies share.
struct Shared(Rc<Kept>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}
