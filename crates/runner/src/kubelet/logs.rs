//! Reading container logs back: the part that is asked for, and what follows.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::Duration;

use apiserver::{Channel, LogOptions};
use bytes::Bytes;
use tokio::sync::mpsc;

/// Pieces that wait for a slow reader.
const QUEUE: usize = 64;
/// A log that is followed is looked at this often.
const LOOK: Duration = Duration::from_millis(150);
/// Who attaches is told what was said in so many last seconds.
const JUST: u64 = 5;

/// Streams a log; `alive` tells whether more may come.
pub fn stream(
    path: PathBuf,
    options: LogOptions,
    alive: impl Fn() -> bool + Send + 'static,
) -> mpsc::Receiver<Bytes> {
    let (send, receive) = mpsc::channel(QUEUE);
    tokio::task::spawn_blocking(move || {
        let sink = Sink {
            send: &|_, bytes| send.blocking_send(bytes).is_ok(),
            gone: &|| send.is_closed(),
        };
        // The reader may go away at any time; then there is nothing more to do.
        let _ = copy(&path, &options, &alive, &sink);
    });
    receive
}

/// What a container says from now on, by the output that it says it on; and what it has just said,
/// since `kubectl run -i` attaches to programs that are over sooner than it can ask.
pub fn follow(
    path: PathBuf,
    alive: impl Fn() -> bool + Send + 'static,
) -> mpsc::Receiver<(Channel, Bytes)> {
    let (send, receive) = mpsc::channel(QUEUE);
    let options = LogOptions { follow: true, since_seconds: Some(JUST), ..Default::default() };
    tokio::task::spawn_blocking(move || {
        let sink = Sink {
            send: &|channel, bytes| send.blocking_send((channel, bytes)).is_ok(),
            gone: &|| send.is_closed(),
        };
        // As above.
        let _ = copy(&path, &options, &alive, &sink);
    });
    receive
}

/// Who reads; `send` says whether it is still there.
struct Sink<'a> {
    send: &'a dyn Fn(Channel, Bytes) -> bool,
    gone: &'a dyn Fn() -> bool,
}

/// The reader went away, or the file cannot be read.
struct Over;

