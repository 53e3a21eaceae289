//! A `Ruleset` as nf_tables messages. The old table is removed and the new one made in the same
//! transaction; adding it first makes the removal succeed whether it was there or not.

use std::net::IpAddr;

use super::{Chain, Expr, Family, Hook, Match, Part, Ruleset, Set, Value, Values, Verdict};
use crate::netlink::{APPEND, CREATE, Message};

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const DEL_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENTS: u16 = SUBSYSTEM | 12;
/// Attributes count their length in 16 bits, so long element lists go in several messages.
const ELEMENTS_AT_ONCE: usize = 256;
/// The element of a list attribute.
const ITEM: u16 = 1;

pub(super) fn replace(rules: &Ruleset) -> Vec<Message> {
    let mut messages = remove(rules.family, &rules.table);
    messages.push(table(NEW_TABLE, rules.family, &rules.table));
    // Chains come first, since verdict maps and jumps name them; rules last, since they name sets.
    messages.extend(rules.chains.iter().map(|c| chain(rules, c)));
    for (id, s) in rules.sets.iter().enumerate() {
        messages.push(set(rules, s, id as u32 + 1));
        messages.extend(s.elements.chunks(ELEMENTS_AT_ONCE).map(|some| elements(rules, s, some)));
    }
    for c in &rules.chains {
        messages.extend(c.rules.iter().map(|r| rule(rules, c, r)));
    }
    messages
}

pub(super) fn remove(family: Family, name: &str) -> Vec<Message> {
    vec![table(NEW_TABLE, family, name), table(DEL_TABLE, family, name)]
}

fn message(kind: u16, flags: u16, family: Family) -> Message {
    let family = match family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Ip6 => 10,
    };
    Message::new(kind, flags).fixed(&[family, 0, 0, 0])
}

fn table(kind: u16, family: Family, name: &str) -> Message {
    let mut m = message(kind, if kind == NEW_TABLE { CREATE } else { 0 }, family);
    m.attr_str(1, name);
    m
}

fn chain(rules: &Ruleset, chain: &Chain) -> Message {
    let mut m = message(NEW_CHAIN, CREATE, rules.family);
    m.attr_str(1, &rules.table).attr_str(3, &chain.name);
    if let Some(hook) = chain.hook {
        let (number, priority, kind) = hook_numbers(hook);
        m.nest(4, |m| {
            m.attr_be32(1, number).attr_be32(2, priority as u32);
        });
        m.attr_str(7, kind);
    }
    m
}

fn hook_numbers(hook: Hook) -> (u32, i32, &'static str) {
    match hook {
        Hook::NatPrerouting => (0, -100, "nat"),
        Hook::NatOutput => (3, -100, "nat"),
        Hook::NatPostrouting => (4, 100, "nat"),
        Hook::FilterForward => (2, 0, "filter"),
        Hook::FilterOutput => (3, 0, "filter"),
        Hook::RawPrerouting => (0, -300, "filter"),
        Hook::RawOutput => (3, -300, "filter"),
        Hook::ManglePrerouting => (0, -150, "filter"),
    }
}

fn set(rules: &Ruleset, set: &Set, id: u32) -> Message {
    const MAP: u32 = 8;
    const VERDICTS: u32 = 0xffff_ff00;
    let (key_type, key_length) = layout(&set.key);
    let mut m = message(NEW_SET, CREATE, rules.family);
    m.attr_str(1, &rules.table).attr_str(2, &set.name);
    m.attr_be32(3, if set.values == Values::Nothing { 0 } else { MAP });
    m.attr_be32(4, key_type).attr_be32(5, key_length);
    match &set.values {
        Values::Nothing => {}
        Values::Verdicts => {
            m.attr_be32(6, VERDICTS);
        }
        Values::Data(parts) => {
            let (data_type, data_length) = layout(parts);
            m.attr_be32(6, data_type).attr_be32(7, data_length);
        }
    }
    m.attr_be32(10, id);
    m
}

/// The type number (six bits for each part, as the `nft` program reads it) and the length.
fn layout(parts: &[Part]) -> (u32, u32) {
    parts.iter().fold((0, 0), |(kind, length), part| {
        let (k, l) = match part {
            Part::Ipv4 => (7, 4),
            Part::Ipv6 => (8, 16),
            Part::Protocol => (12, 4),
            Part::Port => (13, 4),
            Part::Number => (4, 4),
        };
        (kind << 6 | k, length + l)
    })
}

fn elements(rules: &Ruleset, set: &Set, some: &[(Vec<u8>, Value)]) -> Message {
    let mut m = message(NEW_ELEMENTS, CREATE, rules.family);
    m.attr_str(1, &rules.table).attr_str(2, &set.name);
    m.nest(3, |m| {
        for (key, value) in some {
            m.nest(ITEM, |m| {
                m.nest(1, |m| {
                    m.attr(1, key);
                });
                match value {
                    Value::Nothing => {}
                    Value::Goto(chain) => verdict_data(m, 2, &Verdict::Goto(chain.clone())),
                    Value::Data(bytes) => {
                        m.nest(2, |m| {
                            m.attr(1, bytes);
                        });
                    }
                }
            });
        }
    });
    m
}

