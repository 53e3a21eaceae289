//! Processes: forking without threads, telling a process from a later one with the same number,
//! waiting by descriptor, and dropping what a container must not have.

#![allow(unsafe_code)] // fork; allowed only while the process has one thread.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use rustix::thread::CapabilitySet;

/// Which side of a fork we are on.
#[derive(Debug)]
pub enum Forked {
    Child,
    Parent(u32),
}

/// Splits the process in two. Refused when other threads exist, since a child of a
/// multi-threaded process may find locks held for ever.
pub fn fork() -> io::Result<Forked> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        let why = format!("fork needs a process with one thread, not {threads}");
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    // SAFETY: there is no other thread, so the child's memory is consistent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid as u32)),
    }
}

/// A process that cannot be mistaken for another: its number and when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessId {
    pub pid: u32,
    pub started: u64,
}

impl ProcessId {
    /// The process that has this number now.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let started = started_in(&stat)?;
        Some(ProcessId { pid, started })
    }

    /// Whether it still runs (a zombie does not).
    pub fn alive(self) -> bool {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        started_in(&stat) == Some(self.started) && state_in(&stat) != Some('Z')
    }

    /// Becomes readable when the process ends; it need not be our child.
    pub fn descriptor(self) -> io::Result<OwnedFd> {
        let fd = descriptor(self.pid)?;
        // Checked after opening, so that the descriptor is certainly of this process.
        if self.alive() { Ok(fd) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Sends a signal to this process and to no later one of its number.
    pub fn signal(self, signal: i32) -> io::Result<()> {
        let fd = self.descriptor()?;
        Ok(rustix::process::pidfd_send_signal(&fd, named(signal)?)?)
    }
}

impl std::fmt::Display for ProcessId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

impl std::str::FromStr for ProcessId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (pid, started) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        Ok(ProcessId { pid: pid.parse()?, started: started.parse()? })
    }
}

/// A descriptor that becomes readable when the process ends.
pub fn descriptor(pid: u32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(number(pid)?, PidfdFlags::empty())?)
}

/// Signals one of our own children (whose number cannot be reused before we wait for it).
pub fn signal_child(pid: u32, signal: i32) -> io::Result<()> {
    Ok(rustix::process::kill_process(number(pid)?, named(signal)?)?)
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub pid: u32,
    /// As shells count: 128 and the signal for a killed one.
    pub code: i32,
    pub signal: Option<i32>,
}

/// A child that has ended, if there is one; never waits.
pub fn reap() -> Option<Ended> {
    let (pid, status) = rustix::process::wait(WaitOptions::NOHANG).ok()??;
    let signal = status.terminating_signal();
    let code = signal.map_or_else(|| status.exit_status().unwrap_or(0), |s| 128 + s);
    Some(Ended { pid: pid.as_raw_pid() as u32, code, signal })
}

fn number(pid: u32) -> io::Result<Pid> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    raw.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

fn named(signal: i32) -> io::Result<Signal> {
    Signal::from_named_raw(signal).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

/// The fields after the command's name, which may hold anything, parentheses too.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace())
}

fn started_in(stat: &str) -> Option<u64> {
    fields(stat)?.nth(19)?.parse().ok()
}

fn state_in(stat: &str) -> Option<char> {
    fields(stat)?.next()?.chars().next()
}

/// Bounds what programs may get at exec to these capabilities (Linux names, with `CAP_` or
/// without). Root of the container keeps no more; others get none anyway.
pub fn bound_capabilities(names: &[String]) {
    let wanted =
        names.iter().filter_map(|n| capability(n)).fold(CapabilitySet::empty(), |a, b| a | b);
    for one in CapabilitySet::all().iter().filter(|one| !wanted.contains(*one)) {
        // One that this kernel does not know is not held either.
        let _ = rustix::thread::remove_capability_from_bounding_set(one);
    }
}

fn capability(name: &str) -> Option<CapabilitySet> {
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    CapabilitySet::from_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_too() {
        let me = ProcessId::of(std::process::id()).unwrap();
        assert!(me.alive());
        assert!(!ProcessId { started: me.started + 1, ..me }.alive());
        assert_eq!(me.to_string().parse::<ProcessId>().unwrap(), me);
    }

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        assert_eq!(started_in(stat), Some(4242));
        assert_eq!(state_in(stat), Some('S'));
    }

    #[test]
    fn capabilities_are_found_by_either_spelling() {
        assert_eq!(capability("NET_ADMIN"), Some(CapabilitySet::NET_ADMIN));
        assert_eq!(capability("CAP_NET_RAW"), Some(CapabilitySet::NET_RAW));
        assert_eq!(capability("ALL_OF_IT"), None);
    }
}
