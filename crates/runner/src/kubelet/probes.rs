//! Watches one attempt of a container: the hook after its start, then the startup probe, then
//! liveness and readiness side by side.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::action::{Target, perform};
use crate::pod::Probe;
use crate::probe::{Schedule, Tally};

/// What a watched container is found to be; the first part names it.
#[derive(Debug)]
pub enum Verdict {
    Started(String),
    Ready(String, bool),
    /// It must be ended, and why.
    Condemned(String, String),
    /// A probe failed; for an Event only.
    Unhealthy(String),
}

/// What is known already when the watching begins.
#[derive(Debug, Clone, Copy)]
pub struct Begin {
    pub started: bool,
    pub ready: bool,
}

/// Runs until it is dropped, or nothing is left to watch.
pub async fn watch(target: Target, begin: Begin, tell: mpsc::Sender<Verdict>) {
    let name = target.container.name.clone();
    if !begin.started {
        if let Some(hook) = target.container.lifecycle.post_start.clone()
            && let Err(why) = perform(&target, &hook).await
        {
            let message = format!("FailedPostStartHook: {why}");
            return say(&tell, Verdict::Condemned(name, message)).await;
        }
        if let Some(probe) = target.container.startup_probe.clone()
            && !startup(&target, &probe, &tell).await
        {
            let message = format!("Container {name} failed startup probe, will be restarted");
            return say(&tell, Verdict::Condemned(name, message)).await;
        }
        say(&tell, Verdict::Started(name.clone())).await;
        if target.container.readiness_probe.is_none() {
            say(&tell, Verdict::Ready(name, true)).await;
        }
    }
    tokio::join!(liveness(&target, &tell), readiness(&target, begin.ready, &tell));
}

async fn startup(target: &Target, probe: &Probe, tell: &mpsc::Sender<Verdict>) -> bool {
    let schedule = Schedule::of(probe);
    let mut tally = Tally::default();
    tokio::time::sleep(schedule.delay).await;
    loop {
        let result = once(target, probe, &schedule, "Startup", tell).await;
        if let Some(meaning) = tally.take(result, &schedule) {
            return meaning;
        }
        if up_before(Instant::now() + schedule.period, target, probe, &schedule).await {
            return true;
        }
    }
}

/// A period is a whole second at least, and most programs are up long before. So a container is asked
/// in between as well, quietly: what fails here is not counted against it.
async fn up_before(next: Instant, target: &Target, probe: &Probe, schedule: &Schedule) -> bool {
    const EAGER: Duration = Duration::from_millis(50);
    // A probe that starts a program is too dear to be asked so often.
    if probe.action.exec.is_some() {
        tokio::time::sleep_until(next).await;
        return false;
    }
    let mut pause = EAGER;
    while Instant::now() + pause < next {
        tokio::time::sleep(pause).await;
        let asked = tokio::time::timeout(schedule.timeout, perform(target, &probe.action));
        if let Ok(Ok(Ok(()))) = tokio::time::timeout_at(next, asked).await {
            return true;
        }
        pause *= 2;
    }
    tokio::time::sleep_until(next).await;
    false
}

async fn liveness(target: &Target, tell: &mpsc::Sender<Verdict>) {
    let Some(probe) = &target.container.liveness_probe else { return };
    let schedule = Schedule::of(probe);
    let mut tally = Tally::default();
    tokio::time::sleep(schedule.delay).await;
    loop {
        let result = once(target, probe, &schedule, "Liveness", tell).await;
        if tally.take(result, &schedule) == Some(false) {
            let name = target.container.name.clone();
            let message = format!("Container {name} failed liveness probe, will be restarted");
            return say(tell, Verdict::Condemned(name, message)).await;
        }
        tokio::time::sleep(schedule.period).await;
    }
}

async fn readiness(target: &Target, mut ready: bool, tell: &mpsc::Sender<Verdict>) {
    /// A container that is not ready yet is asked more often, as Kubernetes does, to be used soon.
    const EAGER: Duration = Duration::from_millis(500);
    let Some(probe) = &target.container.readiness_probe else { return };
    let schedule = Schedule::of(probe);
    let mut tally = Tally::default();
    tokio::time::sleep(schedule.delay).await;
    let mut eager_left = 20;
    loop {
        let result = once(target, probe, &schedule, "Readiness", tell).await;
        if let Some(meaning) = tally.take(result, &schedule)
            && meaning != ready
        {
            ready = meaning;
            say(tell, Verdict::Ready(target.container.name.clone(), ready)).await;
        }
        let eager = !ready && eager_left > 0;
        eager_left -= i32::from(eager);
        tokio::time::sleep(if eager { EAGER.min(schedule.period) } else { schedule.period }).await;
    }
}

async fn once(
    target: &Target,
    probe: &Probe,
    schedule: &Schedule,
    kind: &str,
    tell: &mpsc::Sender<Verdict>,
) -> bool {
    let asked = tokio::time::timeout(schedule.timeout, perform(target, &probe.action)).await;
    let why = match asked {
        Ok(Ok(())) => return true,
        Ok(Err(why)) => why,
        Err(_) => format!("timed out after {} s", schedule.timeout.as_secs()),
    };
    say(tell, Verdict::Unhealthy(format!("{kind} probe failed: {why}"))).await;
    false
}

async fn say(tell: &mpsc::Sender<Verdict>, verdict: Verdict) {
    // Without a worker nobody needs to know.
    let _ = tell.send(verdict).await;
}
