//! The shim at work: one thread that waits for requests, container output and ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use net::process::{Ended, reap, signal_child};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, mount};

use super::container::{self, Child};
use super::log::{Log, Pending};
use super::protocol::{Answer, Container, End, MOST_BYTES, Request, Start};
use super::sandbox::Ready;

/// More callers than this are turned away: a runner needs a few, execs one each.
const MOST_CALLERS: usize = 64;
/// Ended attempts that are kept for each container: the last one, and the one before it.
const MOST_ATTEMPTS: usize = 2;
/// Orphans of containers that ended are collected at least this often.
const IDLE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
const SIGKILL: i32 = 9;

/// Serves until the pod is destroyed; the process ends here.
pub fn forever(ready: Ready) -> ! {
    // Ours alone to see, so that process numbers mean what fork returned.
    if let Err(e) = mount(c"proc", c"/proc", c"proc", MountFlags::NOSUID, None) {
        eprintln!("mounting /proc: {e}");
        std::process::exit(1);
    }
    if let Err(e) = rustix::process::setsid().and_then(|_| ready_to_poll(&ready)) {
        eprintln!("starting: {e}");
        std::process::exit(1);
    }
    let mut shim = Shim { ready, attempts: vec![], callers: BTreeMap::new(), next: 0 };
    loop {
        if let Err(e) = shim.turn() {
            eprintln!("{e}");
        }
    }
}

fn ready_to_poll(ready: &Ready) -> rustix::io::Result<()> {
    rustix::io::ioctl_fionbio(&ready.socket, true)
}

struct Shim {
    ready: Ready,
    attempts: Vec<Attempt>,
    callers: BTreeMap<u64, Caller>,
    next: u64,
}

struct Attempt {
    start: Start,
    shown: Container,
    pid: u32,
    ended: OwnedFd,
    inside: Option<PathBuf>,
    output: Vec<Stream>,
    log: Log,
}

struct Stream {
    name: &'static str,
    file: File,
    pending: Pending,
}

struct Caller {
    stream: UnixStream,
    text: Vec<u8>,
    files: Vec<OwnedFd>,
    watching: bool,
    /// The command whose end this caller waits for.
    exec: Option<(u32, OwnedFd)>,
}

enum Woke {
    Accept,
    Caller(u64),
    Output(usize, usize),
    Nothing,
}

impl Shim {
    /// Waits once and does what there is to do.
    fn turn(&mut self) -> io::Result<()> {
        for woke in self.wait()? {
            match woke {
                Woke::Accept => self.accept()?,
                Woke::Caller(id) => self.hear(id),
                Woke::Output(attempt, stream) => {
                    self.copy(attempt, stream);
                }
                Woke::Nothing => {}
            }
        }
        let mut changed = false;
        while let Some(ended) = reap() {
            changed |= self.ended(ended);
        }
        if changed {
            self.copy_what_is_left();
        }
        for attempt in &mut self.attempts {
            attempt.output.retain(|s| s.name != CLOSED);
        }
        if changed {
            self.tell_watchers();
        }
        Ok(())
    }

    /// Whoever hears of a container's end may read its whole log. A pipe holds so much at most, if
    /// something that outlives the container goes on writing.
    fn copy_what_is_left(&mut self) {
        const MOST_READS: usize = (1 << 20) / READ;
        for attempt in 0..self.attempts.len() {
            if self.attempts[attempt].shown.ended.is_none() {
                continue;
            }
            for stream in 0..self.attempts[attempt].output.len() {
                let _ = (0..MOST_READS).find(|_| !self.copy(attempt, stream));
            }
        }
    }