fn copy(
    path: &Path,
    options: &LogOptions,
    alive: &dyn Fn() -> bool,
    sink: &Sink,
) -> Result<(), Over> {
    let mut filter = Filter::new(options);
    let mut held: VecDeque<String> = VecDeque::new();
    let mut tail = Tail::open(path)?;
    let older = std::fs::read_to_string(path.with_extension("log.1")).unwrap_or_default();
    let first = older.lines().map(|l| format!("{l}\n")).chain(tail.lines()?);
    match options.tail_lines {
        Some(most) => {
            for line in first {
                held.push_back(line);
                if held.len() as u64 > most {
                    held.pop_front();
                }
            }
            held.iter().try_for_each(|l| filter.pass(l, sink))?;
        }
        None => first.into_iter().try_for_each(|l| filter.pass(&l, sink))?,
    }
    while options.follow && !filter.full() {
        // Asked first: what was written before the end is still read below.
        let more = alive();
        for line in tail.lines()? {
            filter.pass(&line, sink)?;
        }
        if !more {
            break;
        }
        if (sink.gone)() {
            return Err(Over);
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

/// A file that grows, and that may be set aside for a new one.
struct Tail {
    path: PathBuf,
    reader: BufReader<std::fs::File>,
    partial: String,
}

impl Tail {
    fn open(path: &Path) -> Result<Self, Over> {
        let file = std::fs::File::open(path).map_err(|_| Over)?;
        Ok(Tail { path: path.to_owned(), reader: BufReader::new(file), partial: String::new() })
    }

    /// The complete lines that came since the last time.
    fn lines(&mut self) -> Result<Vec<String>, Over> {
        let mut lines = self.rest()?;
        let same = |file: &std::fs::File| {
            use std::os::unix::fs::MetadataExt;
            let (old, new) = (file.metadata(), std::fs::metadata(&self.path));
            !matches!((old, new), (Ok(a), Ok(b)) if a.ino() != b.ino())
        };
        if !same(self.reader.get_ref()) {
            *self = Tail::open(&self.path)?;
            lines.extend(self.rest()?);
        }
        Ok(lines)
    }

    fn rest(&mut self) -> Result<Vec<String>, Over> {
        let mut lines = Vec::new();
        // A reader that met the end looks again only after a seek.
        self.reader.stream_position().map_err(|_| Over)?;
        loop {
            let mut bytes = Vec::new();
            let count = self.reader.by_ref().read_until(b'\n', &mut bytes).map_err(|_| Over)?;
            self.partial.push_str(&String::from_utf8_lossy(&bytes));
            if count == 0 {
                return Ok(lines);
            }
            if self.partial.ends_with('\n') {
                lines.push(std::mem::take(&mut self.partial));
            }
        }
    }
}

/// Takes the file's own marks off and leaves out what was not asked for.
struct Filter {
    since: Option<jiff::Timestamp>,
    timestamps: bool,
    left: Option<u64>,
    inside: bool,
}

impl Filter {
    fn new(options: &LogOptions) -> Self {
        let ago = options.since_seconds.and_then(|s| {
            let span = jiff::SignedDuration::from_secs(i64::try_from(s).ok()?);
            jiff::Timestamp::now().checked_sub(span).ok()
        });
        let at = options.since_time.as_ref().and_then(|t| t.parse().ok());
        Filter {
            since: ago.or(at),
            timestamps: options.timestamps,
            left: options.limit_bytes,
            inside: false,
        }
    }

    fn full(&self) -> bool {
        self.left == Some(0)
    }

    fn pass(&mut self, line: &str, sink: &Sink) -> Result<(), Over> {
        let Some(text) = self.text(line).filter(|t| !t.is_empty()) else { return Ok(()) };
        let channel = match line.split(' ').nth(1) {
            Some("stderr") => Channel::Stderr,
            _ => Channel::Stdout,
        };
        if (sink.send)(channel, Bytes::from(text)) { Ok(()) } else { Err(Over) }
    }

    fn text(&mut self, line: &str) -> Option<String> {
        let mut parts = line.splitn(4, ' ');
        let (time, _, tag, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if self.since.is_some_and(|since| time.parse().is_ok_and(|t: jiff::Timestamp| t < since)) {
            return None;
        }
        let text = if tag == "P" { text.strip_suffix('\n').unwrap_or(text) } else { text };
        let stamped = self.timestamps && !self.inside;
        self.inside = tag == "P";
        let mut out = if stamped { format!("{time} {text}") } else { text.to_owned() };
        if let Some(left) = &mut self.left {
            let mut end = out.len().min(*left as usize);
            while !out.is_char_boundary(end) {
                end -= 1;
            }
            out.truncate(end);
            *left -= end as u64;
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: LogOptions) -> String {
        let name = format!("logs-{}-{:?}.log", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        let lines = "2026-01-01T00:00:00.000000000Z stdout F one\n\
                     2026-01-02T00:00:00.000000000Z stdout P tw\n\
                     2026-01-02T00:00:00.000000000Z stdout F o\n\
                     2026-01-03T00:00:00.000000000Z stderr F three\n";
        std::fs::write(&path, lines).unwrap();
        let said = std::cell::RefCell::new(String::new());
        let send = |channel, bytes: Bytes| {
            let mark = if channel == Channel::Stderr { "!" } else { "" };
            *said.borrow_mut() += &format!("{mark}{}", String::from_utf8_lossy(&bytes));
            true
        };
        let sink = Sink { send: &send, gone: &|| false };
        assert!(copy(&path, &options, &|| false, &sink).is_ok());
        let text = said.take();
        std::fs::remove_file(path).unwrap();
        text
    }

    #[test]
    fn the_marks_are_taken_off_and_parts_joined() {
        assert_eq!(read(LogOptions::default()), "one\ntwo\n!three\n");
    }

    #[test]
    fn options_choose_a_part() {
        let tail = LogOptions { tail_lines: Some(1), ..Default::default() };
        assert_eq!(read(tail), "!three\n");
        let since =
            LogOptions { since_time: Some("2026-01-02T12:00:00Z".into()), ..Default::default() };
        assert_eq!(read(since), "!three\n");
        let few = LogOptions { limit_bytes: Some(5), ..Default::default() };
        assert_eq!(read(few), "one\nt");
        let stamped = LogOptions { timestamps: true, tail_lines: Some(1), ..Default::default() };
        assert_eq!(read(stamped), "!2026-01-03T00:00:00.000000000Z three\n");
    }
}
