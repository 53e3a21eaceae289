//! Objects at random, from a seed: services with versions, and rules that use every kind of condition and
//! every kind of action, so that requests of all fates come up.

use base::{Env, FixedEnv};
use serde_json::{Value, json};

/// Where the services of a world stand. All addresses are of the loopback network.
pub struct Ports {
    /// Of the services, and of the gateway.
    pub http: u16,
    pub tcp: u16,
    pub gateway: u16,
    /// Of all endpoints.
    pub upstream: u16,
}

pub const SERVICES: u64 = 6;
pub const VERSIONS: u64 = 3;

pub const PATHS: [&str; 6] = ["/a", "/a/b", "/b", "/c", "/data", "/Data/x"];
pub const HEADERS: [&str; 3] = ["end-user", "x-flag", "cookie"];
pub const VALUES: [&str; 4] = ["jason", "jasmin", "1", "user=jason; x=1"];

pub fn clusters_address(service: u64) -> String {
    format!("127.77.0.{}", service + 1)
}

pub fn endpoint_address(service: u64, version: u64) -> String {
    format!("127.78.{service}.{}", version + 1)
}

pub fn gateway_host(service: u64) -> String {
    format!("s{service}.example.com")
}

pub struct Random<'e>(pub &'e FixedEnv);

impl Random<'_> {
    pub fn of<'a, T>(&self, list: &'a [T]) -> &'a T {
        &list[self.0.below(list.len() as u64) as usize]
    }

    pub fn percent(&self, chance: u64) -> bool {
        self.0.below(100) < chance
    }
}

pub fn objects(env: &FixedEnv, ports: &Ports) -> Vec<Value> {
    let mut all = vec![
        json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway",
            "metadata": {"name": "edge", "namespace": "default"},
            "spec": {"selector": {"istio": "ingressgateway"}, "servers": [
                {"port": {"number": ports.gateway, "name": "http", "protocol": "HTTP"},
                 "hosts": ["*.example.com"]}]}}),
        service("raw", "127.77.1.1", "tcp", ports.tcp, ports.upstream),
        slice("raw", &[endpoint_address(0, 0)], "tcp", ports.upstream),
    ];
    if Random(env).percent(50) {
        all.push(json!({"apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
            "metadata": {"name": "strict", "namespace": "default"},
            "spec": {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"},
                "egress": [{"hosts": ["*/*"]}]}}));
    }
    for n in 0..SERVICES {
        let name = format!("s{n}");
        let addresses: Vec<String> = (0..VERSIONS).map(|v| endpoint_address(n, v)).collect();
        all.push(service(&name, &clusters_address(n), "http", ports.http, ports.upstream));
        all.push(slice(&name, &addresses, "http", ports.upstream));
        for (version, ip) in addresses.iter().enumerate() {
            all.push(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {
                "name": format!("{name}-v{version}"), "namespace": "default",
                "labels": {"app": name, "version": format!("v{version}")}},
                "status": {"phase": "Running", "podIP": ip}}));
        }
        let subsets: Vec<Value> = (0..VERSIONS)
            .map(|v| json!({"name": format!("v{v}"), "labels": {"version": format!("v{v}")}}))
            .collect();
        all.push(json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"host": name, "subsets": subsets, "trafficPolicy": {"loadBalancer": balancer(env)}}}));
        all.push(rules(env, &format!("{name}-mesh"), &name, &["mesh"], ports));
        all.push(rules(env, &format!("{name}-edge"), &gateway_host(n), &["edge"], ports));
    }
    all
}

fn service(name: &str, ip: &str, port_name: &str, port: u16, target: u16) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": ip, "selector": {"app": name},
            "ports": [{"name": port_name, "port": port, "targetPort": target}]}})
}

fn slice(name: &str, addresses: &[String], port_name: &str, port: u16) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|a| json!({"addresses": [a], "conditions": {"ready": true}}))
        .collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{name}-1"), "namespace": "default",
            "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "ports": [{"name": port_name, "port": port}], "endpoints": endpoints})
}

fn balancer(env: &FixedEnv) -> Value {
    let simple = |name: &str| json!({"simple": name});
    Random(env)
        .of(&[
            simple("RANDOM"),
            simple("ROUND_ROBIN"),
            simple("LEAST_REQUEST"),
            json!({"consistentHash": {"httpHeaderName": "end-user"}}),
        ])
        .clone()
}

fn rules(env: &FixedEnv, name: &str, host: &str, gateways: &[&str], ports: &Ports) -> Value {
    let random = Random(env);
    let count = 5 + env.below(5);
    let http: Vec<Value> = (0..count)
        .map(|n| {
            let mut rule = action(env, ports);
            rule["name"] = json!(format!("{name}-{n}"));
            if random.percent(30) {
                // Routes need no name.
                rule["name"] = Value::Null;
            }
            let matches: Vec<Value> = (0..=env.below(2)).map(|_| condition(env)).collect();
            rule["match"] = json!(matches);
            rule.as_object_mut().unwrap().retain(|_, v| !v.is_null());
            rule
        })
        .collect();
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"hosts": [host], "gateways": gateways, "http": http}})
}

