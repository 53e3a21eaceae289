//! The admin port: what operators, `istioctl` and probes ask a proxy. Envoy's paths and formats.
//!
//! [`answer`] is a function of the question and of what the process says of itself ([`Process`]);
//! [`serve`] puts it on a socket, away from the workers.

mod clusters;
mod dump;
mod recent;
mod serve;

use balance::Usage;
use bytes::Bytes;
use ir::Config;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use telemetry::Registry;

pub use serve::serve;

/// Where a process is in its life (`ServerInfo.State`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Live,
    Draining,
    /// The first configuration is not complete yet.
    Initializing,
}

/// What the admin port shows and does; the process that runs the data plane knows.
pub trait Process: Send + Sync + 'static {
    fn state(&self) -> State;
    fn version(&self) -> String;
    fn uptime(&self) -> Duration;
    fn concurrency(&self) -> usize;
    /// `node` of the bootstrap, as JSON.
    fn node(&self) -> Value;
    /// The bootstrap as it was given, with secrets left out.
    fn bootstrap(&self) -> Value;
    /// What runs now.
    fn config(&self) -> Arc<Config>;
    /// How much of its limits a cluster uses, and whom it leaves out.
    fn usage(&self, cluster: &str) -> Option<Arc<Usage>>;
    /// Names of resources that came with the bootstrap.
    fn is_static(&self, kind: ir::Kind, name: &str) -> bool;
    fn registry(&self) -> &Registry;
    /// Sets the log level, where one is given; says the level that is in force, or why not.
    fn log_level(&self, set: Option<&str>) -> Result<String, String>;
    fn drain(&self);
    fn quit(&self);
    fn reopen_logs(&self);
    /// The newest requests, the oldest of them first.
    fn recent(&self) -> Vec<crate::Recent>;
}

/// An answer of the admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Bytes,
}

impl Reply {
    fn text(body: impl Into<String>) -> Self {
        let body = Bytes::from(body.into());
        Self { status: 200, content_type: "text/plain; charset=UTF-8", body }
    }

    fn json(value: &Value) -> Self {
        let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
        text.push('\n');
        Self { content_type: "application/json", ..Self::text(text) }
    }

    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

/// The parameters of a query string.
pub(crate) struct Query<'a>(&'a str);

impl Query<'_> {
    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The first value of a parameter, decoded.
    fn get(&self, name: &str) -> Option<String> {
        let pairs = self.0.split('&').filter(|p| !p.is_empty());
        let mut pairs = pairs.map(|p| p.split_once('=').unwrap_or((p, "")));
        pairs.find(|(n, _)| *n == name).map(|(_, value)| decode(value))
    }
}

/// Percent-decoding; what does not decode stays.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|h| u8::from_str_radix(str::from_utf8(h).ok()?, 16).ok());
        let (decoded, after) = match (byte, hex) {
            (b'%', Some(decoded)) => (decoded, &tail[2..]),
            (b'+', _) => (b' ', tail),
            (byte, _) => (byte, tail),
        };
        out.push(decoded);
        rest = after;
    }
    String::from_utf8_lossy(&out).into_owned()
}

const PATHS: [(&str, &str); 16] = [
    ("/certs", "print certs on machine"),
    ("/clusters", "upstream cluster status (?format=json)"),
    ("/config_dump", "dump current configuration (?resource=, ?name_regex=, ?include_eds)"),
    ("/drain_listeners", "drain listeners (POST)"),
    ("/help", "print out list of admin commands"),
    ("/listeners", "print listener info (?format=json)"),
    ("/logging", "query/change logging levels (POST ?level=)"),
    ("/memory", "print current allocation/heap usage"),
    ("/quitquitquit", "exit the server (POST)"),
    ("/ready", "print server state, return 200 if LIVE, otherwise return 503"),
    ("/recent_requests", "print the newest requests and how they were decided (?id=)"),
    ("/reopen_logs", "reopen access logs (POST)"),
    ("/reset_counters", "not supported: counters only grow"),
    ("/server_info", "print server version/status information"),
    ("/stats", "print server stats (?filter=regex, ?format=prometheus|json, ?usedonly)"),
    ("/stats/prometheus", "print server stats in prometheus format"),
];

/// The answer to one request; `target` is path and query.
pub fn answer(process: &dyn Process, method: &str, target: &str) -> Reply {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = Query(query);
    let changes = matches!(path, "/quitquitquit" | "/drain_listeners" | "/reopen_logs")
        || (path == "/logging" && query.0.contains('='));
    if changes && method != "POST" {
        return Reply::text("Invalid request; POST required\n").status(400);
    }
    match path {
        "/ready" => ready(process),
        "/server_info" => Reply::json(&server_info(process)),
        "/stats" => stats(process, &query),
        "/stats/prometheus" | "/metrics" => prometheus(process, &query),
        "/clusters" => clusters::answer(process, &query),
        "/listeners" => listeners(process, &query),
        "/config_dump" => dump::answer(process, &query),
        "/recent_requests" => recent::answer(process, &query),
        "/memory" => Reply::json(&memory()),
        "/certs" => Reply::json(&json!({ "certificates": [] })),
        "/logging" => logging(process, &query),
        "/" | "/help" => help(),
        _ if changes => act(process, path),
        _ => Reply::text("invalid path. admin commands are: see /help\n").status(404),
    }
}

