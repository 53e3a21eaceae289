//! What is refused, what is warned of, and that the tutorial's own objects are neither.

use super::*;
use base::Level;
use serde_json::json;

fn errors(kind: &str, spec: Value) -> Vec<String> {
    let object = json!({"metadata": {"name": "a", "namespace": "default"}, "spec": spec});
    let of_level = |f: &Finding| f.level == Level::Error;
    validate(kind, &object).iter().filter(|f| of_level(f)).map(ToString::to_string).collect()
}

/// Each case: a kind, a spec, and a part of what is said about it (nothing: it is fine).
fn check(kind: &str, cases: &[(Value, &str)]) {
    for (spec, expected) in cases {
        let said = errors(kind, spec.clone()).join("; ");
        let ok = if expected.is_empty() { said.is_empty() } else { said.contains(expected) };
        assert!(ok, "{kind} {spec}: said {said:?}, expected {expected:?}");
    }
}

fn http(rule: Value) -> Value {
    json!({"hosts": ["reviews"], "http": [rule]})
}

fn to(host: &str) -> Value {
    json!([{"destination": {"host": host}}])
}

#[test]
fn virtual_services() {
    let r = to("reviews");
    check(
        "VirtualService",
        &[
            (http(json!({"route": r})), ""),
            (json!({"hosts": ["a"]}), "http, tcp or tls must be provided"),
            (json!({"hosts": ["*"], "http": [{"route": r}]}), "wildcard host * is not allowed"),
            (json!({"hosts": ["*"], "gateways": ["g"], "http": [{"route": r}]}), ""),
            (
                json!({"hosts": ["a", "a.default.svc.cluster.local"], "http": [{"route": r}]}),
                "duplicate hosts",
            ),
            (json!({"gateways": ["x"], "http": [{"route": r}]}), "must have no gateways"),
            (
                json!({"hosts": ["a"], "gateways": ["/g"], "http": [{"route": r}]}),
                "cannot be empty",
            ),
            (http(json!({"redirect": {"uri": "/"}, "route": r})), "both route and redirect"),
            (http(json!({})), "HTTP route, redirect or direct_response is required"),
            (
                http(
                    json!({"route": [{"destination": {"host": "a"}}, {"destination": {"host": "b"}}]}),
                ),
                "total destination weight = 0",
            ),
            (
                http(json!({"route": [{"destination": {"host": "a"}, "weight": -1}]})),
                "weight must be >= 0",
            ),
            (http(json!({"route": [{"weight": 1}]})), "destination is required"),
            (http(json!({"route": to("*")})), "invalid destination host"),
            (http(json!({"route": r, "match": [{"uri": {"regex": "("}}]})), "not a regex"),
            (
                http(json!({"route": r, "match": [{"uri": {"exact": "/", "prefix": "/"}}]})),
                "only one of",
            ),
            (
                http(json!({"route": r, "fault": {"abort": {"httpStatus": 99}}})),
                "not in range 200-599",
            ),
            (http(json!({"route": r, "fault": {"delay": {"fixedDelay": "0s"}}})), "1ms"),
            (
                http(
                    json!({"route": r, "fault": {"abort": {"httpStatus": 500, "percentage": {"value": 101}}}}),
                ),
                "percentage",
            ),
            (http(json!({"route": r, "retries": {"attempts": -1}})), "attempts cannot be negative"),
            (
                http(json!({"route": r, "retries": {"attempts": 1, "retryOn": "sometimes"}})),
                "not a valid retryOn policy",
            ),
            (http(json!({"route": r, "retries": {"attempts": 1, "retryOn": "5xx, 409"}})), ""),
            (
                http(json!({"route": r, "headers": {"request": {"add": {":path": "x"}}}})),
                "\":\" prefix",
            ),
            (
                http(
                    json!({"route": r, "rewrite": {"authority": "x"}, "headers": {"request": {"set": {"Host": "y"}}}}),
                ),
                "multiple times",
            ),
            (
                http(json!({"redirect": {"redirectCode": 305, "uri": "/"}})),
                "not a valid redirect code",
            ),
            (
                http(json!({"route": r, "corsPolicy": {"allowMethods": ["get"]}})),
                "not a supported HTTP method",
            ),
            (
                json!({"hosts": ["a.b"], "tls": [{"match": [{"sniHosts": ["c.d"]}], "route": r}]}),
                "not a compatible subset",
            ),
            (
                json!({"hosts": ["a.b"], "tls": [{"match": [{"sniHosts": ["a.b"]}], "route": r}]}),
                "",
            ),
            (json!({"hosts": ["a.b"], "tcp": [{}]}), "TCP route is required"),
            (
                json!({"hosts": ["a"], "exportTo": ["*", "x"], "http": [{"route": r}]}),
                "cannot be combined",
            ),
        ],
    );
}

