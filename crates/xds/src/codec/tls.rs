//! TLS contexts and secrets.

use super::at::{At, number_of};
use super::common::{
    read_data_source, read_string_match, strs, write_data_source, write_string_match,
};
use super::source;
use crate::message::{Msg, Val};
use crate::schema::*;
use ir::{
    Certificate, CertificateSource, DataSource, DownstreamTls, SanKind, SanMatch, Secret,
    SecretValue, TlsCommon, TlsVersion, UpstreamTls, Validation,
};

pub(super) fn write_downstream_tls(t: &DownstreamTls) -> Msg {
    Msg::new(&DOWNSTREAM_TLS)
        .set("common_tls_context", write_common(&t.common))
        .set_opt("require_client_certificate", t.require_client_certificate.then_some(true))
        .set_opt("require_sni", t.require_sni.then_some(true))
}

pub(super) fn read_downstream_tls(at: &At) -> DownstreamTls {
    DownstreamTls {
        common: read_common_in(at),
        require_client_certificate: at.bool("require_client_certificate"),
        require_sni: at.bool("require_sni"),
    }
}

/// `auto_sni` and `auto_san_validation` belong to the cluster, which sets them.
pub(super) fn write_upstream_tls(t: &UpstreamTls) -> Msg {
    Msg::new(&UPSTREAM_TLS)
        .set("common_tls_context", write_common(&t.common))
        .set("sni", &t.sni)
        .set("allow_renegotiation", t.allow_renegotiation)
}

pub(super) fn read_upstream_tls(at: &At) -> UpstreamTls {
    UpstreamTls {
        common: read_common_in(at),
        sni: at.str("sni"),
        auto_sni: false,
        auto_san_validation: false,
        allow_renegotiation: at.bool("allow_renegotiation"),
    }
}

const VERSIONS: &[(i32, TlsVersion)] = &[
    (0, TlsVersion::Auto),
    (1, TlsVersion::V1_0),
    (2, TlsVersion::V1_1),
    (3, TlsVersion::V1_2),
    (4, TlsVersion::V1_3),
];

fn write_common(c: &TlsCommon) -> Msg {
    let params = Msg::new(&TLS_PARAMETERS)
        .set("tls_minimum_protocol_version", number_of(VERSIONS, c.min_version))
        .set("tls_maximum_protocol_version", number_of(VERSIONS, c.max_version))
        .set("cipher_suites", strs(&c.cipher_suites))
        .set("ecdh_curves", strs(&c.ecdh_curves));
    let (mut inline, mut sds) = (Vec::new(), Vec::new());
    for certificate in &c.certificates {
        match certificate {
            CertificateSource::Inline(c) => inline.push(Val::Msg(write_certificate(c))),
            CertificateSource::Sds(secret) => sds.push(Val::Msg(source::write_secret_ref(secret))),
        }
    }
    let msg = Msg::new(&COMMON_TLS)
        .set_opt("tls_params", (!params.is_empty()).then_some(params))
        .set("tls_certificates", inline)
        .set("tls_certificate_sds_secret_configs", sds)
        .set("alpn_protocols", strs(&c.alpn));
    match &c.validation {
        None => msg,
        Some(v) => match &v.roots_sds {
            None => msg.set("validation_context", write_validation(v)),
            Some(roots) => msg.set(
                "combined_validation_context",
                Msg::new(&COMBINED_VALIDATION)
                    .set("default_validation_context", write_validation(v))
                    .set("validation_context_sds_secret_config", source::write_secret_ref(roots)),
            ),
        },
    }
}

fn read_common_in(at: &At) -> TlsCommon {
    let Some(at) = at.msg("common_tls_context") else { return TlsCommon::default() };
    let mut common = TlsCommon { alpn: at.strs("alpn_protocols"), ..TlsCommon::default() };
    if let Some(params) = at.msg("tls_params") {
        common.min_version =
            params.pick("tls_minimum_protocol_version", VERSIONS).unwrap_or_default();
        common.max_version =
            params.pick("tls_maximum_protocol_version", VERSIONS).unwrap_or_default();
        common.cipher_suites = params.strs("cipher_suites");
        common.ecdh_curves = params.strs("ecdh_curves");
    }
    common.certificates =
        at.each("tls_certificates", |c| CertificateSource::Inline(read_certificate(c)));
    let by_name = at.each("tls_certificate_sds_secret_configs", |s| {
        CertificateSource::Sds(source::read_secret_ref(s))
    });
    common.certificates.extend(by_name);
    common.validation = read_validation_choice(&at);
    common
}

