//! The API server seen from outside: over HTTPS, through both kubectls, with webhooks, and across
//! kills.

mod api;
mod durability;
mod https;
mod kubectl;
mod support;
mod webhook;
