//! The one thread that stays on the host's network. A socket belongs to the network in which it
//! was made, wherever it is used; so this thread makes them, and the others use them.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::mpsc;

use net::sock::{BindError, ListenOptions, bind_listener, bind_udp};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use tokio::sync::oneshot;

enum Ask {
    Listen(SocketAddr, oneshot::Sender<Result<TcpListener, BindError>>),
    Stream { ipv6: bool, answer: oneshot::Sender<io::Result<OwnedFd>> },
    Datagram(oneshot::Sender<io::Result<UdpSocket>>),
}

/// A handle on that thread.
#[derive(Clone)]
pub struct Outside(mpsc::Sender<Ask>);

/// Starts the thread on the network that the caller is on now.
pub fn start() -> Outside {
    let (ask, asked) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok(one) = asked.recv() {
            // Whoever asked may have gone; then the socket closes by itself.
            match one {
                Ask::Listen(address, answer) => {
                    let _ = answer.send(bind_listener(address, ListenOptions::default()));
                }
                Ask::Stream { ipv6, answer } => {
                    let _ = answer.send(stream(ipv6));
                }
                Ask::Datagram(answer) => {
                    let any = SocketAddr::from(([0, 0, 0, 0], 0));
                    let _ = answer.send(bind_udp(any).map_err(io::Error::other));
                }
            }
        }
    });
    Outside(ask)
}

fn stream(ipv6: bool) -> io::Result<OwnedFd> {
    let family = if ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

impl Outside {
    /// Listens on the host, before there is a runtime.
    pub fn listen_now(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Listen(address, answer))?;
        answered.blocking_recv().map_err(|_| gone())?.map_err(io::Error::other)
    }

    pub async fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Listen(address, answer))?;
        answered.await.map_err(|_| gone())?.map_err(io::Error::other)
    }

    /// A socket to connect outwards with.
    pub async fn stream(&self, ipv6: bool) -> io::Result<OwnedFd> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Stream { ipv6, answer })?;
        answered.await.map_err(|_| gone())?
    }

    pub async fn datagram(&self) -> io::Result<UdpSocket> {
        let (answer, answered) = oneshot::channel();
        self.ask(Ask::Datagram(answer))?;
        answered.await.map_err(|_| gone())?
    }

    fn ask(&self, ask: Ask) -> io::Result<()> {
        self.0.send(ask).map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread on the host's network has ended")
}
