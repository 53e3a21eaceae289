//! Envoy's API: every message with the names, numbers and types of its fields. Unpacked when the first
//! EnvoyFilter is read, so a mesh without any never holds it.

use flate2::read::DeflateDecoder;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use std::io::Read;
use std::sync::LazyLock;

/// Written by `tools/descriptors`.
const PACKED: &[u8] = include_bytes!("../data/envoy.deflate");

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut bytes = Vec::new();
    // The data is part of the program, and a test unpacks it.
    let read = DeflateDecoder::new(PACKED).read_to_end(&mut bytes);
    read.ok().and_then(|_| DescriptorPool::decode(bytes.as_slice()).ok()).unwrap_or_default()
});

/// The message of this full name.
pub(crate) fn find(name: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two descriptions of the same API must agree: Envoy's own, and the table that our proxy reads by.
    #[test]
    fn our_own_schema_says_the_same() {
        assert!(POOL.all_messages().len() > 1000);
        let mut compared = 0;
        for message in xds::schema::all() {
            let Some(envoys) = find(message.name) else {
                assert!(!message.name.starts_with("envoy.config."), "{} is missing", message.name);
                continue;
            };
            for field in message.fields {
                let theirs = envoys.get_field(field.number);
                let name = theirs.as_ref().map(|f| f.name().to_owned());
                assert_eq!(name.as_deref(), Some(field.name), "{} {}", message.name, field.number);
                compared += 1;
            }
        }
        assert!(compared > 500, "{compared}");
    }
}
