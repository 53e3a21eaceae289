//! Which protocol a port speaks: `appProtocol`, else the port's name before the first `-`, else
//! nobody said and the proxy looks at the first bytes.

/// The protocol of a service port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Http,
    Http2,
    Grpc,
    GrpcWeb,
    Https,
    Tls,
    Tcp,
    Mongo,
    MySql,
    Redis,
    Udp,
    /// Not declared: detected per connection.
    #[default]
    Undeclared,
}

impl Protocol {
    /// By the name that ports, Gateways and ServiceEntries use, in any case.
    pub fn parse(name: &str) -> Option<Protocol> {
        Some(match name.to_ascii_lowercase().as_str() {
            "http" => Protocol::Http,
            "http2" | "kubernetes.io/h2c" => Protocol::Http2,
            "grpc" => Protocol::Grpc,
            "grpc-web" => Protocol::GrpcWeb,
            "https" | "kubernetes.io/wss" => Protocol::Https,
            "kubernetes.io/ws" => Protocol::Http,
            "tls" => Protocol::Tls,
            "tcp" => Protocol::Tcp,
            "mongo" => Protocol::Mongo,
            "mysql" => Protocol::MySql,
            "redis" => Protocol::Redis,
            "udp" => Protocol::Udp,
            _ => return None,
        })
    }

    /// Of a Kubernetes service port.
    pub fn of_port(transport: &str, app_protocol: Option<&str>, name: &str, port: u16) -> Protocol {
        if transport.eq_ignore_ascii_case("UDP") {
            return Protocol::Udp;
        }
        if let Some(protocol) = app_protocol.and_then(Protocol::parse) {
            return protocol;
        }
        if let Some(protocol) = by_port_name(name) {
            return protocol;
        }
        // Where the server speaks first, looking at the client's first bytes would wait for ever.
        match port {
            25 | 53 | 3306 | 27017 => Protocol::Tcp,
            _ => Protocol::Undeclared,
        }
    }

    pub fn is_http(self) -> bool {
        matches!(self, Protocol::Http | Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb)
    }

    pub fn is_http2(self) -> bool {
        matches!(self, Protocol::Http2 | Protocol::Grpc | Protocol::GrpcWeb)
    }

    /// TLS that the mesh passes through; told apart by SNI.
    pub fn is_tls(self) -> bool {
        matches!(self, Protocol::Https | Protocol::Tls)
    }

    pub fn is_tcp(self) -> bool {
        matches!(
            self,
            Protocol::Tcp
                | Protocol::Mongo
                | Protocol::MySql
                | Protocol::Redis
                | Protocol::Https
                | Protocol::Tls
        )
    }
}

fn by_port_name(name: &str) -> Option<Protocol> {
    let lower = name.to_ascii_lowercase();
    if lower == "grpc-web" || lower.starts_with("grpc-web-") {
        return Some(Protocol::GrpcWeb);
    }
    Protocol::parse(lower.split('-').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_declare_their_protocol_by_name_or_app_protocol() {
        let table = [
            ("TCP", None, "http", 9080, Protocol::Http),
            ("TCP", None, "http-web", 80, Protocol::Http),
            ("TCP", None, "HTTP2-x", 80, Protocol::Http2),
            ("TCP", None, "grpc-web-a", 80, Protocol::GrpcWeb),
            ("TCP", None, "grpc-foo", 80, Protocol::Grpc),
            ("TCP", None, "httpfoo", 80, Protocol::Undeclared),
            ("TCP", None, "", 80, Protocol::Undeclared),
            ("TCP", None, "", 3306, Protocol::Tcp),
            ("TCP", None, "http", 3306, Protocol::Http),
            ("TCP", Some("https"), "http", 443, Protocol::Https),
            ("TCP", Some("kubernetes.io/h2c"), "x", 80, Protocol::Http2),
            ("TCP", Some("acme.example/x"), "tcp-x", 80, Protocol::Tcp),
            ("UDP", Some("http"), "http", 80, Protocol::Udp),
            ("TCP", None, "mongo-a", 1, Protocol::Mongo),
        ];
        for (transport, app, name, port, expected) in table {
            assert_eq!(Protocol::of_port(transport, app, name, port), expected, "{name} {app:?}");
        }
    }
}
