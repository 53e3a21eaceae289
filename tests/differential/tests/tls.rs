//! TLS beside real Envoy: the same clients at the listeners of both, and the clusters of both before
//! the listeners of both. Who gets in, what is agreed on and what the application learns must be the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use differential::bootstrap::{self, DOWNSTREAM_TLS, HCM, ROUTER, TLS_INSPECTOR};
use differential::proxy::{Proxy, find_envoy, free_ports};
use differential::upstream::{self, Seen};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

const UPSTREAM: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Files made with openssl.
struct Files(PathBuf);

impl Files {
    fn make() -> Self {
        let dir = {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            std::env::temp_dir().join(format!("lateen-tls-{}-{n}", std::process::id()))
        };
        std::fs::create_dir_all(&dir).unwrap();
        let this = Self(dir);
        for ca in ["ca", "other"] {
            this.run(&format!(
                "openssl req -x509 -nodes -newkey rsa:2048 -days 30 -subj /O=x/CN={ca} -keyout {ca}.key -out {ca}.crt"
            ));
        }
        this.sign("server", "ca", "DNS:a.example,URI:spiffe://td/ns/n/sa/server", 30, 10);
        this.sign("wild", "ca", "DNS:*.b.example", 30, 11);
        this.sign("good", "ca", "URI:spiffe://td/ns/n/sa/good,DNS:w.c.example", 30, 12);
        this.sign("bad", "ca", "URI:spiffe://td/ns/n/sa/bad", 30, 13);
        this.sign("starred", "ca", "DNS:*.c.example", 30, 14);
        this.sign("stranger", "other", "URI:spiffe://td/ns/n/sa/good", 30, 15);
        this.sign("expired", "ca", "URI:spiffe://td/ns/n/sa/good", -1, 16);
        this.sign("nameless", "ca", "", 30, 17);
        this.revoke("bad");
        this
    }

    fn run(&self, command: &str) -> String {
        let out = Command::new("sh").args(["-c", command]).current_dir(&self.0).output().unwrap();
        assert!(out.status.success(), "{command}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Without names there are no extensions, so the certificate is of version 1.
    fn sign(&self, name: &str, ca: &str, names: &str, days: i32, serial: u32) {
        let extensions = match names {
            "" => String::new(),
            _ => format!("-extfile {name}.ext"),
        };
        std::fs::write(self.0.join(format!("{name}.ext")), format!("subjectAltName={names}\n"))
            .unwrap();
        self.run(&format!(
            "openssl req -nodes -newkey rsa:2048 -subj '/O=a, b/CN={name}' -keyout {name}.key -out {name}.csr && \
             openssl x509 -req -days {days} -CA {ca}.crt -CAkey {ca}.key -set_serial {serial} -in {name}.csr -out {name}.crt {extensions}"
        ));
    }

    fn revoke(&self, name: &str) {
        std::fs::write(self.0.join("index.txt"), "").unwrap();
        std::fs::write(self.0.join("number"), "01").unwrap();
        let config = "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=30\n";
        std::fs::write(self.0.join("ca.cnf"), config).unwrap();
        let ca = "openssl ca -config ca.cnf -cert ca.crt -keyfile ca.key";
        self.run(&format!("{ca} -revoke {name}.crt && {ca} -gencrl -out ca.crl"));
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.0.join(file)).unwrap()
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }

    /// A certificate inline and its key from a file.
    fn certificate(&self, name: &str) -> Value {
        json!({
            "certificate_chain": { "inline_string": self.read(&format!("{name}.crt")) },
            "private_key": { "filename": self.path(&format!("{name}.key")) },
        })
    }

    fn roots(&self, ca: &str) -> Value {
        json!({ "filename": self.path(&format!("{ca}.crt")) })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A listener that ends TLS: its name, its chains.
type Ending = (&'static str, Vec<Value>);

fn chain(tls: Value, names: &[&str]) -> Value {
    let mut chain = json!({
        "transport_socket": { "name": "tls", "typed_config": tls },
        "filters": [manager("/", "echo")],
    });
    if !names.is_empty() {
        chain["filter_chain_match"] = json!({ "server_names": names });
    }
    chain
}

fn manager(prefix: &str, cluster: &str) -> Value {
    json!({
        "name": "hcm",
        "typed_config": {
            "@type": HCM,
            "stat_prefix": "x",
            "forward_client_cert_details": "SANITIZE_SET",
            "set_current_client_cert_details": { "subject": true, "uri": true, "dns": true },
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
                { "match": { "prefix": prefix }, "route": { "cluster": cluster } }
            ] }] },
            "http_filters": [{ "name": "r", "typed_config": { "@type": ROUTER } }],
        },
    })
}

