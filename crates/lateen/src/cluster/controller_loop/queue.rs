//! The work queue: each task waits once however often it is asked for, never runs twice at a time,
//! and after a failure waits longer each time. Bounded by the number of objects.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use controllers::Task;

const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Queue {
    ready: VecDeque<Task>,
    /// What is in `ready`.
    waiting: HashSet<Task>,
    running: HashSet<Task>,
    /// Asked for while running.
    again: HashSet<Task>,
    later: HashMap<Task, Instant>,
    failures: HashMap<Task, u32>,
}

impl Queue {
    pub fn add(&mut self, task: Task) {
        if self.running.contains(&task) {
            self.again.insert(task);
        } else if self.waiting.insert(task.clone()) {
            self.ready.push_back(task);
        }
    }

    pub fn extend(&mut self, tasks: impl IntoIterator<Item = Task>) {
        tasks.into_iter().for_each(|task| self.add(task));
    }

    /// Adds a task at a later time, or earlier if it is already to come earlier.
    pub fn at(&mut self, task: Task, when: Instant) {
        self.later.entry(task).and_modify(|at| *at = when.min(*at)).or_insert(when);
    }

    /// The next task to run; it is then running until `done` or `failed`.
    pub fn take(&mut self, now: Instant) -> Option<Task> {
        let due = self.later.iter().filter(|(_, at)| **at <= now).map(|(task, _)| task.clone());
        for task in due.collect::<Vec<_>>() {
            self.later.remove(&task);
            self.add(task);
        }
        let task = self.ready.pop_front()?;
        self.waiting.remove(&task);
        self.running.insert(task.clone());
        Some(task)
    }

    pub fn done(&mut self, task: &Task) {
        self.failures.remove(task);
        self.end(task);
    }

    pub fn failed(&mut self, task: Task, now: Instant) {
        let failures = self.failures.entry(task.clone()).or_default();
        let wait = FIRST_WAIT.saturating_mul(1 << (*failures).min(16)).min(LONGEST_WAIT);
        *failures += 1;
        // What was asked for meanwhile waits too; else a refused write would be repeated at once.
        self.again.remove(&task);
        self.end(&task);
        self.at(task, now + wait);
    }

    /// When `take` may have something again, if nothing is added before.
    pub fn next_due(&self) -> Option<Instant> {
        self.later.values().min().copied()
    }

    fn end(&mut self, task: &Task) {
        self.running.remove(task);
        if self.again.remove(task) {
            self.add(task.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use controllers::{Controller, Key, Resource};

    fn task(name: &str) -> Task {
        Task { controller: Controller::Pod, key: Key::new(Resource::PODS, "default", name) }
    }

    #[test]
    fn a_task_waits_once_and_runs_one_at_a_time() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.extend([task("a"), task("b"), task("a")]);
        assert_eq!(queue.take(now), Some(task("a")));
        queue.add(task("a"));
        assert_eq!(queue.take(now), Some(task("b")));
        assert_eq!(queue.take(now), None, "a is still running");
        queue.done(&task("a"));
        assert_eq!(queue.take(now), Some(task("a")), "it was asked for meanwhile");
        queue.done(&task("a"));
        assert_eq!(queue.take(now), None);
    }

    #[test]
    fn failures_wait_longer_each_time_and_success_forgets_them() {
        let now = Instant::now();
        let mut queue = Queue::default();
        let fail = |queue: &mut Queue, at: Instant| {
            queue.failed(task("a"), at);
            queue.next_due().unwrap().duration_since(at)
        };
        queue.add(task("a"));
        queue.take(now);
        let first = fail(&mut queue, now);
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.take(now + first), Some(task("a")));
        assert_eq!(fail(&mut queue, now), first * 2);
        queue.take(now + LONGEST_WAIT);
        queue.done(&task("a"));
        queue.add(task("a"));
        queue.take(now);
        assert_eq!(fail(&mut queue, now), first);
    }
}
