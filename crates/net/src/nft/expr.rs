//! The expressions that rules are made of: few, as the planners need them, each one step of the
//! kernel's register machine or a fixed small group of steps.

use std::net::IpAddr;

/// A step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expr {
    /// Go on only if this holds.
    Match(Match),
    /// Go on only if this does not hold.
    Unless(Match),
    Counter,
    Verdict(Verdict),
    /// To a port of this machine.
    Redirect {
        port: u16,
    },
    /// To an address and port.
    Dnat {
        to: IpAddr,
        port: u16,
    },
    /// From this address instead.
    Snat {
        to: IpAddr,
    },
    /// To one of `count` endpoints, which the named map lists by number.
    DnatBalanced {
        ipv6: bool,
        map: String,
        count: u32,
        sticky: bool,
    },
    /// Look (protocol, destination, port) up in a verdict map and go where it says.
    ServiceMap {
        ipv6: bool,
        map: String,
    },
    /// The pair (source, destination) is in the named set.
    PairIn {
        ipv6: bool,
        set: String,
    },
    /// Answer "connection refused".
    Reject {
        tcp: bool,
    },
    /// Put the connection into a tracking zone.
    TrackingZone(u16),
}

/// What a packet can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    Ipv4,
    Ipv6,
    Tcp,
    Udp,
    DestinationPort(u16),
    SourcePort(u16),
    /// In this block of addresses.
    Destination(IpAddr, u8),
    Source(IpAddr, u8),
    OutputLink(String),
    InputLink(String),
    SocketUser(u32),
    SocketGroup(u32),
    Mark(u32),
    /// Destination translation happened.
    Translated,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}