fn endings(files: &Files) -> Vec<Ending> {
    let server = |certificate: &str, common: Value, more: Value| {
        let mut tls = json!({ "@type": DOWNSTREAM_TLS, "common_tls_context": {
            "tls_certificates": [files.certificate(certificate)],
            "alpn_protocols": ["h2", "http/1.1"],
        } });
        differential::bootstrap::merge(&mut tls["common_tls_context"], common);
        differential::bootstrap::merge(&mut tls, more);
        tls
    };
    let asks = |validation: Value, required: bool| {
        let mut context = json!({ "trusted_ca": files.roots("ca") });
        differential::bootstrap::merge(&mut context, validation);
        let more = json!({ "require_client_certificate": required });
        vec![chain(server("server", json!({ "validation_context": context }), more), &[])]
    };
    let san = |kind: &str, matcher: Value| json!({ "match_typed_subject_alt_names": [{ "san_type": kind, "matcher": matcher }] });
    let params =
        |p: Value| vec![chain(server("server", json!({ "tls_params": p }), json!({})), &[])];
    let print = |what: &str| files.run(what).trim().to_owned();
    let hash = print("openssl x509 -in good.crt -outform DER | sha256sum | cut -d' ' -f1");
    let key = print(
        "openssl x509 -in good.crt -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64",
    );
    vec![
        ("simple", vec![chain(server("server", json!({}), json!({})), &[])]),
        (
            "names",
            vec![
                chain(server("server", json!({}), json!({})), &["a.example"]),
                chain(server("wild", json!({}), json!({})), &["*.b.example"]),
            ],
        ),
        ("required", asks(json!({}), true)),
        ("optional", asks(json!({}), false)),
        ("uri", asks(san("URI", json!({ "exact": "spiffe://td/ns/n/sa/good" })), true)),
        ("uri_prefix", asks(san("URI", json!({ "prefix": "spiffe://td/ns/n/" })), true)),
        ("dns", asks(san("DNS", json!({ "exact": "w.c.example" })), true)),
        ("dns_suffix", asks(san("DNS", json!({ "suffix": ".c.example" })), true)),
        ("revoked", asks(json!({ "crl": { "filename": files.path("ca.crl") } }), true)),
        ("hash", asks(json!({ "verify_certificate_hash": [hash] }), true)),
        ("key", asks(json!({ "verify_certificate_spki": [key] }), true)),
        ("untrusted", asks(json!({ "trust_chain_verification": "ACCEPT_UNTRUSTED" }), true)),
        ("third", params(json!({ "tls_minimum_protocol_version": "TLSv1_3" }))),
        ("second", params(json!({ "tls_maximum_protocol_version": "TLSv1_2" }))),
        (
            "suites",
            params(json!({
                "tls_maximum_protocol_version": "TLSv1_2",
                "cipher_suites": ["ECDHE-RSA-CHACHA20-POLY1305"],
            })),
        ),
        ("sni", vec![chain(server("server", json!({}), json!({ "require_sni": true })), &[])]),
    ]
}

