//! TLS contexts, secrets and other transport sockets. One row a field: `yes` is honoured, `fine` is
//! harmless and says why, `no` is refused.

use super::core::{
    CONFIG_SOURCE, DATA_SOURCE, PROXY_PROTOCOL_CONFIG, STRING_MATCHER, TRANSPORT_SOCKET,
};
use super::row::*;
use super::{Enum, Message};

pub static DOWNSTREAM_TLS: Message = Message::plain(
    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    &[
        yes(1, "common_tls_context", msg(&COMMON_TLS)),
        yes(2, "require_client_certificate", BOOL_VALUE),
        yes(3, "require_sni", BOOL_VALUE),
        no(4, "session_ticket_keys").choice(1),
        no(5, "session_ticket_keys_sds_secret_config").choice(1),
        fine(6, "session_timeout", "a matter of efficiency, not of behaviour"),
        fine(7, "disable_stateless_session_resumption", "a matter of efficiency, not of behaviour")
            .choice(1),
        no(8, "ocsp_staple_policy"),
        no(9, "full_scan_certs_on_sni_mismatch"),
        fine(10, "disable_stateful_session_resumption", "a matter of efficiency, not of behaviour"),
        no(11, "prefer_client_ciphers"),
    ],
);

pub static UPSTREAM_TLS: Message = Message::plain(
    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    &[
        yes(1, "common_tls_context", msg(&COMMON_TLS)),
        yes(2, "sni", STRING),
        yes(3, "allow_renegotiation", BOOL),
        fine(4, "max_session_keys", "a matter of efficiency, not of behaviour"),
        fine(5, "enforce_rsa_key_usage", "key usage is always checked"),
        no(6, "auto_host_sni"),
        no(7, "auto_sni_san_validation"),
    ],
);

pub static COMMON_TLS: Message = Message::plain(
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
    &[
        yes(1, "tls_params", msg(&TLS_PARAMETERS)),
        yes(2, "tls_certificates", msg(&TLS_CERTIFICATE)).many(),
        yes(3, "validation_context", msg(&VALIDATION_CONTEXT)).choice(1),
        yes(4, "alpn_protocols", STRING).many(),
        yes(6, "tls_certificate_sds_secret_configs", msg(&SDS_SECRET_CONFIG)).many(),
        yes(7, "validation_context_sds_secret_config", msg(&SDS_SECRET_CONFIG)).choice(1),
        yes(8, "combined_validation_context", msg(&COMBINED_VALIDATION)).choice(1),
        no(9, "tls_certificate_certificate_provider"),
        no(10, "validation_context_certificate_provider").choice(1),
        no(11, "tls_certificate_certificate_provider_instance"),
        no(12, "validation_context_certificate_provider_instance").choice(1),
        no(13, "custom_handshaker"),
        no(14, "tls_certificate_provider_instance"),
        no(15, "key_log"),
        no(16, "custom_tls_certificate_selector"),
    ],
);

pub static COMBINED_VALIDATION: Message = Message::plain(
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext",
    &[
        yes(1, "default_validation_context", msg(&VALIDATION_CONTEXT)),
        yes(2, "validation_context_sds_secret_config", msg(&SDS_SECRET_CONFIG)),
        no(3, "validation_context_certificate_provider"),
        no(4, "validation_context_certificate_provider_instance"),
    ],
);

pub static TLS_PARAMETERS: Message = Message::plain(
    "envoy.extensions.transport_sockets.tls.v3.TlsParameters",
    &[
        yes(1, "tls_minimum_protocol_version", enumeration(&TLS_PARAMETERS_TLS_PROTOCOL)),
        yes(2, "tls_maximum_protocol_version", enumeration(&TLS_PARAMETERS_TLS_PROTOCOL)),
        yes(3, "cipher_suites", STRING).many(),
        yes(4, "ecdh_curves", STRING).many(),
        no(5, "signature_algorithms").many(),
        no(6, "compliance_policies").many(),
    ],
);

pub static TLS_CERTIFICATE: Message = Message::plain(
    "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
    &[
        yes(1, "certificate_chain", msg(&DATA_SOURCE)),
        yes(2, "private_key", msg(&DATA_SOURCE)),
        no(3, "password"),
        no(4, "ocsp_staple"),
        no(5, "signed_certificate_timestamp").many(),
        no(6, "private_key_provider"),
        fine(7, "watched_directory", "files are watched by their own path"),
        no(8, "pkcs12"),
    ],
);

