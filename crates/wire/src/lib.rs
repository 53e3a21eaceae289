//! Bytes: heads of messages as bytes with an index, the HTTP/1 codec, ClientHello, PROXY protocol
//! and protocol detection. Without I/O: whatever is here is handed bytes and says what they mean,
//! so the same code is fuzzed, tested by tables and run in the proxy.
//!
//! Flow: `detect` looks at the first bytes of a connection; `h1::parse_request` turns a head into a
//! [`Request`]; policy reads it through [`Head`] and [`RequestHead`] and edits it in place; `h1::write`
//! puts it on the wire once; `h1::Decoder` and `h1::Encoder` frame the bodies.

pub mod client_hello;
pub mod detect;
mod fields;
pub mod h1;
mod head;
pub mod proxy_protocol;
mod request;
mod response;
mod sieve;

pub use fields::{Fields, is_token};
pub use head::{Head, RequestHead};
pub use request::{Request, Scheme, Version};
pub use response::Response;
pub use sieve::Sieve;
