//! The PROXY protocol, versions 1 and 2: who really connected, said by the balancer in front.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What the preamble says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// The connection is the balancer's own (health check), or version 1 says that it is unknown.
    Local,
    Proxied {
        source: SocketAddr,
        destination: SocketAddr,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the connection does not begin with a preamble of the PROXY protocol")]
    Absent,
    #[error("the preamble of the PROXY protocol is malformed, or of a family that is not known")]
    Invalid,
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1.
const LINE: usize = 107;

/// The largest block of version 2 that is taken (addresses and extensions).
const BLOCK: usize = 4096;

/// The preamble and its length, or `None` if more bytes are needed.
pub fn parse(bytes: &[u8]) -> Result<Option<(Preamble, usize)>, Refused> {
    let starts = |with: &[u8]| {
        let n = with.len().min(bytes.len());
        bytes[..n] == with[..n]
    };
    if starts(SIGNATURE) {
        version2(bytes)
    } else if starts(b"PROXY ") {
        version1(bytes)
    } else {
        Err(Refused::Absent)
    }
}

fn version1(bytes: &[u8]) -> Result<Option<(Preamble, usize)>, Refused> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n") else {
        return if bytes.len() < LINE { Ok(None) } else { Err(Refused::Invalid) };
    };
    if end + 2 > LINE {
        return Err(Refused::Invalid);
    }
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| Refused::Invalid)?;
    let words: Vec<&str> = line.split(' ').collect();
    let preamble = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Preamble::Local,
        ["PROXY", family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let source = socket(from, from_port)?;
            let destination = socket(to, to_port)?;
            let v4 = *family == "TCP4";
            if source.is_ipv4() != v4 || destination.is_ipv4() != v4 {
                return Err(Refused::Invalid);
            }
            Preamble::Proxied { source, destination }
        }
        _ => return Err(Refused::Invalid),
    };
    Ok(Some((preamble, end + 2)))
}

fn socket(ip: &str, port: &str) -> Result<SocketAddr, Refused> {
    let ip: IpAddr = ip.parse().map_err(|_| Refused::Invalid)?;
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refused::Invalid);
    }
    Ok(SocketAddr::new(ip, port.parse().map_err(|_| Refused::Invalid)?))
}

fn version2(bytes: &[u8]) -> Result<Option<(Preamble, usize)>, Refused> {
    let Some(header) = bytes.get(..16) else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([header[14], header[15]]));
    let (version, command) = (header[12] >> 4, header[12] & 15);
    if version != 2 || command > 1 || len > BLOCK {
        return Err(Refused::Invalid);
    }
    let Some(block) = bytes.get(16..16 + len) else { return Ok(None) };
    let preamble = match (command, header[13]) {
        (0, _) => Preamble::Local,
        // Of streams and of datagrams.
        (_, 0x11 | 0x12) => addresses::<4>(block)?,
        (_, 0x21 | 0x22) => addresses::<16>(block)?,
        _ => return Err(Refused::Invalid),
    };
    Ok(Some((preamble, 16 + len)))
}

fn addresses<const N: usize>(block: &[u8]) -> Result<Preamble, Refused> {
    let ip = |bytes: &[u8]| -> Option<IpAddr> {
        Some(match N {
            4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
            _ => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        })
    };
    let port = |at: usize| Some(u16::from_be_bytes([*block.get(at)?, *block.get(at + 1)?]));
    let read = || {
        let source = SocketAddr::new(ip(block.get(..N)?)?, port(2 * N)?);
        let destination = SocketAddr::new(ip(block.get(N..2 * N)?)?, port(2 * N + 2)?);
        Some(Preamble::Proxied { source, destination })
    };
    read().ok_or(Refused::Invalid)
}

/// Writes a preamble of version 1.
pub fn write_v1(source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    let family = match (source, destination) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => "TCP4",
        (SocketAddr::V6(_), SocketAddr::V6(_)) => "TCP6",
        _ => return out.extend_from_slice(b"PROXY UNKNOWN\r\n"),
    };
    let (from, to) = (source.ip(), destination.ip());
    let ports = (source.port(), destination.port());
    let line = format!("PROXY {family} {from} {to} {} {}\r\n", ports.0, ports.1);
    out.extend_from_slice(line.as_bytes());
}

/// Writes a preamble of version 2.
pub fn write_v2(source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    let mut block = Vec::new();
    let family = match (source.ip(), destination.ip()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            block.extend_from_slice(&a.octets());
            block.extend_from_slice(&b.octets());
            0x11
        }
        (a, b) => {
            block.extend_from_slice(&sixteen(a));
            block.extend_from_slice(&sixteen(b));
            0x21
        }
    };
    block.extend_from_slice(&source.port().to_be_bytes());
    block.extend_from_slice(&destination.port().to_be_bytes());
    out.extend_from_slice(&[0x21, family]);
    out.extend_from_slice(&(block.len() as u16).to_be_bytes());
    out.extend_from_slice(&block);
}

fn sixteen(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_pieces_wait() {
        let pairs = [("1.2.3.4:5", "6.7.8.9:10"), ("[::1]:5", "[fe80::2]:65535")];
        for (source, destination) in pairs {
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            for write in [write_v1, write_v2] {
                let mut out = Vec::new();
                write(source, destination, &mut out);
                let whole = out.len();
                for n in 0..whole {
                    assert_eq!(parse(&out[..n]), Ok(None));
                }
                out.extend_from_slice(b"GET /");
                let expected = Preamble::Proxied { source, destination };
                assert_eq!(parse(&out), Ok(Some((expected, whole))));
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(Refused::Absent));
        assert_eq!(parse(b"PRI * HTTP/2.0\r\n"), Err(Refused::Absent));
        let table: [&[u8]; 8] = [
            b"\r\n\r\n\0\r\nQUIT\n\x21\x00\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\0",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 70000\r\n",
            b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02ab",
        ];
        for bytes in table {
            assert_eq!(parse(bytes), Err(Refused::Invalid), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
