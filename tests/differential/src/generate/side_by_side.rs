//! Runs many configurations through Envoy and through ours at the same time, and gathers what differs.

use super::certificates::Certificates;
use super::stage::{Net, UPSTREAM_PORT};
use super::{Ask, Config, ground, known, render};
use crate::client::{self, Response};
use crate::compare::{Difference, Observed, compare, growth};
use crate::http::Headers;
use crate::proxy::Proxy;
use crate::upstream::Seen;
use crate::way::{Tls, Way};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Configurations whose requests are under way at a time.
const WORKERS: usize = 20;

/// The two programs, and a network of loopback addresses that nobody else has while this lives.
pub struct Bench {
    envoy: PathBuf,
    ours: PathBuf,
    dir: PathBuf,
    pub net: Net,
    certificates: Certificates,
    client: ::tls::Credential,
    seen: Seen,
    /// What came to the upstream for mirrors, which must not count as an attempt.
    copies: Seen,
    /// Says to other runs that the network is taken.
    _claim: TcpListener,
}

/// What differs, and how much was compared.
#[derive(Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    pub requests: usize,
    /// Answers by status; 0 is none.
    pub statuses: BTreeMap<u16, usize>,
    /// Configurations of which a request was asked once more, so that their counters say nothing.
    slow: BTreeSet<String>,
}

#[derive(Debug)]
pub struct Finding {
    pub config: String,
    /// The request, or the word `counters`.
    pub ask: String,
    pub difference: Difference,
    pub envoy: String,
    pub ours: String,
}

impl Bench {
    pub fn new(envoy: PathBuf, ours: PathBuf, dir: &Path) -> io::Result<Self> {
        let (net, claim) = claim()?;
        let certificates = Certificates::make(dir)?;
        let client = certificates.client()?;
        let seen = Seen::default();
        let copies = Seen::default();
        ground::start(net, &seen, &copies, &certificates)?;
        let dir = dir.to_owned();
        Ok(Self { envoy, ours, dir, net, certificates, client, seen, copies, _claim: claim })
    }

    /// `plant` changes the text of our bootstrap; for tests of this suite.
    pub fn run(&self, configs: &[Config], plant: &dyn Fn(String) -> String) -> io::Result<Report> {
        let text = render::bootstrap(configs, self.net, &self.certificates);
        let text = text.map_err(io::Error::other)?.to_string();
        let envoy = self.start("envoy", &self.envoy, &text)?;
        let ours = self.start("ours", &self.ours, &plant(render::ours(self.net, &text)))?;
        let before = [self.counters(&envoy)?, self.counters(&ours)?];
        let pairs = self.ask_all(configs);
        let after = [self.settled(&envoy)?, self.settled(&ours)?];
        let mut report = Report::default();
        for (config, pairs) in configs.iter().zip(pairs) {
            self.judge(config, pairs, &mut report);
        }
        let grown = [0, 1].map(|i| growth(&before[i], &after[i]));
        counters(configs, &grown, &mut report);
        Ok(report)
    }

    fn start(&self, name: &str, binary: &Path, text: &str) -> io::Result<Proxy> {
        let side = if name == "envoy" { 1 } else { 2 };
        let admin: IpAddr =
            format!("127.{}.{side}.250", self.net.0).parse().map_err(io::Error::other)?;
        let admin = SocketAddr::new(admin, render::ADMIN);
        Proxy::start_with(binary, name, &self.dir, text, admin)
    }

    fn counters(&self, proxy: &Proxy) -> io::Result<BTreeMap<String, i64>> {
        let named = |(name, n): (String, i64)| (render::as_envoy(self.net, &name), n);
        Ok(proxy.stats()?.into_iter().map(named).collect())
    }

    /// Once they stand still: the last requests are counted, and mirrored, after their answers.
    fn settled(&self, proxy: &Proxy) -> io::Result<BTreeMap<String, i64>> {
        let deadline = Instant::now() + Duration::from_secs(3);
        let mut before = self.counters(proxy)?;
        loop {
            std::thread::sleep(Duration::from_millis(100));
            let now = self.counters(proxy)?;
            if growth(&before, &now).is_empty() || Instant::now() > deadline {
                return Ok(now);
            }
            before = now;
        }
    }

