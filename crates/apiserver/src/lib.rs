//! The embedded cluster's API server: Kubernetes' REST API over SQLite.
//!
//! A request comes in over TLS (`http`), is authenticated and authorised (`auth`), passes
//! defaulting, admission and validation (`core`, `admission`) and lands in the `store`, which
//! numbers it, writes it to disk and shows it to watches. The controllers and the pod runner use
//! the same path through the in-process `client`.

mod admission;
mod auth;
mod background;
mod bootstrap;
mod client;
mod core;
mod error;
mod http;
mod kubelet;
mod random;
mod server;
mod store;
mod time;

pub use auth::{AuthorityError, admin_kubeconfig};
pub use client::{Change, Client, DeleteOptions, Event, Propagation, Ref};
pub use core::Resolver;
pub use error::ApiError;
pub use kubelet::{AsyncReadWrite, Channel, ExecStream, Kubelet, LogOptions, NoKubelet};
pub use server::{Options, Server, ServerHandle, StartError};
pub use store::DiskError;
