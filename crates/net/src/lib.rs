//! Sockets, original destination, listener sets, network namespaces, nftables and links by netlink: the crate with unsafe.
//!
//! What lives here talks to the kernel and decides nothing: `sock` and `listeners` for the data
//! plane, `capture` and `service` for rules (pure specification in, rule set out), `nft`, `link`
//! and `netlink` for the wire format below them, and `ns`, `mount`, `process` and `fds` for the
//! pods of the embedded cluster; `memory` gives back what a process needs no more.

pub mod capture;
pub mod delivery;
pub mod fds;
pub mod link;
pub mod listeners;
pub mod memory;
pub mod netlink;
pub mod nft;
pub mod ns;
pub mod process;
pub mod service;
pub mod sock;

pub use listeners::ListenerSet;
pub use sock::{BindError, ListenOptions, bind_listener, original_dst, set_mark};
