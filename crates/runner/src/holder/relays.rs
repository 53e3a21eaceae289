//! Ways in: listening sockets on the host whose connections are carried to services in the node.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::outside::Outside;
use super::{HolderError, While};
use crate::services::Wish;

/// Connections that are relayed at the same time; more wait to be accepted.
const MOST_CONNECTIONS: usize = 4096;
/// A relay to the API waits this long for a cluster process that is being started again.
const API_PATIENCE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(50);

/// A way in, as it is: which service port, where on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The wish's key.
    pub key: String,
    /// The name of the service's port.
    pub name: String,
    /// The port that was wanted.
    pub wanted: u16,
    pub host: SocketAddr,
    pub target: SocketAddr,
}

struct Way {
    bound: Bound,
    task: JoinHandle<()>,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// All ways in.
#[derive(Clone)]
pub struct Relays {
    outside: Outside,
    ways: Rc<RefCell<BTreeMap<String, Vec<Way>>>>,
    room: Arc<Semaphore>,
}

impl Relays {
    pub fn new(outside: Outside) -> Self {
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        Relays { outside, ways: Rc::default(), room }
    }

    /// The API's own way in, which outlasts the cluster process.
    pub fn serve_api(
        &self,
        listener: std::net::TcpListener,
        to: SocketAddr,
    ) -> Result<(), HolderError> {
        let listener = TcpListener::from_std(listener).or_while("serving the API's address")?;
        tokio::task::spawn_local(accept(listener, to, API_PATIENCE, self.room.clone()));
        Ok(())
    }

    /// Listens for these wishes and nothing else. What is bound already stays where it is.
    pub async fn set(&self, wishes: &[Wish], earlier: &[Bound]) {
        let keys: Vec<&String> = wishes.iter().map(|w| &w.key).collect();
        self.ways.borrow_mut().retain(|key, _| keys.contains(&key));
        for wish in wishes {
            if self.serves(wish) {
                continue;
            }
            self.ways.borrow_mut().remove(&wish.key);
            let ways = self.bind(wish, earlier).await;
            if ways.is_empty() {
                tracing::warn!("no address of the host is free for {}", wish.key);
            }
            self.ways.borrow_mut().insert(wish.key.clone(), ways);
        }
    }

    pub fn bound(&self) -> Vec<Bound> {
        self.ways.borrow().values().flatten().map(|w| w.bound.clone()).collect()
    }

    /// The addresses that wishes got.
    pub fn given(&self) -> Vec<(String, IpAddr)> {
        let ways = self.ways.borrow();
        let first = ways.iter().filter_map(|(k, w)| Some((k.clone(), w.first()?.bound.host.ip())));
        first.collect()
    }

    fn serves(&self, wish: &Wish) -> bool {
        let ways = self.ways.borrow();
        let Some(mine) = ways.get(&wish.key) else { return false };
        mine.len() == wish.ports.len()
            && wish.ports.iter().all(|(wanted, name, target)| {
                mine.iter().any(|w| {
                    let b = &w.bound;
                    b.wanted == *wanted && b.name == *name && b.target == *target
                })
            })
    }

    /// All ports of a wish on the first address where they are free.
    async fn bind(&self, wish: &Wish, earlier: &[Bound]) -> Vec<Way> {
        for host in &wish.hosts {
            let mut listeners = Vec::new();
            for (wanted, name, target) in &wish.ports {
                let before = earlier.iter().find(|b| b.key == wish.key && b.wanted == *wanted);
                let mut tries = vec![*wanted];
                if wish.any_port {
                    tries.splice(..0, before.map(|b| b.host.port()));
                    tries.push(0);
                }
                if let Some(listener) = self.listen(*host, &tries).await {
                    listeners.push((listener, *wanted, name.clone(), *target));
                }
            }
            if listeners.len() == wish.ports.len() {
                return listeners.into_iter().filter_map(|l| self.way(&wish.key, l)).collect();
            }
        }
        vec![]
    }

    async fn listen(&self, host: IpAddr, ports: &[u16]) -> Option<TcpListener> {
        for port in ports {
            if let Ok(listener) = self.outside.listen(SocketAddr::new(host, *port)).await {
                return TcpListener::from_std(listener).ok();
            }
        }
        None
    }

    fn way(&self, key: &str, bound: (TcpListener, u16, String, SocketAddr)) -> Option<Way> {
        let (listener, wanted, name, target) = bound;
        let host = listener.local_addr().ok()?;
        let bound = Bound { key: key.to_owned(), name, wanted, host, target };
        let task = accept(listener, target, Duration::ZERO, self.room.clone());
        Some(Way { bound, task: tokio::task::spawn_local(task) })
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, patience: Duration, room: Arc<Semaphore>) {
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::task::spawn_local(async move {
                    let _place = place;
                    // A connection that breaks is the concern of its two ends.
                    let _ = relay(stream, to, patience).await;
                });
            }
            // Out of descriptors, or a connection that is gone: others go on.
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// Carries bytes both ways until both ends are done.
async fn relay(mut client: TcpStream, to: SocketAddr, patience: Duration) -> io::Result<()> {
    let deadline = tokio::time::Instant::now() + patience;
    let mut server = loop {
        match TcpStream::connect(to).await {
            Ok(stream) => break stream,
            Err(e) if tokio::time::Instant::now() >= deadline => return Err(e),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
