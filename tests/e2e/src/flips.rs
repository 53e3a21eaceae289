//! What a mesh whose configuration changes all the time may answer: each change gives a state its
//! mark, each answer carries the mark of the configuration that made it, and so every single answer
//! can be judged. Pure; the test around it makes the changes and the requests.

use crate::load::{Moment, Outcome};
use std::collections::HashMap;
use std::time::Duration;

/// By when a change must be seen: afterwards no answer may come from the configuration before it.
pub const EFFECT: Duration = Duration::from_secs(2);
const SLOW: Duration = Duration::from_secs(1);
const SLOW_IN_RESTARTS: Duration = Duration::from_secs(5);

/// What an answer tells of where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// The number of the rule that routed it, and the version that answered.
    Rule(u32, String),
    /// No rule was in force: any version may answer.
    NoRule,
}

impl Mark {
    /// From `7 echo-v2-5d9…-abc`: a header that the rule sets, and the pod.
    pub fn read(text: &str) -> Option<Mark> {
        let (rule, pod) = text.split_once(' ')?;
        let version = pod.split('-').nth(1)?.to_owned();
        match rule {
            "none" => Some(Mark::NoRule),
            number => Some(Mark::Rule(number.parse().ok()?, version)),
        }
    }
}

/// A state that was written.
#[derive(Clone, Debug)]
pub struct State {
    pub mark: Mark,
    /// Before the first of its writes.
    pub written: Moment,
    /// After the last was acknowledged.
    pub acknowledged: Moment,
}

/// A stretch of time.
pub type Span = (Moment, Moment);

/// All that was done to the mesh while requests ran.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub states: Vec<State>,
    pub restarts: Vec<Span>,
    /// When the control plane was killed: before and after.
    pub kills: Vec<Span>,
}

/// What requests of one kind say about a history.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub requests: usize,
    pub failures: Vec<String>,
    /// Changes that some answer was made by, and all; without those that came while there was no
    /// control plane to tell of them.
    pub seen: usize,
    pub flips: usize,
    /// How long after its acknowledgement each change ruled.
    pub effect: Vec<Duration>,
    /// From the kill of the control plane until a newer state ruled.
    pub outages: Vec<Duration>,
}

/// Judges requests that all went the same way.
pub fn judge(history: &History, outcomes: &[Outcome]) -> Report {
    let trial = Trial::new(history, outcomes);
    let mut report = Report { requests: outcomes.len(), ..Report::default() };
    report.failures = outcomes.iter().filter_map(|o| trial.failure(o)).collect();
    for (index, state) in history.states.iter().enumerate().skip(1) {
        let Mark::Rule(..) = state.mark else { continue };
        if trial.outages.iter().any(|span| contains(span, state.acknowledged)) {
            continue;
        }
        report.flips += 1;
        report.seen += usize::from(trial.first[index].is_some());
        let rules = trial.first[index..].iter().flatten().min();
        let rules = rules.map(|t| Duration::from_micros(t.saturating_sub(state.acknowledged)));
        report.effect.push(rules.unwrap_or(Duration::MAX));
    }
    report.effect.sort();
    report.outages = trial.outages.iter().map(|(a, b)| Duration::from_micros(b - a)).collect();
    report
}

/// A history with what the answers say about it.
struct Trial<'a> {
    history: &'a History,
    by_mark: HashMap<&'a Mark, Vec<usize>>,
    /// When each state was first seen in an answer.
    first: Vec<Option<Moment>>,
    outages: Vec<Span>,
}

impl<'a> Trial<'a> {
    fn new(history: &'a History, outcomes: &[Outcome]) -> Self {
        let mut by_mark: HashMap<&Mark, Vec<usize>> = HashMap::new();
        for (index, state) in history.states.iter().enumerate() {
            by_mark.entry(&state.mark).or_default().push(index);
        }
        let first = vec![None; history.states.len()];
        let mut trial = Trial { history, by_mark, first, outages: Vec::new() };
        for outcome in outcomes {
            let index = trial.state_of(outcome);
            let Some(first) = index.map(|i| &mut trial.first[i]) else { continue };
            *first = Some(first.map_or(outcome.end(), |t| t.min(outcome.end())));
        }
        let outage = |(begun, killed): &Span| (*begun, trial.back_after(*killed));
        let outages = history.kills.iter().map(outage).collect();
        trial.outages = outages;
        trial
    }

    /// The newest state that an answer may come from.
    fn state_of(&self, outcome: &Outcome) -> Option<usize> {
        let mark = Mark::read(outcome.result.as_ref().ok()?)?;
        let candidates = self.by_mark.get(&mark)?;
        let written = |i: &usize| self.history.states[*i].written <= outcome.end();
        candidates.iter().copied().rfind(written)
    }

    /// When something that was written after a kill was first seen.
    fn back_after(&self, kill: Moment) -> Moment {
        let after = self.history.states.iter().zip(&self.first);
        let seen = after.filter(|(s, _)| s.written > kill).filter_map(|(_, first)| *first);
        seen.min().unwrap_or(Moment::MAX)
    }

