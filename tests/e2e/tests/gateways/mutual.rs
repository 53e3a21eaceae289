//! Who may come in: certificates of clients, their names and fingerprints, what is revoked; and which TLS
//! is spoken with them.

use super::edge::{Client, Edge};
use base64::Engine;
use e2e::Answer;
use e2e::authority::Leaf;

const GATEWAY: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: mutual }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 443, name: https-mutual, protocol: HTTPS }
    tls: { mode: MUTUAL, credentialName: all-in-one }
    hosts: [mutual.example.com]
  - port: { number: 443, name: https-two, protocol: HTTPS }
    tls: { mode: MUTUAL, credentialName: two-secrets }
    hosts: [two.example.com]
  - port: { number: 443, name: https-third, protocol: HTTPS }
    tls: { mode: MUTUAL, credentialName: two-secrets, caCertCredentialName: third-roots }
    hosts: [third.example.com]
  - port: { number: 443, name: https-optional, protocol: HTTPS }
    tls: { mode: OPTIONAL_MUTUAL, credentialName: all-in-one }
    hosts: [optional.example.com]
  - port: { number: 443, name: https-revoked, protocol: HTTPS }
    tls: { mode: MUTUAL, credentialName: with-list }
    hosts: [revoked.example.com]
  - port: { number: 443, name: https-named, protocol: HTTPS }
    tls: { mode: MUTUAL, credentialName: all-in-one, subjectAltNames: [good.client.example] }
    hosts: [named.example.com]
  - port: { number: 443, name: https-key, protocol: HTTPS }
    tls: { mode: MUTUAL, credentialName: all-in-one, verifyCertificateSpki: ["SPKI"] }
    hosts: [key.example.com]
  - port: { number: 443, name: https-hash, protocol: HTTPS }
    tls: { mode: MUTUAL, credentialName: all-in-one, verifyCertificateHash: ["HASH"] }
    hosts: [hash.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: mutual }
spec:
  hosts: ["*.example.com"]
  gateways: [mutual]
  http: [{ route: [{ destination: { host: httpbin, port: { number: 8000 } } }] }]
"#;

/// A refusal is seen at the handshake, or in TLS 1.3 when the first answer is read.
fn refused(answer: &Answer) -> bool {
    answer.status == 0
}

pub fn clients_come_in_by_their_certificates(edge: &Edge<'_>) {
    let authority = &edge.authority;
    let server = authority.leaf(&["*.example.com"]);
    let (good, bad) =
        (authority.leaf(&["good.client.example"]), authority.leaf(&["bad.client.example"]));
    let third = e2e::authority::Authority::new("a third authority");
    let foreign = third.leaf(&["good.client.example"]);
    let list = authority.revocation_of(&[&bad]);
    edge.credential("istio-system", "all-in-one", &server);
    edge.tls_secret("two-secrets", &server);
    edge.secret("istio-system", "two-secrets-cacert", &[("cacert", &authority.root)]);
    edge.secret("istio-system", "third-roots", &[("ca.crt", &third.root)]);
    let pair = [("tls.crt", server.chain.as_str()), ("tls.key", &server.key)];
    let trusted = [("ca.crt", authority.root.as_str()), ("ca.crl", &list)];
    edge.secret("istio-system", "with-list", &[pair, trusted].concat());
    edge.mesh.apply_text(&GATEWAY.replace("SPKI", &spki(&good)).replace("HASH", &hash(&good)));

    let nobody = edge.client();
    let client = |name: &str, leaf: &Leaf| edge.client().showing(&edge.files, name, leaf);
    let (good, bad) = (client("good", &good), client("bad", &bad));
    let foreign = client("foreign", &foreign);
    edge.until(&good, "mutual.example.com", "/status/201", 201);
    // (host, who comes in): nobody, good, bad, foreign.
    let table: [(&str, [bool; 4]); 8] = [
        ("mutual", [false, true, true, false]),
        ("two", [false, true, true, false]),
        ("third", [false, false, false, true]),
        ("optional", [true, true, true, false]),
        ("revoked", [false, true, false, false]),
        ("named", [false, true, false, false]),
        ("key", [false, true, false, false]),
        ("hash", [false, true, false, false]),
    ];
    for (host, expected) in table {
        let host = format!("{host}.example.com");
        let ask = |client: &Client| edge.get(client, &host, "/status/201");
        let answers = [&nobody, &good, &bad, &foreign].map(ask);
        for (who, (answer, comes_in)) in
            ["nobody", "good", "bad", "foreign"].iter().zip(answers.iter().zip(expected))
        {
            let right = if comes_in { answer.status == 201 } else { refused(answer) };
            assert!(right, "{who} at {host}: {answer:?}");
        }
    }
    edge.delete(&["gateway,virtualservice", "mutual"]);
}

/// Base64 of the digest of the public key, as `openssl … | openssl dgst -sha256 -binary | base64` says it.
fn spki(leaf: &Leaf) -> String {
    base64::engine::general_purpose::STANDARD.encode(digest(&leaf.public))
}

