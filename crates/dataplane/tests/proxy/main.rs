//! The proxy over real sockets: a client on one side, an upstream on the other, and between them a
//! configuration made by hand.

#![allow(clippy::unwrap_used)] // What a test cannot do without ends it.

mod access;
mod certificates;
mod course;
mod http1;
mod limits;
mod mesh;
mod mirror;
mod names;
mod posture;
mod preamble;
mod protocol;
mod robust;
mod support;
mod tcp;
mod tls;
mod tls_upstream;
mod waiting;
