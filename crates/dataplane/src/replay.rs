//! A request body that can be sent again: what was sent is kept, up to a bound for the request and one
//! for all requests of a worker.

use crate::recode::Recoded;
use crate::stream::{Fill, Source, SourceError};
use policy::coding::{Coder, Recoding};
use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll};
use wire::Fields;

/// What one worker keeps of bodies, in bytes. A body that does not fit is not kept.
#[derive(Debug, Default)]
pub struct Account(Cell<usize>);

/// The bound of one worker.
const HELD_MAX: usize = 32 << 20;

/// A place in an account, given back when it is dropped.
#[derive(Debug)]
struct Held {
    account: Rc<Account>,
    bytes: usize,
}

impl Held {
    fn more(&mut self, n: usize) -> bool {
        let held = self.account.0.get() + n;
        let fits = held <= HELD_MAX;
        if fits {
            self.account.0.set(held);
            self.bytes += n;
        }
        fits
    }

    fn clear(&mut self) {
        self.account.0.set(self.account.0.get() - self.bytes);
        self.bytes = 0;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A whole body, for copies of the request.
#[derive(Debug)]
pub struct Kept {
    bytes: Vec<u8>,
    _held: Held,
}

impl Kept {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What is kept of one body.
#[derive(Debug)]
pub struct Replay {
    kept: Vec<u8>,
    held: Held,
    /// How much of `kept` was sent in this attempt.
    at: usize,
    /// Everything that was sent is kept.
    whole: bool,
    limit: usize,
    ended: bool,
    /// What filters make of the body before it is kept and sent.
    recoding: Option<Box<Recoding>>,
}

impl Replay {
    pub fn new(limit: usize, account: &Rc<Account>) -> Self {
        let held = Held { account: account.clone(), bytes: 0 };
        Self { kept: Vec::new(), held, at: 0, whole: true, limit, ended: false, recoding: None }
    }

    /// Another bound, for a body of which something was read ahead.
    pub fn limited(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// What is kept.
    pub fn bytes(&self) -> &[u8] {
        &self.kept
    }

    /// The source came to its end.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    pub fn end(&mut self) {
        self.ended = true;
    }

    /// What filters make of the body from here on, of what was read ahead, too.
    pub fn recode(&mut self, coder: Coder, inner: &impl Source) {
        let recoding = self.recoding.get_or_insert_default();
        if !self.kept.is_empty() || self.ended {
            let ended = self.ended.then(|| inner.trailers());
            recoding.untake(std::mem::take(&mut self.kept), ended);
        }
        self.ended = false;
        recoding.then(coder);
    }

    /// What of the source is not kept yet.
    fn fresh<'s>(&'s self, inner: &'s impl Source) -> &'s [u8] {
        self.recoding.as_ref().map_or_else(|| inner.data(), |r| r.data())
    }

    fn consume_fresh(&mut self, inner: &mut impl Source, n: usize) {
        match &mut self.recoding {
            Some(recoding) => recoding.consume(n),
            None => inner.consume(n),
        }
    }

    fn poll_fresh(
        &mut self,
        inner: &mut impl Source,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Fill, SourceError>> {
        match &mut self.recoding {
            Some(recoding) => Recoded { recoding, inner }.poll_fill(cx),
            None => inner.poll_fill(cx),
        }
    }

    /// Gets what is to be read ahead, or the end.
    pub fn poll_ahead(
        &mut self,
        inner: &mut impl Source,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Fill, SourceError>> {
        match self.fresh(inner).is_empty() {
            true => self.poll_fresh(inner, cx),
            false => Poll::Ready(Ok(Fill::Data)),
        }
    }

    /// Takes what there is before it is sent. `false`: there is no room.
    pub fn ahead(&mut self, inner: &mut impl Source) -> bool {
        let n = self.fresh(inner).len();
        let fits = self.held.more(n);
        if fits {
            self.keep(inner, n);
            self.consume_fresh(inner, n);
        }
        fits
    }

    fn keep(&mut self, inner: &impl Source, n: usize) {
        let fresh = self.recoding.as_ref().map_or_else(|| inner.data(), |r| r.data());
        self.kept.extend_from_slice(&fresh[..n]);
    }

    /// Bytes that have come, of a body of which so many were sent.
    pub fn received(&self, sent: u64) -> u64 {
        self.recoding.as_ref().map_or(sent, |r| r.taken)
    }

    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// A copy of the whole body, if it was read to its end and kept, and there is room for a copy.
    /// `empty`: there is none to be read.
    pub fn copy(&self, empty: bool) -> Option<Kept> {
        let mut held = Held { account: self.held.account.clone(), bytes: 0 };
        let all = self.whole && (empty || self.ended) && held.more(self.kept.len());
        all.then(|| Kept { bytes: self.kept.clone(), _held: held })
    }

    fn drop_kept(&mut self) {
        self.kept = Vec::new();
        self.held.clear();
        self.at = 0;
    }

    /// Begins again from the start.
    pub fn rewind(&mut self) {
        self.at = 0;
    }

    /// What comes from here on is another body, of which nothing is kept.
    pub fn restart(&mut self) {
        self.drop_kept();
        self.ended = false;
        self.recoding = None;
        self.limit = 0;
    }

    /// Nothing will be sent again.
    pub fn forget(&mut self) {
        self.limit = 0;
        if self.at == self.kept.len() {
            self.drop_kept();
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
        let fill = self.replay.poll_fresh(self.inner, cx);
        self.replay.ended = matches!(fill, Poll::Ready(Ok(Fill::End)));
        fill
    }

    fn data(&self) -> &[u8] {
        match &self.replay.kept[self.replay.at..] {
            [] => self.replay.fresh(self.inner),
            kept => kept,
        }
    }

    fn consume(&mut self, n: usize) {
        let replay = &mut *self.replay;
        if replay.at < replay.kept.len() {
            replay.at += n;
            return;
        }
        if replay.whole && replay.kept.len() + n <= replay.limit && replay.held.more(n) {
            replay.keep(self.inner, n);
            replay.at += n;
        } else {
            replay.whole = false;
            replay.drop_kept();
        }
        replay.consume_fresh(self.inner, n);
    }

    fn trailers(&self) -> Option<&Fields> {
        match &self.replay.recoding {
            Some(recoding) => recoding.trailers(),
            None => self.inner.trailers(),
        }
    }
}
