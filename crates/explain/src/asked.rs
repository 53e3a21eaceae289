//! What a client asks for, as it is typed: `GET http://reviews:9080/reviews/1` and header fields.

use policy::normal::split_port;
use wire::Request;
use wire::client_hello::ClientHello;
use wire::detect::Protocol;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub scheme: Scheme,
    pub method: String,
    /// As in the URL, without the port.
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Besides those that follow from the URL; `host` stands in place of the URL's.
    pub headers: Vec<(String, String)>,
}

/// What the client's connection carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    #[default]
    Http,
    /// HTTP inside TLS; who does not end the TLS sees its server name only.
    Https,
    /// TLS with something else inside.
    Tls,
    Tcp,
}

impl Scheme {
    const ALL: [(&str, Scheme, u16); 4] = [
        ("http", Scheme::Http, 80),
        ("https", Scheme::Https, 443),
        ("tls", Scheme::Tls, 443),
        ("tcp", Scheme::Tcp, 0),
    ];

    pub fn as_str(self) -> &'static str {
        Scheme::ALL.iter().find(|(_, scheme, _)| *scheme == self).map_or("", |(name, ..)| name)
    }

    /// The port that goes without saying; 0 is none.
    pub fn port(self) -> u16 {
        Scheme::ALL.iter().find(|(_, scheme, _)| *scheme == self).map_or(0, |(.., port)| *port)
    }

    pub fn is_tls(self) -> bool {
        matches!(self, Scheme::Https | Scheme::Tls)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    #[error(
        "{0:?} is not a URL of the form http://HOST[:PORT][/PATH], https://…, tls:// or tcp://"
    )]
    Url(String),
    #[error("{0:?} names no port; write it as tcp://HOST:PORT")]
    Port(String),
    #[error("{0:?} is not a header field of the form NAME: VALUE")]
    Header(String),
}

