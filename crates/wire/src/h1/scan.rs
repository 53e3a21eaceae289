//! Finds the end of a head in bytes that arrive in pieces, looking at every byte once.

use super::HeadError;
use memchr::memchr;

/// How far a head has been looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScan {
    /// Start of the line that is not complete yet.
    line: usize,
    /// Where the start line begins, behind empty lines.
    begin: usize,
    started: bool,
}

/// Empty lines before a request line (RFC 9112 section 2.2) that are skipped.
const EMPTY_LINES: usize = 4;

impl HeadScan {
    /// The range of a complete head in `input` (everything received so far), or `None` if more is
    /// needed.
    pub fn find(
        &mut self,
        input: &[u8],
        limit: usize,
    ) -> Result<Option<std::ops::Range<usize>>, HeadError> {
        self.begins(input)?;
        while let Some(i) = memchr(b'\n', &input[self.line..]) {
            let end = self.line + i;
            if end == self.line || input[end - 1] != b'\r' {
                return Err(HeadError::BareLf);
            }
            let empty = end - 1 == self.line;
            self.line = end + 1;
            if !empty {
                self.started = true;
            } else if self.started {
                return if self.line - self.begin > limit {
                    Err(HeadError::TooLarge)
                } else {
                    Ok(Some(self.begin..self.line))
                };
            } else {
                self.begin = self.line;
                if self.begin > 2 * EMPTY_LINES {
                    return Err(HeadError::StartLine);
                }
                self.begins(input)?;
            }
        }
        if input.len() - self.begin > limit { Err(HeadError::TooLarge) } else { Ok(None) }
    }

    /// A head begins with a letter; anything else, such as a TLS record, is not waited for.
    fn begins(&self, input: &[u8]) -> Result<(), HeadError> {
        match input.get(self.begin) {
            Some(b'\n') if !self.started => Err(HeadError::BareLf),
            Some(b) if !self.started && !begins_head(*b) => Err(HeadError::StartLine),
            _ => Ok(()),
        }
    }

    /// Whether anything of a head has arrived.
    pub fn begun(&self, input: &[u8]) -> bool {
        self.started || input.len() > self.begin
    }
}

fn begins_head(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'\r'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_no_head_is_refused_behind_an_empty_line_too() {
        for input in [&b"\x16\x03"[..], b"\r\n\x16", b"\r\n\n"] {
            assert!(HeadScan::default().find(input, 1024).is_err(), "{input:?}");
            let mut scan = HeadScan::default();
            let piece = |have: usize| scan.find(&input[..have], 1024);
            assert!((1..=input.len()).map(piece).any(|found| found.is_err()), "{input:?}");
        }
    }

    #[test]
    fn a_head_is_found_whatever_the_pieces() {
        let input = b"\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\nbody";
        for step in 1..input.len() {
            let mut scan = HeadScan::default();
            let mut have = 0;
            let found = loop {
                have = (have + step).min(input.len());
                if let Some(range) = scan.find(&input[..have], 100).unwrap() {
                    break range;
                }
                assert!(have < input.len());
            };
            assert_eq!(&input[found], &input[2..input.len() - 4]);
        }
    }

    #[test]
    fn bare_line_feeds_and_large_heads_are_refused() {
        let table: [(&[u8], HeadError); 5] = [
            (b"\nGET / HTTP/1.1\r\n", HeadError::BareLf),
            (b"GET / HTTP/1.1\n", HeadError::BareLf),
            (b"GET / HTTP/1.1\r\n\n", HeadError::BareLf),
            (b"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaa", HeadError::TooLarge),
            (b"\r\n\r\n\r\n\r\n\r\n", HeadError::StartLine),
        ];
        for (input, expected) in table {
            assert_eq!(HeadScan::default().find(input, 30), Err(expected));
        }
    }
}
