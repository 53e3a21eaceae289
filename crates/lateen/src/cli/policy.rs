//! `policy suggest`: AuthorizationPolicies that allow those who have called, from what the proxies of servers have
//! counted, and nobody else. A door is never closed to somebody who came through it.

use super::observed::{self, Calls, Group};
use super::proxies::{self, Answer};
use super::remote::Remote;
use super::{Global, explain, print};
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[derive(Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Print a policy for each workload of a namespace that allows who has called it, and nobody else
    Suggest,
}

pub async fn run(global: &Global, args: PolicyArgs) -> Result<()> {
    let Verb::Suggest = args.verb;
    let given = explain::Given::live(global).await?;
    let remote = Remote::open(global).await?;
    let pods = given.world.pods().filter(|p| *p.namespace() == *given.namespace);
    let counts = proxies::ask(&remote, pods, "/stats/prometheus").await;
    let groups = observed::groups(&given.world, &given.namespace);
    let mut out = String::from(
        "# From what the proxies have counted since they started: who has not called yet is denied.\n",
    );
    if groups.is_empty() {
        out += &format!("# No workload in namespace {} has a sidecar.\n", given.namespace);
    }
    out.extend(groups.iter().map(|group| suggest(group, &counts).text(group)));
    // At once: whoever reads only the beginning has seen enough.
    print!("{out}");
    Ok(())
}

#[derive(Debug, PartialEq)]
enum Suggestion {
    /// With the requests of each client, and clients that were only ever refused.
    Policy { object: Value, counts: BTreeMap<String, u64>, refused: Vec<String> },
    /// None can be made that denies nothing that was seen.
    Nothing(String),
}

fn suggest(group: &Group, counts: &[Answer]) -> Suggestion {
    let own: Vec<&Answer> = counts
        .iter()
        .filter(|a| a.namespace == group.namespace && group.pods.contains(&a.pod))
        .collect();
    let Some(selector) = &group.selector else {
        return Suggestion::Nothing("it has no label that a selector could name".to_owned());
    };
    let told: Vec<&str> = own.iter().filter_map(|a| a.text.as_deref()).collect();
    if told.len() < group.pods.len() {
        let silent = group.pods.len() - told.len();
        return Suggestion::Nothing(format!("{silent} of its proxies did not say who has called"));
    }
    let mut calls = Calls::new();
    for (caller, count) in told.into_iter().flat_map(observed::read) {
        *calls.entry(caller).or_default() += count;
    }
    of_calls(group, selector, &calls)
}

fn of_calls(group: &Group, selector: &base::Labels, calls: &Calls) -> Suggestion {
    // Who is let in although he has no name would be denied by a rule about names.
    let nameless: u64 =
        calls.iter().filter(|(c, _)| c.principal.is_none() && !c.refused).map(|(_, n)| n).sum();
    if nameless > 0 {
        return Suggestion::Nothing(format!(
            "{nameless} calls came from clients that did not prove who they are; \
             `lateen strict-readiness` tells which"
        ));
    }
    let (mut counts, mut refused) = (BTreeMap::new(), Vec::new());
    for (caller, count) in calls.iter().filter(|(c, _)| !c.refused) {
        *counts.entry(principal(caller)).or_default() += count;
    }
    for caller in calls.keys().filter(|c| c.refused && !counts.contains_key(&principal(c))) {
        refused.push(principal(caller));
    }
    if counts.is_empty() {
        return Suggestion::Nothing("nobody has called it".to_owned());
    }
    let principals: Vec<&String> = counts.keys().collect();
    let object = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "name": name(&group.name), "namespace": group.namespace },
        "spec": {
            "selector": { "matchLabels": selector },
            "action": "ALLOW",
            "rules": [{ "from": [{ "source": { "principals": principals } }] }],
        },
    });
    Suggestion::Policy { object, counts, refused }
}

/// Labels may hold what names of objects may not (RFC 1123).
fn name(label: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let lower = label.to_ascii_lowercase();
    let plain: String = lower.chars().map(|c| if fits(c) { c } else { '-' }).collect();
    format!("{}-callers", plain.trim_matches('-'))
}

/// As policies name them: without the scheme.
fn principal(caller: &observed::Caller) -> String {
    let principal = caller.principal.as_deref().unwrap_or("a client without a name");
    principal.strip_prefix("spiffe://").unwrap_or(principal).to_owned()
}

