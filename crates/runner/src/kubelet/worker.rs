//! One pod's worker: sees what changed, asks `lifecycle` what follows, does it, tells the API.

mod sandbox;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use apiserver::{DeleteOptions, Ref};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::plan::{self, Places};
use super::probes::{self, Verdict};
use super::volumes::{self, Tokens};
use super::{Running, Shared, action, network};
use crate::lifecycle::{self, Attempt, Decision, FailedStart, Seen, Step, Why};
use crate::pod::{Container, Pod};
use crate::shim::client::{CallError, Shim, Watch};
use crate::shim::protocol::Container as ShimContainer;
use crate::status;

/// What cannot be mounted yet is tried again this often.
const MOUNT_RETRY: Duration = Duration::from_secs(2);
/// Verdicts of probes wait in a queue of this length.
const VERDICTS: usize = 64;

/// Works for a pod until it is gone.
pub async fn run(shared: Arc<Shared>, mut object: watch::Receiver<Option<Arc<Value>>>) {
    let first = object.borrow_and_update().clone();
    let Some(first) = first else { return };
    let pod = match Pod::read(&first) {
        Ok(pod) => pod,
        Err(e) => {
            shared.note(&first, "Warning", "Failed", &format!("the pod cannot be read: {e}"));
            return;
        }
    };
    let (tell, verdicts) = mpsc::channel(VERDICTS);
    let mut worker = Worker {
        content: shared.content.subscribe(),
        shared,
        pod,
        object,
        shim: None,
        ips: vec![],
        mounted: false,
        mount_failure: String::new(),
        tokens: Tokens::default(),
        attempts: vec![],
        seen: BTreeMap::new(),
        ready: BTreeMap::new(),
        bases: BTreeMap::new(),
        tasks: BTreeMap::new(),
        tell,
        verdicts,
        shown: Value::Null,
    };
    worker.adopt().await;
    worker.work().await;
    worker.leave().await;
}

struct Worker {
    shared: Arc<Shared>,
    pod: Pod,
    object: watch::Receiver<Option<Arc<Value>>>,
    content: watch::Receiver<u64>,
    shim: Option<(Shim, Watch)>,
    ips: Vec<IpAddr>,
    mounted: bool,
    mount_failure: String,
    tokens: Tokens,
    attempts: Vec<ShimContainer>,
    seen: BTreeMap<String, Seen>,
    ready: BTreeMap<String, bool>,
    /// The first attempt's number where an earlier sandbox had some already.
    bases: BTreeMap<String, u32>,
    /// Probes, hooks and stops of a container; they end with it.
    tasks: BTreeMap<String, Vec<JoinHandle<()>>>,
    tell: mpsc::Sender<Verdict>,
    verdicts: mpsc::Receiver<Verdict>,
    shown: Value,
}

/// What woke the worker.
enum Woke {
    Object,
    Gone,
    Content,
    Containers(Option<Vec<ShimContainer>>),
    Verdict(Verdict),
    Time,
}

impl Worker {
    async fn work(&mut self) {
        loop {
            let now = now();
            if self.wants_sandbox() {
                self.make_sandbox().await;
            }
            let retry = self.sync_volumes(now);
            let decision = lifecycle::decide(&self.pod, &self.seen, now);
            if decision.finished {
                return self.finish().await;
            }
            self.publish(&decision).await;
            let acted = self.act(&decision).await;
            if acted {
                continue;
            }
            self.rest_when_over(&decision).await;
            let wake = [decision.wake, retry, self.tokens.due()].into_iter().flatten().min();
            match self.wait(wake).await {
                Woke::Gone => return,
                Woke::Object => self.take_object(),
                Woke::Containers(Some(all)) => self.take_containers(all),
                Woke::Containers(None) => self.look_again().await,
                Woke::Verdict(verdict) => self.take_verdict(verdict),
                Woke::Content | Woke::Time => {}
            }
        }
    }

