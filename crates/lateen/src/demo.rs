//! `lateen demo`: the mesh with Bookinfo, left running. Brings up what is missing, so a second run
//! changes nothing, and ends with what to try and how to undo it.

use crate::cli::Global;
use crate::cli::manifest;
use crate::cli::remote::Remote;
use crate::state;
use anyhow::{Context, Result, bail};
use install::Profile;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Bookinfo, its way in, and its subsets.
const MANIFESTS: [&str; 3] = [
    include_str!("../../../samples/bookinfo/platform/kube/bookinfo.yaml"),
    include_str!("../../../samples/bookinfo/networking/bookinfo-gateway.yaml"),
    include_str!("../../../samples/bookinfo/networking/destination-rule-all.yaml"),
];
const SAMPLES: &str = "samples/bookinfo/networking";
const PATIENCE: Duration = Duration::from_secs(120);

pub async fn run(global: &Global, profile: Option<Profile>) -> Result<()> {
    let dir = state::directory(global.state.as_deref());
    bring_up(&dir, profile)?;
    let kubeconfig = dir.join("kubeconfig");
    let global = Global {
        kubeconfig: Some(kubeconfig.clone()),
        namespace: Some("default".into()),
        istio_namespace: "istio-system".into(),
        ..Global::default()
    };
    let mut remote = Remote::open(&global).await?;
    let label = json!({ "metadata": { "labels": { "istio-injection": "enabled" } } });
    remote.connection.merge_patch("/api/v1/namespaces/default", &label).await?;
    for text in MANIFESTS {
        manifest::apply_text(&mut remote, text).await?;
    }
    wait_for_pods(&remote).await?;
    let url = format!("{}/productpage", ingress(&dir)?);
    wait_for_page(&url)?;
    print!("{}", farewell(&url, &kubeconfig, &dir, dir == state::directory(None)));
    Ok(())
}

/// The command that a user would type; it prints its own progress.
fn bring_up(dir: &Path, profile: Option<Profile>) -> Result<()> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut up = Command::new(program);
    up.arg("up").arg("--state").arg(dir);
    if let Some(profile) = profile {
        up.arg("--profile").arg(profile.name());
    }
    let status = up.status()?;
    if !status.success() {
        bail!("the mesh could not be brought up");
    }
    Ok(())
}

fn ingress(dir: &Path) -> Result<String> {
    let path = dir.join("state.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let value: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let url = value["ingress"]["http"].as_str().context("the mesh has no way in for HTTP")?;
    Ok(url.to_owned())
}

async fn wait_for_pods(remote: &Remote) -> Result<()> {
    let started = Instant::now();
    let mut shown = String::new();
    loop {
        let list = remote.connection.get("/api/v1/namespaces/default/pods").await?.body;
        let pods: Vec<&Value> = list["items"].as_array().into_iter().flatten().collect();
        let ready = pods.iter().filter(|p| is_ready(p)).count();
        let line = format!("Bookinfo: {ready} of {} pods ready", pods.len());
        if line != shown {
            println!("{line} ({} s)", started.elapsed().as_secs());
            shown = line;
        }
        if ready == pods.len() && !pods.is_empty() {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!(
                "Bookinfo is not ready after {} s; `lateen describe pods NAME` tells why",
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Asks for the page as a browser would, until it comes.
fn wait_for_page(url: &str) -> Result<()> {
    let started = Instant::now();
    loop {
        let out =
            Command::new("curl").args(["-s", "--max-time", "5", url]).output().context("curl")?;
        if String::from_utf8_lossy(&out.stdout).contains("<title>Simple Bookstore App</title>") {
            println!("The page answers ({} s)", started.elapsed().as_secs());
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            bail!("{url} does not answer after {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn farewell(url: &str, kubeconfig: &Path, dir: &Path, default_dir: bool) -> String {
    let lateen = lateen_word();
    let state = if default_dir { String::new() } else { format!(" --state {}", dir.display()) };
    let samples = SAMPLES;
    format!(
        "
The product page:   {url}
kubectl, istioctl:  export KUBECONFIG={}

Try:
  {lateen} get pods{state}
      every pod has its sidecar: READY 2/2
  {lateen} apply{state} -f {samples}/virtual-service-reviews-test-v2.yaml
      virtualservice.networking.istio.io/reviews created; reload the page: no stars any more;
      sign in as jason: black stars
  {lateen} proxy-config routes{state} deploy/productpage-v1 --name 9080
      what the product page's sidecar does now, and which object says so

Undo all of it:     {lateen} down --purge{state}
",
        kubeconfig.display()
    )
}

/// How this program is called from where the user stands.
fn lateen_word() -> String {
    let exe = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("lateen"));
    let here = std::env::current_dir().unwrap_or_default();
    exe.strip_prefix(&here).unwrap_or(&exe).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_say_what_to_do_and_how_to_undo_it() {
        let text = farewell(
            "http://127.0.0.1:80/productpage",
            Path::new("/s/kubeconfig"),
            Path::new("/s"),
            false,
        );
        for expected in [
            "http://127.0.0.1:80/productpage",
            "export KUBECONFIG=/s/kubeconfig",
            "down --purge --state /s",
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn the_manifests_are_documents() {
        for text in MANIFESTS {
            assert!(!manifest::parse_documents(text).expect("YAML").is_empty());
        }
    }
}
