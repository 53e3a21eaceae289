//! Handshakes in memory: who gets through, who does not, and that a replaced certificate is used at once.

#![allow(clippy::unwrap_used)] // What a test cannot do without ends it.

use base::SpiffeId;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::{ClientConnection, ServerConnection};
use std::sync::Arc;
use tls::{ClientAuth, Credential, CredentialSource, Expect, Trust, TrustSource};

type Root = CertifiedIssuer<'static, KeyPair>;

fn root() -> Root {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn leaf(root: &Root, uris: &[&str], dns: &[&str]) -> Credential {
    let mut params = CertificateParams::default();
    for uri in uris {
        params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
    }
    for name in dns {
        params.subject_alt_names.push(SanType::DnsName((*name).try_into().unwrap()));
    }
    let key = KeyPair::generate().unwrap();
    let cert = params.signed_by(&key, root).unwrap();
    Credential::from_pem(&cert.pem(), &key.serialize_pem()).unwrap()
}

fn trust(root: &Root) -> TrustSource {
    TrustSource::new(Trust::from_pem(&root.pem()).unwrap())
}

/// Runs a handshake; the server's view of the client's identities, or the first error.
fn shake(
    server: Arc<rustls::ServerConfig>,
    client: Arc<rustls::ClientConfig>,
) -> Result<(Vec<SpiffeId>, String), rustls::Error> {
    let name = "istiod.istio-system.svc".try_into().unwrap();
    let mut client = ClientConnection::new(client, name)?;
    let mut server = ServerConnection::new(server)?;
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!server.is_handshaking());
    let ids = server.peer_certificates().map(|c| tls::spiffe_ids(&c[0])).unwrap_or_default();
    let serial = tls::facts(&client.peer_certificates().unwrap()[0]).unwrap().serial;
    Ok((ids, serial))
}

const A: &str = "spiffe://cluster.local/ns/default/sa/a";
const B: &str = "spiffe://cluster.local/ns/default/sa/b";
const ELSEWHERE: &str = "spiffe://other.example/ns/default/sa/a";

fn meet(
    server_uris: &[&str],
    client_uris: &[&str],
    expect: Expect,
) -> Result<Vec<SpiffeId>, rustls::Error> {
    let root = root();
    let server = tls::server_config(
        CredentialSource::new(leaf(&root, server_uris, &[])),
        ClientAuth::Required(trust(&root)),
        &[],
    )
    .unwrap();
    let own = CredentialSource::new(leaf(&root, client_uris, &[]));
    let client = tls::client_config(trust(&root), expect, Some(own), &[]).unwrap();
    shake(server, client).map(|(ids, _)| ids)
}

#[test]
fn an_identity_is_admitted_only_when_it_is_expected() {
    let only_a = Expect::OneOf(vec![A.parse().unwrap()]);
    let domain = Expect::AnyOf(base::TrustDomain("cluster.local".into()));
    let cases: [(&[&str], &Expect, bool); 8] = [
        (&[A], &only_a, true),
        (&[B], &only_a, false),
        (&[A, B], &only_a, false),
        (&[], &only_a, false),
        (&[A], &domain, true),
        (&[ELSEWHERE], &domain, false),
        (&["https://cluster.local/x"], &domain, false),
        (&[A], &Expect::OneOf(Vec::new()), false),
    ];
    for (uris, expect, admitted) in cases {
        assert_eq!(meet(uris, &[B], expect.clone()).is_ok(), admitted, "{uris:?} {expect:?}");
    }
}

#[test]
fn the_server_learns_who_the_client_is_and_refuses_the_anonymous() {
    let any = Expect::AnyOf(base::TrustDomain("cluster.local".into()));
    assert_eq!(meet(&[A], &[B], any.clone()).unwrap(), vec![B.parse().unwrap()]);
    assert!(meet(&[A], &[], any.clone()).is_err(), "a certificate without identity");
    assert!(meet(&[A], &[A, B], any).is_err(), "a certificate with two identities");
}

#[test]
fn another_root_is_not_trusted_and_no_root_trusts_nobody() {
    let (ours, theirs) = (root(), root());
    let server = tls::server_config(
        CredentialSource::new(leaf(&theirs, &[A], &["istiod.istio-system.svc"])),
        ClientAuth::None,
        &[],
    )
    .unwrap();
    for trust in [trust(&ours), TrustSource::default()] {
        let client = tls::client_config(trust, Expect::DialledName, None, &[]).unwrap();
        assert!(shake(server.clone(), client).is_err());
    }
    let client = tls::client_config(trust(&theirs), Expect::DialledName, None, &[]).unwrap();
    assert!(shake(server, client).is_ok());
}

#[test]
fn a_name_that_was_not_dialled_is_refused() {
    let root = root();
    let source = CredentialSource::new(leaf(&root, &[], &["elsewhere.svc"]));
    let server = tls::server_config(source, ClientAuth::None, &[]).unwrap();
    let client = tls::client_config(trust(&root), Expect::DialledName, None, &[]).unwrap();
    assert!(shake(server, client).is_err());
}

#[test]
fn a_replaced_certificate_serves_the_next_handshake() {
    let root = root();
    let source = CredentialSource::default();
    let server = tls::server_config(source.clone(), ClientAuth::None, &[]).unwrap();
    let client = tls::client_config(trust(&root), Expect::DialledName, None, &[]).unwrap();
    assert!(shake(server.clone(), client.clone()).is_err(), "there is no certificate yet");
    for _ in 0..2 {
        let next = leaf(&root, &[], &["istiod.istio-system.svc"]);
        let serial = next.facts.serial.clone();
        source.replace(next);
        assert_eq!(shake(server.clone(), client.clone()).unwrap().1, serial);
    }
}

#[test]
fn a_key_that_does_not_fit_is_refused() {
    let root = root();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::default().signed_by(&key, &root).unwrap();
    let other = KeyPair::generate().unwrap().serialize_pem();
    assert!(Credential::from_pem(&cert.pem(), &other).is_err());
    assert!(Trust::from_pem("nothing").is_err());
}