#[test]
fn rules_that_cannot_be_reached_are_warned_of() {
    let r = to("a");
    let spec = json!({"hosts": ["a"], "http": [
        {"match": [{"uri": {"exact": "/x"}}], "route": r},
        {"match": [{"uri": {"exact": "/x"}}, {"uri": {"exact": "/y"}}], "route": r},
        {"match": [{"uri": {"exact": "/x"}}], "route": r},
        {"route": r}, {"route": r}]});
    let object = json!({"metadata": {"name": "a", "namespace": "default"}, "spec": spec});
    let said: Vec<_> =
        validate("VirtualService", &object).into_iter().map(|f| (f.path, f.code)).collect();
    let expected = [
        ("spec.http[1].match[0]", "IST0131"),
        ("spec.http[2].match[0]", "IST0131"),
        ("spec.http[2]", "IST0130"),
        ("spec.http[4]", "IST0130"),
    ];
    assert_eq!(said, expected.map(|(p, c)| (p.to_owned(), c)));
}

/// Each case: the matches of the first rule and those of the second, and the codes that are said.
#[test]
fn a_match_is_contained_in_one_that_asks_for_less() {
    let prefix = |p: &str| json!({"uri": {"prefix": p}});
    let with = |p: &str, method: &str| json!({"uri": {"prefix": p}, "method": {"exact": method}});
    let table: [(Value, Value, &[&str]); 6] = [
        (prefix("/a"), prefix("/ab"), &["IST0131"]),
        (prefix("/a"), with("/ab", "GET"), &["IST0131"]),
        (with("/a", "GET"), prefix("/ab"), &[]),
        (with("/a", "GET"), with("/ab", "POST"), &[]),
        (prefix("/ab"), prefix("/a"), &[]),
        (prefix("/"), prefix("/a"), &["IST0130"]),
    ];
    for (first, second, codes) in table {
        let rule = |m: &Value| json!({"match": [m], "route": to("a")});
        let spec = json!({"hosts": ["a"], "http": [rule(&first), rule(&second)]});
        let object = json!({"metadata": {"name": "a"}, "spec": spec});
        let said: Vec<_> =
            validate("VirtualService", &object).into_iter().map(|f| f.code).collect();
        assert_eq!(said, codes, "{first} {second}");
    }
}

#[test]
fn a_rule_that_delegates_may_give_requests_back() {
    let spec = json!({"hosts": ["a"], "http": [
        {"match": [{"uri": {"prefix": "/"}}], "delegate": {"name": "d"}},
        {"match": [{"uri": {"prefix": "/"}}], "route": to("a")}]});
    let object = json!({"metadata": {"name": "a"}, "spec": spec});
    assert_eq!(validate("VirtualService", &object), []);
}

