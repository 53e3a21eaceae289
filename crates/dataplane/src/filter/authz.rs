//! External authorization: the service is asked, and what it says is done.

pub(crate) mod grpc;

use super::{Stop, gather};
use crate::forward::call::{Short, Whole, call_within};
use crate::forward::{Downstream, grpc::unary};
use crate::intake::Intake;
use crate::record::Record;
use crate::reply::Reply;
use crate::view::ClusterState;
use base::Env;
use ir::{AuthzBody, Str};
use policy::authz::{
    Answer, AuthzOwn, AuthzRule, Changes, Concern, Denial, Edit, HttpService, PARTIAL, Service,
};
use policy::{Flag, Scope, metadata};
use std::rc::Rc;
use telemetry::AuthzStats;
use wire::Version;

/// What the service says of a request that may pass.
pub(super) struct Allowed {
    pub response: Vec<Edit>,
    /// The request is another one now, and its route is to be looked for again.
    pub reroute: bool,
}

/// The filter and what it stands in.
pub(super) struct Check<'a, 'v> {
    pub name: &'a Str,
    pub rule: &'a AuthzRule,
    pub scope: Scope<'v>,
    /// That the request is meant for.
    pub cluster: Option<Rc<ClusterState>>,
}

/// What the service is told, beside what it always is.
struct Question<'q> {
    shown: Vec<(Vec<u8>, Vec<u8>)>,
    body: &'q [u8],
    as_bytes: bool,
    context: Vec<&'q (Str, Str)>,
}

impl<'v> Check<'_, 'v> {
    pub async fn run<D: Downstream>(
        &self,
        record: &mut Record,
        intake: &mut Intake<'_, D>,
    ) -> Result<Allowed, Stop<'v>> {
        let nothing = Allowed { response: Vec::new(), reroute: false };
        let stats = record.worker.authz_stats(record.prefix(), &self.rule.config.stat_prefix);
        match self.rule.concern(&record.stream.metadata, &record.worker.env) {
            Concern::Ask => {}
            Concern::Pass => {
                record.worker.shard.inc(stats.disabled);
                return Ok(nothing);
            }
            Concern::Refuse => {
                record.worker.shard.inc(stats.disabled);
                return Err(self.error());
            }
        }
        let own = self.scope.authz(self.name);
        let body = self.rule.body(own).filter(|_| !intake.upgrade);
        let whole = match body {
            Some(body) => gather(intake, body.max as usize, body.partial).await?,
            None => true,
        };
        let answer = self.ask(own, body, whole, record, intake).await?;
        let answer = match answer {
            Answer::Allowed(c) if self.rule.config.validate_mutations && c.invalid() => {
                record.worker.shard.inc(stats.invalid);
                let reply = Reply::new(500, "ext_authz_invalid");
                return Err(refused(reply));
            }
            answer => answer,
        };
        match answer {
            Answer::Allowed(changes) => {
                record.worker.shard.inc(stats.ok);
                Ok(self.allowed(*changes, record))
            }
            Answer::Denied(denial) => {
                record.worker.shard.inc(stats.denied);
                Err(self.denied(*denial, record))
            }
            Answer::Failed => self.failed(stats, record).map(|()| nothing),
        }
    }

    /// `body`: as much of it as the service gets; `whole`: that is all of it.
    async fn ask<D: Downstream>(
        &self,
        own: Option<&AuthzOwn>,
        body: Option<AuthzBody>,
        whole: bool,
        record: &Record,
        intake: &mut Intake<'_, D>,
    ) -> Result<Answer, Stop<'v>> {
        let service = self.rule.service(own);
        let Some(cluster) = place(service.cluster(), record) else {
            tracing::debug!("external authorization: there is no cluster {:?}", service.cluster());
            return Ok(Answer::Failed);
        };
        let mut shown = self.rule.shown(&record.heads.request, intake.upgrade);
        let kept = body.map(|body| {
            let kept = intake.replay.bytes();
            kept[..kept.len().min(body.max as usize)].to_vec()
        });
        let kept = kept.filter(|kept| !kept.is_empty());
        if kept.is_some() {
            let partial: &[u8] = if whole { b"false" } else { b"true" };
            shown.push((PARTIAL.into(), partial.to_vec()));
        }
        let question = Question {
            shown,
            body: kept.as_deref().unwrap_or_default(),
            as_bytes: body.is_some_and(|b| b.as_bytes),
            context: self.scope.authz_context(self.name).collect(),
        };
        let asked = async {
            match service {
                Service::Http(http) => by_http(http, &cluster, &question, record).await,
                Service::Grpc { timeout, .. } => {
                    let message = grpc::question(self.rule, &question, record);
                    let asked =
                        unary(&record.worker, &cluster, grpc::CHECK, &message, *timeout).await;
                    asked
                        .map(grpc::answer)
                        .inspect_err(|e| tracing::debug!("external authorization: {e}"))
                        .unwrap_or(Answer::Failed)
                }
            }
        };
        intake.attend(asked).await.ok_or(Stop::Gone)
    }

    fn allowed(&self, changes: Changes, record: &mut Record) -> Allowed {
        let changed = changes.apply(&mut record.heads.request);
        if self.rule.config.ingest_metadata.unwrap_or(true) {
            metadata::add(&mut record.stream.metadata, self.name, changes.metadata);
        }
        let reroute = changed && self.rule.config.clear_route_cache;
        Allowed { response: changes.response, reroute }
    }

    fn denied(&self, denial: Denial, record: &Record) -> Stop<'v> {
        if self.rule.config.charge_cluster.unwrap_or(true)
            && let Some(cluster) = &self.cluster
        {
            let (registry, shard) = (&record.worker.shared.registry, &record.worker.shard);
            cluster.codes.borrow_mut().count(denial.status, registry, shard);
            shard.inc(cluster.stats.rq_completed);
        }
        let mut reply = Reply::new(denial.status, "ext_authz_denied");
        reply.body = denial.body.into();
        if self.rule.config.max_denied_body > 0 {
            reply.body.to_mut().truncate(self.rule.config.max_denied_body as usize);
        }
        for (name, value) in denial.headers {
            reply.headers.push((String::from_utf8_lossy(&name).into_owned().into(), value));
        }
        reply.overrides = true;
        refused(reply)
    }

    /// Requests pass without an answer only where that is said.
    fn failed(&self, stats: AuthzStats, record: &mut Record) -> Result<(), Stop<'v>> {
        let shard = &record.worker.shard;
        shard.inc(stats.error);
        if !self.rule.config.failure_mode_allow {
            return Err(self.error());
        }
        shard.inc(stats.failure_mode_allowed);
        if self.rule.config.failure_mode_allow_header {
            let fields = &mut record.heads.request.fields;
            fields.push(b"x-envoy-auth-failure-mode-allowed", b"true");
        }
        Ok(())
    }

    fn error(&self) -> Stop<'v> {
        refused(Reply::new(self.rule.on_error(), "ext_authz_error"))
    }
}