    async fn wait(&mut self, wake: Option<i64>) -> Woke {
        let delay = wake.map(|at| Duration::from_millis((at - now()).max(1).unsigned_abs()));
        let timer = async {
            match delay {
                Some(delay) => tokio::time::sleep(delay).await,
                None => std::future::pending().await,
            }
        };
        let containers = async {
            match &mut self.shim {
                Some((_, watch)) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.object.changed() => {
                let gone = changed.is_err() || self.object.borrow().is_none();
                if gone { Woke::Gone } else { Woke::Object }
            }
            _ = self.content.changed() => Woke::Content,
            all = containers => Woke::Containers(all),
            Some(verdict) = self.verdicts.recv() => Woke::Verdict(verdict),
            () = timer => Woke::Time,
        }
    }

    fn take_object(&mut self) {
        let object = self.object.borrow_and_update().clone();
        if let Some(Ok(pod)) = object.as_ref().map(Pod::read) {
            self.pod = pod;
        }
    }

    fn take_containers(&mut self, all: Vec<ShimContainer>) {
        for container in &all {
            let newer =
                all.iter().any(|o| o.name == container.name && o.attempt > container.attempt);
            if newer {
                continue;
            }
            let seen = self.seen.entry(container.name.clone()).or_default();
            let ended = container.ended.map(|e| (e.code, e.at));
            let attempt = Attempt { number: container.attempt, started: container.started, ended };
            if ended.is_some() && seen.attempt != Some(attempt) {
                *seen = Seen { failed: None, ..Seen::default() };
                self.ready.remove(&container.name);
                abort(self.tasks.remove(&container.name));
            }
            self.seen.entry(container.name.clone()).or_default().attempt = Some(attempt);
        }
        self.attempts = all;
    }

    fn take_verdict(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Started(name) => {
                self.seen.entry(name).or_default().started = true;
            }
            Verdict::Ready(name, ready) => {
                self.ready.insert(name, ready);
            }
            Verdict::Condemned(name, message) => {
                self.note("Normal", "Killing", &message);
                self.seen.entry(name).or_default().condemned = true;
            }
            Verdict::Unhealthy(message) => self.note("Warning", "Unhealthy", &message),
        }
    }

    fn wants_sandbox(&self) -> bool {
        let phase = self.pod.object["status"]["phase"].as_str();
        let over = matches!(phase, Some("Succeeded" | "Failed"));
        self.shim.is_none() && !self.pod.is_deleted() && !over
    }

    /// Returns when to try again, if something is missing.
    fn sync_volumes(&mut self, now: i64) -> Option<i64> {
        let retry = now + MOUNT_RETRY.as_millis() as i64;
        if self.shim.is_none() {
            return self.wants_sandbox().then_some(retry);
        }
        match volumes::sync(&self.shared, &self.pod, &self.ips, &mut self.tokens, now) {
            Ok(()) => {
                self.mounted = true;
                None
            }
            Err(e) => {
                let message = e.to_string();
                if message != self.mount_failure {
                    self.note("Warning", "FailedMount", &message);
                    self.mount_failure = message;
                }
                Some(retry)
            }
        }
    }

    /// Does what was decided; true when the outcome is known already and calls for a new look.
    async fn act(&mut self, decision: &Decision) -> bool {
        let mut again = false;
        for step in &decision.steps {
            match step {
                Step::Start { container, attempt } if self.mounted && self.shim.is_some() => {
                    let base = self.bases.get(container).copied().unwrap_or(0);
                    self.start(container, (*attempt).max(base)).await;
                    again = true;
                }
                Step::Start { .. } => {}
                Step::Stop { container, why } => self.stop(container, *why),
            }
        }
        again
    }

