//! What has to happen next in a pod: a function of its specification, of what its containers do
//! and of the time. It is asked again after every change, so a runner that was restarted goes on
//! where the last one stopped.

use std::collections::BTreeMap;

use crate::pod::{Container, Pod, RestartPolicy};

/// Milliseconds since 1970.
pub type Millis = i64;

/// What is known of one container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// The latest attempt that ran.
    pub attempt: Option<Attempt>,
    /// The latest start that did not come to run.
    pub failed: Option<FailedStart>,
    /// The startup probe has passed and the hook after the start is done.
    pub started: bool,
    /// A probe wants it ended.
    pub condemned: bool,
    /// Its end has been ordered.
    pub stopping: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    pub number: u32,
    pub started: Millis,
    pub ended: Option<(i32, Millis)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStart {
    pub at: Millis,
    /// Kubernetes' reason, e.g. `ErrImageNeverPull`.
    pub reason: String,
    pub message: String,
    /// How often in a row.
    pub times: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Run the container as this attempt.
    Start { container: String, attempt: u32 },
    /// End it: hook, signal, grace period, kill.
    Stop { container: String, why: Why },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Deleted,
    Unhealthy,
    /// A sidecar whose pod has done its work, or a pod that took too long.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub steps: Vec<Step>,
    /// Why containers wait, by name: reason and message.
    pub waiting: BTreeMap<String, (String, String)>,
    /// When to ask again though nothing changed.
    pub wake: Option<Millis>,
    pub phase: Phase,
    pub initialized: bool,
    /// Everything of a deleted pod has ended.
    pub finished: bool,
}

const BACK_OFF_FIRST: Millis = 10_000;
const BACK_OFF_MOST: Millis = 300_000;
/// Whoever ran this long starts anew without delay.
const FORGIVEN_AFTER: Millis = 600_000;

/// Decides what happens next.
pub fn decide(pod: &Pod, seen: &BTreeMap<String, Seen>, now: Millis) -> Decision {
    let mut d = Decider {
        pod,
        seen,
        now,
        out: Decision {
            steps: vec![],
            waiting: BTreeMap::new(),
            wake: None,
            phase: Phase::Pending,
            initialized: false,
            finished: false,
        },
    };
    d.out.initialized = d.initialized();
    d.out.phase = d.phase();
    if pod.is_deleted() {
        d.out.finished = d.wind_down(Why::Deleted);
    } else if matches!(d.out.phase, Phase::Succeeded | Phase::Failed) {
        d.wind_down(Why::Over);
    } else {
        d.condemned();
        d.advance();
    }
    d.out
}

struct Decider<'a> {
    pod: &'a Pod,
    seen: &'a BTreeMap<String, Seen>,
    now: Millis,
    out: Decision,
}

