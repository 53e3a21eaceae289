//! `cargo xtask demo`: builds quickly, then hands over to `lateen demo`, which brings the mesh up with
//! Bookinfo and leaves it running.

use crate::{setup, shell, suite};
use anyhow::Result;
use std::process::Command;

pub fn run(args: &[String]) -> Result<()> {
    setup::for_demo()?;
    let bin = suite::build_programs()?;
    shell::run(Command::new(bin.join("lateen")).arg("demo").args(args).current_dir(shell::root()))
}
