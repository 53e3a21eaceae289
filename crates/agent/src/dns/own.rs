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
        for candidate in self.conf.candidates(name) {
            let found = self.addresses(&candidate)?;
            if !found.is_empty() {
                return Ok(at(found));
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, format!("{name}: no such host")))
    }

    fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut found = self.ask(name, RecordType::A)?;
        found.extend(self.ask(name, RecordType::AAAA)?);
        Ok(found)
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

    #[test]
    fn the_pods_hosts_file_comes_first() {
        let hosts = "127.0.0.1 localhost\n::1 localhost ip6 # local\n10.0.0.7\tweb-0 web\n";
        assert_eq!(of_hosts(hosts, "LOCALHOST").len(), 2);
        assert_eq!(of_hosts(hosts, "web"), [IpAddr::from([10, 0, 0, 7])]);
        assert_eq!(of_hosts(hosts, "local"), Vec::<IpAddr>::new());
    }
}
