//! HTTP/2 on the crate `h2`, both sides: heads become [`wire`] heads, bodies [`crate::stream`]
//! sources and sinks, so that everything between is the same as for HTTP/1. Every connection has a
//! driver task on the worker it belongs to.

mod body;
mod carrier;
mod client;
mod down;
mod heads;
mod ping;
mod server;
mod settings;
mod stream;
mod transport;

pub use carrier::Either;
pub use carrier::{Carriers, Lease};
pub use client::Client;
pub use server::serve;
