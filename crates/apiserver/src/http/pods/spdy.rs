//! As much of SPDY/3.1 as `kubectl port-forward` speaks (tunnelled in a WebSocket, or by itself):
//! streams with headers and data, pings and resets. There is no flow control in its use. Bytes in,
//! frames out and back, without I/O.

use std::collections::HashMap;

use flate2::{Decompress, FlushDecompress, Status};
use thiserror::Error;

/// Largest frame that is taken from a peer.
const MAX_FRAME: usize = 1024 * 1024;
/// Largest header block, inflated.
const MAX_HEADERS: usize = 64 * 1024;
/// What header blocks are compressed against; fixed by the protocol.
const DICTIONARY: &[u8] = include_bytes!("spdy/dictionary.bin");
/// The zlib header with the dictionary's checksum, which opens a peer's first block.
const ZLIB_HEADER: usize = 6;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;

#[derive(Debug, Error, PartialEq)]
pub enum SpdyError {
    #[error("a frame is larger than {MAX_FRAME} bytes")]
    TooLarge,
    #[error("a header block cannot be read")]
    Headers,
    #[error("a frame is shorter than its kind needs")]
    Short,
}

/// What the peer sent.
#[derive(Debug, PartialEq)]
pub enum Frame {
    Open {
        id: u32,
        headers: HashMap<String, String>,
    },
    Data {
        id: u32,
        bytes: Vec<u8>,
        fin: bool,
    },
    Reset {
        id: u32,
    },
    Ping {
        id: u32,
    },
    GoAway,
    /// Nothing that matters here.
    Other,
}

/// Bytes of a peer to frames.
pub struct Decoder {
    buffer: Vec<u8>,
    inflate: Decompress,
    begun: bool,
}

impl Decoder {
    pub fn new() -> Result<Decoder, SpdyError> {
        let mut inflate = Decompress::new(false);
        // A stored block that holds the dictionary puts it into the window.
        let length = u16::try_from(DICTIONARY.len()).map_err(|_| SpdyError::Headers)?;
        let mut block = vec![0];
        block.extend(length.to_le_bytes());
        block.extend((!length).to_le_bytes());
        block.extend(DICTIONARY);
        inflate_block(&mut inflate, &block)?;
        Ok(Decoder { buffer: Vec::new(), inflate, begun: false })
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if there is one.
    pub fn next(&mut self) -> Result<Option<Frame>, SpdyError> {
        let Some(head) = self.buffer.first_chunk::<8>().copied() else { return Ok(None) };
        let length = u32::from_be_bytes([0, head[5], head[6], head[7]]) as usize;
        if length > MAX_FRAME {
            return Err(SpdyError::TooLarge);
        }
        if self.buffer.len() < 8 + length {
            return Ok(None);
        }
        let body: Vec<u8> = self.buffer.drain(..8 + length).skip(8).collect();
        if head[0] & 0x80 == 0 {
            let id = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            return Ok(Some(Frame::Data { id, bytes: body, fin: head[4] & FIN != 0 }));
        }
        let first =
            || body.first_chunk::<4>().map(|b| u32::from_be_bytes(*b)).ok_or(SpdyError::Short);
        Ok(Some(match u16::from_be_bytes([head[2], head[3]]) {
            SYN_STREAM => {
                let block = body.get(10..).ok_or(SpdyError::Short)?;
                Frame::Open { id: first()? & 0x7fff_ffff, headers: self.headers(block)? }
            }
            RST_STREAM => Frame::Reset { id: first()? & 0x7fff_ffff },
            PING => Frame::Ping { id: first()? },
            GOAWAY => Frame::GoAway,
            _ => Frame::Other,
        }))
    }

    fn headers(&mut self, mut block: &[u8]) -> Result<HashMap<String, String>, SpdyError> {
        if !self.begun {
            block = block.get(ZLIB_HEADER..).ok_or(SpdyError::Headers)?;
            self.begun = true;
        }
        let plain = inflate_block(&mut self.inflate, block)?;
        let mut rest = plain.as_slice();
        let number = |rest: &mut &[u8]| {
            let (head, tail) = rest.split_first_chunk::<4>().ok_or(SpdyError::Headers)?;
            *rest = tail;
            Ok(u32::from_be_bytes(*head) as usize)
        };
        let count = number(&mut rest)?;
        let mut headers = HashMap::new();
        for _ in 0..count.min(64) {
            let mut text = || {
                let length = number(&mut rest)?;
                let (head, tail) = rest.split_at_checked(length).ok_or(SpdyError::Headers)?;
                rest = tail;
                Ok::<_, SpdyError>(String::from_utf8_lossy(head).into_owned())
            };
            let (name, value) = (text()?, text()?);
            headers.insert(name.to_lowercase(), value);
        }
        Ok(headers)
    }
}

fn inflate_block(inflate: &mut Decompress, mut block: &[u8]) -> Result<Vec<u8>, SpdyError> {
    let mut plain = Vec::with_capacity(4096);
    loop {
        if plain.len() == plain.capacity() {
            if plain.len() > MAX_HEADERS {
                return Err(SpdyError::Headers);
            }
            plain.reserve(4096);
        }
        let (before_in, before_out) = (inflate.total_in(), plain.len());
        let status = inflate
            .decompress_vec(block, &mut plain, FlushDecompress::Sync)
            .map_err(|_| SpdyError::Headers)?;
        let read = usize::try_from(inflate.total_in() - before_in).unwrap_or(0);
        block = block.get(read..).unwrap_or_default();
        let stuck = read == 0 && plain.len() == before_out;
        let full = plain.len() == plain.capacity();
        if status == Status::StreamEnd || (block.is_empty() && !full) || (stuck && !full) {
            return Ok(plain);
        }
    }
}

/// Frames to bytes.
#[derive(Default)]
pub struct Encoder {
    begun: bool,
}

impl Encoder {
    /// Accepts a stream. The empty header block is a stored block, which needs no compressor; an
    /// empty one after it makes the peer's inflater hand over what it has.
    pub fn reply(&mut self, id: u32) -> Vec<u8> {
        let mut body = id.to_be_bytes().to_vec();
        if !self.begun {
            body.extend([0x78, 0x01]);
            self.begun = true;
        }
        let headers = 0u32.to_be_bytes();
        body.extend([0, 4, 0, !4, 0xff]);
        body.extend(headers);
        body.extend([0, 0, 0, 0xff, 0xff]);
        control(SYN_REPLY, &body)
    }