    fn wait(&self) -> io::Result<Vec<Woke>> {
        let mut watched = vec![(self.ready.socket.as_fd(), Woke::Accept)];
        for (id, caller) in &self.callers {
            watched.push((caller.stream.as_fd(), Woke::Caller(*id)));
            watched.extend(caller.exec.iter().map(|(_, ended)| (ended.as_fd(), Woke::Nothing)));
        }
        for (n, attempt) in self.attempts.iter().enumerate() {
            if attempt.shown.ended.is_none() {
                watched.push((attempt.ended.as_fd(), Woke::Nothing));
            }
            let streams = attempt.output.iter().enumerate();
            watched.extend(streams.map(|(s, o)| (o.file.as_fd(), Woke::Output(n, s))));
        }
        let mut fds: Vec<PollFd<'_>> =
            watched.iter().map(|(fd, _)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        poll(&mut fds, Some(&IDLE))?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        Ok(watched.into_iter().zip(ready).filter_map(|((_, w), r)| r.then_some(w)).collect())
    }

    fn accept(&mut self) -> io::Result<()> {
        let (stream, _) = self.ready.socket.accept()?;
        stream.set_nonblocking(true)?;
        if self.callers.len() < MOST_CALLERS {
            self.next += 1;
            let caller =
                Caller { stream, text: vec![], files: vec![], watching: false, exec: None };
            self.callers.insert(self.next, caller);
        }
        Ok(())
    }

    fn hear(&mut self, id: u64) {
        let Some(caller) = self.callers.get_mut(&id) else { return };
        let mut bytes = [0; 16 << 10];
        match net::fds::receive(&caller.stream, &mut bytes) {
            Ok((0, _)) => {
                self.callers.remove(&id);
            }
            Ok((count, files)) => {
                caller.text.extend_from_slice(&bytes[..count]);
                caller.files.extend(files.into_iter().take(net::fds::MOST));
                if caller.text.len() > MOST_BYTES {
                    self.callers.remove(&id);
                } else if caller.text.ends_with(b"\n") {
                    let text = std::mem::take(&mut caller.text);
                    let files = std::mem::take(&mut caller.files);
                    self.answer(id, &text, files);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => {
                self.callers.remove(&id);
            }
        }
    }

    fn answer(&mut self, id: u64, text: &[u8], files: Vec<OwnedFd>) {
        let answer = match serde_json::from_slice(text) {
            Ok(request) => self.perform(id, request, files),
            Err(e) => Some(Answer::Failed(format!("the shim does not know this request: {e}"))),
        };
        if let Some(answer) = answer {
            self.send(id, &answer, &[]);
        }
    }

    /// Does what is asked; `None` when the answer comes later or has been sent.
    fn perform(&mut self, id: u64, request: Request, files: Vec<OwnedFd>) -> Option<Answer> {
        match request {
            Request::Start(start) => Some(done(self.start(*start))),
            Request::Signal { container, signal } => Some(done(self.signal(&container, signal))),
            Request::Exec { container, argv, terminal } => {
                let child = self.exec(&container, &argv, files, terminal);
                match (child, self.callers.get_mut(&id)) {
                    (Ok(child), Some(caller)) => {
                        caller.exec = Some((child.pid, child.ended));
                        None
                    }
                    (Ok(_), None) => None,
                    (Err(why), _) => Some(Answer::Failed(why)),
                }
            }
            Request::Socket { ipv6 } => match socket(ipv6) {
                Ok(fd) => {
                    self.send(id, &Answer::Done, &[fd.as_fd()]);
                    None
                }
                Err(e) => Some(Answer::Failed(e.to_string())),
            },
            Request::Watch => {
                self.callers.get_mut(&id)?.watching = true;
                Some(self.containers())
            }
            // The first process of the pod ends, and with it all others.
            Request::Destroy => std::process::exit(0),
        }
    }

    fn start(&mut self, start: Start) -> Result<(), String> {
        let same = |a: &&Attempt| a.start.name == start.name;
        if self.attempts.iter().filter(same).any(|a| a.shown.ended.is_none()) {
            return Err(format!("container {} runs already", start.name));
        }
        let log = Log::open(&start.log).map_err(|e| format!("{}: {e}", start.log.display()))?;
        let Child { pid, inside, ended, output } = container::start(&start)?;
        let output = output.into_iter();
        let output = output.map(|(name, file)| Stream { name, file, pending: Pending::default() });
        let shown = Container {
            name: start.name.clone(),
            attempt: start.attempt,
            started: now(),
            ended: None,
        };
        let output = output.collect();
        self.attempts.push(Attempt { start, shown, pid, ended, inside, output, log });
        self.forget_old();
        self.tell_watchers();
        Ok(())
    }

    fn forget_old(&mut self) {
        let Some(newest) = self.attempts.last().map(|a| a.start.name.clone()) else { return };
        let mut surplus = self.attempts.iter().filter(|a| a.start.name == newest).count();
        self.attempts.retain(|a| {
            let drop = a.start.name == newest && surplus > MOST_ATTEMPTS;
            surplus -= usize::from(drop);
            !drop
        });
    }

    fn signal(&mut self, container: &str, signal: i32) -> Result<(), String> {
        let running = self.running(container)?;
        signal_child(running.pid, signal).map_err(|e| e.to_string())
    }

    fn exec(
        &mut self,
        container: &str,
        argv: &[String],
        files: Vec<OwnedFd>,
        terminal: bool,
    ) -> Result<Child, String> {
        let running = self.running(container)?;
        container::exec(&running.start, running.pid, argv, files, terminal)
    }

    fn running(&self, container: &str) -> Result<&Attempt, String> {
        let mine = |a: &&Attempt| a.start.name == container && a.shown.ended.is_none();
        let found = self.attempts.iter().find(mine);
        found.ok_or_else(|| format!("container {container} does not run"))
    }

    /// Tells whether there may be more.
    fn copy(&mut self, attempt: usize, stream: usize) -> bool {
        let Some(attempt) = self.attempts.get_mut(attempt) else { return false };
        let Some(stream) = attempt.output.get_mut(stream) else { return false };
        let mut bytes = [0; READ];
        let (written, more) = match stream.file.read(&mut bytes) {
            Ok(0) => {
                let name = std::mem::replace(&mut stream.name, CLOSED);
                (attempt.log.finish(name, &mut stream.pending), false)
            }
            Ok(count) => {
                (attempt.log.write(stream.name, &mut stream.pending, &bytes[..count]), true)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => (Ok(()), false),
            Err(e) => (Err(e), false),
        };
        if let Err(e) = written {
            // A full disk must not stop the container: its output is lost, and said so.
            eprintln!("log of {}: {e}", attempt.start.name);
        }
        more
    }

    /// Notes the end of a child; tells whether a container ended.
    fn ended(&mut self, ended: Ended) -> bool {
        let waits = |c: &&mut Caller| c.exec.as_ref().is_some_and(|(pid, _)| *pid == ended.pid);
        if let Some(caller) = self.callers.values_mut().find(waits) {
            caller.exec = None;
            tell(&caller.stream, &Answer::Exited(ended.code), &[]);
            return false;
        }
        let running = |a: &&mut Attempt| a.pid == ended.pid && a.shown.ended.is_none();
        let Some(attempt) = self.attempts.iter_mut().find(running) else { return false };
        attempt.shown.ended = Some(End { code: ended.code, signal: ended.signal, at: now() });
        if let Some(inside) = &attempt.inside {
            end_all_in(inside);
        }
        true
    }

    fn containers(&self) -> Answer {
        Answer::Containers(self.attempts.iter().map(|a| a.shown.clone()).collect())
    }

    fn tell_watchers(&mut self) {
        let answer = self.containers();
        for caller in self.callers.values().filter(|c| c.watching) {
            tell(&caller.stream, &answer, &[]);
        }
    }

    fn send(&mut self, id: u64, answer: &Answer, files: &[BorrowedFd<'_>]) {
        if let Some(caller) = self.callers.get(&id) {
            tell(&caller.stream, answer, files);
        }
    }
}

/// Output is read in pieces of this size.
const READ: usize = 16 << 10;

/// The name of a stream that has ended.
const CLOSED: &str = "";

fn mount_namespace(pid: u32) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}

/// What a container's main process left behind ends with it.
fn end_all_in(namespace: &Path) {
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    let pids = processes.flatten().filter_map(|p| p.file_name().to_str()?.parse().ok());
    for pid in pids.filter(|pid| mount_namespace(*pid).as_deref() == Some(namespace)) {
        // It may have ended meanwhile, which is what we want.
        let _ = signal_child(pid, SIGKILL);
    }
}

fn done(result: Result<(), String>) -> Answer {
    result.map_or_else(Answer::Failed, |()| Answer::Done)
}

/// A caller that does not read is not waited for.
fn tell(to: &UnixStream, answer: &Answer, files: &[BorrowedFd<'_>]) {
    let Ok(mut text) = serde_json::to_vec(answer) else { return };
    text.push(b'\n');
    let sent = net::fds::send(to, &text, files);
    if !matches!(sent, Ok(n) if n == text.len()) {
        // The caller sees the end of the stream, and asks again.
        let _ = to.shutdown(std::net::Shutdown::Both);
    }
}

fn socket(ipv6: bool) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let family = if ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
