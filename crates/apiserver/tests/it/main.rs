//! The API server seen from outside: over HTTPS, through both kubectls, with webhooks, and across
//! kills.

#![allow(clippy::unwrap_used)] // a test that cannot go on may end there

mod access;
mod api;
mod durability;
mod https;
mod kube_client;
mod kubectl;
mod support;
mod webhook;
