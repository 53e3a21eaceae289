//! `dns`: what a workload's DNS answers to a name, and why. Over the objects of the cluster, or of files
//! alone.

use super::explain::{Format, Given, client, pod};
use super::{Global, print};
use analyze::PodView;
use anyhow::{Result, bail};
use base::Origin;
use clap::Args;
use explain::{Explainer, Side};
use std::path::PathBuf;

#[derive(Args)]
pub struct DnsArgs {
    /// The name that is asked for
    host: String,
    /// Who asks: POD, POD.NAMESPACE, or deploy/NAME; without it, a workload without labels
    #[arg(long, value_name = "WORKLOAD")]
    from: Option<String>,
    /// Files and folders instead of the cluster; may be repeated
    #[arg(short, long)]
    filename: Vec<PathBuf>,
    #[arg(short, long, default_value = "text")]
    output: Format,
}

pub async fn run(global: &Global, args: DnsArgs) -> Result<()> {
    let given = Given::of_args(global, &args.filename).await?;
    if let Some(word) = &args.from {
        refuse_uncaptured(&pod(&given.world, word, &given.namespace)?)?;
    }
    let client = client(&given, args.from.as_deref())?;
    let named = Explainer::new(&given.world.snapshot, Side::Client(client)).dns(&args.host);
    let place = |o: &Origin| given.place(o);
    match args.output {
        Format::Text => print!("{}", named.text(place)),
        Format::Json => print!("{}", print::json(&named.json(place))),
    }
    Ok(())
}

/// A pod as it runs says whether its queries pass its proxy; a template is not injected yet.
fn refuse_uncaptured(pod: &PodView<'_>) -> Result<()> {
    if pod.owner.reference.kind != "Pod" {
        return Ok(());
    }
    let name = format!("{}.{}", pod.owner.name(), pod.namespace());
    let Some((_, proxy)) = pod.proxy() else {
        bail!("pod {name} has no sidecar: the name servers of the pod answer its queries");
    };
    let env = proxy["env"].as_array().into_iter().flatten();
    let captured =
        env.into_iter().any(|e| e["name"] == "ISTIO_META_DNS_CAPTURE" && e["value"] == "true");
    if !captured {
        bail!(
            "the DNS queries of pod {name} do not pass its proxy: ISTIO_META_DNS_CAPTURE is not \"true\" \
             there; the name servers of the pod answer them"
        );
    }
    Ok(())
}
