//! Every result as a line of its own: when the request was due (microseconds since 1970), how long it
//! took (microseconds), `ok` or `failed`, and what the answer was counted as or why it failed, between
//! tabs. Lines come in the order in which requests ended.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio::time::Instant;

use super::tally::Outcome;

pub struct Journal {
    file: BufWriter<File>,
    start: Instant,
    /// The start, by the wall clock.
    epoch: Duration,
    failure: Option<std::io::Error>,
}

impl Journal {
    pub fn create(path: &Path, start: Instant) -> anyhow::Result<Journal> {
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let epoch = now.saturating_sub(start.elapsed());
        Ok(Journal { file: BufWriter::new(file), start, epoch, failure: None })
    }

    pub fn note(&mut self, due: Instant, outcome: &Outcome) {
        let at = self.epoch + due.saturating_duration_since(self.start);
        let class = outcome.class.as_deref().unwrap_or_default();
        let (word, text) = match &outcome.failure {
            None => ("ok", class.to_owned()),
            Some(reason) => ("failed", format!("{reason} {class}")),
        };
        let took = outcome.took.as_micros();
        if let Err(e) = writeln!(self.file, "{}\t{took}\t{word}\t{text}", at.as_micros()) {
            self.failure.get_or_insert(e);
        }
    }

    /// A journal with holes would be a wrong one, so what could not be written is an error.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        match self.failure.take() {
            Some(e) => Err(e).context("the journal has holes"),
            None => self.file.flush().context("the journal's end is missing"),
        }
    }
}