/// A listener in the clear before a cluster that begins TLS towards a listener that ends it.
struct Beginning {
    name: &'static str,
    towards: &'static str,
    tls: Value,
    options: Value,
    hosts: &'static [&'static str],
}

fn beginnings(files: &Files) -> Vec<Beginning> {
    let checks = |validation: Value| {
        let mut context = json!({ "trusted_ca": files.roots("ca") });
        differential::bootstrap::merge(&mut context, validation);
        json!({ "common_tls_context": { "validation_context": context }, "sni": "a.example" })
    };
    let san = |kind: &str, matcher: Value| {
        checks(
            json!({ "match_typed_subject_alt_names": [{ "san_type": kind, "matcher": matcher }] }),
        )
    };
    let with = |certificate: &str| {
        let mut tls = checks(json!({}));
        tls["common_tls_context"]["tls_certificates"] = json!([files.certificate(certificate)]);
        tls
    };
    let one = |name, towards, tls| Beginning {
        name,
        towards,
        tls,
        options: Value::Null,
        hosts: &["a.example"],
    };
    let auto = json!({ "upstream_http_protocol_options": {
        "auto_sni": true, "auto_san_validation": true
    }, "explicit_http_config": { "http_protocol_options": {} } });
    let mut nameless = checks(json!({}));
    nameless["sni"] = json!("");
    let hosts: &[_] = &["a.example", "a.example:443", "x.b.example", "b.example", "c.example"];
    vec![
        one("chain", "simple", checks(json!({}))),
        one("no_sni", "simple", nameless.clone()),
        one("uri", "simple", san("URI", json!({ "exact": "spiffe://td/ns/n/sa/server" }))),
        one("wrong_uri", "simple", san("URI", json!({ "exact": "spiffe://td/ns/n/sa/x" }))),
        one("uri_as_dns", "simple", san("DNS", json!({ "exact": "spiffe://td/ns/n/sa/server" }))),
        one(
            "uri_regex",
            "simple",
            san("URI", json!({ "safe_regex": { "regex": "spiffe://td/.*" } })),
        ),
        one("wrong_ca", "simple", checks(json!({ "trusted_ca": files.roots("other") }))),
        one("unchecked", "simple", json!({ "common_tls_context": {} })),
        one(
            "itself",
            "simple",
            checks(json!({ "trusted_ca": { "filename": files.path("server.crt") } })),
        ),
        one("mutual", "required", with("good")),
        one("mutual_named", "uri", with("good")),
        one("mutual_bad_name", "uri", with("bad")),
        one("mutual_stranger", "required", with("stranger")),
        one("mutual_none", "required", checks(json!({}))),
        one("by_alpn", "simple", checks(json!({}))),
        one("plain_server", "echo", checks(json!({}))),
        Beginning { name: "auto_names", towards: "names", tls: nameless, options: auto, hosts },
    ]
}

fn socket(port: u16) -> Value {
    bootstrap::socket(([127, 0, 0, 1], port).into())
}

fn cluster(name: &str, port: u16) -> Value {
    json!({ "name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": {
        "cluster_name": name,
        "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(port) } }] }],
    } })
}

/// Envoy and ours, with the ports of their listeners by name.
struct Pair {
    names: Vec<String>,
    ports: [Vec<u16>; 2],
    _envoy: Proxy,
    _ours: dataplane::Proxy,
}

impl Pair {
    fn port(&self, proxy: usize, name: &str) -> u16 {
        let place = self.names.iter().position(|n| n == name).unwrap();
        self.ports[proxy][place]
    }
}

/// Ours runs in this process, from the same text.
fn run_ours(config: &Value) -> dataplane::Proxy {
    let bootstrap = xds::bootstrap::read(&config.to_string()).unwrap();
    let proxy = dataplane::Proxy::start(dataplane::Options::default()).unwrap();
    let said = proxy.publish(&bootstrap.config);
    assert!(said.is_empty(), "{said:?}");
    proxy
}