    /// All requests of all configurations; those of one configuration one after the other.
    fn ask_all(&self, configs: &[Config]) -> Vec<Vec<[Response; 2]>> {
        let next = AtomicUsize::new(0);
        let done: Mutex<BTreeMap<usize, Vec<[Response; 2]>>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some((n, config)) = take(&next, configs) {
                        let pairs = self.ask_both(config);
                        done.lock().unwrap_or_else(PoisonError::into_inner).insert(n, pairs);
                    }
                });
            }
        });
        done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }

    /// The requests of one configuration, in order; the two proxies have nothing to do
    /// with each other, so that neither waits for the other.
    fn ask_both(&self, config: &Config) -> Vec<[Response; 2]> {
        let all = |side| {
            let of = |i| self.send(side, config, i, 0);
            (0..config.asks.len()).map(of).collect::<Vec<Response>>()
        };
        let [envoy, ours] = std::thread::scope(|scope| {
            let ours = scope.spawn(|| all(Side::Ours));
            let envoy = all(Side::Envoy);
            [envoy, ours.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))]
        });
        envoy.into_iter().zip(ours).map(|(envoy, ours)| [envoy, ours]).collect()
    }

    fn send(&self, side: Side, config: &Config, index: usize, again: usize) -> Response {
        let ask = &config.asks[index];
        let response = match self.way(side, ask) {
            Ok(way) => client::send_by(&way, &ask.request, &id(side, config, index, again)),
            Err(error) => Response { failure: Some(error.to_string()), ..Response::default() },
        };
        as_envoy(self.net, response)
    }

    fn way(&self, side: Side, ask: &Ask) -> io::Result<Way> {
        let octet = if side == Side::Envoy { 1 } else { 2 };
        let ip = format!("127.{}.{octet}.{}", self.net.0, ask.host);
        let ip: IpAddr = ip.parse().map_err(io::Error::other)?;
        let from: IpAddr = self.net.client(ask.client).parse().map_err(io::Error::other)?;
        let own = || Some(self.client.clone());
        let tls = ask.sni.as_ref().map(|sni| Tls { sni: sni.clone(), own: own() });
        Ok(Way { to: SocketAddr::new(ip, ask.port), from: Some(from), tls })
    }

    fn observed(&self, side: Side, config: &Config, index: usize, response: Response) -> Observed {
        Observed { response, arrivals: self.arrivals(&id(side, config, index, 0)) }
    }

    fn arrivals(&self, id: &str) -> Vec<String> {
        let mut arrivals = self.seen.of(id);
        arrivals.extend(self.copies.of(id));
        arrivals.iter_mut().for_each(|a| *a = render::as_envoy(self.net, a));
        arrivals.sort();
        arrivals
    }

    fn judge(&self, config: &Config, pairs: Vec<[Response; 2]>, report: &mut Report) {
        for (index, [envoy, ours]) in pairs.into_iter().enumerate() {
            report.requests += 1;
            *report.statuses.entry(envoy.status).or_default() += 1;
            let mut envoy = self.observed(Side::Envoy, config, index, envoy);
            let mut ours = self.observed(Side::Ours, config, index, ours);
            let mut found = compare(&envoy, &ours);
            let by_upstream =
                found.iter().any(|d| d.what == "arrivals" || d.what.ends_with("upstream"));
            if by_upstream && self.is_drawn(config, index, &envoy) {
                envoy = without_upstreams(envoy);
                ours = without_upstreams(ours);
                found = compare(&envoy, &ours);
            }
            if !found.is_empty() && is_about_time(&config.asks[index]) {
                report.slow.insert(config.name.clone());
                found = self.once_more(config, index);
            }
            found.retain(|d| !known::is_stated(&config.asks[index], &ours, d));
            report.findings.extend(found.into_iter().map(|difference| Finding {
                config: config.name.clone(),
                ask: config.asks[index].to_string(),
                difference,
                envoy: shown(&envoy),
                ours: shown(&ours),
            }));
        }
    }

    /// What differs when the machine is less busy: the others have all been answered.
    fn once_more(&self, config: &Config, index: usize) -> Vec<Difference> {
        const AGAIN: usize = 100;
        let [envoy, ours] = [Side::Envoy, Side::Ours].map(|side| {
            let response = self.send(side, config, index, AGAIN);
            let arrivals = self.arrivals(&id(side, config, index, AGAIN));
            without_upstreams(Observed { response, arrivals })
        });
        compare(&envoy, &ours)
    }

    /// Whether Envoy itself sends the request now here, now there.
    fn is_drawn(&self, config: &Config, index: usize, first: &Observed) -> bool {
        let known = upstreams(&first.arrivals);
        (1..10).any(|again| {
            self.send(Side::Envoy, config, index, again);
            let arrivals = self.seen.of(&id(Side::Envoy, config, index, again));
            upstreams(&arrivals) != known
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Envoy,
    Ours,
}

fn id(side: Side, config: &Config, index: usize, again: usize) -> String {
    let side = if side == Side::Envoy { "one" } else { "two" };
    format!("{side}-{}-{index}-{again}", config.name)
}

fn take<'a>(next: &AtomicUsize, configs: &'a [Config]) -> Option<(usize, &'a Config)> {
    let n = next.fetch_add(1, Ordering::Relaxed);
    Some((n, configs.get(n)?))
}

/// The first network that no other run has.
fn claim() -> io::Result<(Net, TcpListener)> {
    for second in 20..120 {
        let net = Net(second);
        if let Ok(claim) = TcpListener::bind((net.upstream(254), UPSTREAM_PORT)) {
            return Ok((net, claim));
        }
    }
    Err(io::Error::other("no free loopback network; other runs of this suite have them all"))
}

/// Upstreams begin with `u` and a number.
fn upstreams(arrivals: &[String]) -> BTreeSet<String> {
    arrivals.iter().filter_map(|a| Some(a.split(' ').next()?.to_owned())).collect()
}

fn without_upstreams(mut observed: Observed) -> Observed {
    for arrival in &mut observed.arrivals {
        if let Some((_, rest)) = arrival.split_once(' ') {
            *arrival = format!("u? {rest}");
        }
    }
    if let Ok(mut echo) = serde_json::from_slice::<serde_json::Value>(&observed.response.body)
        && let Some(name) = echo["upstream"].as_str()
    {
        let rest = name.split_once(' ').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        echo["upstream"] = format!("u? {rest}").into();
        observed.response.body = echo.to_string().into_bytes();
    }
    observed
}

fn as_envoy(net: Net, mut response: Response) -> Response {
    let headers = |list: &mut Headers| {
        list.iter_mut().for_each(|(_, value)| *value = render::as_envoy(net, value));
    };
    headers(&mut response.headers);
    headers(&mut response.trailers);
    if let Ok(text) = std::str::from_utf8(&response.body) {
        response.body = render::as_envoy(net, text).into_bytes();
    }
    response
}

fn shown(observed: &Observed) -> String {
    let r = &observed.response;
    let body = String::from_utf8_lossy(&r.body[..r.body.len().min(2000)]).into_owned();
    format!(
        "status {} {:?} headers {:?} trailers {:?} body {body} arrivals {:?}",
        r.status, r.failure, r.headers, r.trailers, observed.arrivals
    )
}

/// By the namespace in a cluster's name, or the port in a listener's.
fn belongs(counter: &str, config: &Config) -> bool {
    let port = config.asks.first().map_or(0, |a| a.port);
    counter.contains(&format!(".{}.", config.name)) || counter.contains(&format!("_{port}."))
}

/// What depends on how long something takes is asked once more where it differs: a busy machine is late.
fn is_about_time(ask: &Ask) -> bool {
    let wish = crate::http::header(&ask.request.headers, "x-echo").unwrap_or_default();
    wish.contains("delay=") || wish.contains("fail=")
}

/// Counters that grew differently, said of the configuration whose name is in the counter's.
fn counters(configs: &[Config], grown: &[BTreeMap<String, i64>; 2], report: &mut Report) {
    let [envoy, ours] = grown;
    let names: BTreeSet<_> = envoy.keys().chain(ours.keys()).collect();
    for name in names {
        let n = |g: &BTreeMap<String, i64>| g.get(name).copied().unwrap_or(0).to_string();
        if n(envoy) == n(ours) {
            continue;
        }
        let of = configs.iter().find(|c| belongs(name, c));
        if of.is_some_and(|c| report.slow.contains(&c.name)) {
            continue;
        }
        report.findings.push(Finding {
            config: of.map_or_else(|| "all".to_owned(), |c| c.name.clone()),
            ask: "counters".into(),
            difference: Difference { what: name.clone(), envoy: n(envoy), ours: n(ours) },
            envoy: String::new(),
            ours: String::new(),
        });
    }
}