pub static SDS_SECRET_CONFIG: Message = Message::plain(
    "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig",
    &[yes(1, "name", STRING), yes(2, "sds_config", msg(&CONFIG_SOURCE))],
);

pub static VALIDATION_CONTEXT: Message = Message::plain(
    "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext",
    &[
        yes(1, "trusted_ca", msg(&DATA_SOURCE)),
        yes(2, "verify_certificate_hash", STRING).many(),
        yes(3, "verify_certificate_spki", STRING).many(),
        no(6, "require_signed_certificate_timestamp"),
        yes(7, "crl", msg(&DATA_SOURCE)),
        no(8, "allow_expired_certificate"),
        yes(9, "match_subject_alt_names", msg(&STRING_MATCHER)).many(),
        yes(
            10,
            "trust_chain_verification",
            enumeration(&CERTIFICATE_VALIDATION_CONTEXT_TRUST_CHAIN_VERIFICATION),
        ),
        fine(11, "watched_directory", "files are watched by their own path"),
        no(12, "custom_validator_config"),
        no(13, "ca_certificate_provider_instance"),
        no(14, "only_verify_leaf_cert_crl"),
        yes(15, "match_typed_subject_alt_names", msg(&SAN_MATCHER)).many(),
        no(16, "max_verify_depth"),
        yes(17, "system_root_certs", msg(&SYSTEM_ROOTS)),
    ],
);

pub static SYSTEM_ROOTS: Message = Message::plain(
    "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.SystemRootCerts",
    &[],
);

pub static SAN_MATCHER: Message = Message::plain(
    "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher",
    &[
        yes(1, "san_type", enumeration(&SUBJECT_ALT_NAME_MATCHER_SAN_TYPE)),
        yes(2, "matcher", msg(&STRING_MATCHER)),
        no(3, "oid"),
    ],
);

pub static SECRET: Message = Message::plain(
    "envoy.extensions.transport_sockets.tls.v3.Secret",
    &[
        yes(1, "name", STRING),
        yes(2, "tls_certificate", msg(&TLS_CERTIFICATE)).choice(1),
        no(3, "session_ticket_keys").choice(1),
        yes(4, "validation_context", msg(&VALIDATION_CONTEXT)).choice(1),
        no(5, "generic_secret").choice(1),
    ],
);

pub static RAW_BUFFER: Message =
    Message::plain("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", &[]);

pub static PROXY_PROTOCOL_TRANSPORT: Message = Message::plain(
    "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
    &[
        yes(1, "config", msg(&PROXY_PROTOCOL_CONFIG)),
        yes(2, "transport_socket", msg(&TRANSPORT_SOCKET)),
        no(3, "allow_unspecified_address"),
        no(4, "tlv_as_pool_key"),
    ],
);

pub static CERTIFICATE_VALIDATION_CONTEXT_TRUST_CHAIN_VERIFICATION: Enum = Enum::new(
    "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext.TrustChainVerification",
    &[(0, "VERIFY_TRUST_CHAIN"), (1, "ACCEPT_UNTRUSTED")],
);

pub static SUBJECT_ALT_NAME_MATCHER_SAN_TYPE: Enum = Enum::new(
    "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher.SanType",
    &[
        (0, "SAN_TYPE_UNSPECIFIED"),
        (1, "EMAIL"),
        (2, "DNS"),
        (3, "URI"),
        (4, "IP_ADDRESS"),
        (5, "OTHER_NAME"),
    ],
);

pub static TLS_PARAMETERS_TLS_PROTOCOL: Enum = Enum::new(
    "envoy.extensions.transport_sockets.tls.v3.TlsParameters.TlsProtocol",
    &[(0, "TLS_AUTO"), (1, "TLSv1_0"), (2, "TLSv1_1"), (3, "TLSv1_2"), (4, "TLSv1_3")],
);

/// Everything above, for look-up by name.
pub(super) static ALL: &[&Message] = &[
    &DOWNSTREAM_TLS,
    &UPSTREAM_TLS,
    &COMMON_TLS,
    &COMBINED_VALIDATION,
    &TLS_PARAMETERS,
    &TLS_CERTIFICATE,
    &SDS_SECRET_CONFIG,
    &VALIDATION_CONTEXT,
    &SYSTEM_ROOTS,
    &SAN_MATCHER,
    &SECRET,
    &RAW_BUFFER,
    &PROXY_PROTOCOL_TRANSPORT,
];
