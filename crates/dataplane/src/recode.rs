//! A body that is changed while it is read, as filters have asked for.

use crate::stream::{Fill, Source, SourceError};
use policy::coding::Recoding;
use std::task::{Context, Poll, ready};
use wire::Fields;

/// A source whose data go through coders.
pub struct Recoded<'a, S> {
    pub recoding: &'a mut Recoding,
    pub inner: &'a mut S,
}

impl<S: Source> Source for Recoded<'_, S> {
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, SourceError>> {
        let Self { recoding, inner } = self;
        loop {
            recoding.settle()?;
            if !recoding.data().is_empty() {
                return Poll::Ready(Ok(Fill::Data));
            }
            if recoding.is_ended() {
                return Poll::Ready(Ok(Fill::End));
            }
            if inner.data().is_empty() && ready!(inner.poll_fill(cx))? == Fill::End {
                recoding.end(inner.trailers())?;
                continue;
            }
            let n = recoding.put(inner.data())?;
            inner.consume(n);
        }
    }

    fn data(&self) -> &[u8] {
        self.recoding.data()
    }

    fn consume(&mut self, n: usize) {
        self.recoding.consume(n);
    }

    fn trailers(&self) -> Option<&Fields> {
        self.recoding.trailers()
    }
}
