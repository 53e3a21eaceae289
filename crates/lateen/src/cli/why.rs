//! `why`: what became of a request that has passed. The proxies of all pods are asked for the request by
//! its id; what each of them did is explained from the objects of the cluster, with the very draws that it
//! made, and told in the order of time.

mod hop;

use super::explain::{Format, Given, is_gateway, workload};
use super::remote::Remote;
use super::{Global, objects, pods, print};
use analyze::World;
use anyhow::{Result, bail};
use base::Origin;
use clap::Args;
use explain::{Draws, Explainer, Explanation, Side};
use futures::StreamExt as _;
use hop::Hop;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Args)]
pub struct WhyArgs {
    /// `x-request-id`, as access logs, traces and the request itself have it
    request_id: String,
    #[arg(short, long, default_value = "text")]
    output: Format,
}

const ADMIN_PORT: u16 = 15000;
/// Proxies that are asked at the same time.
const AT_ONCE: usize = 8;
/// A proxy that does not answer by then is passed over.
const PATIENCE: Duration = Duration::from_secs(5);

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
    let told: Vec<(Hop, Explanation)> = hops
        .into_iter()
        .map(|hop| {
            let told = explained(&given.world, &hop)?;
            anyhow::Ok((hop, told))
        })
        .collect::<Result<_>>()?;
    let place = |_: &Origin| None;
    match args.output {
        Format::Text => {
            let shown =
                told.iter().map(|(hop, told)| hop.text(&told.text(place), hop.differs(told)));
            println!("request {}, seen by {} proxies", args.request_id, told.len());
            print!("{}", shown.collect::<String>());
        }
        Format::Json => {
            let hops = told.iter().map(|(hop, told)| {
                json!({"pod": hop.pod, "namespace": hop.namespace, "live": hop.live,
                    "differs": hop.differs(told), "explanation": told.json(place)})
            });
            let value = json!({"id": args.request_id, "hops": hops.collect::<Vec<Value>>()});
            print!("{}", print::json(&value));
        }
    }
    Ok(())
}

/// What the proxies of all pods know of the request.
async fn ask_all(remote: &Remote, world: &World, id: &str) -> Vec<Hop> {
    let proxied = world.pods().filter(|p| p.proxy().is_some());
    let pods: Vec<(String, String)> = proxied
        .filter(|p| p.owner.value["status"]["phase"] == "Running")
        .map(|p| (p.namespace().to_owned(), p.owner.name().to_owned()))
        .collect();
    let path = format!("/recent_requests?id={}", objects::percent_encoded(id));
    let asked = futures::stream::iter(pods).map(|(namespace, pod)| {
        let path = &path;
        async move {
            let fetch = pods::fetch(remote, &namespace, &pod, ADMIN_PORT, path);
            let answer = match tokio::time::timeout(PATIENCE, fetch).await {
                Ok(Ok(text)) => text,
                Ok(Err(e)) => {
                    eprintln!("Warning: {pod}.{namespace} could not be asked: {e:#}");
                    return Vec::new();
                }
                Err(_) => {
                    eprintln!("Warning: {pod}.{namespace} did not answer in time");
                    return Vec::new();
                }
            };
            hop::read(&namespace, &pod, &answer)
        }
    });
    asked.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.concat()
}

fn explained(world: &World, hop: &Hop) -> Result<Explanation> {
    let pod = world
        .pods()
        .find(|p| p.owner.name() == hop.pod && p.namespace() == hop.namespace)
        .ok_or_else(|| anyhow::anyhow!("pod {}.{} is gone", hop.pod, hop.namespace))?;
    let side = match hop.inbound {
        true => Side::Server,
        false if is_gateway(world, &pod) => Side::Gateway,
        false => Side::Client,
    };
    let explainer = Explainer::new(&world.snapshot, side(workload(pod)));
    Ok(explainer.explain_at(&hop.asked()?, hop.destination, Draws::From(hop.random)))
}