fn read_validation_choice(at: &At) -> Option<Validation> {
    if let Some(v) = at.msg("validation_context") {
        return Some(read_validation(&v));
    }
    if let Some(s) = at.msg("validation_context_sds_secret_config") {
        return Some(Validation {
            roots_sds: Some(source::read_secret_ref(&s)),
            ..Validation::default()
        });
    }
    let both = at.msg("combined_validation_context")?;
    let mut validation =
        both.msg("default_validation_context").map(|v| read_validation(&v)).unwrap_or_default();
    match both.msg("validation_context_sds_secret_config") {
        Some(s) => validation.roots_sds = Some(source::read_secret_ref(&s)),
        None => both.error_in("validation_context_sds_secret_config", "is missing"),
    }
    Some(validation)
}

fn write_certificate(c: &Certificate) -> Msg {
    Msg::new(&TLS_CERTIFICATE)
        .set("certificate_chain", write_data_source(&c.chain))
        .set("private_key", write_data_source(&c.key))
}

fn read_certificate(at: &At) -> Certificate {
    let source = |name| match at.msg(name) {
        Some(d) => read_data_source(&d),
        None => {
            at.error_in(name, "is missing");
            DataSource::Bytes(bytes::Bytes::new())
        }
    };
    Certificate { chain: source("certificate_chain"), key: source("private_key") }
}

const SAN_KINDS: &[(i32, SanKind)] =
    &[(1, SanKind::Email), (2, SanKind::Dns), (3, SanKind::Uri), (4, SanKind::Ip)];

fn write_validation(v: &Validation) -> Msg {
    let typed = |s: &&SanMatch| s.kind != SanKind::Any;
    let san = |s: &SanMatch| {
        Msg::new(&SAN_MATCHER)
            .set("san_type", number_of(SAN_KINDS, s.kind))
            .set("matcher", write_string_match(&s.value))
    };
    Msg::new(&VALIDATION_CONTEXT)
        .set_opt("trusted_ca", v.roots.as_ref().map(write_data_source))
        .set_opt("crl", v.crl.as_ref().map(write_data_source))
        .set("match_typed_subject_alt_names", Val::list(v.sans.iter().filter(typed), san))
        .set(
            "match_subject_alt_names",
            Val::list(v.sans.iter().filter(|s| !typed(s)), |s| write_string_match(&s.value)),
        )
        .set("verify_certificate_hash", strs(&v.certificate_hashes))
        .set("verify_certificate_spki", strs(&v.spki_hashes))
        .set("trust_chain_verification", i32::from(v.accept_untrusted))
        .set_opt("system_root_certs", v.system_roots.then(|| Msg::new(&SYSTEM_ROOTS)))
}

fn read_validation(at: &At) -> Validation {
    let source = |name| at.msg(name).map(|d| read_data_source(&d));
    let mut sans = at.each("match_typed_subject_alt_names", |s| SanMatch {
        kind: s.pick("san_type", SAN_KINDS).unwrap_or(SanKind::Uri),
        value: match s.msg("matcher") {
            Some(m) => read_string_match(&m),
            None => {
                s.error_in("matcher", "is missing");
                ir::StringMatch::exact("")
            }
        },
    });
    sans.extend(at.each("match_subject_alt_names", |m| SanMatch {
        kind: SanKind::Any,
        value: read_string_match(m),
    }));
    Validation {
        roots_sds: None,
        roots: source("trusted_ca"),
        crl: source("crl"),
        sans,
        certificate_hashes: at.strs("verify_certificate_hash"),
        spki_hashes: at.strs("verify_certificate_spki"),
        accept_untrusted: at
            .pick("trust_chain_verification", &[(0, false), (1, true)])
            .unwrap_or(false),
        system_roots: at.has("system_root_certs"),
    }
}

pub(super) fn write_secret(s: &Secret) -> Msg {
    let msg = Msg::new(&SECRET).set("name", &s.name);
    match &s.value {
        SecretValue::Certificate(c) => msg.set("tls_certificate", write_certificate(c)),
        SecretValue::Validation(v) => msg.set("validation_context", write_validation(v)),
    }
}

pub(super) fn read_secret(at: &At) -> Secret {
    let value = if let Some(c) = at.msg("tls_certificate") {
        SecretValue::Certificate(read_certificate(&c))
    } else if let Some(v) = at.msg("validation_context") {
        SecretValue::Validation(read_validation(&v))
    } else {
        at.error("holds neither a certificate nor a validation context");
        SecretValue::Validation(Validation::default())
    };
    Secret { name: at.str("name"), value }
}