    pub fn data(id: u32, bytes: &[u8], fin: bool) -> Vec<u8> {
        let mut frame = id.to_be_bytes().to_vec();
        frame.push(if fin { FIN } else { 0 });
        frame.extend(&length(bytes)[1..]);
        frame.extend(bytes);
        frame
    }

    pub fn ping(id: u32) -> Vec<u8> {
        control(PING, &id.to_be_bytes())
    }
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(0).to_be_bytes()
}

fn control(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80, 3];
    frame.extend(kind.to_be_bytes());
    frame.push(0);
    frame.extend(&length(body)[1..]);
    frame.extend(body);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap();
        [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), bytes].concat()
    }

    fn block(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut plain = u32::try_from(pairs.len()).unwrap().to_be_bytes().to_vec();
        for text in pairs.iter().flat_map(|(k, v)| [k, v]) {
            plain.extend(length(text.as_bytes()));
            plain.extend(text.as_bytes());
        }
        plain
    }

    fn open(id: u32, first: bool, pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut body = id.to_be_bytes().to_vec();
        body.extend([0; 6]);
        if first {
            body.extend([0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]);
        }
        body.extend(stored(&block(pairs)));
        control(SYN_STREAM, &body)
    }

    #[test]
    fn frames_come_out_however_bytes_come_in() {
        let mut bytes = open(1, true, &[("Streamtype", "error"), ("Port", "80")]);
        bytes.extend(open(3, false, &[("streamtype", "data"), ("port", "80")]));
        bytes.extend(Encoder::data(3, b"hello", true));
        bytes.extend(Encoder::ping(7));
        let headers = |kind: &str| {
            HashMap::from([
                ("streamtype".to_owned(), kind.to_owned()),
                ("port".to_owned(), "80".to_owned()),
            ])
        };
        for step in [1, 3, 7, bytes.len()] {
            let mut decoder = Decoder::new().unwrap();
            let mut frames = Vec::new();
            for chunk in bytes.chunks(step) {
                decoder.push(chunk);
                while let Some(frame) = decoder.next().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(
                frames,
                [
                    Frame::Open { id: 1, headers: headers("error") },
                    Frame::Open { id: 3, headers: headers("data") },
                    Frame::Data { id: 3, bytes: b"hello".to_vec(), fin: true },
                    Frame::Ping { id: 7 },
                ]
            );
        }
    }

    #[test]
    fn compressed_header_blocks_of_another_zlib_are_read() {
        let first: &[u8] = &[
            0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2, 0x02, 0x25, 0x3a, 0x48, 0xf9, 0x5b, 0x04, 0x4a,
            0xab, 0x4c, 0x16, 0x06, 0x40, 0x92, 0xb3, 0x08, 0x12, 0x5b, 0x99, 0xa0, 0x54, 0xcc,
            0x68, 0x00, 0x4e, 0x87, 0x25, 0x45, 0xa9, 0x89, 0xb9, 0xd0, 0xa2, 0x86, 0x35, 0x15,
            0x14, 0x11, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff,
        ];
        let second: &[u8] =
            &[0x22, 0x4b, 0x2b, 0xa8, 0x94, 0x4a, 0x04, 0x00, 0x00, 0x00, 0xff, 0xff];
        let mut decoder = Decoder::new().unwrap();
        for (block, kind) in [(first, "error"), (second, "data")] {
            let headers = decoder.headers(block).unwrap();
            assert_eq!(headers["streamtype"], kind);
            assert_eq!(headers["port"], "80");
        }
    }

    #[test]
    fn hostile_frames_are_refused() {
        let mut decoder = Decoder::new().unwrap();
        decoder.push(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next(), Err(SpdyError::TooLarge));
        let mut decoder = Decoder::new().unwrap();
        decoder.push(&control(SYN_STREAM, &[0; 4]));
        assert_eq!(decoder.next(), Err(SpdyError::Short));
        let mut decoder = Decoder::new().unwrap();
        decoder.push(&control(SYN_STREAM, &[0xff; 40]));
        assert_eq!(decoder.next(), Err(SpdyError::Headers));
    }
}
