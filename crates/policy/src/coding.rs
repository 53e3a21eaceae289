//! Bodies that change on their way: [`Coder`]s take bytes and give others, piece by piece; [`Recoding`] is a
//! row of them, from which what comes out is taken. Nothing is held but what a coder needs to go on.

pub mod compress;
pub mod web;

use std::mem;
use thiserror::Error;
use wire::Fields;

/// A body is not what its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unreadable {
    #[error("the body is no base64")]
    Base64,
    #[error("the body cannot be compressed")]
    Compression,
}

/// One change of a body.
#[derive(Debug)]
pub enum Coder {
    /// None: what was read before the first change.
    Same,
    FromText(web::FromText),
    ToWeb(web::ToWeb),
    Gzip(compress::Gzip),
}

impl Coder {
    /// Takes some of `data`; says how much. What comes out is in proportion to what is taken.
    fn take(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<usize, Unreadable> {
        match self {
            Coder::Same => out.extend_from_slice(data),
            Coder::FromText(coder) => coder.take(data, out)?,
            Coder::ToWeb(coder) => coder.take(data, out),
            Coder::Gzip(coder) => coder.take(data, out)?,
        }
        Ok(data.len())
    }

    /// The body has ended, with these trailers, which may become part of it.
    fn end(&mut self, trailers: &mut Option<Fields>, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        match self {
            Coder::Same => Ok(()),
            Coder::FromText(coder) => coder.end(),
            Coder::Gzip(coder) => coder.end(out),
            Coder::ToWeb(coder) => {
                coder.end(trailers.take().as_ref(), out);
                Ok(())
            }
        }
    }
}

/// A coder is given no more as long as so much of what it made is not taken.
const HIGH: usize = 64 * 1024;
/// What a coder is given at once.
const PIECE: usize = 16 * 1024;

#[derive(Debug)]
struct Stage {
    coder: Coder,
    out: Vec<u8>,
    /// How much of `out` is taken.
    at: usize,
    ended: bool,
}

impl Stage {
    fn data(&self) -> &[u8] {
        &self.out[self.at..]
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
        if self.at >= self.out.len() {
            self.out.clear();
            self.at = 0;
        }
    }
}

/// A body's way through coders, one after the other.
#[derive(Debug, Default)]
pub struct Recoding {
    stages: Vec<Stage>,
    trailers: Option<Fields>,
    /// Bytes that were put in.
    pub taken: u64,
}

impl Recoding {
    /// One more change, after those that there are.
    pub fn then(&mut self, coder: Coder) {
        self.stages.push(Stage { coder, out: Vec::new(), at: 0, ended: false });
    }

    /// What has been taken before, and is to go through the changes that follow: it comes first. With its
    /// trailers, if it is all of the body.
    pub fn untake(&mut self, body: Vec<u8>, ended: Option<Option<&Fields>>) {
        if let Some(trailers) = ended {
            self.trailers = trailers.cloned();
        }
        match self.stages.last_mut() {
            Some(last) => last.out.splice(..last.at, body).for_each(drop),
            None => self.stages.push(Stage {
                coder: Coder::Same,
                out: body,
                at: 0,
                ended: ended.is_some(),
            }),
        }
        if let Some(last) = self.stages.last_mut() {
            last.at = 0;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// What has come out.
    pub fn data(&self) -> &[u8] {
        self.stages.last().map(Stage::data).unwrap_or_default()
    }

    pub fn consume(&mut self, n: usize) {
        if let Some(last) = self.stages.last_mut() {
            last.consume(n);
        }
    }

    /// All that comes out is there.
    pub fn is_ended(&self) -> bool {
        self.stages.last().is_none_or(|s| s.ended)
    }

    /// After the end.
    pub fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_ref()
    }

    /// Puts some of `data` in; says how much. To be called when nothing is to be taken.
    pub fn put(&mut self, data: &[u8]) -> Result<usize, Unreadable> {
        let Some(first) = self.stages.first_mut() else { return Ok(data.len()) };
        let n = first.coder.take(&data[..data.len().min(PIECE)], &mut first.out)?;
        self.taken += n as u64;
        self.settle()?;
        Ok(n)
    }

    /// The body that is put in has ended.
    pub fn end(&mut self, trailers: Option<&Fields>) -> Result<(), Unreadable> {
        self.trailers = trailers.cloned();
        if let Some(first) = self.stages.first_mut().filter(|s| !s.ended) {
            first.coder.end(&mut self.trailers, &mut first.out)?;
            first.ended = true;
        }
        self.settle()
    }

    /// Moves what has come out of each coder into the next. To be called again when it was taken.
    pub fn settle(&mut self) -> Result<(), Unreadable> {
        let mut moved = true;
        while mem::take(&mut moved) {
            for i in 1..self.stages.len() {
                let (before, stage) = self.stages.split_at_mut(i);
                let (before, stage) = (&mut before[i - 1], &mut stage[0]);
                if stage.ended || stage.data().len() >= HIGH {
                    continue;
                }
                let data = before.data();
                if !data.is_empty() {
                    let n = stage.coder.take(&data[..data.len().min(PIECE)], &mut stage.out)?;
                    before.consume(n);
                    moved = true;
                } else if before.ended {
                    stage.coder.end(&mut self.trailers, &mut stage.out)?;
                    stage.ended = true;
                    moved = true;
                }
            }
        }
        Ok(())
    }
}
