//! One question to MySQL or MariaDB: a connection, a password, a query, its rows as text.

use anyhow::{Context, bail, ensure};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LARGEST: usize = 1 << 20;
const MOST_ROWS: usize = 1000;
const NATIVE: &str = "mysql_native_password";
/// Long passwords, a database, the protocol since 4.1, its passwords, a plugin's name.
const ABLE: u32 = 0x1 | 0x8 | 0x200 | 0x8000 | 0x8_0000;
const UTF8: u8 = 33;

/// Whom to ask as whom.
#[derive(Clone, Debug)]
pub struct Access {
    pub address: String,
    pub user: String,
    pub password: String,
    pub database: String,
}

/// The rows that a query gives; a field that is NULL is none.
pub async fn rows(access: &Access, query: &str) -> anyhow::Result<Vec<Vec<Option<String>>>> {
    let stream = TcpStream::connect(&access.address).await;
    let mut line = Line { stream: stream.with_context(|| access.address.clone())?, number: 0 };
    line.stream.set_nodelay(true)?;
    let hello = line.read().await?;
    let nonce = nonce(&hello).context("the server's greeting cannot be read")?;
    line.write(&login(access, &nonce)).await?;
    let mut said = line.read().await?;
    if said.first() == Some(&0xfe) {
        // Another way of proving who one is, with a nonce of its own.
        let mut parts = said[1..].splitn(2, |byte| *byte == 0);
        let plugin = parts.next().unwrap_or_default();
        ensure!(plugin == NATIVE.as_bytes(), "{} is not spoken", String::from_utf8_lossy(plugin));
        let nonce = parts.next().unwrap_or_default();
        let nonce = nonce.strip_suffix(&[0]).unwrap_or(nonce);
        line.write(&proof(&access.password, nonce)).await?;
        said = line.read().await?;
    }
    refuse(&said)?;
    line.number = 0;
    line.write(&[b"\x03", query.as_bytes()].concat()).await?;
    table(&mut line).await
}

struct Line {
    stream: TcpStream,
    /// The number of the next packet.
    number: u8,
}

impl Line {
    async fn read(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).await?;
        let [a, b, c, number] = head;
        let length = u32::from_le_bytes([a, b, c, 0]) as usize;
        ensure!(length <= LARGEST, "a packet of {length} bytes");
        self.number = number.wrapping_add(1);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }

    async fn write(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let [a, b, c, _] = u32::try_from(body.len())?.to_le_bytes();
        let packet = [&[a, b, c, self.number], body].concat();
        self.number = self.number.wrapping_add(1);
        Ok(self.stream.write_all(&packet).await?)
    }
}

/// The twenty random bytes of a greeting: eight after the version and a number, the others behind what
/// the server can do.
fn nonce(hello: &[u8]) -> Option<Vec<u8>> {
    let end = hello.iter().position(|byte| *byte == 0)?;
    let rest = hello.get(end + 1..)?;
    let (first, second) = (rest.get(4..12)?, rest.get(31..43)?);
    Some([first, second].concat())
}

fn login(access: &Access, nonce: &[u8]) -> Vec<u8> {
    let proof = proof(&access.password, nonce);
    let mut out = Vec::new();
    out.extend(ABLE.to_le_bytes());
    out.extend((LARGEST as u32).to_le_bytes());
    out.push(UTF8);
    out.extend([0; 23]);
    out.extend([access.user.as_bytes(), &[0]].concat());
    out.push(proof.len() as u8);
    out.extend(proof);
    out.extend([access.database.as_bytes(), &[0], NATIVE.as_bytes(), &[0]].concat());
    out
}

/// The password's hash, hidden under the hash of the nonce and the hash of that hash.
fn proof(password: &str, nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha1::digest(password);
    let twice = Sha1::digest(once);
    let mask = Sha1::new().chain_update(nonce).chain_update(twice).finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

fn refuse(packet: &[u8]) -> anyhow::Result<()> {
    match packet.first() {
        Some(0xff) => bail!("{}", String::from_utf8_lossy(packet.get(9..).unwrap_or_default())),
        Some(_) => Ok(()),
        None => bail!("an empty packet"),
    }
}

async fn table(line: &mut Line) -> anyhow::Result<Vec<Vec<Option<String>>>> {
    let head = line.read().await?;
    refuse(&head)?;
    let columns = usize::from(head[0]);
    ensure!((1..0xfb).contains(&columns), "{columns} columns");
    for _ in 0..=columns {
        // What the columns are called, and the end of that.
        refuse(&line.read().await?)?;
    }
    let mut rows = Vec::new();
    loop {
        let packet = line.read().await?;
        refuse(&packet)?;
        if packet[0] == 0xfe && packet.len() < 9 {
            return Ok(rows);
        }
        ensure!(rows.len() < MOST_ROWS, "more than {MOST_ROWS} rows");
        rows.push(row(&packet, columns).context("a row that cannot be read")?);
    }
}

fn row(mut packet: &[u8], columns: usize) -> Option<Vec<Option<String>>> {
    let mut fields = Vec::new();
    for _ in 0..columns {
        let (first, rest) = packet.split_first()?;
        let (length, rest) = match first {
            0xfb => {
                fields.push(None);
                packet = rest;
                continue;
            }
            0xfc => (usize::from(u16::from_le_bytes(*rest.first_chunk()?)), rest.get(2..)?),
            0xfd..=0xff => return None,
            short => (usize::from(*short), rest),
        };
        let (field, rest) = rest.split_at_checked(length)?;
        fields.push(Some(String::from_utf8_lossy(field).into_owned()));
        packet = rest;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_nothing_broken_are_read() {
        let fields = row(b"\x015\xfb\x03abc", 3).unwrap();
        assert_eq!(fields, [Some("5".to_owned()), None, Some("abc".to_owned())]);
        assert_eq!(row(b"\x05abc", 1), None);
        assert_eq!(row(b"", 1), None);
        assert_eq!(nonce(b"\x0a5.5\0short"), None);
        assert!(proof("", b"x").is_empty());
    }
}
