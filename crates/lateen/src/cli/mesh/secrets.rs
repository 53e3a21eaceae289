//! `proxy-config secret`: the certificates and roots that a proxy has, in istioctl's columns.

use super::dump::{Dump, Part};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tls::Facts;

const HEAD: [&str; 7] =
    ["RESOURCE NAME", "TYPE", "STATUS", "VALID CERT", "SERIAL NUMBER", "NOT AFTER", "NOT BEFORE"];

/// One row for each certificate: the leaf of a chain, and every root.
pub fn secrets(dump: &Dump, now: u64) -> Part {
    let raw: Vec<Value> =
        dump.resources("SecretsConfigDump", "secret").into_iter().cloned().collect();
    let rows = raw.iter().flat_map(|secret| rows(secret, now)).collect();
    Part::new(&HEAD, raw, rows)
}

fn rows(secret: &Value, now: u64) -> Vec<Vec<String>> {
    let name = secret["name"].as_str().unwrap_or("-");
    let chain = certificates(&secret["tls_certificate"]["certificate_chain"]);
    let roots = certificates(&secret["validation_context"]["trusted_ca"]);
    let leaf = chain.iter().take(1).map(|facts| ("Cert Chain", facts));
    let all = leaf.chain(roots.iter().map(|facts| ("CA", facts)));
    let rows: Vec<_> = all.map(|(kind, facts)| row(name, kind, facts, now)).collect();
    if !rows.is_empty() {
        return rows;
    }
    let nothing = std::iter::repeat_n("-".to_owned(), 4);
    vec![[name.to_owned(), "-".into(), "WARMING".into()].into_iter().chain(nothing).collect()]
}

fn row(name: &str, kind: &str, facts: &Facts, now: u64) -> Vec<String> {
    let (begin, end) = (facts.not_before.0 / 1_000_000_000, facts.not_after.0 / 1_000_000_000);
    let valid = (begin..=end).contains(&now);
    let time = |seconds: u64| {
        let time = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
        time.map_or_else(|| "-".to_owned(), |t| t.to_string())
    };
    vec![
        name.to_owned(),
        kind.to_owned(),
        "ACTIVE".to_owned(),
        valid.to_string(),
        facts.serial.clone(),
        time(end),
        time(begin),
    ]
}

/// Of a data source with its bytes in it.
fn certificates(source: &Value) -> Vec<Facts> {
    let bytes = source["inline_bytes"].as_str().and_then(|text| STANDARD.decode(text).ok());
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.or_else(|| source["inline_string"].as_str().map(str::to_owned))
        .map(|pem| tls::certificate_facts(&pem))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::WallTime;
    use serde_json::json;

    #[test]
    fn each_certificate_has_a_row_and_what_is_not_there_is_said() {
        let now = WallTime(1_800_000_000_000_000_000);
        let root = ca::SelfSigned::generate("cluster.local", now).unwrap();
        let bytes = STANDARD.encode(root.pem());
        let text = json!({"configs": [{
            "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
            "dynamic_active_secrets": [
                {"name": "ROOTCA", "secret": {"name": "ROOTCA",
                    "validation_context": {"trusted_ca": {"inline_bytes": bytes}}}},
                {"name": "default", "secret": {"name": "default"}}]}]});
        let dump = Dump::parse(&text.to_string()).unwrap();
        let rows = secrets(&dump, 1_800_000_000).rows;
        assert_eq!(rows[1][..4], ["ROOTCA", "CA", "ACTIVE", "true"]);
        assert_eq!(rows[1][6], "2027-01-15T07:58:00Z");
        assert_eq!(rows[2][..4], ["default", "-", "WARMING", "-"]);
        assert_eq!(secrets(&dump, 1).rows[1][3], "false", "not yet valid");
    }
}
