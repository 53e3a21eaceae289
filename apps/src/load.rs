//! `load`: requests at a fixed rate, whether or not the answers keep up (open loop), and a summary as
//! JSON. Latency counts from the moment a request was due, so a stall shows in every request that it
//! delayed. Files: `aim` (what to send and what to expect), `line` (connections), `tally` (results),
//! `journal` (each result, for whoever judges them by what else happened at the time).
//!
//! `lateen-apps load --url http://127.0.0.1:8080/productpage --rate 500 --seconds 10
//!   [--mode keep-alive|new|h2c|grpc] [--connect HOST:PORT] [--header 'k: v']... [--method M]
//!   [--body TEXT] [--expect-status 200] [--expect-body TEXT]... [--classify NAME=TEXT]...
//!   [--count-header NAME]... [--count-json /pointer] [--connect-timeout S] [--request-timeout S]
//!   [--slow S] [--in-flight N [--closed]] [--connections N] [--timeline MS] [--journal FILE]`

mod aim;
mod journal;
mod line;
mod tally;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::flags::Flags;
use aim::Aim;
use journal::Journal;
use line::Lines;
use tally::{Outcome, Tally};

/// How often to send, for how long, and how many may be unanswered at a time.
struct Pace {
    rate: f64,
    total: u64,
    in_flight: usize,
    /// With that many unanswered the next one waits, and is due when it is sent.
    closed: bool,
}

impl Pace {
    fn of(flags: &Flags) -> anyhow::Result<Pace> {
        let rate: f64 = flags.number("rate", 100.0)?;
        let seconds: f64 = flags.number("seconds", 10.0)?;
        let sane = rate > 0.0 && rate <= 1e6 && seconds > 0.0 && seconds <= 86_400.0;
        anyhow::ensure!(sane, "--rate must be within 0 and 1000000, --seconds within 0 and 86400");
        let in_flight = flags.number("in-flight", 4096)?;
        let total = (rate * seconds).round() as u64;
        Ok(Pace { rate, total, in_flight, closed: flags.has("closed") })
    }

    fn due(&self, start: Instant, index: u64) -> Instant {
        start + Duration::from_secs_f64(index as f64 / self.rate)
    }
}

pub async fn run(flags: &Flags) -> anyhow::Result<()> {
    let aim = Rc::new(Aim::of(flags).await?);
    let pace = Pace::of(flags)?;
    let timeline = flags.number("timeline", 0_u64)?;
    let lines = Rc::new(Lines::new(aim.clone(), flags.number("connections", 1_usize)?.max(1)));
    let start = Instant::now();
    let journal =
        flags.get("journal").map(|file| Journal::create(file.as_ref(), start)).transpose()?;
    let tally = Tally::new(start, Duration::from_millis(timeline));
    let results = Rc::new(RefCell::new(Results { tally, journal }));
    let local = LocalSet::new();
    local.run_until(send_all(&pace, start, &aim, &lines, &results)).await?;
    let mut results = results.borrow_mut();
    results.journal.as_mut().map(Journal::finish).transpose()?;
    let tally = &results.tally;
    println!("{:#}", tally.summary());
    match tally.failures() {
        0 => Ok(()),
        failed => Err(anyhow::anyhow!("{failed} of {} requests failed", tally.sent())),
    }
}

/// Where the results go.
struct Results {
    tally: Tally,
    journal: Option<Journal>,
}

impl Results {
    fn record(&mut self, due: Instant, outcome: Outcome) {
        if let Some(journal) = &mut self.journal {
            journal.note(due, &outcome);
        }
        self.tally.record(due, outcome);
    }
}

async fn send_all(
    pace: &Pace,
    start: Instant,
    aim: &Rc<Aim>,
    lines: &Rc<Lines>,
    results: &Rc<RefCell<Results>>,
) -> anyhow::Result<()> {
    let mut stop = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut running = tokio::task::JoinSet::new();
    for index in 0..pace.total {
        let mut due = pace.due(start, index);
        tokio::select! {
            biased;
            _ = stop.recv() => break,
            _ = interrupt.recv() => break,
            () = tokio::time::sleep_until(due) => {}
        }
        while running.try_join_next().is_some() {}
        if pace.closed {
            if running.len() >= pace.in_flight {
                running.join_next().await;
            }
            due = Instant::now();
        }
        if running.len() >= pace.in_flight {
            results.borrow_mut().record(due, Outcome::failed("too many unanswered"));
            continue;
        }
        let (aim, lines, results) = (aim.clone(), lines.clone(), results.clone());
        running.spawn_local(async move {
            let outcome = line::request(&aim, &lines, due).await;
            results.borrow_mut().record(due, outcome);
        });
    }
    // Each has its own deadline, so this ends.
    while running.join_next().await.is_some() {}
    Ok(())
}