impl Asked {
    pub fn parse(method: &str, url: &str) -> Result<Asked, InvalidRequest> {
        let invalid = || InvalidRequest::Url(url.to_owned());
        let (scheme, rest) = match url.split_once("://") {
            Some((name, rest)) => {
                let known = Scheme::ALL.iter().find(|(known, ..)| *known == name);
                (known.ok_or_else(invalid)?.1, rest)
            }
            None => (Scheme::Http, url),
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().ok().filter(|p| *p != 0).ok_or_else(invalid)?)
            }
            _ => (authority, scheme.port()),
        };
        if host.is_empty() {
            return Err(invalid());
        }
        if port == 0 {
            return Err(InvalidRequest::Port(url.to_owned()));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (method, host) = (method.to_ascii_uppercase(), host.to_ascii_lowercase());
        Ok(Asked { scheme, method, host, port, path, headers: Vec::new() })
    }

    /// Adds `NAME: VALUE`.
    pub fn header(mut self, field: &str) -> Result<Asked, InvalidRequest> {
        let (name, value) =
            field.split_once(':').ok_or_else(|| InvalidRequest::Header(field.to_owned()))?;
        self.headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        Ok(self)
    }

    /// The host as clients send it: without the port that goes without saying.
    pub fn authority(&self) -> String {
        match self.port == self.scheme.port() {
            true => self.host.clone(),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// `GET http://reviews:9080/reviews/1`
    pub fn line(&self) -> String {
        let (scheme, authority) = (self.scheme.as_str(), self.authority());
        match self.scheme {
            Scheme::Http | Scheme::Https => {
                format!("{} {scheme}://{authority}{}", self.method, self.path)
            }
            Scheme::Tls | Scheme::Tcp => format!("{scheme}://{authority}"),
        }
    }

    /// What the first bytes of its connection show.
    pub(crate) fn protocol(&self) -> Protocol {
        let hello = |alpn: &[&str]| {
            let authority = self.own("host").unwrap_or(&self.host);
            let (host, _) = split_port(authority.as_bytes());
            let name = String::from_utf8_lossy(host);
            // A client sends no address as a server name.
            let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            let name = Some(name).filter(|_| address.is_err());
            Protocol::Tls(ClientHello {
                server_name: name.map(|n| n.to_ascii_lowercase()),
                alpn: alpn.iter().map(|p| (*p).to_owned()).collect(),
            })
        };
        match self.scheme {
            Scheme::Http => Protocol::Http11,
            Scheme::Https => hello(&["h2", "http/1.1"]),
            Scheme::Tls => hello(&[]),
            Scheme::Tcp => Protocol::Other,
        }
    }

    /// What they show where the client's proxy has put it into mutual TLS; `None` for TLS, which it
    /// passes on as it is.
    pub(crate) fn by_a_proxy(&self) -> Option<Protocol> {
        let alpn: &[&str] = match self.scheme {
            Scheme::Http => &["istio-http/1.1", "istio", "http/1.1"],
            Scheme::Tcp => &["istio"],
            Scheme::Https | Scheme::Tls => return None,
        };
        let alpn = alpn.iter().map(|p| (*p).to_owned()).collect();
        Some(Protocol::Tls(ClientHello { server_name: None, alpn }))
    }

    /// The head as it is sent.
    pub(crate) fn head(&self) -> Request {
        let authority = self.own("host").map_or_else(|| self.authority(), str::to_owned);
        let (method, path) = (self.method.as_bytes(), self.path.as_bytes());
        let mut head = Request::new(method, authority.as_bytes(), path);
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "host") {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        head
    }

    fn own(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_are_typed() {
        let table = [
            (
                "http://reviews:9080/reviews/1?x=y",
                (Scheme::Http, "reviews", 9080, "/reviews/1?x=y"),
            ),
            ("reviews", (Scheme::Http, "reviews", 80, "/")),
            ("http://A.Example?q", (Scheme::Http, "a.example", 80, "/?q")),
            ("http://[::1]:81/", (Scheme::Http, "[::1]", 81, "/")),
            ("https://a", (Scheme::Https, "a", 443, "/")),
            ("tls://a", (Scheme::Tls, "a", 443, "/")),
            ("tcp://a:3306", (Scheme::Tcp, "a", 3306, "/")),
        ];
        for (url, expected) in table {
            let asked = Asked::parse("get", url).unwrap();
            let found = (asked.scheme, asked.host.as_str(), asked.port, asked.path.as_str());
            assert_eq!((found, asked.method.as_str()), (expected, "GET"));
        }
        for url in ["", "ftp://a", "http://:80/", "http://a:x/", "http://a:0", "tcp://a"] {
            assert!(Asked::parse("GET", url).is_err(), "{url}");
        }
        assert!(Asked::parse("GET", "a").unwrap().header("no colon").is_err());
    }

    #[test]
    fn a_connection_shows_what_its_scheme_says() {
        let shown = |url: &str| Asked::parse("GET", url).unwrap().protocol();
        assert_eq!(shown("http://a"), Protocol::Http11);
        assert_eq!(shown("tcp://a:1"), Protocol::Other);
        let Protocol::Tls(hello) = shown("https://a.b") else { panic!() };
        assert_eq!(hello.server_name.as_deref(), Some("a.b"));
        let named = |url: &str, host: &str| {
            let asked = Asked::parse("GET", url).unwrap().header(&format!("host: {host}")).unwrap();
            let Protocol::Tls(hello) = asked.protocol() else { panic!() };
            hello.server_name
        };
        assert_eq!(named("https://10.0.0.1", "A.b:8443").as_deref(), Some("a.b"));
        for address in ["10.0.0.1", "[2001:db8::1]"] {
            let Protocol::Tls(hello) = shown(&format!("tls://{address}")) else { panic!() };
            assert_eq!(hello.server_name, None);
            assert_eq!(named("https://a", address), None);
            assert_eq!(named("https://a", &format!("{address}:443")), None);
        }
    }
}
