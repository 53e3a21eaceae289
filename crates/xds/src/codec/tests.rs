//! Tests of the codec.

use std::cell::RefCell;
use std::collections::BTreeSet;

thread_local! {
    static READ: RefCell<BTreeSet<(&'static str, String)>> = const { RefCell::new(BTreeSet::new()) };
}

/// Called by the reader for every field that it asks for, so that a test can compare what is read
/// with what the table says is honoured.
pub(crate) fn note_read(message: &'static str, field: &str) {
    READ.with_borrow_mut(|seen| {
        seen.insert((message, field.to_owned()));
    });
}

mod generate;
mod oracle;

use super::*;
use crate::message::{Msg, read_json};
use crate::support::Support;
use generate::Gen;

const SEEDS: u64 = 1_500;

#[test]
fn what_is_written_is_read_back_equal() {
    for seed in 0..SEEDS {
        let resource = Gen::seeded(seed).resource();
        let bytes = encode(&resource);
        match decode(&type_url_of(resource.key().kind), &bytes) {
            Ok((read, findings)) => {
                assert_eq!(read, resource, "seed {seed}");
                assert_eq!(findings, [], "seed {seed}");
            }
            Err(refusal) => panic!("seed {seed}: {refusal}\n{resource:#?}"),
        }
    }
}

#[test]
fn equal_resources_are_equal_bytes() {
    for seed in 0..50 {
        assert_eq!(encode(&Gen::seeded(seed).resource()), encode(&Gen::seeded(seed).resource()));
    }
}

/// The tree of a resource, as it stands on the wire.
fn tree(resource: &Resource) -> Msg {
    let out = RefCell::new(Vec::new());
    read_wire(message_of(resource.key().kind), encode(resource), &Path::root("", &out))
}

#[test]
fn json_says_the_same_as_the_wire() {
    for seed in 0..SEEDS {
        let msg = tree(&Gen::seeded(seed).resource());
        let out = RefCell::new(Vec::new());
        let read = read_json(msg.ty, &write_json(&msg), &Path::root("", &out));
        assert_eq!(out.into_inner(), [], "seed {seed}");
        assert_eq!(read, msg, "seed {seed}");
    }
}

/// The support table is no promise but a description: what it calls honoured is what reading asks for.
#[test]
fn honoured_is_what_is_read() {
    READ.with_borrow_mut(BTreeSet::clear);
    for seed in 0..SEEDS {
        let resource = Gen::seeded(seed).resource();
        decode(&type_url_of(resource.key().kind), &encode(&resource)).unwrap();
    }
    for text in [
        include_str!("../bootstrap/testdata/static.yaml"),
        include_str!("../bootstrap/testdata/older.yaml"),
    ] {
        crate::bootstrap::read(text).unwrap();
    }
    let read = READ.with_borrow(BTreeSet::clone);
    let carriers = ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"];
    let mut wrong = Vec::new();
    for row in crate::support::table().filter(|r| !carriers.contains(&r.message)) {
        let is_read = read.contains(&(row.message, row.field.to_owned()));
        match row.support {
            Support::Honoured if !is_read => wrong.push(format!("{row}, but never read")),
            Support::Refused if is_read => wrong.push(format!("{row}, but read")),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unknown_and_refused_fields_refuse_the_resource_by_path() {
    // Cluster.name, then field 999 as a varint.
    let unknown = [b"\x0a\x01a".as_slice(), b"\xb8\x3e\x01"].concat();
    // Cluster.name, then lrs_server (42), empty.
    let refused = [b"\x0a\x01a".as_slice(), b"\xd2\x02\x00"].concat();
    let url = type_url_of(Kind::Cluster);
    let text = decode(&url, &unknown).unwrap_err().to_string();
    assert!(text.contains("Cluster \"a\"") && text.contains("field 999"), "{text}");
    let findings = decode(&url, &refused).unwrap_err().findings;
    assert_eq!(findings[0].path, "lrs_server");
}

/// Whatever bytes are accepted mean something that we can say ourselves.
#[test]
fn foreign_bytes_are_refused_or_understood() {
    let env = base::FixedEnv::seeded(3);
    let mut accepted = 0;
    for seed in 0..4 * SEEDS {
        let resource = Gen::seeded(seed).resource();
        let mut bytes = encode(&resource).to_vec();
        for _ in 0..1 + seed % 3 {
            let i = base::Env::below(&env, bytes.len() as u64) as usize;
            bytes[i] = base::Env::random(&env) as u8;
        }
        if seed % 5 == 0 {
            bytes.truncate(base::Env::below(&env, bytes.len() as u64) as usize);
        }
        let url = type_url_of(resource.key().kind);
        if let Ok((read, _)) = decode(&url, &bytes) {
            let again = decode(&url, &encode(&read)).map(|(again, _)| format!("{again:?}"));
            assert_eq!(again, Ok(format!("{read:?}")), "seed {seed}");
            accepted += 1;
        }
    }
    assert!(accepted > 50, "only {accepted} were accepted");
}

#[test]
fn findings_have_a_bound() {
    let bytes = b"\xb8\x3e\x01".repeat(100_000);
    let findings = decode(&type_url_of(Kind::Cluster), &bytes).unwrap_err().findings;
    assert!(findings.len() <= 1000, "{}", findings.len());
}

#[test]
fn what_is_nested_without_end_is_refused() {
    let mut value = vec![0x08, 0x00];
    for _ in 0..200 {
        // Value.list_value { values: <inner> }
        let list = [vec![0x0a], varint(value.len()), value].concat();
        value = [vec![0x32], varint(list.len()), list].concat();
    }
    let entry = [b"\x0a\x01k\x12".to_vec(), varint(value.len()), value].concat();
    let fields = [vec![0x0a], varint(entry.len()), entry].concat();
    let filter = [b"\x0a\x01m\x12".to_vec(), varint(fields.len()), fields].concat();
    let metadata = [vec![0x0a], varint(filter.len()), filter].concat();
    let cluster = [b"\x0a\x01a\xca\x01".to_vec(), varint(metadata.len()), metadata].concat();
    let refusal = decode(&type_url_of(Kind::Cluster), &cluster).unwrap_err();
    assert!(refusal.to_string().contains("nested too deep"), "{refusal}");
}

fn varint(mut n: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
    out
}
