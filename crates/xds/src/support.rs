//! The support table: what becomes of each field that a control plane or a file may set. It is the
//! schema itself, so it cannot say anything else than what the readers do.

use crate::schema;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Means here what it means in Envoy.
    Honoured,
    /// Accepted without effect, for this reason.
    Harmless(&'static str),
    /// A resource that sets it is refused.
    Refused,
}

/// One field of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub message: &'static str,
    pub field: &'static str,
    pub support: Support,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}: ", self.message, self.field)?;
        match self.support {
            Support::Honoured => f.write_str("honoured"),
            Support::Harmless(why) => write!(f, "harmless: {why}"),
            Support::Refused => f.write_str("refused"),
        }
    }
}

/// Every field of every message that is read at all. A message that is not here is refused as a whole.
pub fn table() -> impl Iterator<Item = Row> {
    schema::all().flat_map(|m| {
        m.fields.iter().map(|f| Row { message: m.name, field: f.name, support: f.support })
    })
}
