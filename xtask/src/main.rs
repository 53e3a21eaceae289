//! The project's own commands, the same on a laptop and in CI: `cargo xtask setup | demo | test |
//! tidy | bench | fuzz | soak`. Each is one file; this one only chooses.

mod bench;
mod demo;
mod fuzz;
mod peers;
mod setup;
mod shell;
mod soak;
mod suite;
mod tidy;
mod tour;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  setup   install what the other commands need (Debian, PyPI packages), and say what could not be had
  demo    build quickly, bring up the mesh with Bookinfo, leave it running   [--state DIR]
  test    everything: format, lints, layer rules, licences, tests with real peers
          [--fast: without peers and end-to-end suites]
  tidy    only the rules of the house: layers, heads, sizes, the table of features
  bench   the proxy beside Envoy, nginx and HAProxy; the control plane's compile time  [--quick]
  fuzz    foreign bytes against every reader of them, five minutes for each  [--seconds N] [TARGET ...]
  soak    ten minutes of load; memory and descriptors must stay level  [--seconds N];
          then five more seeds of generated configurations beside Envoy, and `fuzz`
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let outcome = match args.first().map(String::as_str) {
        Some("setup") => setup::run(),
        Some("demo") => demo::run(rest),
        Some("test") => suite::run(rest),
        // The part of `test` that runs beside the tests.
        Some("beside") => suite::beside(),
        Some("tidy") => tidy::run(),
        Some("bench") => bench::run(rest),
        Some("fuzz") => fuzz::command(rest),
        Some("soak") => soak::run(rest),
        other => {
            if let Some(unknown) = other {
                eprintln!("xtask: no command {unknown:?}\n");
            }
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}
