//! One request from its head to its end: the steps route, filter, verdict and forward, or a local answer. The
//! same for every protocol a client may speak.

use crate::alarm::Alarm;
use crate::filter::{Filtered, Stop, filter};
use crate::forward::answer::IDLE;
use crate::forward::{Downstream, Ending, Job, answer, forward};
use crate::identify::Origin;
use crate::intake::Intake;
use crate::istio;
use crate::record::{Client, Record};
use crate::replay::Replay;
use crate::reply::{From, Reply};
use crate::route::{self, Router};
use crate::runtime::{BoundTable, ManagerRt, Routes};
use crate::verdict::verdict;
use crate::view::View;
use policy::edge::Via;
use policy::local::{grpc_status, is_grpc, percent_encoded};
use policy::receive;
use policy::{Decision, Forwarding};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use wire::h1::{Body, Framing};
use wire::{Head, RequestHead, Response};

/// What one request runs under.
pub struct Run<'a> {
    pub view: &'a View,
    pub manager: &'a ManagerRt,
    pub client: &'a Client,
    pub connection: &'a Origin,
    pub framing: Framing,
}

impl Run<'_> {
    pub async fn request<D: Downstream>(
        &self,
        record: &mut Record,
        down: &mut D,
        alarm: &mut Alarm,
    ) -> Ending {
        match self.forward(record, down, alarm).await {
            Ok(ending) => ending,
            Err(mut local) => {
                // What would follow is not of this protocol.
                local.close |= self.wishes(record);
                // Borrowed bodies and header rules live as long as the view, so it is sent here.
                match reply(down, *local, self.manager, record).await {
                    Ok(()) => Ending::Done,
                    Err(_) => Ending::Broken,
                }
            }
        }
    }

    /// Whether the client wants to go on in another protocol.
    fn wishes(&self, record: &Record) -> bool {
        self.framing.upgrade || record.heads.request.method() == b"CONNECT"
    }

    async fn forward<D: Downstream>(
        &self,
        record: &mut Record,
        down: &mut D,
        alarm: &mut Alarm,
    ) -> Result<Ending, Box<Reply<'_>>> {
        let manager = self.manager;
        let worker = record.worker.clone();
        let random = worker.env.state();
        let from = (&self.connection.listener, self.connection.direction);
        record.noted = Some(worker.recent.note(&record.heads.request, from, random));
        receive::begin(&mut record.heads.request, &manager.config)
            .map_err(|refusal| Box::new(route::refused(refusal)))?;
        let ip = |shown: &policy::format::Shown| {
            shown.address.map_or(std::net::Ipv4Addr::LOCALHOST.into(), |a| a.ip())
        };
        let via = Via {
            remote: ip(&self.client.remote),
            local: record.worker.shared.address,
            tls: self.client.peer.as_ref().is_some_and(|p| p.tls_version.is_some()),
            peer: self.client.peer.as_deref().filter(|p| !p.certificate_hash.is_empty()),
        };
        istio::receive(manager, record);
        route::prepare(manager, &via, record)?;
        let table: Option<&BoundTable> = match &manager.routes {
            Routes::Inline(table) => Some(table),
            Routes::Named(name) => self.view.runtime.tables.get(name).map(Arc::as_ref),
        };
        let router = Router { view: self.view, table };
        let routed = route::route(router, record);
        self.check_upgrade(&routed.decision, record)?;
        let idle = manager.config.stream_idle_timeout.unwrap_or(IDLE);
        let mut intake = Intake {
            down,
            body: self.framing.body,
            upgrade: self.wishes(record),
            replay: Replay::new(0, &worker.kept),
            idle: (!idle.is_zero()).then_some(idle),
        };
        let filtered = match filter(manager, router, routed, record, &mut intake).await {
            Ok(filtered) => filtered,
            Err(Stop::Reply(reply)) => return Err(reply),
            Err(Stop::Gone) => return Ok(Ending::Gone),
        };
        self.deliver(filtered, intake, record, alarm).await
    }

    /// Whether the route lets the request become what it wishes to become. As in Envoy it is the first route
    /// that is asked, before any filter, whatever route a filter leads to.
    fn check_upgrade<'v>(
        &self,
        decision: &Decision<'v>,
        record: &Record,
    ) -> Result<(), Box<Reply<'v>>> {
        let may = |upgrades: &[_]| {
            receive::may_upgrade(&self.manager.config, upgrades, &record.heads.request)
        };
        if !self.wishes(record) || decision.upgrades().is_none_or(may) {
            return Ok(());
        }
        let reply = Box::new(Reply::new(403, "upgrade_failed"));
        Err(of_route(reply, decision.forwarding()))
    }

    /// Does what the route says of a request that passed all filters.
    async fn deliver<'v, D: Downstream>(
        &'v self,
        filtered: Filtered<'v>,
        intake: Intake<'_, D>,
        record: &mut Record,
        alarm: &mut Alarm,
    ) -> Result<Ending, Box<Reply<'v>>> {
        let Intake { down, body, upgrade, replay, .. } = intake;
        let destined = verdict(filtered, self.view, record)?;
        let job = Job {
            to: &destined,
            manager: self.manager,
            body,
            upgrade,
            original: self.connection.original,
            client: self.client.remote.address.zip(self.client.ends.local.address),
        };
        let ended = forward(&job, replay, record, down, alarm).await;
        ended.map_err(|reply| {
            let reply: Reply<'_> = *reply;
            Box::new(reply.of_forwarding(destined.forwarding).passed(destined.passed))
        })
    }
}