    async fn start(&mut self, name: &str, attempt: u32) {
        let Some(container) = self.pod.container(name).cloned() else { return };
        let planned = plan::start(&self.shared, &self.pod, &container, attempt, &self.ips);
        let start = match planned {
            Ok(start) => start,
            Err(e) => return self.failed(&container, e.reason(), &e.to_string()),
        };
        if attempt == 0 {
            let message =
                format!("Container image \"{}\" stands for {}", container.image, start.argv[0]);
            self.note("Normal", "Pulled", &message);
        }
        let Some((shim, watch)) = &mut self.shim else { return };
        match shim.start(start).await {
            Ok(()) => {
                // The change is known before the next look, so nothing is started twice.
                let runs = |c: &ShimContainer| c.name == name && c.attempt == attempt;
                let mut known = None;
                while let Some(all) = watch.next().await {
                    if all.iter().any(runs) {
                        known = Some(all);
                        break;
                    }
                }
                self.take_containers(known.unwrap_or_default());
                self.seen.entry(name.to_owned()).or_default().failed = None;
                self.note("Normal", "Created", &format!("Created container: {name}"));
                self.note("Normal", "Started", &format!("Started container {name}"));
                self.watch_container(&container);
            }
            Err(CallError::Refused(why)) => self.failed(&container, "RunContainerError", &why),
            Err(CallError::Lost(_)) => self.lose_sandbox(),
        }
    }

    fn failed(&mut self, container: &Container, reason: &str, message: &str) {
        let seen = self.seen.entry(container.name.clone()).or_default();
        let times = seen.failed.as_ref().map_or(1, |f| f.times + 1);
        let (reason, message) = (reason.to_owned(), message.to_owned());
        seen.failed = Some(FailedStart { at: now(), reason: reason.clone(), message, times });
        let text = seen.failed.as_ref().map(|f| f.message.clone()).unwrap_or_default();
        let event = if reason == "ErrImageNeverPull" { reason.as_str() } else { "Failed" };
        self.note("Warning", event, &format!("Error: {text}"));
    }

    /// Hooks and probes of a container that has just started or been found running.
    fn watch_container(&mut self, container: &Container) {
        let Some((shim, _)) = &self.shim else { return };
        let seen = self.seen.entry(container.name.clone()).or_default();
        let probed = container.readiness_probe.is_some();
        if !seen.started
            && container.lifecycle.post_start.is_none()
            && container.startup_probe.is_none()
        {
            seen.started = true;
        }
        let begin = probes::Begin {
            started: seen.started,
            ready: self.ready.get(&container.name).copied().unwrap_or(false),
        };
        if seen.started && !probed {
            self.ready.insert(container.name.clone(), true);
        }
        let target = action::Target {
            shim: shim.clone(),
            pod: self.pod.clone(),
            container: container.clone(),
            ip: self.ips.first().copied(),
        };
        let task = tokio::spawn(probes::watch(target, begin, self.tell.clone()));
        self.tasks.entry(container.name.clone()).or_default().push(task);
    }

    fn stop(&mut self, name: &str, why: Why) {
        let Some((shim, _)) = &self.shim else { return };
        let Some(container) = self.pod.container(name).cloned() else { return };
        self.seen.entry(name.to_owned()).or_default().stopping = true;
        self.ready.insert(name.to_owned(), false);
        let own =
            container.liveness_probe.as_ref().and_then(|p| p.termination_grace_period_seconds);
        let grace = match why {
            Why::Unhealthy => own.unwrap_or_else(|| self.pod.grace_seconds()),
            Why::Deleted | Why::Over => self.pod.grace_seconds(),
        };
        if why == Why::Deleted {
            self.note("Normal", "Killing", &format!("Stopping container {name}"));
        }
        let target = action::Target {
            shim: shim.clone(),
            pod: self.pod.clone(),
            container,
            ip: self.ips.first().copied(),
        };
        let grace = Duration::from_secs(grace.unsigned_abs());
        let unlisted = network::unlisted(self.shared.clone(), self.ips.clone());
        let task = tokio::spawn(action::stop(target, unlisted, grace));
        let ended = self.tasks.insert(name.to_owned(), vec![task]);
        abort(ended);
    }

