//! What one proxy says of a request that it has passed on.

use anyhow::Result;
use api::Protocol;
use explain::{Asked, Explanation, Scheme, Wish};
use serde_json::Value;
use std::fmt::Write;
use std::net::SocketAddr;

#[derive(Clone, Debug)]
pub struct Hop {
    pub pod: String,
    pub namespace: String,
    pub inbound: bool,
    /// Nanoseconds since the epoch.
    pub start: u64,
    /// Where the client's connection was meant for.
    pub destination: SocketAddr,
    /// Where the proxy's random numbers stood.
    pub random: u64,
    /// As the proxy said it.
    pub live: Value,
}

/// The requests in the answer of a proxy's admin port; what is not understood is left out.
pub fn read(namespace: &str, pod: &str, answer: &str) -> Vec<Hop> {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let all = answer["requests"].as_array().into_iter().flatten();
    let one = |live: &Value| {
        Some(Hop {
            pod: pod.to_owned(),
            namespace: namespace.to_owned(),
            inbound: live["direction"] == "inbound",
            start: live["start_ns"].as_str()?.parse().ok()?,
            destination: live["destination"].as_str()?.parse().ok()?,
            random: live["random"].as_str()?.parse().ok()?,
            live: live.clone(),
        })
    };
    all.filter_map(one).collect()
}

impl Hop {
    fn text_of(&self, field: &str) -> &str {
        self.live[field].as_str().unwrap_or_default()
    }

    /// The request as it came to the proxy.
    pub fn asked(&self) -> Result<Asked> {
        let at = self.destination;
        let mut asked = Asked::parse(self.text_of("method"), &format!("http://{at}/"))?;
        // What a proxy of the mesh has encrypted is asked as its client did: in plaintext.
        let of_mesh = self.inbound && self.text_of("peer").starts_with("spiffe://");
        if self.live["tls"] == true && !of_mesh {
            asked.scheme = Scheme::Https;
        }
        asked.path = self.text_of("path").to_owned();
        asked.headers.push(("host".into(), self.text_of("authority").to_owned()));
        for pair in self.live["headers"].as_array().into_iter().flatten() {
            let text = |i: usize| pair[i].as_str().unwrap_or_default();
            asked.headers.push((text(0).to_ascii_lowercase(), text(1).to_owned()));
        }
        // The proxy keeps the one without the other, and only where the client had both.
        if asked.headers.iter().any(|(name, _)| name == "upgrade") {
            asked.headers.push(("connection".into(), "upgrade".into()));
        }
        Ok(asked)
    }

    /// As the workload's policies judge it. What was not kept counts as absent.
    pub fn wish(&self) -> Result<Wish> {
        let asked = self.asked()?;
        let source: Option<SocketAddr> = self.text_of("source").parse().ok();
        Ok(Wish {
            client: self.text_of("peer").parse().ok(),
            client_ip: source.map(|s| s.ip()),
            method: self.text_of("method").to_owned(),
            authority: self.text_of("authority").to_owned(),
            path: asked.path,
            headers: asked.headers,
            protocol: Protocol::Http,
            address: Some(self.destination.ip()),
            port: self.destination.port(),
        })
    }

    /// Where the explanation came to something else than the proxy, and what may be the reason.
    pub fn differs(&self, told: &Explanation) -> Option<String> {
        let place = self.live["route_place"].as_u64();
        let host = self.live["virtual_host"].as_str();
        let same_host = host.is_none() || host == told.virtual_host.as_ref().map(|h| &*h.name);
        if place == told.place.map(u64::from) && same_host {
            return None;
        }
        let live = match (host, place) {
            (Some(host), Some(place)) => format!("route {place} of {host}"),
            _ => "no route".to_owned(),
        };
        let hidden: Vec<&str> = self.live["hidden"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let reason = if !hidden.is_empty() {
            format!("the values of {} are not shown, and may have decided", hidden.join(", "))
        } else if self.live["cut"] == true {
            "its head was too long to be kept whole".to_owned()
        } else {
            "the configuration has changed since".to_owned()
        };
        Some(format!("the proxy took {live}; {reason}"))
    }

    pub fn text(&self, told: &str, differs: Option<String>) -> String {
        let live = &self.live;
        let number = |field: &str| live[field].as_u64().unwrap_or_default();
        let mut out = String::new();
        let side = if self.inbound { "inbound" } else { "outbound" };
        let took = number("duration_us");
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "\n{}.{} {side}: {} {}{} -> {} in {}.{:03} ms",
            self.pod,
            self.namespace,
            self.text_of("method"),
            self.text_of("authority"),
            self.text_of("path"),
            number("status"),
            took / 1000,
            took % 1000,
        );
        let flags: Vec<&str> =
            live["flags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let mut line = |name: &str, value: &str| {
            if !value.is_empty() {
                let _ = writeln!(out, "  {name:<14}{value}");
            }
        };
        line("from", self.text_of("source"));
        line("identity", self.text_of("peer"));
        line("sent to", self.text_of("endpoint"));
        if number("attempts") > 1 {
            line("attempts", &number("attempts").to_string());
        }
        line("flags", &flags.join(","));
        line("details", self.text_of("details"));
        line("differs", &differs.unwrap_or_default());
        // Its first line is the request once more.
        for told in told.lines().skip(1) {
            let _ = writeln!(out, "  {told}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"requests": [{"id": "1", "start_ns": "5", "duration_us": 12345,
        "direction": "outbound", "source": "10.1.0.9:4000", "destination": "10.96.0.4:9080",
        "tls": false, "method": "GET", "authority": "reviews:9080", "path": "/reviews/1",
        "headers": [["End-User", "jason"]], "hidden": [], "cut": false, "random": "77",
        "virtual_host": "v", "route": null, "route_place": 2, "cluster": "c",
        "endpoint": "10.1.0.1:9080", "attempts": 2, "status": 503, "flags": ["UH"],
        "details": "no_healthy_upstream"}, {"id": "broken"}]}"#;

