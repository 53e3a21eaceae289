//! An explanation as text for people and JSON for programs. Who knows where objects stand in files
//! says so by `place`.

use crate::{Explanation, Node, Pick, Verdict};
use base::Origin;
use serde_json::{Value, json};
use std::fmt::Write;

impl Explanation {
    pub fn text(&self, place: impl Fn(&Origin) -> Option<String>) -> String {
        let mut out = format!("{}\n", self.request);
        let mut line = |head: &str, node: &Node, more: &str| {
            let _ = writeln!(out, "{head:<14}{}{more}{}", node.name, source(node, &place));
        };
        line("destination", &self.destination, "");
        line("listener", &self.listener, "");
        if let Some(host) = &self.virtual_host {
            line("virtual host", host, "");
        }
        for skipped in &self.skipped {
            line("  not", &skipped.route, &format!(": its {} did not match", skipped.because));
        }
        if let Some(route) = &self.route {
            line("route", route, "");
        }
        out.push_str(&self.verdict_text(&place));
        out
    }

    fn verdict_text(&self, place: &impl Fn(&Origin) -> Option<String>) -> String {
        match &self.verdict {
            Verdict::Answered { status: 0, why } => format!("verdict       {why}\n"),
            Verdict::Answered { status, why } => {
                let mut out = format!("verdict       {status}: {why}\n");
                if let Some(miss) = self.nearest_miss().filter(|_| self.route.is_none()) {
                    let _ = writeln!(
                        out,
                        "nearest miss  {}: its {} did not match{}",
                        miss.route.name,
                        miss.because,
                        source(&miss.route, place)
                    );
                }
                out
            }
            Verdict::Redirected { status, location } => {
                format!("verdict       {status} to {location}\n")
            }
            Verdict::Bytes { picks } => {
                format!("verdict       forwarded as bytes\n{}", clusters(picks, place))
            }
            Verdict::Forwarded { picks, details } => {
                let mut out = clusters(picks, place);
                for (name, value) in details {
                    let _ = writeln!(out, "{name:<14}{value}");
                }
                out
            }
        }
    }

    pub fn json(&self, place: impl Fn(&Origin) -> Option<String>) -> Value {
        let node = |n: &Node| node(n, &place);
        let skipped = self.skipped.iter().map(|s| {
            let mut out = node(&s.route);
            out["because"] = s.because.into();
            out
        });
        json!({
            "request": self.request,
            "destination": node(&self.destination),
            "listener": node(&self.listener),
            "virtualHost": self.virtual_host.as_ref().map(node),
            "skipped": skipped.collect::<Vec<_>>(),
            "route": self.route.as_ref().map(node),
            "verdict": verdict(&self.verdict, &place),
        })
    }
}

/// `   VirtualService default/a spec.http[0] (a.yaml:7)`
fn source(node: &Node, place: &impl Fn(&Origin) -> Option<String>) -> String {
    let Some(origin) = &node.origin else { return String::new() };
    let place = place(origin).map(|p| format!(" ({p})")).unwrap_or_default();
    format!("   {} {}{place}", origin.object, origin.path)
}

fn clusters(picks: &[Pick], place: &impl Fn(&Origin) -> Option<String>) -> String {
    let mut out = String::new();
    for pick in picks {
        let share = if picks.len() > 1 { format!(" {:.0}%", pick.percent) } else { String::new() };
        let missing = if pick.missing { ", which nothing defines: 503" } else { "" };
        let (name, source) = (&pick.cluster.name, source(&pick.cluster, place));
        let _ = writeln!(out, "cluster       {name}{share}{missing}{source}");
        for endpoint in &pick.endpoints {
            let health = if endpoint.healthy { "" } else { ", unhealthy" };
            let (address, weight) = (&endpoint.address, endpoint.weight);
            let _ = writeln!(
                out,
                "  endpoint    {address} weight {weight} priority {}{health}",
                endpoint.priority
            );
        }
    }
    out
}

fn node(node: &Node, place: &impl Fn(&Origin) -> Option<String>) -> Value {
    let mut out = json!({"name": node.name});
    if let Some(origin) = &node.origin {
        out["object"] = origin.object.to_string().into();
        out["path"] = origin.path.as_str().into();
        if let Some(place) = place(origin) {
            out["reference"] = place.into();
        }
    }
    out
}

fn verdict(verdict: &Verdict, place: &impl Fn(&Origin) -> Option<String>) -> Value {
    let picks = |picks: &[Pick]| -> Vec<Value> {
        let one = |p: &Pick| {
            let endpoints = p.endpoints.iter().map(|e| {
                json!({"address": e.address, "weight": e.weight, "priority": e.priority,
                    "healthy": e.healthy})
            });
            json!({"cluster": node(&p.cluster, place), "percent": p.percent, "missing": p.missing,
                "endpoints": endpoints.collect::<Vec<_>>()})
        };
        picks.iter().map(one).collect()
    };
    match verdict {
        Verdict::Answered { status, why } => {
            json!({"kind": "answered", "status": status, "why": why})
        }
        Verdict::Redirected { status, location } => {
            json!({"kind": "redirected", "status": status, "location": location})
        }
        Verdict::Bytes { picks: all } => json!({"kind": "bytes", "picks": picks(all)}),
        Verdict::Forwarded { picks: all, details } => {
            let details: serde_json::Map<String, Value> =
                details.iter().map(|(k, v)| ((*k).to_owned(), v.as_str().into())).collect();
            json!({"kind": "forwarded", "picks": picks(all), "details": details})
        }
    }
}
