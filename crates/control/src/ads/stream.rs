//! One stream: admit the proxy, then answer its requests and tell it what changes, until either side
//! ends. What is said is the session's decision; here is the waiting.

use super::Shared;
use super::access::Access;
use super::book::{Applied, Page, short};
use super::comeback::Comeback;
use super::dialect::Dialect;
use super::limits::Pace;
use super::plan::Planned;
use crate::discovery::Caller;
use crate::env::SystemEnv;
use crate::grpc::Answers;
use crate::node;
use crate::settle::Settle;
use crate::shares::Share;
use crate::world::World;
use base::{Env, Instant, SpiffeId};
use compile::Proxy;
use ir::ResourceKey;
use proto::discovery::ControlPlane;
use serde_json::Value;
use std::marker::PhantomData;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};
use xds::server::{Event, Request, Session};

/// Messages that wait for a slow proxy; then its stream waits, and later worlds replace earlier ones.
const QUEUE: usize = 16;
/// A stream is opened by a request, not in advance.
const FIRST: std::time::Duration = std::time::Duration::from_secs(30);

/// Names of an application that asks for itself; others are not heard. Each change of them is planned for.
const MOST_NAMES: usize = 1_000;

/// Serves a stream in a task of its own; the task ends when the proxy goes.
pub(super) fn run<D: Dialect>(
    shared: Arc<Shared>,
    caller: Caller,
    share: Option<Share<SpiffeId>>,
    requests: Streaming<D::Request>,
) -> Answers<D::Response> {
    let (out, answers) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let _share = share;
        if let Err(status) = converse::<D>(&shared, caller, requests, &out).await {
            tracing::info!(%status, "a discovery stream is refused");
            let _ = out.send(Err(status)).await;
        }
    });
    Answers(answers)
}

async fn converse<D: Dialect>(
    shared: &Shared,
    caller: Caller,
    mut requests: Streaming<D::Request>,
    out: &mpsc::Sender<Result<D::Response, Status>>,
) -> Result<(), Status> {
    let first = tokio::time::timeout(FIRST, requests.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no request came; send one"))??;
    let Some(first) = first else { return Ok(()) };
    let (proxy, metadata) = admit(&caller, &first, D::node)?;
    let mut worlds = shared.worlds.clone();
    let mut stop = shared.stop.clone();
    tokio::select! {
        found = worlds.wait_for(Option::is_some) => drop(found.map_err(|_| leaving())?),
        _ = stop.wait_for(|s| *s) => return Err(leaving()),
    }
    let page = shared.book.open(&proxy, &metadata, D::NAME);
    shared.gauge_connections();
    let mut talk = Talk::<D> {
        shared,
        session: Session::new(D::OF_SESSION),
        sender: sender(&shared.options.pod_name),
        access: Access::of(&caller),
        settle: Settle::default(),
        held_until: None,
        comeback: Comeback::default(),
        wanted: Vec::new(),
        applied: Applied::default(),
        told_at: std::time::Instant::now(),
        page,
        proxy,
        dialect: PhantomData,
    };
    talk.world(&mut worlds).await?;
    let mut answers = talk.request(first, &mut worlds).await?;
    let mut pace = Pace::default();
    loop {
        for answer in answers {
            if out.send(Ok(answer)).await.is_err() {
                return Ok(());
            }
        }
        let news = tokio::select! {
            biased;
            _ = stop.wait_for(|s| *s) => News::End,
            request = next(&pace, &mut requests) => match request {
                Ok(Some(request)) => {
                    pace.count(tokio::time::Instant::now());
                    News::Request(request)
                }
                Ok(None) | Err(_) => News::End,
            },
            changed = worlds.changed() => changed.map_or(News::End, |()| News::World),
            () = until(talk.looks_again()) => News::World,
        };
        answers = match news {
            News::Request(request) => talk.request(request, &mut worlds).await?,
            News::World => talk.world(&mut worlds).await?,
            News::End => return Ok(()),
        };
    }
}

async fn next<R>(pace: &Pace, requests: &mut Streaming<R>) -> Result<Option<R>, Status> {
    if let Some(time) = pace.opens() {
        tokio::time::sleep_until(time).await;
    }
    requests.message().await
}

/// What a stream waits for.
enum News<R> {
    Request(R),
    /// There is another world, or the time has come to look at this one again.
    World,
    End,
}

fn leaving() -> Status {
    Status::unavailable("the control plane is going down; connect again")
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep(time.since(SystemEnv::default().now())).await,
        None => std::future::pending().await,
    }
}

/// Who the proxy says it is, if its credentials allow that.
fn admit<R>(
    caller: &Caller,
    first: &R,
    node: fn(&R) -> Option<&proto::discovery::Node>,
) -> Result<(Proxy, Value), Status> {
    let node =
        node(first).ok_or_else(|| Status::invalid_argument("the first request carries no node"))?;
    let metadata = node::metadata(node);
    let proxy =
        Proxy::parse(&node.id, &metadata).map_err(|e| Status::invalid_argument(e.to_string()))?;
    let proxy = match &node.locality {
        Some(l) => proxy.standing_at(&l.region, &l.zone, &l.sub_zone),
        None => proxy,
    };
    match caller {
        Caller::Known(id) if *id.namespace != *proxy.namespace => Err(Status::permission_denied(
            format!("{id} may not ask for a proxy in namespace {}", proxy.namespace),
        )),
        _ => Ok((proxy, metadata)),
    }
}

