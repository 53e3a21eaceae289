//! Received bytes that wait to be looked at, and the stock of buffers that a worker reuses: a
//! connection holds one only while it has something to do.

use crate::io::Io;
use crate::record::Heads;
use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

/// What a buffer begins with.
const SMALL: usize = 8 * 1024;
/// What it grows to when reads fill it.
pub const LARGE: usize = 64 * 1024;

/// Bytes `start..end` of the memory are unread.
#[derive(Debug, Default)]
pub struct Buffer {
    memory: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read filled all there was room for.
    filled: bool,
}

impl Buffer {
    pub fn unread(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether it holds no memory yet.
    pub fn is_unused(&self) -> bool {
        self.memory.is_empty()
    }

    /// Forgets the first `n` unread bytes.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Reads more bytes behind those that are unread, of which there may be `most`. Zero is the end;
    /// a full buffer reads nothing and is an error of the caller's limit.
    pub fn poll_fill(
        &mut self,
        io: &Io,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        self.make_room(most)?;
        let space = self.memory.len() - self.end;
        let n = ready!(io.poll_read(cx, &mut self.memory[self.end..]))?;
        self.filled = n == space;
        self.end += n;
        Poll::Ready(Ok(n))
    }

    fn make_room(&mut self, most: usize) -> io::Result<()> {
        let held = self.end - self.start;
        if held >= most {
            return Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                "the buffer's limit is reached",
            ));
        }
        let size = self.memory.len();
        let wanted = if size < SMALL {
            SMALL
        } else if self.filled || held == size {
            (size * 2).min(most.max(LARGE)).max(size)
        } else {
            size
        };
        if self.end == size && self.start > 0 {
            self.memory.copy_within(self.start..self.end, 0);
            self.end = held;
            self.start = 0;
        }
        if wanted > size && (self.filled || self.end == size) {
            self.memory.resize(wanted, 0);
        }
        self.filled = false;
        Ok(())
    }
}

/// Spare buffers of one worker.
#[derive(Debug, Default)]
pub struct Stock {
    buffers: RefCell<Vec<Buffer>>,
    outputs: RefCell<Vec<Vec<u8>>>,
    heads: RefCell<Vec<Heads>>,
}

/// Buffers kept of each kind; what comes back beyond that is freed.
const KEPT: usize = 64;

impl Stock {
    pub fn buffer(&self) -> Buffer {
        self.buffers.borrow_mut().pop().unwrap_or_default()
    }

    pub fn take_back(&self, mut buffer: Buffer) {
        let mut kept = self.buffers.borrow_mut();
        if kept.len() < KEPT && (1..=LARGE).contains(&buffer.memory.len()) {
            buffer.start = 0;
            buffer.end = 0;
            buffer.filled = false;
            kept.push(buffer);
        }
    }

    pub fn heads(&self) -> Heads {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    pub fn take_back_heads(&self, mut heads: Heads) {
        let mut kept = self.heads.borrow_mut();
        let size = heads.request.fields.capacity() + heads.response.fields.capacity();
        if kept.len() < KEPT && size <= SMALL {
            heads.request.clear();
            heads.response.clear();
            kept.push(heads);
        }
    }

    pub fn output(&self) -> Vec<u8> {
        self.outputs.borrow_mut().pop().unwrap_or_default()
    }

    pub fn take_back_output(&self, mut output: Vec<u8>) {
        let mut kept = self.outputs.borrow_mut();
        if kept.len() < KEPT && output.capacity() <= LARGE && output.capacity() > 0 {
            output.clear();
            kept.push(output);
        }
    }
}