    fn runs(&self, container: &Container) -> bool {
        let attempt = self.seen.get(&container.name).and_then(|s| s.attempt);
        attempt.is_some_and(|a| a.ended.is_none())
    }

    async fn publish(&mut self, decision: &Decision) {
        self.share();
        // Nothing is known of a pod that ended under an earlier runner: its status stands.
        if self.shim.is_none() && !self.wants_sandbox() && self.attempts.is_empty() {
            return;
        }
        let view = status::View {
            pod: &self.pod,
            decision,
            seen: &self.seen,
            attempts: &self.attempts,
            ready: &self.ready,
            pod_ips: &self.ips,
            node_ip: self.shared.node_ip(),
            now: status::time(now()),
        };
        let status = status::build(&view);
        if status == self.shown {
            return;
        }
        let patch = json!({"metadata": {"uid": self.pod.uid}, "status": status});
        match self.shared.client.merge_patch(&self.reference(), Some("status"), patch).await {
            Ok(object) => {
                if let Ok(pod) = Pod::read(&object) {
                    self.pod = pod;
                }
                self.shown = status;
            }
            Err(e) if e.code == 404 => {}
            Err(e) => {
                tracing::warn!("status of {}/{}: {}", self.pod.namespace, self.pod.name, e.message)
            }
        }
    }

    /// Tells those who serve logs and commands what runs.
    fn share(&self) {
        let attempts = self.attempts.iter();
        let running = Running {
            uid: self.pod.uid.clone(),
            shim: self.shim.as_ref().map(|(shim, _)| shim.clone()),
            attempts: attempts.map(|a| (a.name.clone(), a.attempt, a.ended.is_none())).collect(),
        };
        let mut pods = self.shared.pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.insert(self.key(), running);
    }

    /// All has ended: the object may go.
    async fn finish(&mut self) {
        self.end_sandbox().await;
        let options = DeleteOptions {
            grace_seconds: Some(0),
            uid: Some(self.pod.uid.clone()),
            ..DeleteOptions::default()
        };
        for attempt in 1..=5u64 {
            match self.shared.client.delete(&self.reference(), options.clone()).await {
                Ok(()) => return,
                Err(e) if e.code == 404 || e.code == 409 => return,
                Err(e) => tracing::warn!("removing {}: {}", self.pod.name, e.message),
            }
            tokio::time::sleep(Duration::from_millis(200 * attempt)).await;
        }
    }

    /// Takes everything of the pod away.
    async fn leave(&mut self) {
        for (_, tasks) in std::mem::take(&mut self.tasks) {
            abort(Some(tasks));
        }
        self.end_sandbox().await;
        let mut pods = self.shared.pods.lock().unwrap_or_else(PoisonError::into_inner);
        // A new pod of the same name may have taken the place already.
        if pods.get(&self.key()).is_some_and(|r| r.uid == self.pod.uid) {
            pods.remove(&self.key());
        }
        drop(pods);
        let places = Places::of(&self.shared, &self.pod.uid);
        if let Err(e) = std::fs::remove_dir_all(&places.pod) {
            tracing::debug!("{}: {e}", places.pod.display());
        }
    }

    fn key(&self) -> (String, String) {
        (self.pod.namespace.clone(), self.pod.name.clone())
    }

    fn reference(&self) -> Ref {
        Ref {
            group: String::new(),
            resource: "pods".to_owned(),
            namespace: Some(self.pod.namespace.clone()),
            name: self.pod.name.clone(),
        }
    }

    fn note(&self, kind: &str, reason: &str, message: &str) {
        self.shared.note(&self.pod.object, kind, reason, message);
    }
}

fn abort(tasks: Option<Vec<JoinHandle<()>>>) {
    tasks.into_iter().flatten().for_each(|t| t.abort());
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
