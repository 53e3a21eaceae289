//! How connections come to a port: which of them are told apart, and what serves each kind. The names
//! that clients offer by ALPN are those of Istio's sidecars.

use api::Protocol;
use ir::{ChainMatch, Str};
use registry::Admission;

/// One kind of connection to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    protocols: &'static [&'static str],
    /// `tls`, `raw_buffer`, or empty for either.
    transport: &'static str,
    pub http: bool,
    /// Mutual TLS of the mesh ends here.
    pub mutual: bool,
}

const PLAIN_HTTP: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];
const MESH_HTTP: [&str; 3] = ["istio-http/1.0", "istio-http/1.1", "istio-h2"];
const MESH_BYTES: [&str; 2] = ["istio-peer-exchange", "istio"];
const MESH: [&str; 5] =
    ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"];
const ANY: [&str; 0] = [];

/// What a port carries: HTTP, bytes, or whichever of them is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    Http,
    Bytes,
    Either,
}

impl Carries {
    pub fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Undeclared => Carries::Either,
            p if p.is_http() => Carries::Http,
            _ => Carries::Bytes,
        }
    }
}

impl Way {
    const fn mutual(protocols: &'static [&'static str], http: bool) -> Self {
        Self { protocols, transport: "tls", http, mutual: true }
    }

    const fn bare(protocols: &'static [&'static str], transport: &'static str, http: bool) -> Self {
        Self { protocols, transport, http, mutual: false }
    }

    pub fn matches(&self, port: Option<u16>) -> ChainMatch {
        ChainMatch {
            destination_port: port,
            transport_protocol: self.transport.into(),
            application_protocols: self.protocols.iter().map(|p| Str::from(*p)).collect(),
            ..ChainMatch::default()
        }
    }
}

pub(super) fn ways(mode: Admission, carries: Carries) -> &'static [Way] {
    const RAW: &str = "raw_buffer";
    match (mode, carries) {
        (Admission::Plaintext, Carries::Http) => const { &[Way::bare(&ANY, "", true)] },
        (Admission::Plaintext, Carries::Bytes) => const { &[Way::bare(&ANY, "", false)] },
        (Admission::Plaintext, Carries::Either) => {
            const { &[Way::bare(&PLAIN_HTTP, RAW, true), Way::bare(&ANY, "", false)] }
        }
        // Other TLS than the mesh's cannot be HTTP, so nobody is there to take it.
        (Admission::Both, Carries::Http) => {
            const { &[Way::mutual(&MESH, true), Way::bare(&ANY, RAW, true)] }
        }
        (Admission::Both, Carries::Bytes) => {
            const {
                &[
                    Way::mutual(&MESH, false),
                    Way::bare(&ANY, "tls", false),
                    Way::bare(&ANY, RAW, false),
                ]
            }
        }
        (Admission::Both, Carries::Either) => {
            const {
                &[
                    Way::mutual(&MESH_HTTP, true),
                    Way::bare(&PLAIN_HTTP, RAW, true),
                    Way::mutual(&MESH_BYTES, false),
                    Way::bare(&ANY, RAW, false),
                    Way::bare(&ANY, "tls", false),
                ]
            }
        }
        (Admission::Mutual, Carries::Http) => const { &[Way::mutual(&ANY, true)] },
        (Admission::Mutual, Carries::Bytes) => const { &[Way::mutual(&ANY, false)] },
        (Admission::Mutual, Carries::Either) => {
            const { &[Way::mutual(&MESH_HTTP, true), Way::mutual(&ANY, false)] }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_ports_have_no_way_but_mutual_tls() {
        for carries in [Carries::Http, Carries::Bytes, Carries::Either] {
            assert!(ways(Admission::Mutual, carries).iter().all(|w| w.mutual), "{carries:?}");
            assert!(ways(Admission::Plaintext, carries).iter().all(|w| !w.mutual), "{carries:?}");
            let both = ways(Admission::Both, carries);
            assert!(both.iter().any(|w| w.mutual) && both.iter().any(|w| !w.mutual));
            assert!(both.iter().filter(|w| w.mutual).all(|w| !w.protocols.is_empty()));
        }
    }
}