#[test]
fn destination_rules() {
    let with = |policy: Value| json!({"host": "a", "trafficPolicy": policy});
    check(
        "DestinationRule",
        &[
            (json!({"host": "a", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}), ""),
            (json!({"host": ""}), "host"),
            (
                json!({"host": "a", "subsets": [{"name": "x"}, {"name": "x"}]}),
                "duplicate subset names: x",
            ),
            (with(json!({})), "at least one field"),
            (
                with(json!({"loadBalancer": {"consistentHash": {"maglev": {"tableSize": 4}}}})),
                "prime",
            ),
            (
                with(json!({"loadBalancer": {"consistentHash": {"httpCookie": {"ttl": "1s"}}}})),
                "name required",
            ),
            (
                with(
                    json!({"loadBalancer": {"warmup": {"duration": "1s", "minimumPercent": 150}}}),
                ),
                "minimumPercent",
            ),
            (
                with(json!({"loadBalancer": {"warmup": {"minimumPercent": 5}}})),
                "duration is required",
            ),
            (
                with(json!({"loadBalancer": {"warmup": {"duration": "1s", "aggression": -0.1}}})),
                "aggression",
            ),
            (
                with(
                    json!({"loadBalancer": {"localityLbSetting": {"distribute": [{"from": "a", "to": {"b": 90}}]}}}),
                ),
                "!= 100",
            ),
            (with(json!({"connectionPool": {}})), "at least one field"),
            (with(json!({"connectionPool": {"tcp": {"maxConnections": -1}}})), "non-negative"),
            (
                with(
                    json!({"connectionPool": {"http": {"http2KeepAlive": {"interval": "15s", "timeout": "5s"}}}}),
                ),
                "",
            ),
            (with(json!({"connectionPool": {"tcp": {"connectTimeout": "0.1ms"}}})), "1ms"),
            (with(json!({"outlierDetection": {"consecutiveLocalOriginFailures": 3}})), "split"),
            (with(json!({"tls": {"mode": "MUTUAL"}})), "client certificate required"),
            (with(json!({"tls": {"mode": "SIMPLE", "sni": "x"}})), ""),
            (with(json!({"portLevelSettings": [{"tls": {"mode": "SIMPLE"}}]})), "valid port"),
            (
                json!({"host": "a", "exportTo": ["*"], "workloadSelector": {"matchLabels": {"a": "b"}}}),
                "cannot be exported",
            ),
        ],
    );
}

#[test]
fn gateways() {
    let with = |server: Value| json!({"servers": [server]});
    let http = json!({"number": 80, "name": "http", "protocol": "HTTP"});
    let https = json!({"number": 443, "name": "https", "protocol": "HTTPS"});
    check(
        "Gateway",
        &[
            (with(json!({"port": http, "hosts": ["*"]})), ""),
            (with(json!({"port": http, "hosts": ["default/*.example.com", "./x.y"]})), ""),
            (json!({}), "at least one server"),
            (with(json!({"port": http, "hosts": []})), "at least one host"),
            (with(json!({"port": http, "hosts": ["short"]})), "short names"),
            (with(json!({"port": https, "hosts": ["*"]})), "must have TLS settings"),
            (
                with(json!({"port": https, "hosts": ["*"], "tls": {"mode": "SIMPLE"}})),
                "requires a server certificate",
            ),
            (
                with(
                    json!({"port": https, "hosts": ["*"], "tls": {"mode": "SIMPLE", "credentialName": "c"}}),
                ),
                "",
            ),
            (
                with(
                    json!({"port": http, "hosts": ["*"], "tls": {"mode": "SIMPLE", "credentialName": "c"}}),
                ),
                "plain text HTTP",
            ),
            (with(json!({"port": http, "hosts": ["*"], "tls": {"httpsRedirect": true}})), ""),
            (
                with(
                    json!({"port": {"number": 0, "name": "x", "protocol": "HTTP"}, "hosts": ["*"]}),
                ),
                "between 1-65535",
            ),
            (
                with(
                    json!({"port": {"number": 1, "name": "x", "protocol": "FTP"}, "hosts": ["*"]}),
                ),
                "invalid protocol",
            ),
            (
                json!({"servers": [{"port": http, "hosts": ["*"]}, {"port": http, "hosts": ["a.b"]}]}),
                "must be unique",
            ),
            (
                with(
                    json!({"port": https, "hosts": ["*"], "tls": {"mode": "MUTUAL", "serverCertificate": "a", "privateKey": "b"}}),
                ),
                "client CA",
            ),
        ],
    );
}