fn text(env: &FixedEnv, values: &[&str]) -> Value {
    let value = *Random(env).of(values);
    match env.below(3) {
        0 => json!({"exact": value}),
        1 => json!({"prefix": &value[..value.len().min(3)]}),
        _ => json!({"regex": format!(".*{}.*", &value[value.len() / 2..])}),
    }
}

fn condition(env: &FixedEnv) -> Value {
    let random = Random(env);
    let mut out = json!({});
    if random.percent(80) {
        out["uri"] = text(env, &PATHS);
        out["ignoreUriCase"] = json!(random.percent(20));
    }
    if random.percent(40) {
        let value = if random.percent(20) { json!({}) } else { text(env, &VALUES) };
        out["headers"] = json!({*random.of(&HEADERS): value});
    }
    if random.percent(10) {
        out["withoutHeaders"] = json!({*random.of(&HEADERS): text(env, &VALUES)});
    }
    if random.percent(15) {
        out["method"] = json!({"exact": *random.of(&["GET", "POST"])});
    }
    if random.percent(10) {
        out["queryParams"] = json!({"q": {"exact": *random.of(&["1", "2"])}});
    }
    if random.percent(5) {
        out["authority"] = json!({"prefix": "s"});
    }
    if out == json!({}) {
        out["uri"] = json!({"prefix": "/b"});
    }
    out
}

fn action(env: &FixedEnv, ports: &Ports) -> Value {
    match env.below(100) {
        0..22 => redirect(env),
        22..40 => {
            let status = *Random(env).of(&[403, 404, 418, 500, 503]);
            json!({"directResponse": {"status": status, "body": {"string": "no"}},
                "headers": {"response": {"set": {"x-refused": "yes"}}}})
        }
        40..66 => {
            let mut rule = route(env, ports);
            rule["fault"] = fault(env);
            rule
        }
        _ => route(env, ports),
    }
}

fn redirect(env: &FixedEnv) -> Value {
    let code = *Random(env).of(&[301, 302, 303, 307, 308]);
    let to = match env.below(3) {
        0 => json!({"uri": "/moved"}),
        1 => json!({"authority": "elsewhere.example.com"}),
        _ => json!({"scheme": "https", "uri": "/x?y=1", "derivePort": "FROM_PROTOCOL_DEFAULT"}),
    };
    let mut redirect = to;
    redirect["redirectCode"] = json!(code);
    json!({"redirect": redirect})
}

fn fault(env: &FixedEnv) -> Value {
    let share =
        |env: &FixedEnv| json!({"value": *Random(env).of(&[0.0, 30.0, 100.0, 100.0, 100.0])});
    let abort = match Random(env).percent(80) {
        true => json!({"httpStatus": 555, "percentage": share(env)}),
        false => json!({"grpcStatus": "UNAVAILABLE", "percentage": share(env)}),
    };
    let mut out = json!({"abort": abort});
    if Random(env).percent(20) {
        out["delay"] = json!({"fixedDelay": "0.001s", "percentage": share(env)});
    }
    out
}

fn route(env: &FixedEnv, ports: &Ports) -> Value {
    let random = Random(env);
    let host = format!("s{}", env.below(SERVICES));
    let destination = |subset: Option<u64>| {
        let mut out = json!({"host": host, "port": {"number": ports.http}});
        if let Some(subset) = subset {
            out["subset"] = json!(format!("v{subset}"));
        }
        out
    };
    // One more than there are: a subset that nothing defines.
    let any = || Some(env.below(VERSIONS + 1));
    let routes = match env.below(3) {
        0 => json!([{"destination": destination(None)}]),
        1 => json!([{"destination": destination(any())}]),
        _ => json!([{"destination": destination(Some(0)), "weight": 60,
                     "headers": {"request": {"set": {"x-part": "first"}}}},
                    {"destination": destination(any()), "weight": 40}]),
    };
    let mut rule = json!({"route": routes});
    if random.percent(30) {
        rule["rewrite"] = random
            .of(&[json!({"uri": "/rewritten"}), json!({"authority": "other.example.com"})])
            .clone();
    }
    if random.percent(30) {
        rule["headers"] = json!({"request": {"set": {"x-set": "1"}, "remove": ["x-flag"]},
            "response": {"add": {"x-added": "2"}}});
    }
    if random.percent(20) {
        rule["timeout"] = json!("5s");
        rule["retries"] = json!({"attempts": 1, "retryOn": "connect-failure"});
    }
    if random.percent(15) {
        rule["corsPolicy"] =
            json!({"allowOrigins": [{"exact": "http://friend"}], "allowMethods": ["GET"]});
    }
    rule
}
