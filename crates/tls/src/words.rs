//! TLS failures in the words of Envoy's logs, where people and their tools look for them.

use crate::Refusal;
use rustls::{AlertDescription, CertificateError, Error};

/// `TLS_error:|268435581:SSL routines:OPENSSL_internal:…:TLS_error_end`
pub fn describe(error: &Error) -> String {
    let (number, reason) = match error {
        Error::InvalidCertificate(why) => {
            (125, format!("CERTIFICATE_VERIFY_FAILED:verify cert failed: {}", refusal(why)))
        }
        Error::AlertReceived(alert) => {
            (1000 + u32::from(u8::from(*alert)), alert_name(*alert).to_owned())
        }
        Error::InvalidMessage(_) => (247, "WRONG_VERSION_NUMBER".to_owned()),
        Error::NoCertificatesPresented => (192, "PEER_DID_NOT_RETURN_A_CERTIFICATE".to_owned()),
        Error::PeerIncompatible(_) => (240, "UNSUPPORTED_PROTOCOL".to_owned()),
        Error::NoApplicationProtocol => (307, "NO_APPLICATION_PROTOCOL".to_owned()),
        other => return format!("TLS_error:{other}"),
    };
    // The library's number in OpenSSL's packed form.
    let packed = (16 << 24) + number;
    format!("TLS_error:|{packed}:SSL routines:OPENSSL_internal:{reason}:TLS_error_end")
}

fn refusal(why: &CertificateError) -> String {
    use crate::ChainError;
    match why {
        CertificateError::Other(other) => match other.0.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.to_string(),
            None => other.0.to_string(),
        },
        CertificateError::Expired => Refusal::Chain(ChainError::Expired).to_string(),
        CertificateError::NotValidYet => Refusal::Chain(ChainError::NotYetValid).to_string(),
        CertificateError::Revoked => Refusal::Chain(ChainError::Revoked).to_string(),
        CertificateError::UnknownIssuer => Refusal::Chain(ChainError::UnknownIssuer).to_string(),
        other => format!("{other:?}"),
    }
}

/// BoringSSL's names.
fn alert_name(alert: AlertDescription) -> &'static str {
    use AlertDescription::*;
    match alert {
        UnexpectedMessage => "SSLV3_ALERT_UNEXPECTED_MESSAGE",
        BadRecordMac => "SSLV3_ALERT_BAD_RECORD_MAC",
        HandshakeFailure => "SSLV3_ALERT_HANDSHAKE_FAILURE",
        BadCertificate => "SSLV3_ALERT_BAD_CERTIFICATE",
        UnsupportedCertificate => "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        CertificateRevoked => "SSLV3_ALERT_CERTIFICATE_REVOKED",
        CertificateExpired => "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        CertificateUnknown => "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        IllegalParameter => "SSLV3_ALERT_ILLEGAL_PARAMETER",
        UnknownCA => "TLSV1_ALERT_UNKNOWN_CA",
        AccessDenied => "TLSV1_ALERT_ACCESS_DENIED",
        DecodeError => "TLSV1_ALERT_DECODE_ERROR",
        DecryptError => "TLSV1_ALERT_DECRYPT_ERROR",
        ProtocolVersion => "TLSV1_ALERT_PROTOCOL_VERSION",
        InsufficientSecurity => "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        InternalError => "TLSV1_ALERT_INTERNAL_ERROR",
        UnrecognisedName => "TLSV1_ALERT_UNRECOGNIZED_NAME",
        CertificateRequired => "TLSV1_ALERT_CERTIFICATE_REQUIRED",
        NoApplicationProtocol => "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
        _ => "UNKNOWN_ALERT_TYPE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_envoy() {
        let table = [
            (
                Error::AlertReceived(AlertDescription::HandshakeFailure),
                "TLS_error:|268436496:SSL routines:OPENSSL_internal:SSLV3_ALERT_HANDSHAKE_FAILURE:TLS_error_end",
            ),
            (
                Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                "TLS_error:|268435703:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER:TLS_error_end",
            ),
            (
                Refusal::Chain(crate::ChainError::Expired).into(),
                "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify cert failed: X509_verify_cert: certificate verification error at depth 0: certificate has expired:TLS_error_end",
            ),
        ];
        for (error, expected) in table {
            assert_eq!(describe(&error), expected);
        }
    }
}
