//! HTTP/1 connections: the reading and writing halves that both sides of the proxy share, the
//! server's side of a connection and the client's.

mod client;
mod down;
mod half;
mod server;

pub use client::Client;
pub use half::{Reader, Writer};
pub use server::serve;
