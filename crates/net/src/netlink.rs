//! Netlink below everything that changes links, routes and rules: building messages with nested
//! attributes, sending them, and reading acknowledgements, errors and dumps.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
/// `NLM_F_CREATE`.
pub const CREATE: u16 = 0x400;
/// `NLM_F_EXCL`.
pub const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_REPLACE`.
pub const REPLACE: u16 = 0x100;
/// `NLM_F_APPEND`.
pub const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
/// A rule batch is sent at once; this bounds it.
const SEND_BUFFER: usize = 16 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The kernel's answer to a message that it did not accept.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    #[error("the kernel refused to {doing}: {source}")]
    Refused { doing: String, source: io::Error },
    #[error("netlink: {0}")]
    Io(#[from] io::Error),
}

impl From<rustix::io::Errno> for NetlinkError {
    fn from(e: rustix::io::Errno) -> Self {
        NetlinkError::Io(e.into())
    }
}

impl NetlinkError {
    /// Whether the thing that was to be removed is not there, or that to be added is.
    pub fn is(&self, kind: io::ErrorKind) -> bool {
        match self {
            NetlinkError::Refused { source, .. } | NetlinkError::Io(source) => {
                source.kind() == kind
            }
        }
    }
}

/// One message: a header, a fixed part and attributes.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    pub fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | REQUEST).to_ne_bytes());
        Message { bytes }
    }

    /// The fixed part that the message kind prescribes.
    pub fn fixed(mut self, part: &[u8]) -> Self {
        self.bytes.extend_from_slice(part);
        self.pad();
        self
    }

    pub fn attr(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    pub fn attr_str(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    pub fn attr_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// nf_tables writes its numbers in network order.
    pub fn attr_be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    pub fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Message)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        inside(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.len() <= HEADER
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn seal(&mut self, sequence: u32, flags: u16) {
        let length = self.bytes.len() as u32;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        let flags = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]) | flags;
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    }
}

/// A netlink socket; it belongs to the network namespace in which it was opened.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// For links, addresses, routes and neighbours (NETLINK_ROUTE is protocol 0).
    pub fn route() -> Result<Self, NetlinkError> {
        Self::open(None)
    }

    /// For nf_tables.
    pub fn netfilter() -> Result<Self, NetlinkError> {
        Self::open(Some(netlink::NETFILTER))
    }

    fn open(protocol: Option<net::Protocol>) -> Result<Self, NetlinkError> {
        let fd = net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        // Forcing needs a capability over the initial namespace; without it the cap is lower.
        if net::sockopt::set_socket_send_buffer_size_force(&fd, SEND_BUFFER).is_err() {
            net::sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER)?;
        }
        let timeout = net::sockopt::Timeout::Recv;
        net::sockopt::set_socket_timeout(&fd, timeout, Some(ANSWER_TIMEOUT))?;
        Ok(Socket { fd, sequence: 0 })
    }

    /// Sends one message and waits until the kernel has done it.
    pub fn request(&mut self, doing: &str, mut message: Message) -> Result<(), NetlinkError> {
        self.sequence += 1;
        message.seal(self.sequence, ACK);
        self.send(&message.bytes)?;
        self.await_ack(doing)
    }

    /// Sends messages that take effect together or not at all.
    pub fn transaction(&mut self, doing: &str, messages: Vec<Message>) -> Result<(), NetlinkError> {
        let mut bytes = Vec::new();
        let last = messages.len().saturating_sub(1);
        let begin = Message::new(BATCH_BEGIN, 0).fixed(&BATCH_SUBSYSTEM);
        let end = Message::new(BATCH_END, 0).fixed(&BATCH_SUBSYSTEM);
        self.push(&mut bytes, begin, 0);
        for (n, message) in messages.into_iter().enumerate() {
            self.push(&mut bytes, message, if n == last { ACK } else { 0 });
        }
        let awaited = self.sequence;
        self.push(&mut bytes, end, 0);
        self.send(&bytes)?;
        self.await_sequence(doing, awaited)
    }

    /// Asks for everything of a kind; returns each answer without its header.
    pub fn dump(&mut self, mut message: Message) -> Result<Vec<Vec<u8>>, NetlinkError> {
        self.sequence += 1;
        message.seal(self.sequence, DUMP);
        self.send(&message.bytes)?;
        let mut found = Vec::new();
        loop {
            for answer in self.receive()? {
                match answer.kind {
                    DONE => return Ok(found),
                    ERROR => refused("list", &answer)?,
                    _ => found.push(answer.body),
                }
            }
        }
    }

    fn push(&mut self, bytes: &mut Vec<u8>, mut message: Message, flags: u16) {
        self.sequence += 1;
        message.seal(self.sequence, flags);
        bytes.extend_from_slice(&message.bytes);
    }

    fn send(&self, bytes: &[u8]) -> Result<(), NetlinkError> {
        net::send(&self.fd, bytes, SendFlags::empty())?;
        Ok(())
    }

    fn await_ack(&mut self, doing: &str) -> Result<(), NetlinkError> {
        self.await_sequence(doing, self.sequence)
    }

    /// Reads until the acknowledgement of one message; an error of any other comes first.
    fn await_sequence(&mut self, doing: &str, awaited: u32) -> Result<(), NetlinkError> {
        let mut result = Ok(());
        loop {
            for answer in self.receive()? {
                if answer.kind == ERROR {
                    result = result.and(refused(doing, &answer));
                    if answer.sequence >= awaited || answer.fatal {
                        return result;
                    }
                }
            }
        }
    }

    fn receive(&self) -> Result<Vec<Answer>, NetlinkError> {
        let mut buffer = vec![0u8; 64 << 10];
        let (length, _) = net::recv(&self.fd, &mut buffer, RecvFlags::empty())?;
        Ok(answers(&buffer[..length]))
    }
}

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// nfgenmsg of a batch: any family, version 0, subsystem nf_tables (10).
const BATCH_SUBSYSTEM: [u8; 4] = [0, 0, 0, 10];

struct Answer {
    kind: u16,
    sequence: u32,
    /// The batch as a whole was refused: no acknowledgement of its last message follows.
    fatal: bool,
    body: Vec<u8>,
}

fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut found = Vec::new();
    while bytes.len() >= HEADER {
        let length = u32_at(bytes, 0) as usize;
        if length < HEADER || length > bytes.len() {
            break;
        }
        let body = bytes[HEADER..length].to_vec();
        let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
        let refused_kind = body.get(8..10).map(|k| u16::from_ne_bytes([k[0], k[1]]));
        let fatal = kind == ERROR && matches!(refused_kind, Some(BATCH_BEGIN | BATCH_END));
        found.push(Answer { kind, sequence: u32_at(bytes, 8), fatal, body });
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    found
}

fn refused(doing: &str, answer: &Answer) -> Result<(), NetlinkError> {
    match answer.body.get(..4).map(|b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]])) {
        Some(0) | None => Ok(()),
        Some(code) => Err(NetlinkError::Refused {
            doing: doing.to_owned(),
            source: io::Error::from_raw_os_error(-code),
        }),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
}

/// The attributes of an answer, as (kind, value).
pub fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let length = u16::from_ne_bytes([bytes[0], bytes[1]]) as usize;
        if length < 4 || length > bytes.len() {
            break;
        }
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & !NESTED;
        found.push((kind, &bytes[4..length]));
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_attributes_carry_their_length_and_are_padded() {
        let mut m = Message::new(7, 0).fixed(&[1, 2, 3, 4]);
        m.nest(5, |m| {
            m.attr_str(1, "ab").attr_be32(2, 0x0102_0304);
        });
        m.seal(9, ACK);
        let body = &m.bytes[HEADER + 4..];
        let outer = attributes(body);
        assert_eq!(outer.len(), 1);
        assert_eq!(outer[0].0, 5);
        assert_eq!(attributes(outer[0].1), vec![(1, &b"ab\0"[..]), (2, &[1, 2, 3, 4][..])]);
        assert_eq!(u32_at(&m.bytes, 0) as usize, m.bytes.len());
    }

    #[test]
    fn broken_answers_end_the_list_and_never_panic() {
        assert!(answers(&[3, 0, 0, 0]).is_empty());
        assert!(answers(&[200; 40]).is_empty());
        assert!(attributes(&[1, 0, 0, 0, 9]).is_empty());
    }
}