fn refused(reply: Reply<'_>) -> Stop<'_> {
    Stop::Reply(Box::new(reply.flag(Flag::UnauthorizedExternalService)))
}

fn place(cluster: &str, record: &Record) -> Option<Rc<ClusterState>> {
    let place = record.view.runtime.cluster(cluster)?;
    record.view.clusters.get(place as usize).cloned()
}

async fn by_http(
    http: &HttpService,
    cluster: &Rc<ClusterState>,
    question: &Question<'_>,
    record: &Record,
) -> Answer {
    let mut request = http.question(&question.shown, question.body.len());
    request.version = Version::Http11;
    // What Envoy says of any request of its own.
    let patience = http.timeout.as_millis().to_string();
    request.set_field(b"x-envoy-internal", b"true");
    request.set_field(b"x-envoy-expected-rq-timeout-ms", patience.as_bytes());
    let kind = match question.body.len() {
        0 => wire::h1::Body::Empty,
        n => wire::h1::Body::Length(n as u64),
    };
    let (mut source, mut sink) = (Whole::new(question.body), Short::default());
    let began = record.worker.env.now();
    let ends = (&mut source, &mut sink);
    match call_within(&record.worker, cluster, &request, kind, ends, http.timeout).await {
        Ok(mut response) => {
            let took = record.worker.env.now().since(began).as_millis().to_string();
            response.fields.set(b"x-envoy-upstream-service-time", took.as_bytes());
            http.answer(&response, sink.body)
        }
        Err(why) => {
            tracing::debug!("external authorization: no answer: {why:?}");
            Answer::Failed
        }
    }
}
