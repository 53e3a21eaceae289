//! The command line, the control plane and the embedded cluster as one binary.

fn main() {}
