//! Access logs: a worker appends lines to its own buffer, a writer thread takes the buffers when they
//! are full or a second old. One writer for all files; a file that is stuck costs lines, never memory
//! or a waiting request.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// A buffer of this size is written at once.
const FULL: usize = 64 << 10;
/// Lines that would make it longer than this are dropped and counted.
const MOST: usize = 1 << 20;
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(
        "cannot open the access log {path}: {source}; check that the directory exists and is writable"
    )]
    Open { path: String, source: std::io::Error },
    #[error("cannot start the access log writer: {0}")]
    Thread(std::io::Error),
}

/// All access logs of a process, one per path.
#[derive(Clone, Debug)]
pub struct LogFiles {
    shared: Arc<Shared>,
}

/// One access log.
#[derive(Clone, Debug)]
pub struct LogFile {
    log: Arc<Log>,
    shared: Arc<Shared>,
}

/// One worker's end of an access log.
#[derive(Debug)]
pub struct LogBuffer {
    lines: Arc<Mutex<Vec<u8>>>,
    log: Arc<Log>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    logs: Mutex<HashMap<String, Arc<Log>>>,
    bell: Bell,
    started: AtomicBool,
}

#[derive(Debug)]
struct Log {
    path: String,
    target: Mutex<Target>,
    buffers: Mutex<Vec<Weak<Mutex<Vec<u8>>>>>,
    /// What workers left behind that are gone.
    orphans: Arc<Mutex<Vec<u8>>>,
    dropped: AtomicU64,
}

#[derive(Debug)]
enum Target {
    Stdout,
    Stderr,
    File(File),
}

/// Wakes the writer: something is there; something is full.
#[derive(Debug, Default)]
struct Bell {
    state: Mutex<Ring>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Ring {
    lines: bool,
    full: bool,
}

impl LogFiles {
    #[allow(clippy::new_without_default, reason = "a default would hide that a thread may start")]
    pub fn new() -> Self {
        Self { shared: Arc::default() }
    }

    /// The log at `path`, the same for the same path. `/dev/stdout` and `/dev/stderr` are the streams.
    pub fn open(&self, path: &str) -> Result<LogFile, LogError> {
        self.start()?;
        let mut logs = lock(&self.shared.logs);
        let log = match logs.get(path) {
            Some(log) => log.clone(),
            None => {
                let log = Arc::new(Log::open(path)?);
                logs.insert(path.to_owned(), log.clone());
                log
            }
        };
        Ok(LogFile { log, shared: self.shared.clone() })
    }

    /// Opens all files anew, after somebody has moved them away. A file that cannot be opened keeps
    /// its old target; the errors say which.
    pub fn reopen(&self) -> Vec<LogError> {
        self.flush();
        let logs: Vec<_> = lock(&self.shared.logs).values().cloned().collect();
        let mut errors = Vec::new();
        for log in logs {
            match Target::open(&log.path) {
                Ok(target) => *lock(&log.target) = target,
                Err(source) => errors.push(LogError::Open { path: log.path.clone(), source }),
            }
        }
        errors
    }

    /// Writes what is buffered now, in the calling thread.
    pub fn flush(&self) {
        self.shared.flush();
    }

    /// Lines lost because a target was stuck or failed.
    pub fn dropped(&self) -> u64 {
        lock(&self.shared.logs).values().map(|l| l.dropped.load(Ordering::Relaxed)).sum()
    }

    fn start(&self) -> Result<(), LogError> {
        if self.shared.started.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let shared = Arc::downgrade(&self.shared);
        let thread = std::thread::Builder::new().name("access-log".into()).stack_size(128 << 10);
        thread.spawn(move || write_forever(&shared)).map_err(LogError::Thread)?;
        Ok(())
    }
}

impl LogFile {
    /// A new worker's buffer.
    pub fn buffer(&self) -> LogBuffer {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut buffers = lock(&self.log.buffers);
        buffers.retain(|b| b.strong_count() > 0);
        buffers.push(Arc::downgrade(&lines));
        LogBuffer { lines, log: self.log.clone(), shared: self.shared.clone() }
    }
}

impl LogBuffer {
    /// Appends what `write` appends. The lock is this worker's own; only the writer takes it too, for
    /// as long as it takes to swap the buffer.
    pub fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let (before, after) = {
            let mut lines = lock(&self.lines);
            let before = lines.len();
            if before >= MOST {
                self.log.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            write(&mut lines);
            (before, lines.len())
        };
        if before == 0 && after > 0 {
            self.shared.bell.ring(|ring| ring.lines = true);
        }
        if before < FULL && after >= FULL {
            self.shared.bell.ring(|ring| ring.full = true);
        }
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        let rest = std::mem::take(&mut *lock(&self.lines));
        if !rest.is_empty() {
            lock(&self.log.orphans).extend_from_slice(&rest);
        }
    }
}

impl Shared {
    fn flush(&self) {
        let logs: Vec<_> = lock(&self.logs).values().cloned().collect();
        for log in logs {
            log.flush();
        }
    }
}

impl Log {
    fn open(path: &str) -> Result<Self, LogError> {
        let target = Target::open(path)
            .map_err(|source| LogError::Open { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            target: Mutex::new(target),
            buffers: Mutex::default(),
            orphans: Arc::default(),
            dropped: AtomicU64::new(0),
        })
    }

    fn flush(&self) {
        let mut buffers: Vec<_> = lock(&self.buffers).iter().filter_map(Weak::upgrade).collect();
        buffers.push(self.orphans.clone());
        // Held while writing, so that two flushes cannot mix their lines.
        let mut target = lock(&self.target);
        for buffer in buffers {
            let lines = std::mem::take(&mut *lock(&buffer));
            if lines.is_empty() {
                continue;
            }
            if target.write(&lines).is_err() {
                let lost = lines.iter().filter(|&&b| b == b'\n').count() as u64;
                self.dropped.fetch_add(lost.max(1), Ordering::Relaxed);
            }
        }
    }
}

impl Target {
    fn open(path: &str) -> std::io::Result<Self> {
        match path {
            "/dev/stdout" => Ok(Target::Stdout),
            "/dev/stderr" => Ok(Target::Stderr),
            path => Ok(Target::File(File::options().append(true).create(true).open(path)?)),
        }
    }

    fn write(&mut self, lines: &[u8]) -> std::io::Result<()> {
        match self {
            Target::Stdout => {
                let mut out = std::io::stdout().lock();
                out.write_all(lines)?;
                out.flush()
            }
            Target::Stderr => std::io::stderr().lock().write_all(lines),
            Target::File(file) => file.write_all(lines),
        }
    }
}

impl Bell {
    fn ring(&self, set: impl FnOnce(&mut Ring)) {
        set(&mut lock(&self.state));
        self.wake.notify_one();
    }

    /// Waits for lines, and then until something is full or the interval is over. Returns now and
    /// then without lines, so that the writer notices when it is no longer needed.
    fn wait(&self) {
        let state = lock(&self.state);
        let (state, _) = self
            .wake
            .wait_timeout_while(state, INTERVAL * 10, |ring| !ring.lines && !ring.full)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut state, _) = self
            .wake
            .wait_timeout_while(state, INTERVAL, |ring| !ring.full)
            .unwrap_or_else(PoisonError::into_inner);
        *state = Ring::default();
    }
}

/// Ends when the last handle to the logs is gone.
fn write_forever(shared: &Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        shared.bell.wait();
        shared.flush();
    }
}

/// A panic of another thread leaves at worst half a line.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
