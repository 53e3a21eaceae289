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
