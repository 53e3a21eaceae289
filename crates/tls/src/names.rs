//! The names that a certificate carries, for matching and for showing.

use policy::matching::Matcher;
use rustls_pki_types::CertificateDer;
use std::fmt::Write;
use std::net::IpAddr;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;
use x509_parser::x509::X509Name;

/// The names of one certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub uris: Vec<String>,
    pub dns: Vec<String>,
    pub emails: Vec<String>,
    pub addresses: Vec<IpAddr>,
    /// As RFC 2253 writes it: the most specific part first.
    pub subject: String,
}

/// Names of which a certificate must carry one.
#[derive(Clone, Debug)]
pub struct NameRule {
    kind: ir::SanKind,
    /// Set where an exact name may be covered by a wildcard of the certificate.
    exact: Option<String>,
    matcher: Matcher,
}

impl Names {
    pub fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, cert) = x509_parser::parse_x509_certificate(der).ok()?;
        Self::read(&cert)
    }

    fn read(cert: &X509Certificate<'_>) -> Option<Self> {
        let mut names = Self { subject: rfc2253(cert.subject()), ..Self::default() };
        // A certificate whose names cannot be read has none that could be trusted.
        let Some(list) = cert.subject_alternative_name().ok()? else { return Some(names) };
        for name in &list.value.general_names {
            match name {
                GeneralName::URI(uri) => names.uris.push((*uri).to_owned()),
                GeneralName::DNSName(name) => names.dns.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => names.emails.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        Some(names)
    }

    /// Whether the certificate is for this host: a DNS name, wildcards included, or an address.
    pub fn cover(&self, host: &str) -> bool {
        match host.parse::<IpAddr>() {
            Ok(address) => self.addresses.contains(&address),
            Err(_) => self.dns.iter().any(|pattern| covers(pattern, host)),
        }
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let addresses: Vec<String> = self.addresses.iter().map(IpAddr::to_string).collect();
        let all = self.dns.iter().chain(&self.uris).chain(&self.emails).chain(&addresses);
        f.write_str(&all.map(String::as_str).collect::<Vec<_>>().join(", "))
    }
}

impl NameRule {
    pub fn new(from: &ir::SanMatch, path: &str, findings: &mut Vec<base::Finding>) -> Self {
        let exact = match &from.value.pattern {
            ir::Pattern::Exact(name) if !from.value.ignore_case => Some(name.to_string()),
            _ => None,
        };
        Self { kind: from.kind, exact, matcher: Matcher::new(&from.value, path, findings) }
    }

    pub(crate) fn holds(&self, names: &Names) -> bool {
        use ir::SanKind::*;
        let wants = |kind| self.kind == Any || self.kind == kind;
        let any = |list: &[String]| list.iter().any(|n| self.matcher.matches(n.as_bytes()));
        (wants(Uri) && any(&names.uris))
            || (wants(Email) && any(&names.emails))
            || (wants(Dns) && names.dns.iter().any(|name| self.holds_for_host(name)))
            || (wants(Ip)
                && names.addresses.iter().any(|a| self.matcher.matches(a.to_string().as_bytes())))
    }

    fn holds_for_host(&self, in_certificate: &str) -> bool {
        match &self.exact {
            Some(host) => covers(in_certificate, host),
            None => self.matcher.matches(in_certificate.as_bytes()),
        }
    }
}

/// Whether a DNS name of a certificate, with `*` in its first label, is this host's.
fn covers(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some((first, rest)), Some((label, parent))) =
        (pattern.split_once('.'), host.split_once('.'))
    else {
        return false;
    };
    let whole = first == "*" && !label.is_empty();
    // `*.com` is nobody's to have.
    whole && rest.contains('.') && rest.eq_ignore_ascii_case(parent)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// `CN=server,O=Example`
fn rfc2253(name: &X509Name<'_>) -> String {
    let registry = x509_parser::objects::oid_registry();
    let mut out = String::new();
    for rdn in name.iter_rdn().collect::<Vec<_>>().into_iter().rev() {
        for (i, part) in rdn.iter().enumerate() {
            if !out.is_empty() {
                out.push(if i == 0 { ',' } else { '+' });
            }
            let oid = part.attr_type();
            match x509_parser::objects::oid2abbrev(oid, registry) {
                Ok(short) => out.push_str(short),
                Err(_) => {
                    let _ = write!(out, "{oid}");
                }
            }
            out.push('=');
            escape(part.as_str().unwrap_or_default(), &mut out);
        }
    }
    out
}

fn escape(value: &str, out: &mut String) {
    for (i, c) in value.char_indices() {
        let edge = i == 0 && matches!(c, ' ' | '#') || i + 1 == value.len() && c == ' ';
        if edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            out.push('\\');
        }
        out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_cover_one_label() {
        let table = [
            ("a.example.com", "A.example.COM", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.com", "example.com", false),
            ("a*.example.com", "ab.example.com", false),
            ("*.example.com", ".example.com", false),
        ];
        for (pattern, host, expected) in table {
            assert_eq!(covers(pattern, host), expected, "{pattern} {host}");
        }
    }

    #[test]
    fn a_name_of_one_kind_does_not_pass_for_another() {
        let names = Names {
            uris: vec!["spiffe://td/ns/a/sa/b".into()],
            dns: vec!["*.a.example".into()],
            addresses: vec!["10.0.0.1".parse().unwrap()],
            ..Names::default()
        };
        let rule = |kind, value| {
            let from = ir::SanMatch { kind, value: ir::StringMatch::exact(value) };
            NameRule::new(&from, "", &mut Vec::new()).holds(&names)
        };
        use ir::SanKind::*;
        assert!(rule(Uri, "spiffe://td/ns/a/sa/b"));
        assert!(!rule(Dns, "spiffe://td/ns/a/sa/b"));
        assert!(rule(Any, "spiffe://td/ns/a/sa/b"));
        assert!(rule(Dns, "x.a.example"));
        assert!(!rule(Uri, "x.a.example"));
        assert!(rule(Ip, "10.0.0.1") && !rule(Dns, "10.0.0.1"));
        assert!(names.cover("y.a.example") && names.cover("10.0.0.1") && !names.cover("a.example"));
    }
}
