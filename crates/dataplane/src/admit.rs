//! Step: admit. Whether a connection may be served at all, by the network filters of its chain.

use crate::identify::Identified;
use crate::runtime::ChainRt;

/// A connection that is served.
#[derive(Debug)]
pub struct Admitted(Identified);

impl Admitted {
    pub fn chain(&self) -> ChainRt {
        self.0.chain.clone()
    }

    pub fn into_inner(self) -> Identified {
        self.0
    }
}

/// `None`: it is refused.
pub fn admit(identified: Identified) -> Option<Admitted> {
    Some(Admitted(identified))
}
