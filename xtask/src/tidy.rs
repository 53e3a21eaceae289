//! `cargo xtask tidy`: the rules that hold the walls of the house. Each rule is a function from plain
//! values to complaints, so that its own tests can plant a breach.

mod features;
mod fields;
mod files;
mod layers;

use crate::shell;
use anyhow::{Result, bail};

pub fn run() -> Result<()> {
    let mut complaints = layers::check(&layers::Workspace::read()?);
    let sources = files::read_sources(&shell::root())?;
    complaints.extend(files::check(&sources));
    complaints.extend(features::check(&shell::root(), &sources)?);
    complaints.extend(fields::check(&shell::root(), &sources)?);
    for line in &complaints {
        println!("tidy: {line}");
    }
    if !complaints.is_empty() {
        bail!("tidy: {} complaints", complaints.len());
    }
    println!("tidy: the house is in order ({} files)", sources.len());
    Ok(())
}
