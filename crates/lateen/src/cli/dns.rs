//! `dns`: what a workload's DNS answers to a name, and why. Over the objects of the cluster, or of files
//! alone.

use super::explain::{Format, Given, client};
use super::{Global, print, sources};
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
    let given = if args.filename.is_empty() {
        Given::live(global).await?
    } else {
        Given::files(global, &sources::gather(&args.filename, true)?)?
    };
    let client = client(&given, args.from.as_deref())?;
    if let Some(pod) = given.world.pods().find(|p| p.owner.name() == client.name) {
        refuse_uncaptured(pod.spec, &client.name)?;
    }
    let named = Explainer::new(&given.world.snapshot, Side::Client(client)).dns(&args.host);
    let place = |o: &Origin| given.place(o);
    match args.output {
        Format::Text => print!("{}", named.text(place)),
        Format::Json => print!("{}", print::json(&named.json(place))),
    }
    Ok(())
}

/// A pod as it runs says whether its queries pass its proxy.
fn refuse_uncaptured(spec: &serde_json::Value, name: &str) -> Result<()> {
    let lists = ["containers", "initContainers"].into_iter().filter_map(|l| spec[l].as_array());
    let Some(proxy) = lists.flatten().find(|c| c["name"] == "istio-proxy") else {
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
