//! The data plane binary: sidecar, gateway and agent in one small process.

fn main() {}