impl Decider<'_> {
    fn seen(&self, c: &Container) -> Seen {
        self.seen.get(&c.name).cloned().unwrap_or_default()
    }

    /// Init containers have done their work; also true for ever once a main container ran.
    fn initialized(&self) -> bool {
        let ran = |c: &Container| self.seen(c).attempt.is_some();
        let done = |c: &Container| {
            if c.is_sidecar() { self.up(c) } else { self.ended_with(c) == Some(0) }
        };
        self.pod.spec.containers.iter().any(ran) || self.pod.spec.init_containers.iter().all(done)
    }

    fn running(&self, c: &Container) -> bool {
        self.seen(c).attempt.is_some_and(|a| a.ended.is_none())
    }

    fn up(&self, c: &Container) -> bool {
        self.running(c) && self.seen(c).started
    }

    fn ended_with(&self, c: &Container) -> Option<i32> {
        self.seen(c).attempt?.ended.map(|(code, _)| code)
    }

    fn phase(&self) -> Phase {
        let main = &self.pod.spec.containers;
        let policy = self.pod.spec.restart_policy;
        let init_failed =
            |c: &Container| !c.is_sidecar() && self.ended_with(c).is_some_and(|code| code != 0);
        if policy == RestartPolicy::Never && self.pod.spec.init_containers.iter().any(init_failed) {
            return Phase::Failed;
        }
        if self.overdue() {
            return Phase::Failed;
        }
        let codes: Vec<Option<i32>> = main.iter().map(|c| self.ended_with(c)).collect();
        let final_code = |code: &Option<i32>| match policy {
            RestartPolicy::Always => false,
            RestartPolicy::OnFailure => *code == Some(0),
            RestartPolicy::Never => code.is_some(),
        };
        if !codes.is_empty() && codes.iter().all(final_code) {
            let good = codes.iter().all(|c| *c == Some(0));
            return if good { Phase::Succeeded } else { Phase::Failed };
        }
        let ran = main.iter().any(|c| self.seen(c).attempt.is_some());
        if ran { Phase::Running } else { Phase::Pending }
    }

    fn overdue(&self) -> bool {
        let Some(limit) = self.pod.spec.active_deadline_seconds else { return false };
        let first = self.seen.values().filter_map(|s| s.attempt).map(|a| a.started).min();
        first.is_some_and(|first| self.now >= first + limit * 1000)
    }

    /// Ends all containers, native sidecars last and in reverse; true when nothing runs.
    fn wind_down(&mut self, why: Why) -> bool {
        let spec = &self.pod.spec;
        let (sidecars, init): (Vec<_>, Vec<_>) =
            spec.init_containers.iter().partition(|c| c.is_sidecar());
        let first: Vec<&Container> = init.into_iter().chain(&spec.containers).collect();
        if self.stop_all(&first, why) {
            return false;
        }
        let next = sidecars.into_iter().rev().find(|c| self.running(c));
        next.is_none_or(|sidecar| !self.stop_all(&[sidecar], why))
    }

    /// Orders the end of what runs; true while any of it does.
    fn stop_all(&mut self, containers: &[&Container], why: Why) -> bool {
        let mut any = false;
        for c in containers {
            if self.running(c) {
                any = true;
                if !self.seen(c).stopping {
                    self.out.steps.push(Step::Stop { container: c.name.clone(), why });
                }
            }
        }
        any
    }

    fn condemned(&mut self) {
        let all: Vec<&Container> = self.pod.containers().collect();
        for c in all {
            if self.running(c) && self.seen(c).condemned && !self.seen(c).stopping {
                let container = c.name.clone();
                self.out.steps.push(Step::Stop { container, why: Why::Unhealthy });
            }
        }
    }

    fn advance(&mut self) {
        let spec = &self.pod.spec;
        let initialized = self.out.initialized;
        let mut blocked = false;
        for c in &spec.init_containers {
            let restarts = c.is_sidecar() && self.seen(c).attempt.is_some();
            if blocked && !restarts {
                self.wait(c, "PodInitializing", "");
                continue;
            }
            if c.is_sidecar() {
                self.keep_running(c, RestartPolicy::Always);
                blocked |= !self.up(c) && !initialized;
            } else if !initialized && self.ended_with(c) != Some(0) {
                let policy = match spec.restart_policy {
                    RestartPolicy::Never => RestartPolicy::Never,
                    _ => RestartPolicy::OnFailure,
                };
                self.keep_running(c, policy);
                blocked = true;
            }
        }
        // The hook of an earlier container holds the first start of a later one.
        for c in &spec.containers {
            let fresh = self.seen(c).attempt.is_none();
            if blocked && fresh {
                let reason = if initialized { "ContainerCreating" } else { "PodInitializing" };
                self.wait(c, reason, "");
            } else {
                self.keep_running(c, spec.restart_policy);
                let held = c.lifecycle.post_start.is_some() && !self.seen(c).started;
                blocked |= held && self.seen(c).attempt.is_none_or(|a| a.number == 0);
            }
        }
        if let Some(limit) = spec.active_deadline_seconds {
            let first = self.seen.values().filter_map(|s| s.attempt).map(|a| a.started).min();
            if let Some(first) = first {
                self.wake(first + limit * 1000);
            }
        }
    }

    /// Starts a container that should run, when its time has come.
    fn keep_running(&mut self, c: &Container, policy: RestartPolicy) {
        let seen = self.seen(c);
        let next = match seen.attempt {
            Some(Attempt { ended: None, .. }) => return,
            Some(Attempt { ended: Some((code, _)), .. }) => {
                let over = match policy {
                    RestartPolicy::Always => false,
                    RestartPolicy::OnFailure => code == 0,
                    RestartPolicy::Never => true,
                };
                if over {
                    return;
                }
                seen.attempt.map_or(0, |a| a.number + 1)
            }
            None => 0,
        };
        let due = match (&seen.failed, seen.attempt) {
            (Some(failed), _) => failed.at + back_off(failed.times),
            (None, Some(Attempt { number, started, ended: Some((_, ended)) })) => {
                let forgiven = ended - started >= FORGIVEN_AFTER;
                ended + if forgiven { 0 } else { back_off(number) }
            }
            _ => self.now,
        };
        if due <= self.now {
            self.out.steps.push(Step::Start { container: c.name.clone(), attempt: next });
            self.wait(c, "ContainerCreating", "");
            return;
        }
        self.wake(due);
        match &seen.failed {
            Some(failed) => {
                let (reason, message) = (failed.reason.clone(), failed.message.clone());
                self.wait(c, &reason, &message);
            }
            None => {
                let delay = back_off(next.saturating_sub(1)) / 1000;
                let name = &c.name;
                let pod = format!("{}_{}({})", self.pod.name, self.pod.namespace, self.pod.uid);
                let message =
                    format!("back-off {delay}s restarting failed container={name} pod={pod}");
                self.wait(c, "CrashLoopBackOff", &message);
            }
        }
    }

    fn wait(&mut self, c: &Container, reason: &str, message: &str) {
        self.out.waiting.insert(c.name.clone(), (reason.to_owned(), message.to_owned()));
    }

    fn wake(&mut self, at: Millis) {
        self.out.wake = Some(self.out.wake.map_or(at, |w| w.min(at)));
    }
}

/// How long to wait before the restart that follows this many: none, 10 s, 20 s, ... 5 min.
fn back_off(times: u32) -> Millis {
    match times {
        0 => 0,
        n => BACK_OFF_FIRST.saturating_mul(1 << (n - 1).min(10)).min(BACK_OFF_MOST),
    }
}

#[cfg(test)]
mod tests;