fn hash(leaf: &Leaf) -> String {
    digest(&leaf.der).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    tls::sha256(bytes)
}

const PARAMETERS: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: parameters }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 443, name: https-newest, protocol: HTTPS }
    tls: { mode: SIMPLE, credentialName: of-parameters, minProtocolVersion: TLSV1_3 }
    hosts: [newest.example.com]
  - port: { number: 443, name: https-older, protocol: HTTPS }
    tls: { mode: SIMPLE, credentialName: of-parameters, maxProtocolVersion: TLSV1_2, cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384] }
    hosts: [older.example.com]
  - port: { number: 443, name: https-both, protocol: HTTPS }
    tls: { mode: SIMPLE, credentialNames: [of-rsa, of-parameters] }
    hosts: [both.example.com]
"#;

pub fn versions_ciphers_and_kinds_of_keys_are_as_written(edge: &Edge<'_>) {
    edge.tls_secret("of-parameters", &edge.authority.leaf(&["*.example.com"]));
    edge.tls_secret("of-rsa", &edge.authority.rsa_leaf(&["*.example.com"]));
    edge.mesh.apply_text(PARAMETERS);
    let client = edge.client();
    let (old, new) = (client.with(&["--tls-max", "1.2"]), client.with(&["--tlsv1.3"]));
    let suite = |name: &str| old.with(&["--ciphers", name]);
    edge.until(&client, "both.example.com", "/", 404);
    // (host, client, whether it comes in); nothing is routed, so to come in is to find nothing.
    let table = [
        ("newest", &new, true),
        ("newest", &old, false),
        ("older", &new, false),
        ("older", &suite("ECDHE-ECDSA-AES256-GCM-SHA384"), true),
        ("older", &suite("ECDHE-ECDSA-AES128-GCM-SHA256"), false),
        ("both", &suite("ECDHE-ECDSA-AES128-GCM-SHA256"), true),
        ("both", &suite("ECDHE-RSA-AES128-GCM-SHA256"), true),
        ("newest", &client.with(&["--tls-max", "1.1"]), false),
    ];
    for (host, client, comes_in) in table {
        let answer = edge.get(client, &format!("{host}.example.com"), "/");
        assert_eq!(answer.status, if comes_in { 404 } else { 0 }, "{host} {client:?}: {answer:?}");
    }
    edge.delete(&["gateway", "parameters"]);
}

/// As tutorials before 1.5 have it: Secrets of these names are mounted into the gateway's pods.
const FILES: &str = r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: of-files }
spec:
  selector: { istio: ingressgateway }
  servers:
  - port: { number: 443, name: https-files, protocol: HTTPS }
    tls:
      mode: MUTUAL
      serverCertificate: /etc/istio/ingressgateway-certs/tls.crt
      privateKey: /etc/istio/ingressgateway-certs/tls.key
      caCertificates: /etc/istio/ingressgateway-ca-certs/ca.crt
      caCrl: /etc/istio/ingressgateway-ca-certs/ca.crl
    hosts: [files.example.com]
"#;

pub fn certificates_lie_in_files(edge: &Edge<'_>) {
    let authority = &edge.authority;
    let (good, bad) = (authority.leaf(&["good.example"]), authority.leaf(&["bad.example"]));
    let list = authority.revocation_of(&[&bad]);
    let roots = [("ca.crt", authority.root.as_str()), ("ca.crl", &list)];
    edge.secret("istio-system", "istio-ingressgateway-ca-certs", &roots);
    edge.tls_secret("istio-ingressgateway-certs", &authority.leaf(&["files.example.com"]));
    let in_pod = |file: &str| {
        let gateway = ["-n", "istio-system", "exec", "deploy/istio-ingressgateway", "--", "cat"];
        let mut cat = edge.mesh.kubectl_command();
        cat.args([&gateway[..], &[file]].concat()).output().is_ok_and(|out| out.status.success())
    };
    e2e::eventually("the files", super::edge::SOON, || {
        let files = ["ingressgateway-certs/tls.key", "ingressgateway-ca-certs/ca.crl"];
        match files.iter().all(|f| in_pod(&format!("/etc/istio/{f}"))) {
            true => Ok(()),
            false => Err("are not in the pod yet".to_owned()),
        }
    });
    edge.mesh.apply_text(FILES);
    let client = |name: &str, leaf: &Leaf| edge.client().showing(&edge.files, name, leaf);
    let good = client("of-files", &good);
    edge.until(&good, "files.example.com", "/", 404);
    for refused in [edge.client(), client("revoked", &bad)] {
        assert_eq!(edge.get(&refused, "files.example.com", "/").status, 0, "{refused:?}");
    }
    // New files are served as new Secrets are.
    let next = e2e::authority::Authority::new("another");
    edge.tls_secret("istio-ingressgateway-certs", &next.leaf(&["files.example.com"]));
    let root = edge.files.write("files-next.pem", &next.root);
    edge.until(&good.with(&["--cacert", &root]), "files.example.com", "/", 404);
    edge.delete(&["gateway", "of-files"]);
}
