//! Operations on a list of named things: filters, listener filters, routes. The rules are the same for
//! all: a place is told by a match, and where none is told before means first, after means last.

use crate::merge::{Lists, merge};
use api::PatchOperation;
use prost_reflect::{DynamicMessage, Value};

/// Carries out one operation. `matches` tells the items that the patch names; `names_one` says whether it
/// names any at all.
pub(crate) fn apply(
    list: &mut Vec<Value>,
    operation: PatchOperation,
    value: Option<&DynamicMessage>,
    names_one: bool,
    matches: impl Fn(&DynamicMessage) -> bool,
) {
    let at = list.iter().position(|v| v.as_message().is_some_and(&matches));
    let new = || value.cloned().map(Value::Message);
    match operation {
        PatchOperation::Add => list.extend(new()),
        PatchOperation::InsertFirst => put(list, Some(0), new()),
        PatchOperation::InsertBefore => put(list, if names_one { at } else { Some(0) }, new()),
        PatchOperation::InsertAfter => {
            let end = list.len();
            put(list, if names_one { at.map(|i| i + 1) } else { Some(end) }, new());
        }
        // Without a name there is nothing that it would stand for.
        PatchOperation::Replace if names_one => {
            for item in list.iter_mut().filter(|v| v.as_message().is_some_and(&matches)) {
                if let Some(new) = new() {
                    *item = new;
                }
            }
        }
        PatchOperation::Remove => list.retain(|v| !v.as_message().is_some_and(&matches)),
        PatchOperation::Merge => merge_all(list, value, Lists::Append, matches),
        PatchOperation::MergeAndReplaceList => merge_all(list, value, Lists::Replace, matches),
        PatchOperation::Replace | PatchOperation::Invalid => {}
    }
}

fn put(list: &mut Vec<Value>, at: Option<usize>, new: Option<Value>) {
    if let (Some(at), Some(new)) = (at, new) {
        list.insert(at, new);
    }
}

fn merge_all(
    list: &mut [Value],
    value: Option<&DynamicMessage>,
    lists: Lists,
    matches: impl Fn(&DynamicMessage) -> bool,
) {
    let Some(value) = value else { return };
    for item in list.iter_mut().filter_map(Value::as_message_mut).filter(|m| matches(m)) {
        merge(item, value, lists);
    }
}

/// How lists are merged by an operation that merges.
pub(crate) fn lists_of(operation: PatchOperation) -> Option<Lists> {
    match operation {
        PatchOperation::Merge => Some(Lists::Append),
        PatchOperation::MergeAndReplaceList => Some(Lists::Replace),
        _ => None,
    }
}
