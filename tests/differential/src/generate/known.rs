//! The rows of `docs/envoy-differences.md` that generated requests come upon; tests of their own pin them.

use super::Ask;
use crate::client::Body;
use crate::compare::{Difference, Observed};

pub fn is_stated(ask: &Ask, ours: &Observed, found: &Difference) -> bool {
    let request = &ask.request;
    let no_length = request.method == "HEAD"
        && matches!(
            found.what.as_str(),
            "response header transfer-encoding" | "response header content-length"
        );
    // Row 1: an answer to HEAD whose length is not known.
    let head = no_length && (found.envoy == "chunked" || found.ours == "0");
    // Row 7: an answer at once to a request whose body is there.
    let sent = !matches!(&request.body, Body::None) && ours.arrivals.is_empty();
    let closes = found.what == "response header connection" && found.envoy == "close";
    head || (closes && sent && found.ours == "absent")
}
