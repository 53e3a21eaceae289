//! What reads bytes that others wrote, as functions over those bytes: each must neither panic nor break
//! what it asserts. `main` gives them to libFuzzer (`cargo xtask fuzz`); the tests here give them their
//! seeds, cut and bent, and what once was found.

mod admission;
mod csr;
mod discovery;
mod dns;
mod envoy_filter;
mod framing;
mod preamble;
mod tokens;

/// One reader of foreign bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// Inputs that reach far, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

pub const TARGETS: &[Target] = &[
    Target { name: "csr", run: csr::run, seeds: csr::seeds },
    Target { name: "hello", run: preamble::hello, seeds: preamble::hellos },
    Target { name: "proxy_protocol", run: preamble::proxied, seeds: preamble::proxies },
    Target { name: "framing", run: framing::run, seeds: framing::seeds },
    Target { name: "ads_server", run: discovery::server, seeds: discovery::requests },
    Target { name: "ads_client", run: discovery::client, seeds: discovery::responses },
    Target { name: "admission", run: admission::run, seeds: admission::seeds },
    Target { name: "dns", run: dns::run, seeds: dns::seeds },
    Target { name: "envoy_filter", run: envoy_filter::run, seeds: envoy_filter::seeds },
    Target { name: "jwt", run: tokens::run, seeds: tokens::seeds },
];

impl Target {
    pub fn by_name(name: &str) -> Option<&'static Target> {
        TARGETS.iter().find(|t| t.name == name)
    }
}

#[cfg(test)]
mod tests;
