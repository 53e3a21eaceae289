//! `why`: what became of a request that has passed. The proxies of all pods are asked for the request by
//! its id; what each of them did is explained from the objects of the cluster, with the very draws that it
//! made, and told in the order of time.

mod hop;

use super::explain::{Entry, Format, Given, is_gateway, workload};
use super::proxies::{self, Answer};
use super::remote::Remote;
use super::{Global, objects, print};
use analyze::World;
use anyhow::{Result, bail};
use base::Origin;
use clap::Args;
use explain::{Draws, Explainer, Explanation, Side};
use hop::Hop;
use serde_json::{Value, json};

#[derive(Args)]
pub struct WhyArgs {
    /// `x-request-id`, as access logs, traces and the request itself have it
    request_id: String,
    #[arg(short, long, default_value = "text")]
    output: Format,
}

pub async fn run(global: &Global, args: WhyArgs) -> Result<()> {
    let given = Given::live(global).await?;
    let remote = Remote::open(global).await?;
    let mut hops = ask_all(&remote, &given.world, &args.request_id).await;
    if hops.is_empty() {
        bail!(
            "no proxy remembers request {:?}: each keeps its newest 128 requests for each of its \
             threads; is the id that of x-request-id, and the request not too old?",
            args.request_id
        );
    }
    hops.sort_by_key(|h| h.start);
    let told: Vec<(Hop, Explanation, Option<Entry>)> = hops
        .into_iter()
        .map(|hop| {
            let (told, entry) = explained(&given.world, &hop)?;
            anyhow::Ok((hop, told, entry))
        })
        .collect::<Result<_>>()?;
    let place = |_: &Origin| None;
    match args.output {
        Format::Text => {
            let shown = told.iter().map(|(hop, told, entry)| {
                let access = entry.as_ref().map(|e| e.text(&given)).unwrap_or_default();
                hop.text(&(told.text(place) + &access), hop.differs(told))
            });
            println!("request {}, seen by {} proxies", args.request_id, told.len());
            print!("{}", shown.collect::<String>());
        }
        Format::Json => {
            let hops = told.iter().map(|(hop, told, entry)| {
                json!({"pod": hop.pod, "namespace": hop.namespace, "live": hop.live,
                    "differs": hop.differs(told), "explanation": told.json(place),
                    "access": entry.as_ref().map(|e| e.json(&given))})
            });
            let value = json!({"id": args.request_id, "hops": hops.collect::<Vec<Value>>()});
            print!("{}", print::json(&value));
        }
    }
    Ok(())
}

/// What the proxies of all pods know of the request.
async fn ask_all(remote: &Remote, world: &World, id: &str) -> Vec<Hop> {
    let path = format!("/recent_requests?id={}", objects::percent_encoded(id));
    let answers = proxies::ask(remote, world.pods(), &path).await;
    let hops = |a: &Answer| {
        a.text.as_ref().map(|text| hop::read(&a.namespace, &a.pod, text)).unwrap_or_default()
    };
    answers.iter().flat_map(hops).collect()
}

/// Where the request went, and at the workload that it was sent to whether it was let in.
fn explained(world: &World, hop: &Hop) -> Result<(Explanation, Option<Entry>)> {
    let pod = world
        .pods()
        .find(|p| p.owner.name() == hop.pod && p.namespace() == hop.namespace)
        .ok_or_else(|| anyhow::anyhow!("pod {}.{} is gone", hop.pod, hop.namespace))?;
    let side = match hop.inbound {
        true => Side::Server,
        false if is_gateway(world, &pod) => Side::Gateway,
        false => Side::Client,
    };
    let wish = hop.inbound.then(|| hop.wish()).transpose()?;
    let entry = wish.map(|wish| Entry::of(&world.snapshot, &pod, &wish));
    let explainer = Explainer::new(&world.snapshot, side(workload(pod)));
    Ok((explainer.explain_at(&hop.asked()?, hop.destination, Draws::From(hop.random)), entry))
}