/// The state of one conversation.
struct Talk<'a, D> {
    shared: &'a Shared,
    proxy: Proxy,
    session: Session,
    sender: ControlPlane,
    access: Access,
    settle: Settle,
    held_until: Option<Instant>,
    comeback: Comeback,
    /// Of those that are told only what they name: its names.
    wanted: Vec<ResourceKey>,
    applied: Applied,
    told_at: std::time::Instant,
    page: Page<'a>,
    dialect: PhantomData<D>,
}

impl<D: Dialect> Talk<'_, D> {
    /// Plans for the newest world.
    async fn world(
        &mut self,
        worlds: &mut watch::Receiver<Option<World>>,
    ) -> Result<Vec<D::Response>, Status> {
        let Some(world) = worlds.borrow_and_update().clone() else { return Ok(Vec::new()) };
        let mut plan = self.plan(&world);
        let now = SystemEnv::default().now();
        if self.access.settle(&*self.shared.access, plan.names_any, now).await? {
            plan = self.plan(&world);
        }
        self.held_until = plan.held_until;
        if plan.held_until.is_none() {
            self.applied.told = world.sequence;
            self.told_at = std::time::Instant::now();
        }
        self.applied.waits_for = plan.waits_for;
        self.session.set_desired(plan.resources.clone());
        self.page.planned(plan.resources, plan.findings);
        Ok(self.answers())
    }

    /// When something changes though nothing is told.
    fn looks_again(&self) -> Option<Instant> {
        let times = [self.held_until, self.access.looks_again(), self.comeback.ends()];
        times.into_iter().flatten().min()
    }

    fn plan(&mut self, world: &World) -> Planned {
        let (patience, now) = (self.shared.options.settle, SystemEnv::default().now());
        let (proxy, credentials) = (&self.proxy, self.access.credentials());
        let (planner, settle) = (&self.shared.planner, &mut self.settle);
        match proxy.grpc {
            true => planner.plan_named(world, proxy, &self.wanted, settle, patience, now),
            false => planner.plan(world, proxy, credentials, settle, patience, now),
        }
    }

    async fn request(
        &mut self,
        request: D::Request,
        worlds: &mut watch::Receiver<Option<World>>,
    ) -> Result<Vec<D::Response>, Status> {
        let Some(request) = D::read(request) else { return Ok(Vec::new()) };
        self.hear(request);
        if self.proxy.grpc {
            let wanted: Vec<ResourceKey> = self.session.names().take(MOST_NAMES).collect();
            if wanted != self.wanted {
                self.wanted = wanted;
                return self.world(worlds).await;
            }
        }
        Ok(self.answers())
    }

    fn hear(&mut self, request: Request) {
        self.comeback.hear(&request, SystemEnv::default().now());
        match self.session.receive(request) {
            Some(Event::Nacked(kind, why)) => {
                let kind = short(kind);
                self.shared.metrics.count("pilot_total_xds_rejects", &[("type", kind)]);
                tracing::warn!(proxy = %self.proxy.name, kind, why, "configuration refused");
            }
            Some(Event::Stale(kind)) => {
                let kind = short(kind);
                self.shared.metrics.count("pilot_xds_expired_nonce", &[("type", kind)]);
            }
            Some(Event::Acked(_)) | None => {}
        }
    }

    /// All that may go out now.
    fn answers(&mut self) -> Vec<D::Response> {
        let mut answers = Vec::new();
        if self.comeback.waits(SystemEnv::default().now()) {
            return answers;
        }
        while let Some(push) = self.session.poll() {
            self.shared.metrics.count("pilot_xds_pushes", &[("type", short(push.kind))]);
            answers.push(D::write(push, &self.sender));
        }
        if self.session.is_synced() && self.applied.acked != self.applied.told {
            self.applied.acked = self.applied.told;
            let seconds = self.told_at.elapsed().as_secs_f64();
            self.shared.metrics.observe("pilot_proxy_convergence_time", seconds);
        }
        let sync = ir::Kind::ALL.into_iter().map(|k| (k, self.session.status(k))).collect();
        self.page.progress(sync, self.applied.clone());
        answers
    }
}

fn sender(pod: &str) -> ControlPlane {
    let identifier = serde_json::json!({"Component": "istiod", "ID": pod,
        "Info": {"version": env!("CARGO_PKG_VERSION")}});
    ControlPlane { identifier: identifier.to_string() }
}

impl Shared {
    fn gauge_connections(&self) {
        self.metrics.gauge(
            "pilot_xds",
            &[("version", env!("CARGO_PKG_VERSION"))],
            self.book.len() as f64,
        );
    }
}

impl<D> Drop for Talk<'_, D> {
    fn drop(&mut self) {
        // The page goes after this, so it still counts itself.
        let rest = self.shared.book.len().saturating_sub(1);
        self.shared.metrics.gauge(
            "pilot_xds",
            &[("version", env!("CARGO_PKG_VERSION"))],
            rest as f64,
        );
    }
}