fn start(files: &Files) -> Option<Pair> {
    let Some(envoy) = find_envoy() else {
        assert!(std::env::var_os("LATEEN_REQUIRE_PEERS").is_none(), "Envoy is missing");
        println!("skip: Envoy is missing");
        return None;
    };
    let echo = upstream::start("echo", Seen::default()).unwrap().port();
    let (endings, beginnings) = (endings(files), beginnings(files));
    let mut names: Vec<String> = endings.iter().map(|(n, _)| (*n).to_owned()).collect();
    // Every beginning leads to the endings of both proxies.
    for b in &beginnings {
        names.extend([0, 1].map(|to| format!("{}>{to}", b.name)));
    }
    let mut all = free_ports(2 * (names.len() + 1)).unwrap();
    let second = all.split_off(names.len() + 1);
    let free = [all, second];
    let port = |proxy: usize, name: &str| match name {
        "echo" => echo,
        name => free[proxy][names.iter().position(|n| n == name).unwrap()],
    };
    let config_of = |proxy: usize| {
        let mut listeners: Vec<Value> = endings
            .iter()
            .map(|(name, chains)| {
                json!({
                    "name": name, "address": socket(port(proxy, name)), "filter_chains": chains,
                    "listener_filters": [{ "name": "tls", "typed_config": { "@type": TLS_INSPECTOR } }],
                })
            })
            .collect();
        let mut clusters = vec![cluster("echo", echo)];
        for b in &beginnings {
            for to in 0..2 {
                let name = format!("{}>{to}", b.name);
                let mut tls = b.tls.clone();
                tls["@type"] = json!(UPSTREAM);
                let mut c = cluster(&name, port(to, b.towards));
                c["transport_socket"] = json!({ "name": "tls", "typed_config": tls });
                let options = match b.name {
                    "by_alpn" => {
                        json!({ "auto_config": { "http_protocol_options": {}, "http2_protocol_options": {} } })
                    }
                    _ => b.options.clone(),
                };
                if !options.is_null() {
                    let mut options = options;
                    options["@type"] = json!(format!("type.googleapis.com/{OPTIONS}"));
                    c["typed_extension_protocol_options"] = json!({ OPTIONS: options });
                }
                clusters.push(c);
                listeners.push(json!({
                    "name": name, "address": socket(port(proxy, &name)),
                    "filter_chains": [{ "filters": [manager("/", &name)] }],
                }));
            }
        }
        json!({
            "admin": { "address": socket(*free[proxy].last().unwrap()) },
            "static_resources": { "listeners": listeners, "clusters": clusters },
        })
    };
    let admin = SocketAddr::from(([127, 0, 0, 1], *free[0].last().unwrap()));
    let ports = free[0].clone();
    let of_envoy = Proxy::start(&envoy, "envoy", &files.0, &config_of(0), admin, ports).unwrap();
    let of_ours = run_ours(&config_of(1));
    Some(Pair { names, ports: free, _envoy: of_envoy, _ours: of_ours })
}

