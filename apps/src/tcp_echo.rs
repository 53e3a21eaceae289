//! `tcp-echo 9000,9001 hello`: sends every line back with `hello ` before it.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::flags::Flags;
use crate::web;

/// A line longer than this is sent back in pieces.
const LONGEST_LINE: u64 = 64 << 10;

pub async fn run(flags: &Flags) -> anyhow::Result<()> {
    let ports = flags.position(0).unwrap_or("9000").to_owned();
    let prefix = flags.position(1).unwrap_or("hello").to_owned();
    let mut servers = Vec::new();
    for port in ports.split(',') {
        let number = port.trim().parse();
        let number = number.map_err(|_| anyhow::anyhow!("{port:?} is not a port number"))?;
        let listener = web::listen(number).await?;
        println!("listening on {number}, prefix {prefix:?}");
        let prefix = prefix.clone();
        servers.push(web::each(listener, move |stream, _| {
            let prefix = prefix.clone();
            async move {
                // A client that goes away ends its own connection only.
                let _ = echo(stream, &prefix).await;
            }
        }));
    }
    futures::future::try_join_all(servers).await?;
    Ok(())
}

async fn echo(mut stream: TcpStream, prefix: &str) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        line.extend_from_slice(prefix.as_bytes());
        line.push(b' ');
        let mut limited = (&mut read).take(LONGEST_LINE);
        if limited.read_until(b'\n', &mut line).await? == 0 {
            return write.shutdown().await;
        }
        write.write_all(&line).await?;
    }
}
