//! The pod's sandbox as its worker handles it: found again, made, lost, given up.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Worker, abort};
use crate::kubelet::plan::{self, Places};
use crate::lifecycle::{Decision, Phase};
use crate::pod::Container;
use crate::shim::client::Shim;

/// A shim that lives but does not answer for so long is ended.
const SILENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

impl Worker {
    /// Goes on with what an earlier runner started.
    pub(super) async fn adopt(&mut self) {
        let statuses = ["containerStatuses", "initContainerStatuses"];
        let old = statuses.iter().filter_map(|s| self.pod.object["status"][s].as_array().cloned());
        let old: Vec<Value> = old.flatten().collect();
        for status in &old {
            let Some(name) = status["name"].as_str() else { continue };
            if status.get("containerID").is_some() {
                let count = status["restartCount"].as_u64().unwrap_or(0) as u32;
                self.bases.insert(name.to_owned(), count + 1);
            }
        }
        let places = Places::of(&self.shared, &self.pod.uid);
        let Some((shim, sandbox)) = Shim::find(&places.pod) else { return };
        let Ok(mut watch) = shim.watch() else { return };
        let Some(attempts) = watch.next().await else { return };
        self.ips = sandbox.ips;
        self.shim = Some((shim, watch));
        for status in &old {
            let name = status["name"].as_str().unwrap_or_default();
            let same = attempts.iter().any(|a| {
                a.name == name
                    && a.ended.is_none()
                    && Some(u64::from(a.attempt)) == status["restartCount"].as_u64()
            });
            if same && status["started"] == json!(true) {
                self.seen.entry(name.to_owned()).or_default().started = true;
                self.ready.insert(name.to_owned(), status["ready"] == json!(true));
            }
        }
        self.take_containers(attempts);
        let running: Vec<Container> =
            self.pod.containers().filter(|c| self.runs(c)).cloned().collect();
        for container in running {
            self.watch_container(&container);
        }
    }

    pub(super) async fn make_sandbox(&mut self) {
        let Some(number) = self.shared.give_address() else {
            return self.note("Warning", "FailedCreatePodSandBox", "no pod address is free");
        };
        let sandbox = plan::sandbox(&self.shared, &self.pod, number);
        let places = Places::of(&self.shared, &self.pod.uid);
        let command = self.shared.config.shim_command.clone();
        let made = Shim::create(&command, &places.pod, &sandbox).await;
        match made.and_then(|shim| Ok((shim.watch()?, shim))) {
            Ok((mut watch, shim)) => {
                // The first answer tells what runs now: nothing.
                watch.next().await;
                self.shim = Some((shim, watch));
                self.ips = sandbox.ips;
            }
            Err(e) => {
                self.shared.return_address(&sandbox.ips);
                self.note("Warning", "FailedCreatePodSandBox", &e.to_string());
            }
        }
    }

    /// The shim went silent. One that lives is listened to again; otherwise all has ended.
    pub(super) async fn look_again(&mut self) {
        let Some((shim, _)) = self.shim.take() else { return };
        let deadline = tokio::time::Instant::now() + SILENCE;
        while shim.process().alive() {
            if let Ok(mut watch) = shim.watch()
                && let Some(all) = watch.next().await
            {
                self.shim = Some((shim, watch));
                return self.take_containers(all);
            }
            if tokio::time::Instant::now() > deadline {
                shim.destroy().await;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.lose_sandbox();
    }

    /// The shim ended, and with it all containers: another sandbox follows if it should.
    pub(super) fn lose_sandbox(&mut self) {
        self.shim = None;
        for (name, seen) in std::mem::take(&mut self.seen) {
            if let Some(attempt) = seen.attempt {
                self.bases.insert(name.clone(), attempt.number + 1);
            }
            abort(self.tasks.remove(&name));
        }
        self.attempts.clear();
        self.ready.clear();
        self.shared.return_address(&std::mem::take(&mut self.ips));
        if !self.pod.is_deleted() {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.note("Normal", "SandboxChanged", message);
        }
    }

    /// A pod that has done its work keeps its logs and its status, not its processes.
    pub(super) async fn rest_when_over(&mut self, decision: &Decision) {
        let over = matches!(decision.phase, Phase::Succeeded | Phase::Failed);
        let any = self.attempts.iter().any(|a| a.ended.is_none());
        if over && !any && self.shim.is_some() && !self.pod.is_deleted() {
            if let Some((shim, _)) = self.shim.take() {
                shim.destroy().await;
            }
            self.shared.return_address(&self.ips);
        }
    }

    pub(super) async fn end_sandbox(&mut self) {
        if let Some((shim, _)) = self.shim.take() {
            shim.destroy().await;
        }
        self.shared.return_address(&std::mem::take(&mut self.ips));
    }
}
