//! Addresses and address ranges.

use super::at::At;
use crate::message::Msg;
use crate::schema::*;
use ir::{Address, Cidr};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(super) fn write_address(a: &Address) -> Msg {
    let socket = |host: &str, port: u16| {
        let socket = Msg::new(&SOCKET_ADDRESS).set("address", host).set("port_value", port);
        Msg::new(&ADDRESS).set("socket_address", socket)
    };
    match a {
        Address::Ip(a) => socket(&a.ip().to_string(), a.port()),
        Address::Name(name, port) => socket(name, *port),
        Address::Pipe(path) => Msg::new(&ADDRESS).set("pipe", Msg::new(&PIPE).set("path", path)),
    }
}

pub(super) fn read_address(at: &At) -> Address {
    if let Some(pipe) = at.msg("pipe") {
        return Address::Pipe(pipe.str("path"));
    }
    if let Some(socket) = at.msg("socket_address") {
        socket.pick("protocol", &[(0, ())]);
        let host = socket.str("address");
        let port = socket.opt_u16("port_value").unwrap_or(0);
        return match host.parse::<IpAddr>() {
            Ok(ip) => Address::Ip(SocketAddr::new(ip, port)),
            Err(_) => Address::Name(host, port),
        };
    }
    at.error("names no address");
    Address::Ip(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))
}

/// The address in the field `name`, which must be there.
pub(crate) fn read_address_in(at: &At, name: &str) -> Address {
    match at.msg(name) {
        Some(a) => read_address(&a),
        None => {
            at.error_in(name, "is missing");
            Address::Ip(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))
        }
    }
}

pub(super) fn write_cidr(c: &Cidr) -> Msg {
    Msg::new(&CIDR_RANGE)
        .set("address_prefix", c.base.to_string().as_str())
        .set("prefix_len", u32::from(c.bits))
}

pub(super) fn read_cidr(at: &At) -> Cidr {
    let base = at.str("address_prefix").parse::<IpAddr>().unwrap_or_else(|_| {
        at.error_in("address_prefix", "is no IP address");
        Ipv4Addr::UNSPECIFIED.into()
    });
    let longest = if base.is_ipv4() { 32 } else { 128 };
    let bits = at.opt_u32("prefix_len").unwrap_or(0);
    if bits > longest {
        at.error_in("prefix_len", format!("{bits} is more than {longest}"));
    }
    Cidr { base, bits: bits.min(longest) as u8 }
}
