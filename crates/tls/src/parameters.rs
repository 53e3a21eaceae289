//! Versions, cipher suites and key exchanges by the names that configurations give them.

use base::Finding;
use ir::{TlsCommon, TlsVersion};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};
use std::sync::Arc;

/// What a configuration leaves to the handshake.
#[derive(Clone, Debug)]
pub struct Parameters {
    pub(crate) provider: Arc<CryptoProvider>,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
}

/// OpenSSL's names, and ours. Suites with CBC are not spoken.
const SUITES: &[(&str, SupportedCipherSuite)] = &[
    ("TLS_AES_128_GCM_SHA256", aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    ("ECDHE-RSA-AES128-GCM-SHA256", aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    ("ECDHE-RSA-AES256-GCM-SHA384", aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

const GROUPS: &[(&str, &dyn SupportedKxGroup)] = &[
    ("X25519MLKEM768", aws_lc_rs::kx_group::X25519MLKEM768),
    ("X25519", aws_lc_rs::kx_group::X25519),
    ("P-256", aws_lc_rs::kx_group::SECP256R1),
    ("P-384", aws_lc_rs::kx_group::SECP384R1),
];

impl Parameters {
    /// What cannot be spoken is said; nothing left to speak is an error.
    pub fn read(from: &TlsCommon, path: &str, findings: &mut Vec<Finding>) -> Option<Self> {
        let path = format!("{path}.tls_params");
        let mut provider = (*crate::provider()).clone();
        if !from.cipher_suites.is_empty() {
            let written = from.cipher_suites.iter().flat_map(|s| alternatives(s));
            let chosen = named(written, SUITES, &format!("{path}.cipher_suites"), findings);
            // TLS 1.3 has its own suites, which configurations do not choose.
            let third = SUITES.iter().filter(|(_, s)| s.tls13().is_some()).map(|(_, s)| *s);
            provider.cipher_suites =
                third.chain(chosen.into_iter().filter(|s| s.tls13().is_none())).collect();
        }
        if !from.ecdh_curves.is_empty() {
            let written = from.ecdh_curves.iter().map(|s| &**s);
            provider.kx_groups = named(written, GROUPS, &format!("{path}.ecdh_curves"), findings);
        }
        let second = provider.cipher_suites.iter().any(|s| s.tls13().is_none());
        let versions = versions(from.min_version, from.max_version, second);
        if versions.is_empty() || provider.kx_groups.is_empty() {
            let say = "leaves no version, cipher suite or curve that can be spoken; allow TLS 1.2 \
                       with ECDHE and GCM, or TLS 1.3";
            findings.push(Finding::error(path, say));
            return None;
        }
        Some(Self { provider: Arc::new(provider), versions })
    }
}

/// `[A|B]` is a group of equal rank; a leading `-` or `!` has nothing to take away here.
fn alternatives(written: &str) -> impl Iterator<Item = &str> {
    written.trim_start_matches('[').trim_end_matches(']').split('|')
}

fn named<'a, T: Copy>(
    written: impl Iterator<Item = &'a str>,
    known: &[(&str, T)],
    path: &str,
    findings: &mut Vec<Finding>,
) -> Vec<T> {
    let mut found = Vec::new();
    for name in written {
        match known.iter().find(|(n, _)| *n == name) {
            Some((_, value)) => found.push(*value),
            None => findings.push(Finding::warning(path, format!("{name} is not spoken"))),
        }
    }
    found
}

fn versions(
    min: TlsVersion,
    max: TlsVersion,
    second: bool,
) -> Vec<&'static SupportedProtocolVersion> {
    let wanted = |v: TlsVersion| v >= min && (max == TlsVersion::Auto || v <= max);
    let mut list = Vec::new();
    if wanted(TlsVersion::V1_3) {
        list.push(&version::TLS13);
    }
    if wanted(TlsVersion::V1_2) && second {
        list.push(&version::TLS12);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(common: TlsCommon) -> (Option<Parameters>, usize) {
        let mut findings = Vec::new();
        (Parameters::read(&common, "x", &mut findings), findings.len())
    }

    #[test]
    fn versions_and_suites_are_what_is_written() {
        let all = read(TlsCommon::default()).0.unwrap();
        assert_eq!(all.versions.len(), 2);
        let common = TlsCommon { max_version: TlsVersion::V1_2, ..TlsCommon::default() };
        assert_eq!(read(common).0.unwrap().versions, [&version::TLS12]);
        let common = TlsCommon {
            cipher_suites: vec![
                "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]".into(),
                "AES128-SHA".into(),
            ],
            ..TlsCommon::default()
        };
        let (parameters, said) = read(common);
        let suites = parameters.unwrap().provider.cipher_suites.clone();
        assert_eq!(suites.iter().filter(|s| s.tls13().is_none()).count(), 2);
        assert_eq!(said, 1);
    }

    #[test]
    fn nothing_to_speak_is_an_error() {
        let old = TlsCommon { max_version: TlsVersion::V1_1, ..TlsCommon::default() };
        assert!(matches!(read(old), (None, 1)));
        let weak = TlsCommon {
            max_version: TlsVersion::V1_2,
            cipher_suites: vec!["AES128-SHA".into()],
            ..TlsCommon::default()
        };
        assert!(matches!(read(weak), (None, 2)));
    }
}