impl Suggestion {
    fn text(&self, group: &Group) -> String {
        match self {
            Suggestion::Nothing(why) => format!("---\n# {}: no policy: {why}\n", group.name),
            Suggestion::Policy { object, counts, refused } => {
                let counted = counts.iter().map(|(who, n)| format!("# {who}: {n} calls\n"));
                let refused = refused
                    .iter()
                    .map(|who| format!("# {who}: only refused so far, not allowed\n"));
                let notes: String = counted.chain(refused).collect();
                format!("---\n{notes}{}", print::yaml(object))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::explain::{Outcome, Wish, access};
    use analyze::{Settings, World};
    use api::Protocol;
    use base::Labels;

    fn group(selector: Option<Labels>) -> Group {
        let pods = vec!["a-1".to_owned(), "a-2".to_owned()];
        Group { namespace: "default".into(), name: "a".into(), selector, pods }
    }

    fn count(principal: &str, code: u16, n: u32) -> String {
        format!(
            "istio_requests_total{{reporter=\"destination\",source_principal=\"{principal}\",\
             response_code=\"{code}\",connection_security_policy=\"mutual_tls\"}} {n}\n"
        )
    }

    fn answers(first: Option<String>, second: Option<String>) -> Vec<Answer> {
        let of = |pod: &str, text| Answer { namespace: "default".into(), pod: pod.into(), text };
        vec![of("a-1", first), of("a-2", second)]
    }

    const ONE: &str = "spiffe://cluster.local/ns/default/sa/one";
    const TWO: &str = "spiffe://cluster.local/ns/other/sa/two";
    const THREE: &str = "spiffe://cluster.local/ns/other/sa/three";

    fn app() -> Labels {
        Labels::from([("app".to_owned(), "a".to_owned())])
    }

    #[test]
    fn whoever_was_let_in_is_allowed_and_nobody_else() {
        let first = count(ONE, 200, 3) + &count(ONE, 403, 1) + &count(THREE, 403, 5);
        let counts = answers(Some(first), Some(count(TWO, 503, 1)));
        let suggested = suggest(&group(Some(app())), &counts);
        let Suggestion::Policy { object, .. } = &suggested else { panic!("{suggested:?}") };
        let text = suggested.text(&group(None));
        assert!(text.contains("# cluster.local/ns/default/sa/one: 3 calls\n"), "{text}");
        assert!(text.contains("# cluster.local/ns/other/sa/three: only refused"), "{text}");
        let read: Value = serde_yaml_ng::from_str(&text).unwrap();
        assert_eq!(read, *object, "notes are comments");
        let world = World::new([read], &Settings::default());
        for (who, expected) in [
            (Some(ONE), Outcome::Allowed),
            (Some(TWO), Outcome::Allowed),
            (Some(THREE), Outcome::Denied),
            (None, Outcome::Denied),
        ] {
            let wish = Wish {
                client: who.map(|w| w.parse().unwrap()),
                client_ip: None,
                method: "GET".into(),
                authority: "a".into(),
                path: "/".into(),
                headers: Vec::new(),
                protocol: Protocol::Http,
                address: None,
                port: 80,
            };
            let told = access(&world.snapshot, "default", &app(), &wish);
            assert_eq!(told.outcome, expected, "{who:?}: {told:?}");
        }
    }

    #[test]
    fn labels_become_names_of_objects() {
        assert_eq!(name("reviews"), "reviews-callers");
        assert_eq!(name("My_App.v1-"), "my-app-v1-callers");
    }

    #[test]
    fn no_policy_is_suggested_that_might_deny_what_was_seen() {
        let plain = "istio_requests_total{reporter=\"destination\",connection_security_policy=\"none\"} 2\n";
        let known = || Some(count(ONE, 200, 1));
        for (selector, counts, why) in [
            (None, answers(known(), known()), "no label"),
            (Some(app()), answers(known(), None), "1 of its proxies did not say"),
            (Some(app()), answers(known(), Some(plain.to_owned())), "2 calls came from clients"),
            (Some(app()), answers(Some(String::new()), Some(String::new())), "nobody has called"),
        ] {
            let group = group(selector);
            let suggested = suggest(&group, &counts);
            let Suggestion::Nothing(told) = &suggested else { panic!("{suggested:?}") };
            assert!(told.contains(why), "{told}");
            let text = suggested.text(&group);
            assert!(text.lines().all(|l| l == "---" || l.starts_with('#')), "{text}");
        }
    }
}
