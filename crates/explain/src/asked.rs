//! What a client asks for, as it is typed: `GET http://reviews:9080/reviews/1` and header fields.

use wire::Request;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    /// As in the URL, without the port.
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Besides those that follow from the URL.
    pub headers: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    #[error(
        "{0:?} is not a URL of the form http://HOST[:PORT][/PATH]; only plain HTTP can be explained"
    )]
    Url(String),
    #[error("{0:?} is not a header field of the form NAME: VALUE")]
    Header(String),
}

impl Asked {
    pub fn parse(method: &str, url: &str) -> Result<Asked, InvalidRequest> {
        let invalid = || InvalidRequest::Url(url.to_owned());
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(invalid()),
            None => url,
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| invalid())?)
            }
            _ => (authority, 80),
        };
        if host.is_empty() || port == 0 {
            return Err(invalid());
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (method, host) = (method.to_ascii_uppercase(), host.to_ascii_lowercase());
        Ok(Asked { method, host, port, path, headers: Vec::new() })
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
        if self.port == 80 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The head as the proxy has it before it looks for a route.
    pub(crate) fn head(&self, path: &[u8]) -> Request {
        let own = self.headers.iter().find(|(name, _)| name == "host").map(|(_, v)| v.clone());
        let authority = own.unwrap_or_else(|| self.authority());
        let mut head = Request::new(self.method.as_bytes(), authority.as_bytes(), path);
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "host") {
            head.set_field(name.as_bytes(), value.as_bytes());
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_are_typed() {
        let table = [
            ("http://reviews:9080/reviews/1?x=y", ("reviews", 9080, "/reviews/1?x=y")),
            ("reviews", ("reviews", 80, "/")),
            ("http://A.Example?q", ("a.example", 80, "/?q")),
            ("http://[::1]:81/", ("[::1]", 81, "/")),
        ];
        for (url, (host, port, path)) in table {
            let asked = Asked::parse("get", url).unwrap();
            let found = (asked.host.as_str(), asked.port, asked.path.as_str());
            assert_eq!((found, asked.method.as_str()), ((host, port, path), "GET"));
        }
        for url in ["", "https://a", "http://:80/", "http://a:x/", "http://a:0"] {
            assert!(Asked::parse("GET", url).is_err(), "{url}");
        }
        assert!(Asked::parse("GET", "a").unwrap().header("no colon").is_err());
    }
}
