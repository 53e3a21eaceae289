//! Kubernetes object mechanics over plain JSON values: which kinds exist and how they look
//! (`kinds`, `schema`), how they are changed (`patch`, `apply`), what is filled in and refused
//! (`defaults`, `validate`, `structural`), and how they are selected and shown
//! (`selector`, `table`). Pure: the API server calls it and does the I/O.

pub mod apply;
pub mod convert;
pub mod defaults;
pub mod fields;
pub mod kinds;
pub mod meta;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod schema;
pub mod selector;
pub mod strict;
pub mod structural;
pub mod table;
pub mod validate;