fn rule(rules: &Ruleset, chain: &Chain, exprs: &[Expr]) -> Message {
    let mut m = message(NEW_RULE, CREATE | APPEND, rules.family);
    m.attr_str(1, &rules.table).attr_str(2, &chain.name);
    m.nest(4, |m| {
        let mut steps = Steps { m, inet: rules.family == Family::Inet };
        for e in exprs {
            steps.expr(e);
        }
    });
    m
}

fn verdict_data(m: &mut Message, kind: u16, verdict: &Verdict) {
    let (code, chain): (i32, Option<&str>) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Accept => (1, None),
        Verdict::Jump(c) => (-3, Some(c)),
        Verdict::Goto(c) => (-4, Some(c)),
        Verdict::Return => (-5, None),
    };
    m.nest(kind, |m| {
        m.nest(2, |m| {
            m.attr_be32(1, code as u32);
            if let Some(chain) = chain {
                m.attr_str(2, chain);
            }
        });
    });
}

/// The first 16-byte register, and 4-byte registers from the same place on.
const REGISTER: u32 = 1;
const WORD: u32 = 8;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// Writes the kernel's steps for one rule.
struct Steps<'m> {
    m: &'m mut Message,
    inet: bool,
}

impl Steps<'_> {
    fn step(&mut self, name: &str, data: impl FnOnce(&mut Message)) {
        self.m.nest(ITEM, |m| {
            m.attr_str(1, name).nest(2, data);
        });
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Match(what) => self.matches(what, true),
            Expr::Unless(what) => self.matches(what, false),
            Expr::Counter => self.step("counter", |_| {}),
            Expr::Verdict(v) => self.step("immediate", |m| {
                m.attr_be32(1, 0);
                verdict_data(m, 2, v);
            }),
            Expr::Redirect { port } => {
                self.load(WORD, &port.to_be_bytes());
                self.step("redir", |m| {
                    m.attr_be32(1, WORD);
                });
            }
            Expr::Dnat { to, port } => {
                self.load(REGISTER, &octets(*to));
                self.load(WORD + 4, &port.to_be_bytes());
                self.nat(true, to.is_ipv6(), REGISTER, Some(WORD + 4));
            }
            Expr::Snat { to } => {
                self.load(REGISTER, &octets(*to));
                self.nat(false, to.is_ipv6(), REGISTER, None);
            }
            Expr::DnatBalanced { ipv6, map, count, sticky } => {
                self.balanced(*ipv6, map, *count, *sticky);
            }
            Expr::ServiceMap { ipv6, map } => {
                self.meta(16, WORD);
                let words = self.addresses(*ipv6, false, WORD + 1);
                self.payload(TRANSPORT, 2, 2, WORD + 1 + words);
                self.lookup(map, WORD, Some(0));
            }
            Expr::PairIn { ipv6, set } => {
                let words = self.addresses(*ipv6, true, WORD);
                self.addresses(*ipv6, false, WORD + words);
                self.lookup(set, WORD, None);
            }
            Expr::Reject { tcp } => self.step("reject", |m| {
                const RESET: u32 = 1;
                const ANY_UNREACHABLE: u32 = 2;
                const PORT: u8 = 1;
                m.attr_be32(1, if *tcp { RESET } else { ANY_UNREACHABLE });
                m.attr(2, &[if *tcp { 0 } else { PORT }]);
            }),
            Expr::TrackingZone(zone) => {
                self.load(WORD, &zone.to_ne_bytes());
                self.step("ct", |m| {
                    m.attr_be32(2, 17).attr_be32(4, WORD);
                });
            }
        }
    }

    fn matches(&mut self, what: &Match, holds: bool) {
        match what {
            Match::Ipv4 => self.meta_is(15, &[IPV4], holds),
            Match::Ipv6 => self.meta_is(15, &[IPV6], holds),
            Match::Tcp => self.meta_is(16, &[6], holds),
            Match::Udp => self.meta_is(16, &[17], holds),
            Match::SourcePort(p) => self.port(0, *p, holds),
            Match::DestinationPort(p) => self.port(2, *p, holds),
            Match::Source(ip, prefix) => self.block(*ip, *prefix, true, holds),
            Match::Destination(ip, prefix) => self.block(*ip, *prefix, false, holds),
            Match::InputLink(name) => self.meta_is(6, &link_name(name), holds),
            Match::OutputLink(name) => self.meta_is(7, &link_name(name), holds),
            Match::SocketUser(id) => self.meta_is(10, &id.to_ne_bytes(), holds),
            Match::SocketGroup(id) => self.meta_is(11, &id.to_ne_bytes(), holds),
            Match::Mark(mark) => self.meta_is(3, &mark.to_ne_bytes(), holds),
            Match::Translated => {
                const STATUS: u32 = 2;
                const DST_NAT: u32 = 1 << 5;
                self.step("ct", |m| {
                    m.attr_be32(1, REGISTER).attr_be32(2, STATUS);
                });
                self.mask(&DST_NAT.to_ne_bytes());
                self.compare(&[0; 4], !holds);
            }
        }
    }

    fn balanced(&mut self, ipv6: bool, map: &str, count: u32, sticky: bool) {
        if sticky {
            let words = self.addresses(ipv6, true, WORD + 4);
            self.step("hash", |m| {
                m.attr_be32(1, WORD + 4).attr_be32(2, WORD).attr_be32(3, words * 4);
                m.attr_be32(4, count).attr_be32(7, 0);
            });
        } else {
            self.step("numgen", |m| {
                m.attr_be32(1, WORD).attr_be32(2, count).attr_be32(3, 1);
            });
        }
        self.lookup(map, WORD, Some(WORD));
        self.nat(true, ipv6, WORD, Some(WORD + if ipv6 { 4 } else { 1 }));
    }

    fn nat(&mut self, destination: bool, ipv6: bool, address: u32, port: Option<u32>) {
        self.step("nat", |m| {
            m.attr_be32(1, u32::from(destination));
            m.attr_be32(2, u32::from(if ipv6 { IPV6 } else { IPV4 })).attr_be32(3, address);
            if let Some(port) = port {
                m.attr_be32(5, port);
            }
        });
    }

    /// Loads the source or destination address; returns how many words it fills.
    fn addresses(&mut self, ipv6: bool, source: bool, register: u32) -> u32 {
        let (offset, length) = match (ipv6, source) {
            (false, true) => (12, 4),
            (false, false) => (16, 4),
            (true, true) => (8, 16),
            (true, false) => (24, 16),
        };
        self.payload(NETWORK, offset, length, register);
        length / 4
    }

    fn block(&mut self, ip: IpAddr, prefix: u8, source: bool, holds: bool) {
        if self.inet {
            self.meta_is(15, &[if ip.is_ipv6() { IPV6 } else { IPV4 }], true);
        }
        self.addresses(ip.is_ipv6(), source, REGISTER);
        let bytes = octets(ip);
        let mask = mask(prefix, bytes.len());
        if usize::from(prefix) < bytes.len() * 8 {
            self.mask(&mask);
        }
        let wanted: Vec<u8> = bytes.iter().zip(&mask).map(|(b, m)| b & m).collect();
        self.compare(&wanted, holds);
    }

    fn port(&mut self, offset: u32, port: u16, holds: bool) {
        self.payload(TRANSPORT, offset, 2, REGISTER);
        self.compare(&port.to_be_bytes(), holds);
    }

    fn meta_is(&mut self, key: u32, value: &[u8], holds: bool) {
        self.meta(key, REGISTER);
        self.compare(value, holds);
    }

    fn meta(&mut self, key: u32, register: u32) {
        self.step("meta", |m| {
            m.attr_be32(1, register).attr_be32(2, key);
        });
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32, register: u32) {
        self.step("payload", |m| {
            m.attr_be32(1, register).attr_be32(2, base).attr_be32(3, offset).attr_be32(4, length);
        });
    }

    fn mask(&mut self, mask: &[u8]) {
        self.step("bitwise", |m| {
            m.attr_be32(1, REGISTER).attr_be32(2, REGISTER).attr_be32(3, mask.len() as u32);
            m.nest(4, |m| {
                m.attr(1, mask);
            });
            m.nest(5, |m| {
                m.attr(1, &vec![0; mask.len()]);
            });
        });
    }

    fn compare(&mut self, value: &[u8], equal: bool) {
        self.step("cmp", |m| {
            m.attr_be32(1, REGISTER).attr_be32(2, u32::from(!equal)).nest(3, |m| {
                m.attr(1, value);
            });
        });
    }

    fn load(&mut self, register: u32, value: &[u8]) {
        self.step("immediate", |m| {
            m.attr_be32(1, register).nest(2, |m| {
                m.attr(1, value);
            });
        });
    }

    fn lookup(&mut self, set: &str, key: u32, result: Option<u32>) {
        self.step("lookup", |m| {
            m.attr_str(1, set).attr_be32(2, key);
            if let Some(register) = result {
                m.attr_be32(3, register);
            }
        });
    }
}

fn link_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn mask(prefix: u8, length: usize) -> Vec<u8> {
    let ones = |byte: usize| usize::from(prefix).saturating_sub(byte * 8).min(8) as u32;
    (0..length).map(|byte| (0xff00u16 >> ones(byte)) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_follow_the_prefix() {
        assert_eq!(mask(0, 4), [0, 0, 0, 0]);
        assert_eq!(mask(12, 4), [255, 240, 0, 0]);
        assert_eq!(mask(32, 4), [255; 4]);
        assert_eq!(mask(65, 16)[8], 128);
    }
}
