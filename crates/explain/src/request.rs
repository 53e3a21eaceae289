//! A request of HTTP: its head, virtual host, route and filters, step by step as the proxy takes them.

use crate::connection::Arrived;
use crate::place::{Explainer, SOMEBODY};
use crate::{Answer, Asked, Draws, Explanation, Fact, Skipped, Verdict, because, facts};
use base::{Env, FixedEnv};
use ir::{AbortStatus, HttpManager, RouteConfig};
use policy::cors::{self, Verdict as Cors};
use policy::edge::Via;
use policy::fault::FaultRule;
use policy::local;
use policy::receive::{self, Refusal};
use policy::{Decision, Forwarding, Miss, RouteTable, Scope, Stream, Trace};
use wire::h1::frame_request;
use wire::{Request, RequestHead, Response};

/// What stays the same through all steps of one request.
pub(crate) struct Passing<'a> {
    pub explainer: &'a Explainer<'a>,
    pub manager: &'a HttpManager,
    pub table: &'a RouteTable,
    /// The route as it was compiled.
    pub written: Option<&'a ir::Route>,
    pub draws: Draws,
    pub env: &'a FixedEnv,
    pub arrived: &'a Arrived<'a>,
}

pub(crate) fn explain(
    explainer: &Explainer<'_>,
    manager: &HttpManager,
    arrived: &Arrived<'_>,
    asked: &Asked,
    draws: Draws,
    told: &mut Explanation,
) {
    let mut head = asked.head();
    let sent = head.clone();
    let framing = match frame_request(&mut head, manager.http1.allow_chunked_length) {
        Ok(framing) => framing,
        Err(error) => {
            told.verdict = answered(error.status(), Answer::Head, error.to_string());
            return;
        }
    };
    told.facts.extend(lost(&sent, &head));
    let grpc = local::is_grpc(&head);
    let upgrade = framing.upgrade || head.method() == b"CONNECT";
    follow(explainer, manager, arrived, head, upgrade, draws, told);
    if let Verdict::Answered { status, .. } | Verdict::Redirected { status, .. } = told.verdict {
        // A fault may have said which.
        let mapped = || local::grpc_status(status);
        told.grpc_status = grpc.then(|| told.grpc_status.unwrap_or_else(mapped));
    }
}

fn follow(
    explainer: &Explainer<'_>,
    manager: &HttpManager,
    arrived: &Arrived<'_>,
    mut head: Request,
    upgrade: bool,
    draws: Draws,
    told: &mut Explanation,
) {
    let env = FixedEnv::seeded(match draws {
        Draws::All => 0,
        Draws::From(seed) => seed,
    });
    if let Err(refusal) = read(explainer, manager, arrived, &mut head, &env) {
        told.verdict = refused(refusal);
        return;
    }
    let Some(config) = explainer.routes(&manager.routes) else {
        told.verdict = no_route("the route configuration does not exist");
        return;
    };
    told.routes = Some(config.name.to_string()).filter(|n| !n.is_empty());
    let table = explainer.table(&manager.routes, config);
    let mut heard = Heard { explainer, config, head: &head, host: None, told };
    let decision = table.decide(&head, &ir::Metadata::new(), &env, &mut heard);
    let host = heard.host;
    let place = told.place.and_then(|p| usize::try_from(p).ok());
    let written = host.and_then(|h| h.routes.get(place?));
    told.route = written.map(|r| explainer.node(route_name(r, place), r.origin));
    let table = &*table;
    let passing = Passing { explainer, manager, table, written, draws, env: &env, arrived };
    told.verdict = passing.act(&decision, head, upgrade, told);
}

/// What ends at the proxy, since it is for the client's connection only.
fn lost<'a>(sent: &'a Request, head: &'a Request) -> impl Iterator<Item = Fact> + 'a {
    let gone =
        |name: &[u8]| !name.eq_ignore_ascii_case(b"connection") && !head.fields.contains(name);
    sent.fields.iter().map(|(name, _)| name).filter(move |name| gone(name)).map(|name| {
        let name = String::from_utf8_lossy(name);
        let value = format!("loses {name}, which is for the client's connection only");
        Fact { name: "request", value, origin: None }
    })
}

fn read(
    explainer: &Explainer<'_>,
    manager: &HttpManager,
    arrived: &Arrived<'_>,
    head: &mut Request,
    env: &impl Env,
) -> Result<(), Refusal> {
    receive::begin(head, manager)?;
    let via = Via {
        remote: arrived.source.ip(),
        local: explainer.side.workload().ip.unwrap_or(SOMEBODY),
        // Of mutual TLS the application's own client knows nothing.
        tls: arrived.decrypted && !arrived.mutual,
        peer: None,
    };
    receive::prepare(head, manager, &via, Some(arrived.destination.port()), env).map(|_| ())
}

