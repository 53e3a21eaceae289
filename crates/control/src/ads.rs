//! Aggregated discovery: one task per stream. A session decides what to say; this file gives it the
//! requests of its proxy and the worlds that come, and remembers who holds what.

mod access;
mod book;
mod comeback;
mod dialect;
mod layers;
mod limits;
mod patch;
mod plan;
#[cfg(test)]
pub(crate) mod scale;
mod secrets;
mod stream;

use crate::Options;
use crate::discovery::Caller;
use crate::grpc::Answers;
use crate::metrics::Metrics;
use crate::shares::{Share, Shares};
use crate::tokens::SecretAccess;
use crate::world::World;
use base::{Finding, ObjectRef, SpiffeId};
use book::Book;
use plan::Planner;
use proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;
use tonic::{Status, Streaming};

pub(crate) use book::Applied;

/// All streams of this control plane.
#[derive(Clone)]
pub(crate) struct Ads(Arc<Shared>);

pub(crate) struct Shared {
    worlds: watch::Receiver<Option<World>>,
    planner: Planner,
    book: Book,
    streams: Arc<Shares<SpiffeId>>,
    access: Arc<dyn SecretAccess>,
    metrics: Arc<Metrics>,
    options: Options,
    stop: watch::Receiver<bool>,
}

impl Ads {
    pub fn new(
        worlds: watch::Receiver<Option<World>>,
        access: Arc<dyn SecretAccess>,
        metrics: Arc<Metrics>,
        options: Options,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (planner, book) = (Planner::default(), Book::default());
        let streams = Shares::of(options.streams);
        Self(Arc::new(Shared { worlds, planner, book, streams, access, metrics, options, stop }))
    }

    pub fn state_of_the_world(
        &self,
        caller: Caller,
        requests: Streaming<DiscoveryRequest>,
    ) -> Result<Answers<DiscoveryResponse>, Status> {
        let share = self.0.share_of(&caller)?;
        Ok(stream::run::<dialect::StateOfTheWorld>(self.0.clone(), caller, share, requests))
    }

    pub fn delta(
        &self,
        caller: Caller,
        requests: Streaming<DeltaDiscoveryRequest>,
    ) -> Result<Answers<DeltaDiscoveryResponse>, Status> {
        let share = self.0.share_of(&caller)?;
        Ok(stream::run::<dialect::Delta>(self.0.clone(), caller, share, requests))
    }

    pub fn syncz(&self) -> Value {
        self.0.book.syncz()
    }

    pub fn connections(&self) -> Value {
        self.0.book.connections()
    }

    pub fn config_dump(&self, proxy: &str) -> Option<Value> {
        self.0.book.config_dump(proxy)
    }

    pub fn names(&self, proxy: &str) -> Option<Value> {
        self.0.book.names(proxy)
    }

    /// What every connected proxy serves, for the status of objects.
    pub fn standings(&self) -> Vec<Applied> {
        self.0.book.standings()
    }

    /// What was found wrong with objects while compiling for the connected proxies.
    pub fn findings(&self) -> HashMap<ObjectRef, Vec<Finding>> {
        self.0.book.findings()
    }

    /// Rings when any proxy's standing changed.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.book.changes()
    }
}

impl Shared {
    /// The right to one stream more. Whom nobody has vouched for comes by the plaintext port, where there
    /// are no identities to tell apart.
    fn share_of(&self, caller: &Caller) -> Result<Option<Share<SpiffeId>>, Status> {
        let Caller::Known(identity) = caller else { return Ok(None) };
        let full = || {
            let most = self.options.streams;
            Status::resource_exhausted(format!("{identity} holds {most} streams; end some first"))
        };
        self.streams.take(identity).map(Some).ok_or_else(full)
    }
}