/// What a client sees of an answer: whether it came, by which protocol, and what the application was told.
fn ask(files: &Files, port: u16, host: &str, args: &[String]) -> String {
    let resolve = format!("{host}:{port}:127.0.0.1");
    let out = Command::new("curl")
        .args(["-s", "--max-time", "5", "--cacert", &files.path("ca.crt"), "--resolve", &resolve])
        .args(["-w", "\n%{http_code} %{http_version}"])
        .args(args)
        .arg(format!("https://{host}:{port}/"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let told = |name: &str| {
        let line = text.split(['{', '}', ',', '\n', '[', ']']).find(|part| part.contains(name));
        line.unwrap_or_default().trim().to_owned()
    };
    let certificate = text.find("x-forwarded-client-cert").map(|at| {
        text[at..].chars().take(300).take_while(|c| *c != ']' && *c != '}').collect::<String>()
    });
    let last = text.lines().last().unwrap_or_default().to_owned();
    format!("{last} {} {}", told("x-forwarded-proto"), certificate.unwrap_or_default())
}

fn differences(seen: &[(String, String, String)]) -> Vec<String> {
    let differ = seen.iter().filter(|(_, envoy, ours)| envoy != ours);
    differ.map(|(what, envoy, ours)| format!("{what}\n  envoy {envoy}\n  ours  {ours}")).collect()
}

#[test]
fn the_same_clients_get_in() {
    let files = Files::make();
    let Some(pair) = start(&files) else { return };
    let mut seen = Vec::new();
    let own = |name: &str| {
        vec![
            "--cert".to_owned(),
            files.path(&format!("{name}.crt")),
            "--key".to_owned(),
            files.path(&format!("{name}.key")),
        ]
    };
    let plain = |flags: &str| flags.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut clients = vec![
        ("h2", plain("--http2")),
        ("h1", plain("--http1.1")),
        ("no alpn", plain("--no-alpn")),
        ("1.2", plain("--tls-max 1.2 --http1.1")),
        ("1.3", plain("--tlsv1.3 --http1.1")),
        ("aes only", plain("--tls-max 1.2 --ciphers ECDHE-RSA-AES128-GCM-SHA256")),
        ("chacha only", plain("--tls-max 1.2 --ciphers ECDHE-RSA-CHACHA20-POLY1305")),
    ];
    for name in ["good", "bad", "starred", "stranger", "expired", "nameless"] {
        clients.push((name, own(name)));
        clients.push((name, [own(name), plain("--tls-max 1.2")].concat()));
    }
    for name in pair.names.iter().filter(|n| !n.contains('>')) {
        for (client, args) in &clients {
            for host in ["a.example", "x.b.example", "c.example"] {
                if host != "a.example" && name != "names" {
                    continue;
                }
                let [envoy, ours] = [0, 1].map(|p| ask(&files, pair.port(p, name), host, args));
                if name == "revoked" && *client == "nameless" {
                    // A stated difference: without extensions nothing says where it is revoked.
                    assert!(envoy.starts_with("200") && ours.starts_with("000"), "{ours}");
                    continue;
                }
                seen.push((format!("{name}: {client} {args:?} at {host}"), envoy, ours));
            }
        }
    }
    let admitted = seen.iter().filter(|(_, envoy, _)| envoy.starts_with("200")).count();
    println!("{} handshakes, {admitted} admitted", seen.len());
    assert!(
        admitted * 5 > seen.len() && admitted * 5 < seen.len() * 4,
        "{admitted} decide too little"
    );
    let found = differences(&seen);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_same_servers_are_believed() {
    let files = Files::make();
    let Some(pair) = start(&files) else { return };
    let mut found = Vec::new();
    let mut statuses = Vec::new();
    for b in beginnings(&files) {
        for host in b.hosts {
            // From each proxy to each.
            let mut seen = Vec::new();
            for from in 0..2 {
                for to in 0..2 {
                    let port = pair.port(from, &format!("{}>{to}", b.name));
                    let out = Command::new("curl")
                        .args(["-s", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}"])
                        .args([
                            "-H",
                            &format!("Host: {host}"),
                            &format!("http://127.0.0.1:{port}/"),
                        ])
                        .output()
                        .unwrap();
                    seen.push(String::from_utf8(out.stdout).unwrap());
                }
            }
            statuses.push(seen[0].clone());
            if seen.iter().any(|s| *s != seen[0]) {
                found.push(format!("{} for {host}: envoy to envoy, envoy to ours, ours to envoy, ours to ours: {seen:?}", b.name));
            }
        }
    }
    assert!(
        statuses.iter().any(|s| s == "200") && statuses.iter().any(|s| s == "503"),
        "{statuses:?}"
    );
    assert!(found.is_empty(), "{}", found.join("\n"));
}