    /// What is wrong with an outcome, if anything is.
    fn failure(&self, outcome: &Outcome) -> Option<String> {
        let text = match &outcome.result {
            Err(why) => return Some(self.tell(outcome, why)),
            Ok(text) => text,
        };
        let restarting = self.history.restarts.iter().any(|s| overlaps(s, outcome));
        let limit = if restarting { SLOW_IN_RESTARTS } else { SLOW };
        if outcome.took > limit {
            return Some(self.tell(outcome, &format!("took {:?}: {text}", outcome.took)));
        }
        let Some(index) = self.state_of(outcome) else {
            return Some(self.tell(outcome, &format!("no state answers so: {text}")));
        };
        let next = self.history.states.get(index + 1)?;
        let late = outcome.due.saturating_sub(next.acknowledged);
        let excused: u64 =
            self.outages.iter().map(|s| common(*s, (next.acknowledged, outcome.due))).sum();
        let late = Duration::from_micros(late.saturating_sub(excused));
        (late > EFFECT).then(|| self.tell(outcome, &format!("{late:?} out of date: {text}")))
    }

    /// With the time and the state at that time, for people.
    fn tell(&self, outcome: &Outcome, what: &str) -> String {
        let states = &self.history.states;
        let begin = states.first().map_or(0, |s| s.written);
        let at = outcome.due.saturating_sub(begin) / 1000;
        let current = states.iter().rfind(|s| s.written <= outcome.due).map(|s| &s.mark);
        format!("{at} ms (state {current:?}): {what}")
    }
}

fn contains(span: &Span, moment: Moment) -> bool {
    span.0 <= moment && moment <= span.1
}

fn overlaps(span: &Span, outcome: &Outcome) -> bool {
    span.0 <= outcome.end() && outcome.due <= span.1
}

/// How much of two spans is the same.
fn common(a: Span, b: Span) -> u64 {
    a.1.min(b.1).saturating_sub(a.0.max(b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1000;

    /// Rule 1 with v1 from the beginning, rule 2 with v2 from 100 ms on, rule 3 from 200 ms on.
    fn history() -> History {
        let state = |rule: u32, at: u64| State {
            mark: Mark::Rule(rule, format!("v{rule}")),
            written: at * MS,
            acknowledged: (at + 5) * MS,
        };
        History { states: vec![state(1, 0), state(2, 100), state(3, 200)], ..History::default() }
    }

    fn answer(due: u64, took: u64, text: &str) -> Outcome {
        let (due, took) = (due * MS, Duration::from_millis(took));
        Outcome { due, took, result: Ok(text.to_owned()) }
    }

    fn failures(history: &History, outcome: Outcome) -> usize {
        judge(history, &[outcome]).failures.len()
    }

    #[test]
    fn marks_are_read() {
        assert_eq!(Mark::read("7 echo-v2-5d-x"), Some(Mark::Rule(7, "v2".into())));
        assert_eq!(Mark::read("none echo-v1-5d-x"), Some(Mark::NoRule));
        assert_eq!(Mark::read(""), None);
    }

    #[test]
    fn an_answer_comes_from_a_state_that_was_written_and_is_not_long_past() {
        let h = history();
        assert_eq!(failures(&h, answer(50, 5, "1 echo-v1-x")), 0);
        assert_eq!(failures(&h, answer(50, 5, "1 echo-v2-x")), 1, "the wrong version");
        assert_eq!(failures(&h, answer(50, 5, "2 echo-v2-x")), 1, "before it was written");
        assert_eq!(failures(&h, answer(99, 5, "2 echo-v2-x")), 0, "written while it was answered");
        assert_eq!(failures(&h, answer(2000, 5, "1 echo-v1-x")), 0);
        assert_eq!(failures(&h, answer(2200, 5, "1 echo-v1-x")), 1, "2 s after the next");
        assert_eq!(failures(&h, answer(9000, 5, "3 echo-v3-x")), 0, "the last stays");
        assert_eq!(failures(&h, answer(50, 5, "none echo-v1-x")), 1, "there was a rule");
    }

    #[test]
    fn slow_is_failed_and_restarts_excuse_up_to_five_seconds() {
        let mut h = history();
        assert_eq!(failures(&h, answer(300, 1001, "3 echo-v3-x")), 1);
        h.restarts.push((1200 * MS, 1300 * MS));
        assert_eq!(failures(&h, answer(300, 1001, "3 echo-v3-x")), 0);
        assert_eq!(failures(&h, answer(300, 5001, "3 echo-v3-x")), 1);
    }

    #[test]
    fn without_a_control_plane_the_old_configuration_may_stay() {
        let mut h = history();
        h.kills.push((140 * MS, 150 * MS));
        let late = answer(3000, 5, "2 echo-v2-x");
        let back = answer(3100, 5, "3 echo-v3-x");
        let report = judge(&h, &[late.clone(), back]);
        assert_eq!(report.failures, Vec::<String>::new());
        assert_eq!((report.seen, report.flips), (1, 1), "rule 3 came while it was away");
        assert_eq!(report.outages, [Duration::from_millis(2965)]);
        h.kills.clear();
        assert_eq!(judge(&h, &[late]).failures.len(), 1);
    }

    #[test]
    fn what_was_never_seen_is_counted() {
        let seen = [answer(10, 1, "1 echo-v1-x"), answer(300, 1, "3 echo-v3-x")];
        let report = judge(&history(), &seen);
        assert_eq!((report.seen, report.flips), (1, 2));
        let effect: Vec<u128> = report.effect.iter().map(Duration::as_millis).collect();
        assert_eq!(effect, [96, 196], "rule 2 was overtaken by rule 3");
    }
}
