//! `strict-readiness`: who still calls in plaintext, from what the proxies of servers have counted; before mutual
//! TLS is made STRICT.

use super::observed::{self, Calls, Group};
use super::proxies::{self, Answer};
use super::remote::Remote;
use super::{Global, explain, print};
use analyze::{PodView, World};
use anyhow::Result;
use base::Labels;
use clap::Args;
use registry::Admission;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::ExitCode;

#[derive(Args)]
pub struct ReadinessArgs {
    /// Every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[arg(short, long, default_value = "text")]
    output: explain::Format,
}

pub async fn run(global: &Global, args: ReadinessArgs) -> Result<ExitCode> {
    let given = explain::Given::live(global).await?;
    let remote = Remote::open(global).await?;
    let world = &given.world;
    let of_interest = |p: &PodView<'_>| args.all_namespaces || *p.namespace() == *given.namespace;
    let pods = || world.pods().filter(of_interest);
    let counts = proxies::ask(&remote, pods(), "/stats/prometheus").await;
    let recent = proxies::ask(&remote, pods(), "/recent_requests").await;
    let namespaces: BTreeSet<&str> = pods().map(|p| p.namespace()).collect();
    let groups = namespaces.into_iter().flat_map(|n| observed::groups(world, n));
    let rows: Vec<Row> = groups.map(|group| row(world, group, &counts, &recent)).collect();
    match args.output {
        explain::Format::Text if rows.is_empty() => println!("No workload here has a sidecar."),
        explain::Format::Text => print!("{}", text(&rows)),
        explain::Format::Json => {
            print!("{}", print::json(&rows.iter().map(Row::json).collect::<Value>()));
        }
    }
    let blocked = rows.iter().any(|r| r.verdict() == Verdict::No);
    Ok(if blocked { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One group of workloads.
struct Row {
    group: Group,
    mode: Admission,
    mutual: u64,
    plaintext: u64,
    /// Who calls in plaintext, as far as that is known.
    callers: BTreeSet<String>,
    /// Pods that did not say what they have counted.
    silent: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Yes,
    No,
    /// Nothing has come, or not all have been asked.
    Unknown,
}

fn row(world: &World, group: Group, counts: &[Answer], recent: &[Answer]) -> Row {
    let own = |a: &&Answer| a.namespace == group.namespace && group.pods.contains(&a.pod);
    let mut calls = Calls::new();
    for text in counts.iter().filter(own).filter_map(|a| a.text.as_deref()) {
        for (caller, count) in observed::read(text) {
            *calls.entry(caller).or_default() += count;
        }
    }
    let answered = counts.iter().filter(own).filter(|a| a.text.is_some()).count();
    let count =
        |mutual: bool| calls.iter().filter(|(c, _)| c.mutual == mutual).map(|(_, n)| n).sum();
    let named = calls.keys().filter(|c| !c.mutual && !c.name.is_empty()).map(|c| c.name.clone());
    let texts = recent.iter().filter(own).filter_map(|a| a.text.as_deref());
    let seen = texts.flat_map(|text| plaintext_sources(world, text));
    Row {
        mode: mode(world, &group),
        mutual: count(true),
        plaintext: count(false),
        callers: named.chain(seen).collect(),
        silent: group.pods.len() - answered,
        group,
    }
}

/// The weakest of its workloads.
fn mode(world: &World, group: &Group) -> Admission {
    let pods = world.pods().filter(|p| {
        p.namespace() == group.namespace && group.pods.iter().any(|name| name == p.owner.name())
    });
    let of = |labels: &Labels| {
        let admits = world.snapshot.peer_authentications.of_workload(&group.namespace, labels);
        let ports = admits.ports().map(|(_, decided)| decided.mode).collect::<Vec<_>>();
        ports.into_iter().chain([admits.elsewhere().mode]).min_by_key(|mode| strength(*mode))
    };
    let modes = pods.filter_map(|p| of(&p.labels));
    modes.min_by_key(|mode| strength(*mode)).unwrap_or_default()
}

fn strength(mode: Admission) -> u8 {
    match mode {
        Admission::Plaintext => 0,
        Admission::Both => 1,
        Admission::Mutual => 2,
    }
}

/// Clients of the newest requests that came in plaintext: pods by their addresses, others by theirs.
fn plaintext_sources(world: &World, recent: &str) -> Vec<String> {
    let recent: Value = serde_json::from_str(recent).unwrap_or_default();
    let all = recent["requests"].as_array().into_iter().flatten();
    let plain = all.filter(|r| r["direction"] == "inbound" && r["tls"] == false);
    let address = |r: &Value| r["source"].as_str()?.parse::<SocketAddr>().ok();
    let named = plain.filter_map(address).map(|at| {
        let ip = at.ip().to_string();
        let pod = world.pods().find(|p| p.owner.value["status"]["podIP"] == *ip);
        pod.map_or(ip, |p| format!("{}.{}", p.owner.name(), p.namespace()))
    });
    named.collect()
}

impl Row {
    fn verdict(&self) -> Verdict {
        match (self.plaintext, self.mutual, self.silent) {
            (0, 1.., 0) => Verdict::Yes,
            (0, ..) => Verdict::Unknown,
            _ => Verdict::No,
        }
    }

    fn ready(&self) -> String {
        match self.verdict() {
            Verdict::Yes => "yes".to_owned(),
            Verdict::No => "no".to_owned(),
            Verdict::Unknown if self.silent > 0 => format!("{} did not answer", self.silent),
            Verdict::Unknown => "nothing has come yet".to_owned(),
        }
    }

    fn mode(&self) -> &'static str {
        match self.mode {
            Admission::Plaintext => "DISABLE",
            Admission::Both => "PERMISSIVE",
            Admission::Mutual => "STRICT",
        }
    }

    fn json(&self) -> Value {
        json!({
            "namespace": self.group.namespace, "workload": self.group.name, "mode": self.mode(),
            "mutualTls": self.mutual, "plaintext": self.plaintext, "callers": self.callers,
            "silent": self.silent,
            "ready": match self.verdict() {
                Verdict::Yes => json!(true),
                Verdict::No => json!(false),
                Verdict::Unknown => json!(null),
            },
        })
    }
}

/// Callers that are named in a table.
const NAMED: usize = 4;

fn text(rows: &[Row]) -> String {
    let head =
        ["NAMESPACE", "WORKLOAD", "MODE", "MUTUAL TLS", "PLAINTEXT", "READY", "PLAINTEXT FROM"];
    let mut table = vec![head.map(str::to_owned).to_vec()];
    for row in rows {
        let mut callers: Vec<&str> = row.callers.iter().map(String::as_str).take(NAMED).collect();
        if row.callers.len() > NAMED {
            callers.push("...");
        }
        if row.plaintext > 0 && callers.is_empty() {
            callers.push("unknown");
        }
        table.push(vec![
            row.group.namespace.clone(),
            row.group.name.clone(),
            row.mode().to_owned(),
            row.mutual.to_string(),
            row.plaintext.to_string(),
            row.ready(),
            callers.join(", "),
        ]);
    }
    let counted = "Requests and connections since each proxy started.\n";
    format!("{}{counted}", print::table(&table))
}

#[cfg(test)]
mod tests {
    use super::*;
    use analyze::Settings;

    fn pod(name: &str, app: &str, ip: &str) -> Value {
        json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": { "app": app } },
            "spec": { "containers": [{ "name": "istio-proxy" }] }, "status": { "podIP": ip } })
    }

    fn answer(pod: &str, text: Option<String>) -> Answer {
        Answer { namespace: "default".into(), pod: pod.into(), text }
    }

    #[test]
    fn a_workload_is_ready_when_all_that_came_was_encrypted() {
        let strict = json!({ "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
            "metadata": { "name": "b" }, "spec": { "selector": { "matchLabels": { "app": "b" } },
            "mtls": { "mode": "STRICT" }, "portLevelMtls": { "90": { "mode": "DISABLE" } } } });
        let pods = [pod("a-1", "a", "10.0.0.1"), pod("b-1", "b", "10.0.0.2")];
        let more = [pod("c-1", "c", "10.0.0.3"), pod("c-2", "c", "10.0.0.4"), strict];
        let world = World::new(pods.into_iter().chain(more), &Settings::default());
        let count = |security: &str, n: u32| {
            format!(
                "istio_requests_total{{reporter=\"destination\",connection_security_policy=\"{security}\"}} {n}\n"
            )
        };
        let counts = [
            answer("a-1", Some(count("mutual_tls", 4) + &count("none", 2))),
            answer("b-1", Some(count("mutual_tls", 1))),
            answer("c-1", Some(count("mutual_tls", 9))),
            answer("c-2", None),
        ];
        let from = |ip: &str, tls: bool| json!({ "direction": "inbound", "tls": tls, "source": format!("{ip}:4") });
        let recent = json!({ "requests": [from("10.0.0.2", false), from("10.9.9.9", false), from("10.0.0.3", true)] });
        let recent = [answer("a-1", Some(recent.to_string())), answer("b-1", None)];
        let rows: Vec<Row> = observed::groups(&world, "default")
            .into_iter()
            .map(|group| row(&world, group, &counts, &recent))
            .collect();
        let told: Vec<_> =
            rows.iter().map(|r| (r.mode(), r.mutual, r.plaintext, r.ready())).collect();
        assert_eq!(
            told,
            [
                ("PERMISSIVE", 4, 2, "no".to_owned()),
                ("DISABLE", 1, 0, "yes".to_owned()),
                ("PERMISSIVE", 9, 0, "1 did not answer".to_owned()),
            ]
        );
        let callers: Vec<&str> = rows[0].callers.iter().map(String::as_str).collect();
        assert_eq!(callers, ["10.9.9.9", "b-1.default"]);
        assert!(text(&rows).contains("10.9.9.9, b-1.default\n"), "{}", text(&rows));
        assert_eq!(rows[2].json()["ready"], Value::Null);
    }
}