    #[test]
    fn a_hop_is_read_and_asked_again_as_it_came() {
        let hops = read("default", "productpage-1", ANSWER);
        let [hop] = hops.as_slice() else { panic!("{hops:?}") };
        assert_eq!((hop.start, hop.random, hop.inbound), (5, 77, false));
        let asked = hop.asked().unwrap();
        assert_eq!((asked.port, asked.path.as_str()), (9080, "/reviews/1"));
        let header = |name: &str| asked.headers.iter().find(|(n, _)| n == name).unwrap().1.clone();
        assert_eq!((header("host"), header("end-user")), ("reviews:9080".into(), "jason".into()));
        let upgrading = ANSWER.replace("End-User", "Upgrade");
        let [hop_too] = &read("default", "p", &upgrading)[..] else { panic!("{upgrading}") };
        let wish = ("connection".to_owned(), "upgrade".to_owned());
        assert!(hop_too.asked().unwrap().headers.contains(&wish) && !asked.headers.contains(&wish));
        let text = hop.text("first\nroute  x\n", None);
        assert!(text.contains(
            "productpage-1.default outbound: GET reviews:9080/reviews/1 -> 503 in 12.345 ms"
        ));
        assert!(text.contains("  sent to       10.1.0.1:9080\n"), "{text}");
        assert!(text.ends_with("  route  x\n") && !text.contains("first"), "{text}");
    }

    #[test]
    fn a_hop_is_judged_as_it_came() {
        let hops = read(
            "default",
            "p",
            &ANSWER.replace("\"tls\"", "\"peer\": \"spiffe://td/ns/a/sa/b\", \"tls\""),
        );
        let wish = hops[0].wish().unwrap();
        assert_eq!(wish.client.unwrap().to_string(), "spiffe://td/ns/a/sa/b");
        assert_eq!(wish.client_ip, Some([10, 1, 0, 9].into()));
        assert_eq!((wish.address, wish.port), (Some([10, 96, 0, 4].into()), 9080));
        assert_eq!((&*wish.method, &*wish.path), ("GET", "/reviews/1"));
        assert!(wish.headers.contains(&("end-user".to_owned(), "jason".to_owned())));
        let stranger = read("default", "p", ANSWER)[0].wish().unwrap();
        assert_eq!(stranger.client, None);
    }

    #[test]
    fn what_a_proxy_of_the_mesh_encrypted_is_asked_as_its_client_did() {
        let scheme = |from: &str, to: &str| {
            let answer = ANSWER.replace(r#""tls": false"#, r#""tls": true"#).replace(from, to);
            let [hop] = &read("default", "p", &answer)[..] else { panic!("{answer}") };
            (hop.asked().unwrap().scheme, hop.text("", None))
        };
        assert_eq!(scheme("outbound", "inbound").0, Scheme::Https);
        let peer = r#""inbound", "peer": "spiffe://cluster.local/ns/a/sa/b""#;
        let (of_mesh, text) = scheme(r#""outbound""#, peer);
        assert_eq!(of_mesh, Scheme::Http);
        assert!(text.contains("  identity      spiffe://cluster.local/ns/a/sa/b\n"), "{text}");
    }
}