#[test]
fn service_entries() {
    let with = |more: Value| {
        let mut spec = json!({"hosts": ["example.com"]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    check(
        "ServiceEntry",
        &[
            (json!({}), "at least one host"),
            (json!({"hosts": ["*"]}), "hostname cannot be wildcard"),
            (json!({"hosts": ["*x"]}), ""),
            (with(json!({"workloadSelector": {}})), ""),
            (
                with(json!({"workloadSelector": {"labels": {"a": "*"}}})),
                "wildcard is not supported in selector",
            ),
            (
                with(json!({"workloadSelector": {}, "endpoints": [{"address": "1.2.3.4"}]})),
                "only one of WorkloadSelector or Endpoints",
            ),
            (
                with(json!({"addresses": ["1.2.3.4/16"], "resolution": "DNS"})),
                "only for NONE/STATIC",
            ),
            (with(json!({"addresses": ["1.1.1.1/32"]})), ""),
            (
                with(json!({"ports": [{"name": "a", "number": 1}, {"name": "a", "number": 2}]})),
                "Duplicate value",
            ),
            (
                with(json!({"ports": [{"name": "a", "number": 1}, {"name": "b", "number": 1}]})),
                "cannot be duplicated",
            ),
            (with(json!({"ports": [{"name": "a", "number": 99999}]})), "between 1-65535"),
            (
                with(json!({"ports": [{"name": "a", "number": 1, "targetPort": 99999}]})),
                "between 1-65535",
            ),
            (
                with(json!({"endpoints": [{"address": "1.2.3.4"}], "resolution": "NONE"})),
                "NONE mode cannot set endpoints",
            ),
            (
                with(
                    json!({"endpoints": [{"address": "a.b"}, {"address": "c.d"}], "resolution": "DNS_ROUND_ROBIN"}),
                ),
                "multiple endpoints",
            ),
            (
                with(json!({"endpoints": [{"address": "a.b"}], "resolution": "STATIC"})),
                "not a valid IP",
            ),
        ],
    );
}

#[test]
fn sidecars_and_workloads() {
    let egress = |hosts: Value| json!({"egress": [{"hosts": hosts}]});
    check(
        "Sidecar",
        &[
            (egress(json!(["./*", "istio-system/*"])), ""),
            (egress(json!(["reviews"])), "namespace/dnsName"),
            (egress(json!([])), "at least one host"),
            (egress(json!(["./*", "./*"])), "duplicate egress host"),
            (
                json!({"egress": [{"hosts": ["./*"]}, {"port": {"number": 80}, "hosts": ["./*"]}]}),
                "last listener",
            ),
            (
                json!({"ingress": [{"port": {"number": 80}, "defaultEndpoint": "127.0.0.1:8080"}]}),
                "",
            ),
            (
                json!({"ingress": [{"port": {"number": 80}, "defaultEndpoint": "1.2.3.4:8080"}]}),
                "defaultEndpoint must be",
            ),
        ],
    );
    check(
        "WorkloadEntry",
        &[(json!({"address": "1.2.3.4"}), ""), (json!({}), "address must be set")],
    );
    check(
        "WorkloadGroup",
        &[
            (json!({"template": {"serviceAccount": "a"}}), ""),
            (json!({"template": {"address": "1.2.3.4"}}), "cannot have an address"),
            (json!({"template": {}, "probe": {}}), "one of httpGet"),
        ],
    );
}

#[test]
fn an_unknown_field_of_a_security_kind_is_refused() {
    let rules = json!({"rules": [{"form": [{}]}]});
    check(
        "AuthorizationPolicy",
        &[(rules, "unknown field"), (json!({"rules": [{"from": []}]}), "")],
    );
}

#[test]
fn a_policy_that_is_not_enforced_says_so() {
    let not_enforced = |kind: &str, spec: Value| {
        let said = validate(kind, &json!({"metadata": {"name": "a"}, "spec": spec}));
        said.iter().any(|f| f.level == Level::Warning && f.message.contains("NOT ENFORCED"))
    };
    assert!(!not_enforced("RequestAuthentication", json!({"jwtRules": []})));
    assert!(!not_enforced("PeerAuthentication", json!({"mtls": {"mode": "STRICT"}})));
    let target = |kind: &str| {
        let group = if kind == "Gateway" { "gateway.networking.k8s.io" } else { "" };
        json!({"targetRefs": [{"kind": kind, "name": "a", "group": group}], "action": "DENY",
            "rules": [{}]})
    };
    assert!(not_enforced("AuthorizationPolicy", target("Service")));
    assert!(!not_enforced("AuthorizationPolicy", target("Gateway")));
}

/// Each case: a kind, a spec, and the path that is refused.
#[test]
fn wrong_types_and_limits_are_named_by_field() {
    let port = json!({"host": "a", "port": {"number": "x"}});
    let table = [
        ("VirtualService", json!({"hosts": "a"}), "spec.hosts"),
        (
            "VirtualService",
            http(json!({"route": to("a"), "timeout": "soon"})),
            "spec.http[0].timeout",
        ),
        (
            "VirtualService",
            http(json!({"route": [{"destination": port}]})),
            "spec.http[0].route[0].destination.port.number",
        ),
        ("ServiceEntry", json!({"hosts": ["a.b"], "location": "MOON"}), "spec.location"),
        ("WorkloadEntry", json!({"address": "1.2.3.4", "weight": -1}), "spec.weight"),
        (
            "Telemetry",
            json!({"tracing": [{"randomSamplingPercentage": 101}]}),
            "spec.tracing[0].randomSamplingPercentage",
        ),
        ("EnvoyFilter", json!({"targetRefs": [{"name": "a"}]}), "spec.targetRefs[0].kind"),
    ];
    for (kind, spec, path) in table {
        let object = json!({"metadata": {"name": "a"}, "spec": spec});
        let said = validate(kind, &object);
        let refused = said.iter().any(|f| f.level == Level::Error && f.path == path);
        assert!(refused, "{kind} {spec}: {said:?}");
    }
}

#[test]
fn security_kinds() {
    let rule = |rule: Value| json!({"rules": [rule]});
    let source = |source: Value| rule(json!({"from": [{"source": source}]}));
    let when = |when: Value| rule(json!({"when": [when]}));
    check(
        "AuthorizationPolicy",
        &[
            (rule(json!({})), ""),
            (json!({}), ""),
            (json!({"action": "DENY"}), "never applies"),
            (json!({"action": "ALOW"}), "Unsupported value"),
            (json!({"action": "CUSTOM", "rules": [{}]}), "name of a provider"),
            (json!({"provider": {"name": "p"}, "rules": [{}]}), "is for CUSTOM"),
            (source(json!({})), "must not be empty"),
            (source(json!({"principals": [""]})), "principals[0]: must not be empty"),
            (source(json!({"ipBlocks": ["1.2.3.4/99"]})), "ipBlocks[0]"),
            (source(json!({"serviceAccounts": ["a"], "namespaces": ["b"]})), "Cannot set"),
            (rule(json!({"to": [{"operation": {"ports": ["0"]}}]})), "ports[0]"),
            (when(json!({"key": "request.headers[x]", "values": ["a"]})), ""),
            (when(json!({"key": "request.headers", "values": ["a"]})), "not an attribute"),
            (
                when(json!({"key": "request.header[foo]", "values": ["bar"]})),
                "did you mean request.headers[foo]?",
            ),
            (
                when(json!({"key": "source.namespaces", "values": ["bar"]})),
                "did you mean source.namespace?",
            ),
            (when(json!({"key": "source.ip"})), "at least one of values"),
            (json!({"selector": {"matchLabels": {"a": "*"}}}), "wildcard"),
        ],
    );
    check(
        "RequestAuthentication",
        &[
            (json!({"jwtRules": [{"issuer": "i", "jwksUri": "https://k.example"}]}), ""),
            (json!({"jwtRules": [{"audiences": ["a"]}]}), "issuer or jwksUri"),
            (json!({"jwtRules": [{"issuer": "i", "jwksUri": "k.example"}]}), "scheme"),
            (json!({"jwtRules": [{"issuer": "i", "jwks": "{}"}]}), "JSON Web Key Set"),
            (json!({"jwtRules": [{"issuer": "i", "presence": "MAYBE"}]}), "Unsupported value"),
        ],
    );
}
