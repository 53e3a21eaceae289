//! Headers that a service passes on to the services it calls, so that a trace stays in one piece and
//! routing by user works behind the first hop.

use hyper::HeaderMap;

const PASSED_ON: [&str; 22] = [
    "x-request-id",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "traceparent",
    "tracestate",
    "x-ot-span-context",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "sw8",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "user-agent",
    "cookie",
    "authorization",
    "jwt",
    "baggage",
    "end-user",
];

/// The headers of an incoming request that go on with outgoing ones.
pub fn passed_on(incoming: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in PASSED_ON {
        for value in incoming.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_the_trace_or_the_user_goes_on() {
        let mut incoming = HeaderMap::new();
        for name in ["x-request-id", "traceparent", "end-user", "host", "content-length"] {
            incoming.insert(name, "1".parse().unwrap());
        }
        let headers = passed_on(&incoming);
        assert_eq!(headers.len(), 3);
        assert!(!headers.contains_key("host"));
    }
}
