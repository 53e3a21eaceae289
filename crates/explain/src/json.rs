//! An explanation as JSON for programs; docs/explain.md lists its fields.

use crate::{Explanation, Fact, Node, Pick, Skipped, Verdict};
use base::Origin;
use serde_json::{Map, Value, json};

impl Explanation {
    pub fn json(&self, place: impl Fn(&Origin) -> Option<String>) -> Value {
        let to = To { place: &place };
        json!({
            "request": self.request,
            "proxy": self.proxy,
            "destination": to.node(&self.destination),
            "listener": to.node(&self.listener),
            "skippedChains": to.skipped(&self.chains),
            "filterChain": self.chain.as_ref().map(|c| to.node(c)),
            "routeConfiguration": self.routes,
            "virtualHost": self.virtual_host.as_ref().map(|h| to.node(h)),
            "skipped": to.skipped(&self.skipped),
            "route": self.route.as_ref().map(|r| to.node(r)),
            "routePlace": self.place,
            "verdict": to.verdict(&self.verdict),
            "grpcStatus": self.grpc_status,
            "facts": to.facts(&self.facts),
            "hints": to.facts(&self.hints),
            "sent": self.sent.as_ref().map(|s| json!({
                "method": s.method, "authority": s.authority, "path": s.path,
                "headers": pairs(&s.fields),
            })),
            "responseHeaders": pairs(&self.answered_with),
        })
    }
}

fn pairs(fields: &[(String, String)]) -> Value {
    fields.iter().map(|(name, value)| json!([name, value])).collect()
}

struct To<'p> {
    place: &'p dyn Fn(&Origin) -> Option<String>,
}

impl To<'_> {
    /// `object`, `path` and, where a file is known, `reference` are those of whoever wrote it.
    fn with_origin(&self, mut out: Value, origin: Option<&Origin>) -> Value {
        if let Some(origin) = origin {
            out["object"] = origin.object.to_string().into();
            out["path"] = origin.path.as_str().into();
            if let Some(place) = (self.place)(origin) {
                out["reference"] = place.into();
            }
        }
        out
    }

    fn node(&self, node: &Node) -> Value {
        self.with_origin(json!({"name": node.name}), node.origin.as_ref())
    }

    fn skipped(&self, all: &[Skipped]) -> Value {
        let one = |s: &Skipped| {
            let mut out = self.node(&s.node);
            out["because"] = s.because.as_str().into();
            out["near"] = s.near.into();
            out
        };
        all.iter().map(one).collect()
    }

    fn facts(&self, all: &[Fact]) -> Value {
        let one = |f: &Fact| {
            self.with_origin(json!({"name": f.name, "value": f.value}), f.origin.as_ref())
        };
        all.iter().map(one).collect()
    }

    fn verdict(&self, verdict: &Verdict) -> Value {
        match verdict {
            Verdict::Closed { why } => json!({"kind": "closed", "why": why}),
            Verdict::Answered { status, by, why } => {
                json!({"kind": "answered", "status": status, "by": by.as_str(), "why": why})
            }
            Verdict::Redirected { status, location } => {
                json!({"kind": "redirected", "status": status, "location": location})
            }
            Verdict::Bytes { picks } => json!({"kind": "bytes", "picks": self.picks(picks)}),
            Verdict::Forwarded { picks } => {
                json!({"kind": "forwarded", "picks": self.picks(picks)})
            }
        }
    }

    fn picks(&self, picks: &[Pick]) -> Value {
        let one = |p: &Pick| {
            let endpoints = p.endpoints.iter().map(|e| {
                json!({"address": e.address, "weight": e.weight, "priority": e.priority,
                    "healthy": e.healthy, "workload": e.workload})
            });
            let policy: Map<String, Value> =
                p.policy.iter().map(|f| (f.name.to_owned(), f.value.as_str().into())).collect();
            let defined = p.defined.as_ref().map(|d| self.with_origin(json!({}), Some(d)));
            json!({"cluster": self.node(&p.cluster), "definedBy": defined, "percent": p.percent,
                "missing": p.missing, "mutualTls": p.mutual, "policy": policy, "chosen": p.chosen,
                "endpoints": endpoints.collect::<Vec<_>>()})
        };
        picks.iter().map(one).collect()
    }
}