/// The header operations of the route hold for answers in place of the upstream.
pub fn of_route<'v>(reply: Box<Reply<'v>>, to: Option<Forwarding<'v>>) -> Box<Reply<'v>> {
    match to {
        Some(forwarding) => Box::new(reply.of_forwarding(forwarding)),
        None => reply,
    }
}

/// Sends a local answer to its end.
pub async fn reply<D: Downstream>(
    down: &mut D,
    mut reply: Reply<'_>,
    manager: &ManagerRt,
    record: &mut Record,
) -> io::Result<()> {
    // After a bad request nobody knows where the next one begins.
    if reply.close || reply.status == 400 {
        down.close();
    }
    if let Some(flag) = reply.flag {
        record.stream.flags.set(flag);
    }
    record.stream.details = reply.details.clone();
    let decided = reply.status;
    let head_only = record.has_request && record.heads.request.method() == b"HEAD";
    let speaks = record.has_request && is_grpc(&record.heads.request);
    let grpc = speaks && !reply.passed.is_web();
    let heads = &mut record.heads;
    let (response, request) = (&mut heads.response, &heads.request);
    response.clear();
    response.status = reply.status;
    push_own(response, &reply);
    match &reply.from {
        Some(From::Table(table, host, route)) => {
            table.local_response_headers(host, *route, response, request, &record.stream);
        }
        Some(From::Forwarding(forwarding)) => {
            forwarding.rewrite_response(response, request, &record.stream);
        }
        None => {}
    }
    if reply.overrides {
        for (name, _) in &reply.headers {
            response.fields.remove(name.as_bytes());
        }
        push_own(response, &reply);
    }
    if let Some(rule) = &manager.local_reply {
        let request = record.has_request.then_some(request);
        let body = std::mem::take(&mut reply.body).into_owned();
        let env = &record.worker.env;
        reply.body = rule.rewrite(request, response, &mut record.stream, body, env).into();
        reply.status = response.status;
    }
    let text: &[u8] = if head_only || grpc { b"" } else { &reply.body };
    reply.passed.answer(response);
    describe_body(response, &reply, grpc);
    let coded = reply.passed.code(response, text.is_empty());
    let recoded = coded.recoding.is_some();
    let text = &*coded.whole(response, text);
    answer::finish(record, &manager.config, true);
    record.stream.status = record.heads.response.status;
    record.charged = Some(decided);
    record.has_response = true;
    let body = match text.len() {
        0 => Body::Empty,
        _ if recoded => Body::Chunked,
        n => Body::Length(n as u64),
    };
    if !down.skip_request() {
        down.close();
    }
    down.start(&record.heads.response, body, false);
    record.stream.bytes_sent = text.len() as u64;
    let mut rest = text;
    poll_fn(|cx| {
        while !rest.is_empty() {
            match down.poll_send(cx, rest) {
                Poll::Ready(Ok(n)) => rest = &rest[n..],
                other => return other.map_ok(|_| ()),
            }
        }
        down.poll_finish(cx, None)
    })
    .await
}

fn push_own(response: &mut Response, reply: &Reply<'_>) {
    for (name, value) in &reply.headers {
        response.fields.push(name.as_bytes(), value);
    }
}

/// What the head of a local answer says of its body. A gRPC client gets a status of its own kind, and
/// no body.
fn describe_body(response: &mut Response, reply: &Reply<'_>, grpc: bool) {
    response.fields.remove(b"content-length");
    if grpc {
        response.status = 200;
        response.fields.set(b"content-type", b"application/grpc");
        if let Some(status) = reply.grpc {
            response.fields.set(b"grpc-status", status.to_string().as_bytes());
        } else if response.get(b"grpc-status").is_none() {
            let status = grpc_status(reply.status).to_string();
            response.fields.push(b"grpc-status", status.as_bytes());
        }
        if !reply.body.is_empty() {
            let message = reply.body.strip_suffix(b"\n").unwrap_or(&reply.body);
            response.fields.set(b"grpc-message", &percent_encoded(message));
        }
        return;
    }
    if !reply.body.is_empty() {
        response.fields.push(b"content-length", reply.body.len().to_string().as_bytes());
        if response.get(b"content-type").is_none() {
            response.fields.push(b"content-type", b"text/plain");
        }
        return;
    }
    response.fields.remove(b"content-type");
}
