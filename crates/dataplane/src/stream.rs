//! Bodies in motion, whatever the protocols on both sides: a [`Source`] gives data, a [`Sink`] takes
//! it, a [`Pump`] moves it from one to the other and holds nothing itself, so that a slow sink slows
//! its source down.

use std::io;
use std::task::{Context, Poll, ready};
use wire::Fields;

/// Where a body comes from.
pub trait Source {
    /// Gets data, or the end. Not called while there is data.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<Fill, SourceError>>;
    /// What is there.
    fn data(&self) -> &[u8];
    /// Takes away the first `n` bytes of it.
    fn consume(&mut self, n: usize);
    /// Trailers, after the end.
    fn trailers(&self) -> Option<&Fields>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    Data,
    End,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Body(#[from] wire::h1::BodyError),
    #[error(transparent)]
    Coding(#[from] policy::coding::Unreadable),
}

/// Where a body goes.
pub trait Sink {
    /// Takes some of `data`; says how much.
    fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>>;
    /// Sends what is held back in the hope of more.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Ends the body and sends everything.
    fn poll_finish(
        &mut self,
        cx: &mut Context<'_>,
        trailers: Option<&Fields>,
    ) -> Poll<io::Result<()>>;
}

/// Which side failed.
#[derive(Debug)]
pub enum PumpError {
    Source(SourceError),
    Sink(io::Error),
}

/// The state of one body's way.
#[derive(Debug, Default)]
pub struct Pump {
    /// Bytes moved.
    pub bytes: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Moving,
    Finishing,
    Done,
}

impl Pump {
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether all of the body was read, even if not all is sent.
    pub fn source_done(&self) -> bool {
        self.state != State::Moving
    }

    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut impl Source,
        sink: &mut impl Sink,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            match self.state {
                State::Moving if !source.data().is_empty() => {
                    let sent =
                        ready!(sink.poll_send(cx, source.data())).map_err(PumpError::Sink)?;
                    source.consume(sent);
                    self.bytes += sent as u64;
                }
                State::Moving => match source.poll_fill(cx) {
                    Poll::Ready(Ok(Fill::Data)) => {}
                    Poll::Ready(Ok(Fill::End)) => self.state = State::Finishing,
                    Poll::Ready(Err(e)) => return Poll::Ready(Err(PumpError::Source(e))),
                    Poll::Pending => {
                        if let Poll::Ready(Err(e)) = sink.poll_flush(cx) {
                            return Poll::Ready(Err(PumpError::Sink(e)));
                        }
                        return Poll::Pending;
                    }
                },
                State::Finishing => {
                    ready!(sink.poll_finish(cx, source.trailers())).map_err(PumpError::Sink)?;
                    self.state = State::Done;
                }
                State::Done => return Poll::Ready(Ok(())),
            }
        }
    }
}