fn refused(refusal: Refusal) -> Verdict {
    let status = refusal.status();
    match refusal {
        Refusal::Path(path) => {
            Verdict::Redirected { status, location: String::from_utf8_lossy(&path).into_owned() }
        }
        Refusal::Version => answered(status, Answer::Head, "HTTP/1.0 is not accepted here"),
        Refusal::ForbiddenPath => {
            answered(status, Answer::Head, "the path holds what is forbidden")
        }
        Refusal::Underscore => {
            answered(status, Answer::Head, "the name of a header field holds an underscore")
        }
    }
}

pub(crate) fn answered(status: u16, by: Answer, why: impl Into<String>) -> Verdict {
    Verdict::Answered { status, by, why: why.into() }
}

fn no_route(why: &str) -> Verdict {
    answered(404, Answer::NoRoute, why)
}

/// Routes need no name; then their place stands for it.
fn route_name(route: &ir::Route, place: Option<usize>) -> String {
    match (&*route.name, place) {
        ("", Some(place)) => format!("number {place}"),
        (name, _) => name.to_owned(),
    }
}

impl Passing<'_> {
    fn act(
        &self,
        decision: &Decision<'_>,
        head: Request,
        upgrade: bool,
        told: &mut Explanation,
    ) -> Verdict {
        let forward = match (decision, self.written.map(|r| &r.action)) {
            (Decision::Forward(forwarding), Some(ir::Action::Forward(written))) => {
                told.facts.extend(facts::of(self, written, forwarding));
                Some((forwarding, self.picks(&written.to, forwarding, &head)))
            }
            _ => None,
        };
        let may = |upgrades: &[_]| receive::may_upgrade(self.manager, upgrades, &head);
        if upgrade && !decision.upgrades().is_none_or(may) {
            return answered(403, Answer::Upgrade, "the protocol may not be changed here");
        }
        let first = forward.as_ref().and_then(|(_, picks)| picks.first());
        let cluster = first.map(|p| p.cluster.name.as_str()).unwrap_or_default();
        let scope = decision.scope();
        if let Some(verdict) = self.fault(&scope, cluster, &head, told) {
            return verdict;
        }
        if let Some(verdict) = self.cors(&scope, &head, told) {
            return verdict;
        }
        match decision {
            Decision::NotFound if told.virtual_host.is_none() => {
                no_route("no virtual host matches")
            }
            Decision::NotFound => no_route("no route matches"),
            Decision::NonForwarding { .. } => no_route("the route is for proxyless clients only"),
            Decision::Redirect(r) => {
                let location = String::from_utf8_lossy(&r.location(&head)).into_owned();
                if r.route.is_none() {
                    told.facts.push(self.fact("redirect", "the virtual host wants TLS"));
                }
                Verdict::Redirected { status: r.status(), location }
            }
            Decision::Direct { host, route, status, .. } => {
                let mut response = Response::new(*status);
                let stream = Stream::default();
                self.table.local_response_headers(host, Some(route), &mut response, &head, &stream);
                told.answered_with = fields(&response);
                answered(*status, Answer::Route, self.why_direct())
            }
            Decision::Forward(_) => match forward {
                Some((forwarding, picks)) => self.forward(forwarding, picks, head, told),
                None => no_route("the route does not forward"),
            },
        }
    }

    /// Who made the route answer: the rule says so, or what it leads to does not exist.
    fn why_direct(&self) -> &'static str {
        match self.rule().map(|r| r.http.direct_response.is_some()) {
            Some(false) => "the rule leads nowhere",
            _ => "the route answers directly",
        }
    }

    fn forward(
        &self,
        forwarding: &Forwarding<'_>,
        mut picks: Vec<crate::Pick>,
        head: Request,
        told: &mut Explanation,
    ) -> Verdict {
        if let Some(first) = picks.first().filter(|_| picks.iter().all(|p| p.missing)) {
            let why = format!("nothing defines cluster {}", first.cluster.name);
            told.hints.extend(picks.iter().map(|p| self.explainer.why_missing(p)));
            return answered(forwarding.rule.cluster_not_found, Answer::NoCluster, why);
        }
        let request = self.send(forwarding, head, told);
        if let (Draws::From(_), [only]) = (self.draws, picks.as_mut_slice()) {
            only.chosen = self.choose(&only.cluster.name, forwarding, &request);
        }
        Verdict::Forwarded { picks }
    }

    fn fault(
        &self,
        scope: &Scope<'_>,
        cluster: &str,
        head: &Request,
        told: &mut Explanation,
    ) -> Option<Verdict> {
        let (name, chain) = FaultRule::of_chain(self.manager, "", &mut Vec::new())?;
        if !scope.runs(&name, false) {
            return None;
        }
        let odds = scope.fault(&name).unwrap_or(&chain).odds(head, cluster);
        let origin = || self.field("fault", |h| h.fault.is_some());
        let share = |fraction: u32| match fraction {
            1_000_000 => String::new(),
            f => format!(", for {} of requests", percent(f)),
        };
        let mut say = |value| told.facts.push(Fact { name: "fault", value, origin: origin() });
        let abort = match self.draws {
            Draws::All => {
                if let Some((delay, fraction)) = odds.delay.filter(|(_, f)| *f > 0) {
                    say(format!("a delay of {delay:?}{}", share(fraction)));
                }
                if let Some((status, fraction)) =
                    odds.abort.filter(|(_, f)| (1..1_000_000).contains(f))
                {
                    say(format!("{}{}", abort_text(status), share(fraction)));
                }
                odds.abort.filter(|(_, f)| *f == 1_000_000).map(|(status, _)| status)
            }
            Draws::From(_) => {
                let injected = odds.draw(self.env);
                if let Some(delay) = injected.delay {
                    say(format!("a delay of {delay:?}"));
                }
                injected.abort
            }
        };
        let abort = abort?;
        say(abort_text(abort));
        let status = match abort {
            AbortStatus::Http(status) => status,
            AbortStatus::Grpc(status) => {
                told.grpc_status = Some(status);
                200
            }
        };
        Some(answered(status, Answer::Fault, format!("a fault is injected: {}", abort_text(abort))))
    }

    fn cors(&self, scope: &Scope<'_>, head: &Request, told: &mut Explanation) -> Option<Verdict> {
        let name = cors::in_chain(self.manager).filter(|name| scope.runs(name, false))?;
        let rule = scope.cors(name)?;
        let origin = self.field("corsPolicy", |h| h.cors_policy.is_some());
        let mut say = |value: &str| {
            let (value, origin) = (value.to_owned(), origin.clone());
            told.facts.push(Fact { name: "cors", value, origin });
        };
        match rule.judge(head, self.env) {
            Cors::Pass => None,
            Cors::Answer(_) => {
                say("the origin may read the answer");
                None
            }
            Cors::Preflight(response) => {
                say("the preflight is answered here");
                told.answered_with = fields(&response);
                Some(answered(
                    response.status,
                    Answer::Cors,
                    "a preflight is answered by the proxy",
                ))
            }
        }
    }
}

