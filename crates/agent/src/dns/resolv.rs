//! `resolv.conf`: whom to ask, and what to add to a short name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub ndots: usize,
}

/// As the C library: more are not asked.
const MOST_SERVERS: usize = 3;

impl ResolvConf {
    pub fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf { servers: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|w| w.parse::<IpAddr>().ok());
                    conf.servers.extend(server);
                }
                // The last of several counts.
                Some("search" | "domain") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    let mut ndots = words.filter_map(|w| w.strip_prefix("ndots:")?.parse().ok());
                    conf.ndots = ndots.next_back().unwrap_or(conf.ndots);
                }
                _ => {}
            }
        }
        conf.servers.truncate(MOST_SERVERS);
        if conf.servers.is_empty() {
            conf.servers.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
        conf
    }

    /// Of this machine.
    pub fn read() -> ResolvConf {
        Self::parse(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
    }

    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(|ip| SocketAddr::new(*ip, 53)).collect()
    }

    /// The complete names that `name` may mean, in the order in which they are tried.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(complete) = name.strip_suffix('.') {
            return vec![complete.to_owned()];
        }
        let searched = self.search.iter().map(|s| format!("{name}.{}", s.trim_end_matches('.')));
        let own = std::iter::once(name.to_owned());
        if name.matches('.').count() >= self.ndots {
            own.chain(searched).collect()
        } else {
            searched.chain(own).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pods_have_is_read() {
        let text = "# made by the node\nnameserver 10.96.0.10\nnameserver fd00::1\nnameserver none\n\
                    search shop.svc.cluster.local svc.cluster.local\noptions ndots:5 edns0\n";
        let conf = ResolvConf::parse(text);
        assert_eq!(conf.servers.len(), 2);
        let names = ["a.b.shop.svc.cluster.local", "a.b.svc.cluster.local", "a.b"];
        assert_eq!(conf.candidates("a.b"), names);
        assert_eq!(conf.candidates("a.b."), ["a.b"]);
        assert_eq!(conf.candidates("a.b.c.d.e.f")[0], "a.b.c.d.e.f");
        assert_eq!(ResolvConf::parse("").servers, [IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }
}
