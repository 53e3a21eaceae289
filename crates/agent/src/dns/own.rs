//! The proxy's own resolver, where only marks tell its queries from the application's: those of the
//! system's resolver carry none, and would be answered with the mesh's addresses instead of the real ones.

use super::resolv::ResolvConf;
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Own {
    conf: ResolvConf,
    mark: u32,
}

/// For each server, twice.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
const MOST: usize = 4096;

impl Own {
    pub fn new(mark: u32) -> Own {
        Own { conf: ResolvConf::read(), mark }
    }

    /// Blocks until there is an answer.
    pub fn look_up(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let at = |ips: Vec<IpAddr>| ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        if let Ok(ip) = name.parse() {
            return Ok(at(vec![ip]));
        }
        let local = of_hosts(&std::fs::read_to_string("/etc/hosts").unwrap_or_default(), name);
        if !local.is_empty() {
            return Ok(at(local));
        }
        search(&self.conf.candidates(name), |name, kind| self.ask(name, kind)).map(at)
    }

    fn ask(&self, name: &str, kind: RecordType) -> io::Result<Vec<IpAddr>> {
        let name = Name::from_ascii(format!("{name}.")).map_err(io::Error::other)?;
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(name, kind));
        let mut edns = Edns::new();
        edns.set_max_payload(MOST as u16);
        query.set_edns(edns);
        let bytes = query.to_bytes().map_err(io::Error::other)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "no name server");
        for server in
            self.conf.addresses().into_iter().cycle().take(ATTEMPTS * self.conf.servers.len())
        {
            match self.ask_one(server, &bytes, query.metadata.id) {
                Ok(reply) => return Ok(ips(&reply)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn ask_one(&self, server: SocketAddr, query: &[u8], id: u16) -> io::Result<Message> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        net::set_mark(&socket, self.mark)?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(query)?;
        let mut buffer = [0; MOST];
        let length = socket.recv(&mut buffer)?;
        let reply = Message::from_bytes(&buffer[..length]).map_err(io::Error::other)?;
        let code = reply.metadata.response_code;
        match code {
            _ if reply.metadata.id != id => Err(io::Error::other("an answer to something else")),
            ResponseCode::NoError | ResponseCode::NXDomain => Ok(reply),
            _ => Err(io::Error::other(format!("{server} says {code}"))),
        }
    }
}

/// The addresses of the first candidate that has any. What a server says it cannot tell is no answer
/// to the other questions, as in the C library; where no server speaks, waiting on would be in vain.
fn search(
    candidates: &[String],
    mut ask: impl FnMut(&str, RecordType) -> io::Result<Vec<IpAddr>>,
) -> io::Result<Vec<IpAddr>> {
    let mut failed = None;
    for candidate in candidates {
        let mut found = Vec::new();
        for kind in [RecordType::A, RecordType::AAAA] {
            match ask(candidate, kind) {
                Ok(ips) => found.extend(ips),
                Err(error) if was_said(&error) => failed = failed.or(Some(error)),
                Err(error) if found.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let absent = || io::Error::new(io::ErrorKind::NotFound, "no such host");
    Err(failed.unwrap_or_else(absent))
}

/// By a name server, and not by the kernel about it.
fn was_said(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other
}

fn ips(reply: &Message) -> Vec<IpAddr> {
    let of = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(a) => Some(IpAddr::V6(a.0)),
        _ => None,
    };
    reply.answers.iter().filter_map(|r| of(&r.data)).collect()
}

fn of_hosts(hosts: &str, name: &str) -> Vec<IpAddr> {
    let lines = hosts.lines().map(|l| l.split('#').next().unwrap_or_default());
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let ip: IpAddr = words.next()?.parse().ok()?;
        words.any(|w| w.eq_ignore_ascii_case(name)).then_some(ip)
    };
    lines.filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the search finds where servers answer as `says`, and how much was asked.
    fn searched(says: impl Fn(&str, RecordType) -> io::Result<Vec<IpAddr>>) -> (String, usize) {
        let mut asked = 0;
        let candidates = ["web.shop".to_owned(), "web".to_owned()];
        let found = search(&candidates, |name, kind| {
            asked += 1;
            says(name, kind)
        });
        (found.map_or_else(|e| e.to_string(), |ips| format!("{ips:?}")), asked)
    }

    #[test]
    fn one_failure_does_not_take_away_what_else_is_known() {
        let ip = |at: u8| Ok(vec![IpAddr::from([10, 0, 0, at])]);
        let broken = || Err(io::Error::other("SERVFAIL"));
        let silent = || Err(io::Error::from(io::ErrorKind::WouldBlock));
        use RecordType::{A, AAAA};
        let no_aaaa = searched(|_, kind| if kind == A { ip(1) } else { broken() });
        assert_eq!(no_aaaa, ("[10.0.0.1]".into(), 2));
        let no_a = searched(|_, kind| if kind == AAAA { ip(1) } else { broken() });
        assert_eq!(no_a, ("[10.0.0.1]".into(), 2));
        let silent_later = searched(|_, kind| if kind == A { ip(1) } else { silent() });
        assert_eq!(silent_later, ("[10.0.0.1]".into(), 2));
        let second = searched(|name, _| if name == "web" { ip(2) } else { broken() });
        assert_eq!(second, ("[10.0.0.2, 10.0.0.2]".into(), 4));
        // What failed is told, rather than that there is no such host.
        let none = searched(|name, _| if name == "web" { Ok(Vec::new()) } else { broken() });
        assert_eq!(none, ("SERVFAIL".into(), 4));
        assert_eq!(searched(|_, _| Ok(Vec::new())), ("no such host".into(), 4));
        assert_eq!(searched(|_, _| silent()).1, 1, "nobody is there to wait for");
    }

    #[test]
    fn the_pods_hosts_file_comes_first() {
        let hosts = "127.0.0.1 localhost\n::1 localhost ip6 # local\n10.0.0.7\tweb-0 web\n";
        assert_eq!(of_hosts(hosts, "LOCALHOST").len(), 2);
        assert_eq!(of_hosts(hosts, "web"), [IpAddr::from([10, 0, 0, 7])]);
        assert_eq!(of_hosts(hosts, "local"), Vec::<IpAddr>::new());
    }
}
