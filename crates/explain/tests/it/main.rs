//! What is told about requests, seen from outside: worlds in YAML, questions, and lines of the answers.
#![allow(clippy::unwrap_used)] // a test that cannot go on may end there

mod cost;
mod hints;
mod outbound;
mod sides;
mod suite;
mod support;
