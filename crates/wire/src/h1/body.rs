//! Reads the body of a message: finds the data in bytes that arrive in pieces, and its end.

use super::framing::Body;
use crate::Fields;

/// What the next bytes of a body are. Offsets count from the start of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// `skip` bytes of framing, then `len` bytes of data.
    Data { skip: usize, len: usize },
    /// `skip` bytes of framing, then more input is needed.
    More { skip: usize },
    /// `skip` bytes of framing, and the body is over.
    End { skip: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("a chunk size is not a hexadecimal number followed by CR LF")]
    ChunkSize,
    #[error("the data of a chunk is not followed by CR LF")]
    ChunkEnd,
    #[error("the line of a chunk size, or the trailers, are larger than the limit")]
    TooLarge,
    #[error("a trailer is malformed")]
    Trailer,
    #[error("the connection ended in the middle of a body")]
    Truncated,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    UntilClose,
    Size { value: u64, digits: u8 },
    Padding { value: u64 },
    Extension { value: u64, seen: u16 },
    SizeEnd { value: u64 },
    Chunk(u64),
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// Bytes of chunk extensions that are skipped in one line.
const EXTENSION: u16 = 4096;
/// Bytes of trailers that are kept.
const TRAILERS: usize = 16 * 1024;
/// Trailer lines that are kept.
const TRAILER_LINES: usize = 64;

/// The state of one body.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    trailer_bytes: Vec<u8>,
    trailers: Option<Box<Fields>>,
}

impl Decoder {
    pub fn new(body: Body) -> Self {
        let state = match body {
            Body::Empty | Body::Length(0) => State::Done,
            Body::Length(n) => State::Length(n),
            Body::Chunked => State::Size { value: 0, digits: 0 },
            Body::UntilClose => State::UntilClose,
        };
        Self { state, trailer_bytes: Vec::new(), trailers: None }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailers, once the body is over.
    pub fn trailers(&self) -> Option<&Fields> {
        self.trailers.as_deref()
    }

    /// What the connection's end means here: the end of the body, or a cut in the middle.
    pub fn finish(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyError::Truncated),
        }
    }

    /// Looks at the next bytes. The caller takes `skip` and `len` bytes away before the next call.
    pub fn decode(&mut self, input: &[u8]) -> Result<Piece, BodyError> {
        let mut at = 0;
        loop {
            match self.state {
                State::Done => return Ok(Piece::End { skip: at }),
                State::Trailers => return self.trailer(&input[at..], at),
                _ if at == input.len() => return Ok(Piece::More { skip: at }),
                State::UntilClose => return Ok(Piece::Data { skip: at, len: input.len() - at }),
                State::Length(left) => {
                    let len = take(left, input.len() - at);
                    let left = left - len as u64;
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(Piece::Data { skip: at, len });
                }
                State::Chunk(left) => {
                    let len = take(left, input.len() - at);
                    let left = left - len as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Chunk(left) };
                    return Ok(Piece::Data { skip: at, len });
                }
                _ => {
                    self.state = framing_byte(self.state, input[at])?;
                    at += 1;
                }
            }
        }
    }

    /// Gathers trailer lines until the empty one.
    fn trailer(&mut self, input: &[u8], skip: usize) -> Result<Piece, BodyError> {
        for (i, byte) in input.iter().enumerate() {
            self.trailer_bytes.push(*byte);
            if self.trailer_bytes.len() > TRAILERS {
                return Err(BodyError::TooLarge);
            }
            if *byte == b'\n' && self.trailers_complete()? {
                self.parse_trailers()?;
                self.state = State::Done;
                return Ok(Piece::End { skip: skip + i + 1 });
            }
        }
        Ok(Piece::More { skip: skip + input.len() })
    }

    /// At a line feed: is the last line empty?
    fn trailers_complete(&self) -> Result<bool, BodyError> {
        let bytes = &self.trailer_bytes;
        if bytes.ends_with(b"\r\n") {
            Ok(bytes.len() == 2 || bytes.ends_with(b"\r\n\r\n"))
        } else {
            Err(BodyError::Trailer)
        }
    }

    fn parse_trailers(&mut self) -> Result<(), BodyError> {
        let mut lines = [httparse::EMPTY_HEADER; TRAILER_LINES];
        let parsed = httparse::parse_headers(&self.trailer_bytes, &mut lines);
        let Ok(httparse::Status::Complete((_, lines))) = parsed else {
            return Err(BodyError::Trailer);
        };
        if !lines.is_empty() {
            let mut fields = Fields::default();
            for line in lines {
                fields.push(line.name.as_bytes(), line.value.trim_ascii_end());
            }
            self.trailers = Some(Box::new(fields));
        }
        Ok(())
    }
}

fn take(left: u64, have: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(have)
}

/// One byte of chunk framing.
fn framing_byte(state: State, byte: u8) -> Result<State, BodyError> {
    let bad = Err(BodyError::ChunkSize);
    match state {
        State::Size { value, digits } => match (byte, (byte as char).to_digit(16)) {
            (_, Some(_)) if digits == 15 => bad,
            (_, Some(d)) => {
                Ok(State::Size { value: value * 16 + u64::from(d), digits: digits + 1 })
            }
            _ if digits == 0 => bad,
            (b'\r', _) => Ok(State::SizeEnd { value }),
            (b';', _) => Ok(State::Extension { value, seen: 0 }),
            (b' ' | b'\t', _) => Ok(State::Padding { value }),
            _ => bad,
        },
        State::Padding { value } => match byte {
            b' ' | b'\t' => Ok(state),
            b';' => Ok(State::Extension { value, seen: 0 }),
            b'\r' => Ok(State::SizeEnd { value }),
            _ => bad,
        },
        State::Extension { value, seen } => match byte {
            b'\r' => Ok(State::SizeEnd { value }),
            b'\n' | 0 => bad,
            _ if seen == EXTENSION => Err(BodyError::TooLarge),
            _ => Ok(State::Extension { value, seen: seen + 1 }),
        },
        State::SizeEnd { value: 0 } if byte == b'\n' => Ok(State::Trailers),
        State::SizeEnd { value } if byte == b'\n' => Ok(State::Chunk(value)),
        State::SizeEnd { .. } => bad,
        State::DataCr if byte == b'\r' => Ok(State::DataLf),
        State::DataLf if byte == b'\n' => Ok(State::Size { value: 0, digits: 0 }),
        _ => Err(BodyError::ChunkEnd),
    }
}

#[cfg(test)]
mod tests;
