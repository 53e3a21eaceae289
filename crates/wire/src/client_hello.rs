//! The server name and the protocols that a TLS ClientHello asks for, before any handshake.

/// What a client asks for. Names are lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    pub server_name: Option<String>,
    pub alpn: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Hello(ClientHello),
    More,
    /// Not a ClientHello.
    Malformed,
}

/// The largest handshake message that is looked at.
const LARGEST: usize = 16 * 1024;

/// Reads a ClientHello from the first bytes of a connection; it may span several records.
pub fn parse(bytes: &[u8]) -> Outcome {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        let [kind, major, _, high, low, tail @ ..] = rest else { return partial(rest) };
        if *kind != 22 || *major != 3 {
            return Outcome::Malformed;
        }
        let len = usize::from(*high) << 8 | usize::from(*low);
        if len == 0 || len > LARGEST + 256 {
            return Outcome::Malformed;
        }
        message.extend_from_slice(&tail[..len.min(tail.len())]);
        match hello(&message) {
            Outcome::More if message.len() > LARGEST + 4 => return Outcome::Malformed,
            Outcome::More if len > tail.len() => return Outcome::More,
            Outcome::More => rest = &tail[len..],
            other => return other,
        }
    }
}

fn partial(rest: &[u8]) -> Outcome {
    let plausible = rest.first().is_none_or(|b| *b == 22) && rest.get(1).is_none_or(|b| *b == 3);
    if plausible { Outcome::More } else { Outcome::Malformed }
}

fn hello(message: &[u8]) -> Outcome {
    let Some((&kind, _)) = message.split_first() else { return Outcome::More };
    if kind != 1 {
        return Outcome::Malformed;
    }
    let Some(header) = message.get(1..4) else { return Outcome::More };
    let len = usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
    if len > LARGEST {
        return Outcome::Malformed;
    }
    match message.get(4..4 + len) {
        None => Outcome::More,
        Some(body) => fields(&mut Reader(body)).map_or(Outcome::Malformed, Outcome::Hello),
    }
}

fn fields(r: &mut Reader<'_>) -> Option<ClientHello> {
    r.take(2 + 32)?; // version, random
    r.short()?; // session id
    r.long()?; // cipher suites
    r.short()?; // compression
    let mut hello = ClientHello::default();
    if r.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(r.long()?);
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let body = extensions.long()?;
        match kind {
            0 => hello.server_name = server_name(&mut Reader(body))?,
            16 => hello.alpn = alpn(&mut Reader(body))?,
            _ => {}
        }
    }
    Some(hello)
}

/// `Some(None)`: there is no host name among the names.
fn server_name(r: &mut Reader<'_>) -> Option<Option<String>> {
    let mut names = Reader(r.long()?);
    while !names.0.is_empty() {
        let kind = names.take(1)?[0];
        let name = names.long()?;
        if kind == 0 {
            return Some(Some(std::str::from_utf8(name).ok()?.to_ascii_lowercase()));
        }
    }
    Some(None)
}

fn alpn(r: &mut Reader<'_>) -> Option<Vec<String>> {
    let mut list = Reader(r.long()?);
    let mut names = Vec::new();
    while !list.0.is_empty() {
        names.push(String::from_utf8_lossy(list.short()?).into_owned());
    }
    Some(names)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn number(&mut self) -> Option<usize> {
        self.take(2).map(|b| usize::from(b[0]) << 8 | usize::from(b[1]))
    }

    /// A vector with a length of one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let n = self.take(1)?[0];
        self.take(usize::from(n))
    }

    /// A vector with a length of two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let n = self.number()?;
        self.take(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello with one server name and two protocols, in records of at most `record` bytes.
    fn sample(record: usize) -> Vec<u8> {
        let vector = |body: &[u8]| [&(body.len() as u16).to_be_bytes()[..], body].concat();
        let name = [&[0][..], &vector(b"A.Example")].concat();
        let sni = [&[0, 0][..], &vector(&vector(&name))].concat();
        let alpn = [&[0, 16][..], &vector(&vector(b"\x02h2\x08http/1.1"))].concat();
        let extensions = vector(&[sni, alpn].concat());
        let body = [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0], &extensions].concat();
        let length = &(body.len() as u32).to_be_bytes()[1..];
        let message = [&[1][..], length, &body].concat();
        let mut out = Vec::new();
        for part in message.chunks(record) {
            out.extend_from_slice(&[22, 3, 1]);
            out.extend_from_slice(&vector(part));
        }
        out
    }

    #[test]
    fn name_and_protocols_are_found_in_any_records_and_pieces() {
        for record in [10, 50, 1000] {
            let bytes = sample(record);
            for n in 0..bytes.len() {
                assert_eq!(parse(&bytes[..n]), Outcome::More, "{record} {n}");
            }
            let Outcome::Hello(hello) = parse(&bytes) else { panic!("{record}") };
            assert_eq!(hello.server_name.as_deref(), Some("a.example"));
            assert_eq!(hello.alpn, ["h2", "http/1.1"]);
        }
    }

    #[test]
    fn mutilated_hellos_never_panic() {
        let env = base::FixedEnv::seeded(5);
        use base::Env;
        for _ in 0..20_000 {
            let mut bytes = sample(60);
            for _ in 0..1 + env.below(4) {
                let at = env.below(bytes.len() as u64) as usize;
                bytes[at] = env.random() as u8;
            }
            parse(&bytes);
        }
    }
}
