//! Talking to the holder: from the cluster process, and from the command line.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::{Reply, Request, State};
use crate::dns::Table;
use crate::holder::SOCKET;
use crate::kubelet::HostSide;
use crate::services::Wish;

const PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(200);

/// The holder of a state directory.
#[derive(Debug, Clone)]
pub struct HolderClient {
    state: PathBuf,
}

impl HolderClient {
    pub fn new(state: &Path) -> Self {
        HolderClient { state: state.to_owned() }
    }

    pub async fn status(&self) -> io::Result<State> {
        match self.ask(&Request::Status).await? {
            Reply::Status(state) => Ok(state),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    pub async fn ask(&self, request: &Request) -> io::Result<Reply> {
        tokio::time::timeout(PATIENCE, self.exchange(request)).await?
    }

    async fn exchange(&self, request: &Request) -> io::Result<Reply> {
        let stream = net::fds::connect_in(&self.state, SOCKET)?;
        stream.set_nonblocking(true)?;
        let (reader, mut writer) = UnixStream::from_std(stream)?.into_split();
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        writer.write_all(&text).await?;
        let mut line = String::new();
        BufReader::new(reader).read_line(&mut line).await?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Asks until there is an answer: without its holder the cluster can only wait.
    async fn insist(&self, request: Request) -> Reply {
        loop {
            match self.ask(&request).await {
                Ok(reply) => return reply,
                Err(e) => tracing::debug!("the holder does not answer: {e}"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }
}

impl HostSide for HolderClient {
    fn names(&self, table: Table) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.insist(Request::Names(table)).await;
        })
    }

    fn relays(&self, wishes: Vec<Wish>) -> BoxFuture<'_, Vec<(String, IpAddr)>> {
        Box::pin(async move {
            match self.insist(Request::Relays(wishes)).await {
                Reply::Given(given) => given,
                _ => vec![],
            }
        })
    }
}
