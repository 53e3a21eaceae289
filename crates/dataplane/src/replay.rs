//! A request body that can be sent again: what was sent is kept, up to a bound.

use crate::stream::{Fill, Source, SourceError};
use std::task::{Context, Poll};
use wire::Fields;

/// What is kept of one body.
#[derive(Debug)]
pub struct Replay {
    kept: Vec<u8>,
    /// How much of `kept` was sent in this attempt.
    at: usize,
    /// Everything that was sent is kept.
    whole: bool,
    limit: usize,
    ended: bool,
}

impl Replay {
    pub fn new(limit: usize) -> Self {
        Self { kept: Vec::new(), at: 0, whole: true, limit, ended: false }
    }

    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The whole body, if it was read to its end and kept. `empty`: there is none to be read.
    pub fn all(&self, empty: bool) -> Option<&[u8]> {
        (self.whole && (empty || self.ended)).then_some(&*self.kept)
    }

    /// Begins again from the start.
    pub fn rewind(&mut self) {
        self.at = 0;
    }

    /// Nothing will be sent again.
    pub fn forget(&mut self) {
        self.limit = 0;
        if self.at == self.kept.len() {
            self.kept = Vec::new();
            self.at = 0;
        }
    }
}

/// A source whose data are kept as they are taken.
pub struct Replayed<'a, S> {
    pub replay: &'a mut Replay,
    pub inner: &'a mut S,
}

impl<S: Source> Source for Replayed<'_, S> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, SourceError>> {
        if self.replay.ended {
            return Poll::Ready(Ok(Fill::End));
        }
        let fill = self.inner.poll_fill(cx);
        self.replay.ended = matches!(fill, Poll::Ready(Ok(Fill::End)));
        fill
    }

    fn data(&self) -> &[u8] {
        match &self.replay.kept[self.replay.at..] {
            [] => self.inner.data(),
            kept => kept,
        }
    }

    fn consume(&mut self, n: usize) {
        let replay = &mut *self.replay;
        if replay.at < replay.kept.len() {
            replay.at += n;
            return;
        }
        if replay.whole && replay.kept.len() + n <= replay.limit {
            replay.kept.extend_from_slice(&self.inner.data()[..n]);
            replay.at += n;
        } else {
            replay.whole = false;
            replay.kept = Vec::new();
            replay.at = 0;
        }
        self.inner.consume(n);
    }

    fn trailers(&self) -> Option<&Fields> {
        self.inner.trailers()
    }
}
