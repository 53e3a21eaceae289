//! HTTP/2 frames on their way in, without the empty ones. A DATA frame that carries nothing and ends
//! nothing says nothing, and some peers send many; the codec behind this counts them against the
//! connection for as long as it lives. What is taken out here is only what a peer may send: a row
//! of them that does not end is passed on, and the codec ends the connection.

/// The preface of a client, which comes before its first frame.
const PREFACE: usize = 24;
/// Length, type, flags and stream of a frame.
const HEAD: usize = 9;
const DATA: u8 = 0;

/// Empty frames in a row that are taken out.
const ROW: u32 = 100;

/// Where in its frames a connection is.
#[derive(Debug)]
pub struct Sieve {
    /// Bytes until the next frame begins.
    left: usize,
    /// The beginning of a head that has not come whole.
    carry: [u8; HEAD],
    carried: usize,
    row: u32,
}

impl Sieve {
    /// For what a server sends.
    pub fn of_server() -> Self {
        Self { left: 0, carry: [0; HEAD], carried: 0, row: 0 }
    }

    /// For what a client sends.
    pub fn of_client() -> Self {
        Self { left: PREFACE, ..Self::of_server() }
    }

    /// Bytes that were held back; they belong before what is read next.
    pub fn carried(&self) -> &[u8] {
        &self.carry[..self.carried]
    }

    /// Moves what is to be passed on to the front of `bytes`, which begin with what was carried, and
    /// says how much that is.
    pub fn pass(&mut self, bytes: &mut [u8]) -> usize {
        let (mut read, mut written) = (0, 0);
        self.carried = 0;
        loop {
            let n = self.left.min(bytes.len() - read);
            if read != written {
                bytes.copy_within(read..read + n, written);
            }
            (read, written, self.left) = (read + n, written + n, self.left - n);
            let rest = &bytes[read..];
            let Some(head) = rest.first_chunk::<HEAD>() else {
                // Empty, too, where a frame goes on in the next bytes.
                self.carry[..rest.len()].copy_from_slice(rest);
                self.carried = rest.len();
                return written;
            };
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            // Of no flag, not even padding, and of a stream: else it says something that is wrong.
            let of_a_stream = head[5..] != [0; 4];
            let says_nothing = length == 0 && head[3..5] == [DATA, 0] && of_a_stream;
            if says_nothing && self.row < ROW {
                self.row += 1;
                read += HEAD;
                continue;
            }
            if length > 0 {
                self.row = 0;
            }
            self.left = HEAD + length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END_STREAM: u8 = 1;
    const PADDED: u8 = 8;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        out.extend_from_slice(&[kind, flags, 0, 0, 0, 1]);
        out.extend_from_slice(payload);
        out
    }

    fn sift(mut sieve: Sieve, bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in bytes.chunks(piece) {
            let mut held = sieve.carried().to_vec();
            held.extend_from_slice(piece);
            let n = sieve.pass(&mut held);
            out.extend_from_slice(&held[..n]);
        }
        out.extend_from_slice(sieve.carried());
        out
    }

    #[test]
    fn empty_data_is_taken_out_however_the_bytes_arrive() {
        let empty = frame(DATA, 0, b"");
        let kept = [
            frame(1, 4, b"head"),
            frame(DATA, 0, &[0; 40]),
            frame(4, 1, b""),
            frame(DATA, 8, &[0]),
            frame(DATA, END_STREAM, b""),
            frame(DATA, PADDED, b""),
            vec![0; HEAD],
        ];
        let with: Vec<u8> = kept.iter().flat_map(|f| [empty.clone(), f.clone()].concat()).collect();
        let without = kept.concat();
        for piece in 1..with.len() {
            assert_eq!(sift(Sieve::of_server(), &with, piece), without, "by {piece}");
            let (preface, client) = (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Sieve::of_client());
            let (with, without) =
                ([&preface[..], &with].concat(), [&preface[..], &without].concat());
            assert_eq!(sift(client, &with, piece), without, "by {piece}, with a preface");
        }
    }

    #[test]
    fn a_row_that_does_not_end_is_passed_on() {
        let row = frame(DATA, 0, b"").repeat(150);
        assert_eq!(sift(Sieve::of_server(), &row, 1000).len(), 50 * HEAD);
        // What carries something ends a row.
        let rows = [row[..90 * HEAD].to_vec(), frame(DATA, 0, b"x")].concat().repeat(3);
        assert_eq!(sift(Sieve::of_server(), &rows, 1000).len(), 3 * (HEAD + 1));
    }
}