fn abort_text(abort: AbortStatus) -> String {
    match abort {
        AbortStatus::Http(status) => format!("an abort with {status}"),
        AbortStatus::Grpc(status) => format!("an abort with gRPC status {status}"),
    }
}

/// Parts of a million as per cent.
pub(crate) fn percent(fraction: u32) -> String {
    format!("{}%", f64::from(fraction) / 10_000.0)
}

pub(crate) fn fields(response: &Response) -> Vec<(String, String)> {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    response.fields.iter().map(|(n, v)| (text(n), text(v))).collect()
}

/// Writes down what the decision looks at.
struct Heard<'a, 'e, 'r> {
    explainer: &'a Explainer<'e>,
    config: &'a RouteConfig,
    head: &'r Request,
    host: Option<&'a ir::VirtualHost>,
    told: &'r mut Explanation,
}

impl Trace for Heard<'_, '_, '_> {
    fn host(&mut self, host: &policy::VirtualHost) {
        self.told.virtual_host = Some(self.explainer.node(&*host.name, host.origin));
        let hosts = &self.config.virtual_hosts;
        self.host = hosts.iter().find(|h| h.name == host.name).map(|h| &**h);
    }

    fn skipped(&mut self, route: &policy::Route, because: Miss<'_>) {
        let place = route.place as usize;
        let written = self.host.and_then(|h| h.routes.get(place));
        let name = written.map_or_else(String::new, |r| route_name(r, Some(place)));
        self.told.skipped.push(Skipped {
            node: self.explainer.node(name, route.origin),
            because: because::route(because, written.map(|r| &r.matches), self.head),
            near: because != Miss::Path,
        });
    }

    fn taken(&mut self, route: &policy::Route) {
        self.told.place = Some(route.place);
    }
}

/// The head as texts.
pub(crate) fn sent(head: &Request) -> crate::Sent {
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    crate::Sent {
        method: text(head.method()),
        authority: text(head.authority()),
        path: text(head.path()),
        fields: head.fields.iter().map(|(n, v)| (text(n), text(v))).collect(),
    }
}
