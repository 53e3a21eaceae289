//! An explanation as text for people. Who knows where objects stand in files says so by `place`.

use crate::{Explanation, Fact, Node, Pick, Verdict};
use base::Origin;
use std::fmt::Write;

impl Explanation {
    pub fn text(&self, place: impl Fn(&Origin) -> Option<String>) -> String {
        let mut out = Out { text: format!("{}\n", self.request), place: &place };
        out.line("at", &self.proxy, None);
        out.node("destination", &self.destination);
        out.node("listener", &self.listener);
        for chain in &self.chains {
            out.skipped(&chain.node, "chain ", &chain.because);
        }
        if let Some(chain) = &self.chain {
            out.node("filter chain", chain);
        }
        if let Some(routes) = &self.routes {
            out.line("routes", routes, None);
        }
        if let Some(host) = &self.virtual_host {
            out.node("virtual host", host);
        }
        for skipped in &self.skipped {
            out.skipped(&skipped.node, "", &skipped.because);
        }
        if let Some(route) = &self.route {
            out.node("route", route);
        }
        out.verdict(&self.verdict);
        if let Some(status) = self.grpc_status {
            out.line("gRPC status", &format!("{status}, with HTTP status 200"), None);
        }
        for fact in self.facts.iter().chain(&self.hints) {
            out.fact(fact);
        }
        out.text
    }
}

struct Out<'p> {
    text: String,
    place: &'p dyn Fn(&Origin) -> Option<String>,
}

impl Out<'_> {
    /// `name          what   VirtualService default/a spec.http[0] (a.yaml:7)`
    fn line(&mut self, name: &str, what: &str, origin: Option<&Origin>) {
        let source = origin.map(|o| self.source(o)).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{name:<14}{what}{source}");
    }

    fn node(&mut self, name: &str, node: &Node) {
        self.line(name, &node.name, node.origin.as_ref());
    }

    fn fact(&mut self, fact: &Fact) {
        self.line(fact.name, &fact.value, fact.origin.as_ref());
    }

    fn skipped(&mut self, node: &Node, what: &str, because: &str) {
        self.line("  not", &format!("{what}{}: {because}", node.name), node.origin.as_ref());
    }

    fn source(&self, origin: &Origin) -> String {
        let place = (self.place)(origin).map(|p| format!(" ({p})")).unwrap_or_default();
        format!("   {} {}{place}", origin.object, origin.path)
    }

    fn verdict(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Closed { why } => self.line("verdict", why, None),
            Verdict::Answered { status, why, .. } => {
                self.line("verdict", &format!("{status}: {why}"), None);
            }
            Verdict::Redirected { status, location } => {
                self.line("verdict", &format!("{status} to {location}"), None);
            }
            Verdict::Bytes { picks } => {
                self.line("verdict", "forwarded as bytes", None);
                picks.iter().for_each(|p| self.pick(p, picks.len()));
            }
            Verdict::Forwarded { picks } => {
                self.line("verdict", "forwarded", None);
                picks.iter().for_each(|p| self.pick(p, picks.len()));
            }
        }
    }

    fn pick(&mut self, pick: &Pick, of: usize) {
        let share = if of > 1 { format!(" {:.0}%", pick.percent) } else { String::new() };
        let missing = if pick.missing { ", which nothing defines: 503" } else { "" };
        let name = format!("{}{share}{missing}", pick.cluster.name);
        self.line("cluster", &name, pick.cluster.origin.as_ref());
        if let Some(defined) =
            pick.defined.as_ref().filter(|d| pick.cluster.origin.as_ref() != Some(d))
        {
            self.line("  defined", "by", Some(defined));
        }
        for fact in &pick.policy {
            self.line(&format!("  {}", fact.name), &fact.value, None);
        }
        for endpoint in pick.endpoints.iter().take(SHOWN) {
            let health = if endpoint.healthy { "" } else { ", unhealthy" };
            let drawn =
                if pick.chosen.as_ref() == Some(&endpoint.address) { ", chosen" } else { "" };
            let whose = endpoint.workload.as_ref().map(|w| format!(" {w}")).unwrap_or_default();
            let (weight, priority) = (endpoint.weight, endpoint.priority);
            let what = format!(
                "{}{whose} weight {weight} priority {priority}{health}{drawn}",
                endpoint.address
            );
            self.line("  endpoint", &what, None);
        }
        if pick.endpoints.len() > SHOWN {
            self.line("  endpoint", &format!("and {} more", pick.endpoints.len() - SHOWN), None);
        }
    }
}

/// Endpoints of one cluster that a person is shown; JSON has all.
const SHOWN: usize = 20;
