//! The project's own commands: setup, demo, test, tidy, bench, soak.

fn main() {}
