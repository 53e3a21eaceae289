//! The rows of `docs/envoy-differences.md` that generated requests come upon; tests of their own pin them.

use super::Ask;
use crate::client::Body;
use crate::compare::{Difference, Observed};

pub fn is_stated(ask: &Ask, ours: &Observed, found: &Difference) -> bool {
    let request = &ask.request;
    // Row 6: an answer at once to a request whose body is there.
    let sent = !matches!(&request.body, Body::None) && ours.arrivals.is_empty();
    let closes = found.what == "response header connection" && found.envoy == "close";
    closes && sent && found.ours == "absent"
}
