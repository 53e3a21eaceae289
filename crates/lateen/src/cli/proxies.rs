//! The proxies of many pods, asked for the same thing.

use super::pods;
use super::remote::Remote;
use analyze::PodView;
use futures::StreamExt as _;
use std::time::Duration;

const ADMIN_PORT: u16 = 15000;
/// Proxies that are asked at the same time.
const AT_ONCE: usize = 8;
/// A proxy that does not answer by then is passed over.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one proxy answers; `None`: nothing.
pub struct Answer {
    pub namespace: String,
    pub pod: String,
    pub text: Option<String>,
}

/// The answers of the running pods that have a proxy. Who gives none is named in a warning.
pub async fn ask<'a>(
    remote: &Remote,
    pods: impl Iterator<Item = PodView<'a>>,
    path: &str,
) -> Vec<Answer> {
    let running = pods
        .filter(|p| p.proxy().is_some() && p.owner.value["status"]["phase"] == "Running")
        .map(|p| (p.namespace().to_owned(), p.owner.name().to_owned()));
    let asked = running.collect::<Vec<_>>().into_iter().map(|(namespace, pod)| async move {
        let text = ask_one(remote, &namespace, &pod, path).await;
        Answer { namespace, pod, text }
    });
    futures::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await
}

async fn ask_one(remote: &Remote, namespace: &str, pod: &str, path: &str) -> Option<String> {
    let fetch = pods::fetch(remote, namespace, pod, ADMIN_PORT, path);
    match tokio::time::timeout(PATIENCE, fetch).await {
        Ok(Ok(text)) => return Some(text),
        Ok(Err(e)) => eprintln!("Warning: {pod}.{namespace} could not be asked: {e:#}"),
        Err(_) => eprintln!("Warning: {pod}.{namespace} did not answer in time"),
    }
    None
}
