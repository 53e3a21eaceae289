//! Links, addresses, routes and neighbours, by rtnetlink. A pod's way to its node is a pair of
//! virtual interfaces with permanent neighbour entries and host routes: no bridge, so connection
//! tracking sees both directions whatever the bridge filter of the machine is set to.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use crate::netlink::{CREATE, EXCLUSIVE, Message, NetlinkError, REPLACE, Socket, attributes};

const NEW_LINK: u16 = 16;
const DEL_LINK: u16 = 17;
const GET_LINK: u16 = 18;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
const NEW_NEIGHBOUR: u16 = 28;
const UP: u32 = 1;
const IFLA_ADDRESS: u16 = 1;
const IFLA_NAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;

/// A hardware address.
pub type Mac = [u8; 6];

/// The links of one network namespace, through a socket that was opened there.
#[derive(Debug)]
pub struct Links {
    socket: Socket,
}

/// Where packets for a destination go.
#[derive(Debug, Clone)]
pub struct Route {
    pub to: IpAddr,
    pub prefix: u8,
    pub link: u32,
    /// Reached directly on the link even if no address there covers it.
    pub gateway: Option<IpAddr>,
    pub source: Option<IpAddr>,
}

impl Links {
    /// Of the namespace that the calling thread is in.
    pub fn here() -> Result<Self, NetlinkError> {
        Ok(Links { socket: Socket::route()? })
    }

    /// Makes a pair: `name` here and `peer` in another namespace.
    pub fn add_veth(
        &mut self,
        name: &str,
        mac: Mac,
        peer: &str,
        peer_mac: Mac,
        peer_ns: &impl AsFd,
    ) -> Result<(), NetlinkError> {
        let ns = peer_ns.as_fd().as_raw_fd() as u32;
        let mut m = Message::new(NEW_LINK, CREATE | EXCLUSIVE).fixed(&link_part(0, 0));
        m.attr_str(IFLA_NAME, name).attr(IFLA_ADDRESS, &mac);
        m.nest(IFLA_LINKINFO, |m| {
            m.attr_str(1, "veth").nest(2, |m| {
                m.nest(1, |m| {
                    *m = m.clone().fixed(&link_part(0, 0));
                    m.attr_str(IFLA_NAME, peer).attr(IFLA_ADDRESS, &peer_mac);
                    m.attr_u32(IFLA_NET_NS_FD, ns);
                });
            });
        });
        self.socket.request(&format!("add the link {name}"), m)
    }

    /// Removes a link; its peer goes with it.
    pub fn delete(&mut self, name: &str) -> Result<(), NetlinkError> {
        let mut m = Message::new(DEL_LINK, 0).fixed(&link_part(0, 0));
        m.attr_str(IFLA_NAME, name);
        self.socket.request(&format!("delete the link {name}"), m)
    }

    pub fn set_up(&mut self, link: u32) -> Result<(), NetlinkError> {
        let m = Message::new(NEW_LINK, 0).fixed(&link_part(link, UP));
        self.socket.request(&format!("set link {link} up"), m)
    }

    /// Names and indices of all links.
    pub fn list(&mut self) -> Result<Vec<(String, u32)>, NetlinkError> {
        let answers = self.socket.dump(Message::new(GET_LINK, 0).fixed(&link_part(0, 0)))?;
        Ok(answers.iter().filter_map(|a| named_link(a)).collect())
    }

    pub fn index(&mut self, name: &str) -> Result<u32, NetlinkError> {
        let found = self.list()?.into_iter().find(|(n, _)| n == name);
        found.map(|(_, index)| index).ok_or_else(|| NetlinkError::Refused {
            doing: format!("find the link {name}"),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// Gives a link an address (nothing happens if it has it).
    pub fn add_address(&mut self, link: u32, ip: IpAddr, prefix: u8) -> Result<(), NetlinkError> {
        const NODAD: u8 = 2;
        let index = link.to_ne_bytes();
        let part = [family(ip), prefix, NODAD, 0, index[0], index[1], index[2], index[3]];
        let mut m = Message::new(NEW_ADDRESS, CREATE | REPLACE).fixed(&part);
        let bytes = octets(ip);
        m.attr(2, &bytes).attr(1, &bytes);
        self.socket.request(&format!("add the address {ip}/{prefix}"), m)
    }

    pub fn add_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        const MAIN_TABLE: u8 = 254;
        const STATIC: u8 = 4;
        const UNICAST: u8 = 1;
        const ONLINK: u32 = 4;
        let scope = if route.gateway.is_none() && route.to.is_ipv4() { 253 } else { 0 };
        let flags = if route.gateway.is_some() { ONLINK } else { 0 }.to_ne_bytes();
        let mut part =
            vec![family(route.to), route.prefix, 0, 0, MAIN_TABLE, STATIC, scope, UNICAST];
        part.extend_from_slice(&flags);
        let mut m = Message::new(NEW_ROUTE, CREATE | REPLACE).fixed(&part);
        if route.prefix > 0 {
            m.attr(1, &octets(route.to));
        }
        m.attr_u32(4, route.link);
        if let Some(gateway) = route.gateway {
            m.attr(5, &octets(gateway));
        }
        if let Some(source) = route.source {
            m.attr(7, &octets(source));
        }
        self.socket.request(&format!("add a route to {}/{}", route.to, route.prefix), m)
    }

    /// An address whose hardware address is known and never asked for.
    pub fn add_neighbour(&mut self, link: u32, ip: IpAddr, mac: Mac) -> Result<(), NetlinkError> {
        const PERMANENT: u8 = 0x80;
        let mut part = vec![family(ip), 0, 0, 0];
        part.extend_from_slice(&link.to_ne_bytes());
        part.extend_from_slice(&[PERMANENT, 0, 0, 0]);
        let mut m = Message::new(NEW_NEIGHBOUR, CREATE | REPLACE).fixed(&part);
        m.attr(1, &octets(ip)).attr(2, &mac);
        self.socket.request(&format!("add the neighbour {ip}"), m)
    }
}

/// The `ifinfomsg` of a message about a link.
fn link_part(index: u32, flags: u32) -> [u8; 16] {
    let mut part = [0; 16];
    part[4..8].copy_from_slice(&index.to_ne_bytes());
    part[8..12].copy_from_slice(&flags.to_ne_bytes());
    part[12..16].copy_from_slice(&flags.to_ne_bytes());
    part
}

fn named_link(answer: &[u8]) -> Option<(String, u32)> {
    let index = u32::from_ne_bytes(answer.get(4..8)?.try_into().ok()?);
    let attributes = attributes(answer.get(16..)?);
    let (_, name) = attributes.into_iter().find(|(kind, _)| *kind == IFLA_NAME)?;
    Some((String::from_utf8_lossy(name).trim_end_matches('\0').to_owned(), index))
}

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 2 } else { 10 }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
