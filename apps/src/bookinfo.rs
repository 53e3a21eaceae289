//! Bookinfo, the bookshop of four services: `productpage` asks `details` and `reviews`, and `reviews`
//! in versions 2 and 3 asks `ratings`. All listen on 9080.

mod details;
mod page;
mod productpage;
mod ratings;
mod reviews;

pub use details::run as details;
pub use productpage::run as productpage;
pub use ratings::run as ratings;
pub use reviews::run as reviews;

use hyper::StatusCode;
use serde_json::json;

use crate::flags::{Flags, env};
use crate::web::{self, Call, Reply};

const PORT: u16 = 9080;

/// Where a service of the shop is: `$RATINGS_HOSTNAME`, `$SERVICES_DOMAIN`, `$RATINGS_SERVICE_PORT`.
fn authority(service: &str) -> String {
    let upper = service.to_uppercase();
    let host = env(&format!("{upper}_HOSTNAME")).unwrap_or_else(|| service.to_owned());
    let domain = env("SERVICES_DOMAIN").map(|domain| format!(".{domain}")).unwrap_or_default();
    // Kubernetes also sets `RATINGS_PORT=tcp://...`; the one that is a plain number is this.
    let port = env(&format!("{upper}_SERVICE_PORT")).and_then(|port| port.parse().ok());
    format!("{host}{domain}:{}", port.unwrap_or(PORT))
}

/// The version asked for: `--version v2`, `$SERVICE_VERSION`, or what the image says.
fn version(flags: &Flags, of_image: u8) -> u8 {
    let asked = flags.get("version").map(str::to_owned).or_else(|| env("SERVICE_VERSION"));
    asked.and_then(|text| text.trim_start_matches('v').parse().ok()).unwrap_or(of_image)
}

/// The product that a service is asked for: the number in `/reviews/0`, `/details/0`, `/ratings/0`; else what
/// there is to answer.
fn asked(call: &Call, service: &str) -> Result<u64, Box<Reply>> {
    match call.parts()[..] {
        ["health"] => {
            let (first, rest) = service.split_at(1);
            let status = format!("{}{rest} is healthy", first.to_uppercase());
            Err(web::json(StatusCode::OK, &json!({"status": status})).into())
        }
        [first, id] if first == service => id.parse().map_err(|_| {
            let message = json!({"error": "please provide numeric product ID"});
            web::json(StatusCode::BAD_REQUEST, &message).into()
        }),
        _ => Err(web::not_found().into()),
    }
}
