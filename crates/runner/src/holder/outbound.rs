//! The way out: TCP that pods open to addresses outside the cluster is led here by the node's
//! rules, and carried on through a socket of the host's network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;

use super::outside::Outside;
use super::{HolderError, NODE_V4, OUTBOUND_PORT, While};

const MOST_CONNECTIONS: usize = 1024;
const CONNECT: Duration = Duration::from_secs(30);
const AFTER_ERROR: Duration = Duration::from_millis(50);

/// Listens in the node.
pub async fn serve(outside: Outside) -> Result<(), HolderError> {
    let here = SocketAddr::new(IpAddr::V4(NODE_V4), OUTBOUND_PORT);
    let listener = TcpListener::bind(here).await.or_while("listening for what goes outside")?;
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    tokio::task::spawn_local(async move {
        loop {
            let Ok(place) = room.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let outside = outside.clone();
                    tokio::task::spawn_local(async move {
                        let _place = place;
                        // A connection that breaks is the concern of its two ends.
                        let _ = carry(stream, &outside).await;
                    });
                }
                Err(_) => tokio::time::sleep(AFTER_ERROR).await,
            }
        }
    });
    Ok(())
}

async fn carry(mut pod: TcpStream, outside: &Outside) -> io::Result<()> {
    let Some(wanted) = net::original_dst(&pod).filter(|a| !is_local(a.ip())) else {
        return Ok(());
    };
    let socket = outside.stream(wanted.is_ipv6()).await?;
    let socket = TcpSocket::from_std_stream(std::net::TcpStream::from(socket));
    let mut server = match tokio::time::timeout(CONNECT, socket.connect(wanted)).await {
        Ok(Ok(server)) => server,
        // The pod was let in already; a reset tells it more than a quiet end.
        _ => return SockRef::from(&pod).set_linger(Some(Duration::ZERO)),
    };
    tokio::io::copy_bidirectional(&mut pod, &mut server).await?;
    Ok(())
}

/// What listens on the host's loopback is not for pods.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}