fn act(process: &dyn Process, path: &str) -> Reply {
    match path {
        "/quitquitquit" => process.quit(),
        "/drain_listeners" => process.drain(),
        _ => process.reopen_logs(),
    }
    Reply::text("OK\n")
}

fn help() -> Reply {
    let lines = PATHS.iter().map(|(path, what)| format!("  {path}: {what}\n"));
    Reply::text(format!("admin commands are:\n{}", lines.collect::<String>()))
}

fn ready(process: &dyn Process) -> Reply {
    let state = process.state();
    let reply = Reply::text(format!("{}\n", state_name(state)));
    if state == State::Live { reply } else { reply.status(503) }
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Live => "LIVE",
        State::Draining => "DRAINING",
        State::Initializing => "INITIALIZING",
    }
}

fn server_info(process: &dyn Process) -> Value {
    let uptime = format!("{}s", process.uptime().as_secs());
    json!({
        "version": process.version(),
        "state": state_name(process.state()),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "command_line_options": { "concurrency": process.concurrency() },
        "node": process.node(),
    })
}

fn stats(process: &dyn Process, query: &Query<'_>) -> Reply {
    let format = query.get("format").unwrap_or_default();
    if format == "prometheus" {
        return prometheus(process, query);
    }
    let keep = match filter(query) {
        Ok(keep) => keep,
        Err(reply) => return reply,
    };
    show_server(process);
    let registry = process.registry();
    if format == "json" {
        let body = telemetry::json(registry, keep);
        return Reply { content_type: "application/json", ..Reply::text(body) };
    }
    let text = telemetry::text(registry, keep);
    if query.has("usedonly") {
        let used = text.lines().filter(|l| !l.ends_with(": 0") && !l.ends_with("recorded values"));
        return Reply::text(used.map(|l| format!("{l}\n")).collect::<String>());
    }
    Reply::text(text)
}

fn prometheus(process: &dyn Process, query: &Query<'_>) -> Reply {
    match filter(query) {
        Ok(keep) => {
            show_server(process);
            Reply::text(telemetry::prometheus(process.registry(), keep))
        }
        Err(reply) => reply,
    }
}

type Keep = Box<dyn Fn(&str) -> bool>;

fn filter(query: &Query<'_>) -> Result<Keep, Reply> {
    let Some(pattern) = query.get("filter").filter(|p| !p.is_empty()) else {
        return Ok(Box::new(|_| true));
    };
    match regex::Regex::new(&pattern) {
        Ok(regex) => Ok(Box::new(move |name| regex.is_match(name))),
        Err(error) => Err(Reply::text(format!("Invalid regex: {error}\n")).status(400)),
    }
}

/// Sets the gauges that nobody counts.
fn show_server(process: &dyn Process) {
    let registry = process.registry();
    let gauges = telemetry::Server::new(registry);
    let memory = resident_bytes().0;
    registry.overwrite(gauges.live, u64::from(process.state() == State::Live));
    registry.overwrite(gauges.state, process.state() as u64);
    registry.overwrite(gauges.concurrency, process.concurrency() as u64);
    registry.overwrite(gauges.uptime, process.uptime().as_secs());
    registry.overwrite(gauges.memory_allocated, memory);
    registry.overwrite(gauges.memory_heap_size, memory);
    clusters::show_members(process);
}

/// Resident anonymous and total memory, in bytes.
fn resident_bytes() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name));
        let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    (field("RssAnon:"), field("VmRSS:"))
}

fn memory() -> Value {
    let (anonymous, resident) = resident_bytes();
    json!({
        "allocated": anonymous.to_string(),
        "heap_size": anonymous.to_string(),
        "total_physical_bytes": resident.to_string(),
    })
}

fn listeners(process: &dyn Process, query: &Query<'_>) -> Reply {
    let config = process.config();
    let bound = config.listeners.iter().filter(|l| l.bind_to_port);
    if query.get("format").as_deref() == Some("json") {
        let list: Vec<Value> = bound
            .map(|l| json!({ "name": &*l.name, "local_address": dump::address(&l.address) }))
            .collect();
        return Reply::json(&json!({ "listener_statuses": list }));
    }
    Reply::text(bound.map(|l| format!("{}::{}\n", l.name, l.address)).collect::<String>())
}

fn logging(process: &dyn Process, query: &Query<'_>) -> Reply {
    let level = query.get("level").or_else(|| {
        // `?paths=a:debug` and `?NAME=LEVEL` set single loggers; there is one level here.
        let (_, value) = query.0.split_once('=')?;
        Some(value.rsplit(':').next().unwrap_or(value).to_owned())
    });
    match process.log_level(level.as_deref()) {
        Ok(level) => Reply::text(format!("active loggers:\n  lateen: {level}\n\n")),
        Err(reason) => Reply::text(format!("error: {reason}\n")).status(400),
    }
}

#[cfg(test)]
mod tests;
