//! `docs/xds-support.md` is the support table, written down. `UPDATE_GOLDEN=1` writes it anew.

#![allow(clippy::unwrap_used)] // What a test cannot do without ends it.

use std::fmt::Write;
use std::path::Path;
use xds::support::{Support, table};

fn document() -> String {
    let mut text = String::from(
        "# What of Envoy's API is supported\n\n\
         Made from the support table of the crate `xds`, which is also what reads configuration: a resource\n\
         that sets a refused field, or a message that is not listed, is refused with the field's path.\n\
         Fields marked harmless are accepted without effect.\n",
    );
    for message in xds::schema::all() {
        write!(text, "\n## {}\n\n", message.name).unwrap();
        for row in table().filter(|r| r.message == message.name) {
            match row.support {
                Support::Honoured => writeln!(text, "- {}", row.field).unwrap(),
                Support::Harmless(why) => {
                    writeln!(text, "- {} (harmless: {why})", row.field).unwrap()
                }
                Support::Refused => writeln!(text, "- {} (refused)", row.field).unwrap(),
            }
        }
        if message.fields.is_empty() {
            text.push_str("It has no fields.\n");
        }
    }
    text
}

#[test]
fn the_document_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/xds-support.md");
    let document = document();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &document).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == document, "{} is stale; run with UPDATE_GOLDEN=1", path.display());
}
