//! The client's side of a request while filters look at it: its body, as far as a filter asks for it before
//! the request is forwarded, and whether the client is still there.

use crate::forward::Downstream;
use crate::replay::Replay;
use crate::stream::{Fill, SourceError};
use policy::coding::{Coder, Unreadable};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use wire::h1::Body;

#[derive(Debug)]
pub struct Intake<'d, D> {
    pub down: &'d mut D,
    pub body: Body,
    pub upgrade: bool,
    /// What was read ahead; it is sent first.
    pub replay: Replay,
    /// Who sends nothing for so long is given up.
    pub idle: Option<Duration>,
}

/// What there is of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gathered {
    Whole,
    /// As much as was asked for.
    Part,
}

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Gone,
    Malformed,
    /// It is not what its head says.
    Unreadable(Unreadable),
    Idle,
    /// This worker keeps no more of bodies.
    NoRoom,
}

impl<D: Downstream> Intake<'_, D> {
    /// Reads the body until it ends or more than `limit` bytes are there. (An end that came with the last
    /// byte has to be seen.)
    pub async fn gather(&mut self, limit: usize) -> Result<Gathered, Broken> {
        if self.body == Body::Empty {
            return Ok(Gathered::Whole);
        }
        while !self.replay.is_ended() {
            if self.replay.bytes().len() > limit {
                return Ok(Gathered::Part);
            }
            let fill = poll_fn(|cx| self.replay.poll_ahead(self.down, cx));
            let fill = match self.idle {
                Some(idle) => tokio::time::timeout(idle, fill).await.map_err(|_| Broken::Idle)?,
                None => fill.await,
            };
            match fill {
                Ok(Fill::Data) => {
                    if !self.replay.ahead(self.down) {
                        return Err(Broken::NoRoom);
                    }
                }
                Ok(Fill::End) => self.replay.end(),
                Err(SourceError::Io(_)) => return Err(Broken::Gone),
                Err(SourceError::Body(_)) => return Err(Broken::Malformed),
                Err(SourceError::Coding(why)) => return Err(Broken::Unreadable(why)),
            }
        }
        Ok(if self.replay.bytes().len() > limit { Gathered::Part } else { Gathered::Whole })
    }

    /// The head no longer says how long the body is.
    pub fn unsized_body(&mut self) {
        self.body = match self.body {
            Body::Empty | Body::Length(0) => Body::Empty,
            _ => Body::Chunked,
        };
    }

    /// A filter makes another body of it.
    pub fn recode(&mut self, coder: Coder) {
        if self.upgrade || self.body == Body::Empty {
            return;
        }
        self.replay.recode(coder, self.down);
        self.unsized_body();
    }

    /// Waits for a filter's work, unless the client goes away meanwhile.
    pub async fn attend<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let read = !self.upgrade && (self.body == Body::Empty || self.replay.is_ended());
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Some(done));
            }
            match read && self.down.poll_gone(cx).is_ready() {
                true => Poll::Ready(None),
                false => Poll::Pending,
            }
        })
        .await
    }
}
