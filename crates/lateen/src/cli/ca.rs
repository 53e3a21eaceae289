//! `ca`: who signs the workloads' certificates, until when, and how another root comes.

use super::mesh::ask_control_planes;
use super::remote::Remote;
use super::{Global, now, print};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

#[derive(Args)]
pub struct CaArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Who signs, whom workloads trust, and for how long
    Show {
        /// table or json
        #[arg(short, long, default_value = "table")]
        output: String,
    },
    /// Replace the root: make a new one, have everybody trust it, sign by it, forget the old one
    Rotate {
        /// Only say how far the rotation is
        #[arg(long)]
        status: bool,
    },
}

const SECRET: &str = "istio-ca-secret";

pub async fn run(global: &Global, args: CaArgs) -> Result<()> {
    let remote = Remote::open(global).await?;
    let authority = ask(&remote, global).await?;
    match args.verb {
        Verb::Show { output } => match output.as_str() {
            "json" => print!("{}", print::json(&authority)),
            "table" => print!("{}\n{}", headline(&authority), table(&authority, now())),
            other => bail!("output format {other:?} is none of table, json"),
        },
        Verb::Rotate { status: true } => print!("{}", headline(&authority)),
        Verb::Rotate { status: false } => rotate(&remote, global, &authority).await?,
    }
    Ok(())
}

/// Any control plane can tell: they share the authority.
async fn ask(remote: &Remote, global: &Global) -> Result<Value> {
    let answers = ask_control_planes(remote, &global.istio_namespace, "/debug/ca").await?;
    let (_, first) = answers.into_iter().next().context("no control plane has answered")?;
    Ok(first)
}

async fn rotate(remote: &Remote, global: &Global, authority: &Value) -> Result<()> {
    match authority["phase"].as_str() {
        Some("steady") => {}
        Some("prepare" | "overlap") => bail!(
            "a rotation is under way already: {}`lateen ca rotate --status` tells how far it is",
            headline(authority)
        ),
        _ => bail!(
            "the authority is {}; its roots are replaced where they are kept, not here",
            text(&authority["source"])
        ),
    }
    let path = format!("/api/v1/namespaces/{}/secrets/{SECRET}", global.istio_namespace);
    let patch = json!({"metadata": {"annotations": {"lateen.dev/rotate-root": "asked for"}}});
    remote.connection.merge_patch(&path, &patch).await?;
    let step = authority["stepSeconds"].as_u64().unwrap_or_default();
    println!(
        "The rotation begins within 30 s and takes {}: the new root is trusted everywhere before it \
         signs, and the old one until nothing that it signed is valid. `lateen ca rotate --status` \
         tells how far it is.",
        span(step * 2)
    );
    Ok(())
}

fn headline(authority: &Value) -> String {
    let next = authority["nextAt"].as_u64().map(moment).unwrap_or_default();
    let phase = match authority["phase"].as_str() {
        Some("steady") => format!("steady; the next rotation begins by itself on {next}"),
        Some("prepare") => {
            format!("prepare (1 of 2): the next root is being trusted, and signs from {next}")
        }
        Some("overlap") => {
            format!("overlap (2 of 2): the next root signs; the old one is forgotten on {next}")
        }
        _ => text(&authority["phase"]),
    };
    format!("Authority: {}\nRotation:  {phase}\n", text(&authority["source"]))
}

fn table(authority: &Value, now: u64) -> String {
    let mut rows = vec![
        ["CERTIFICATE", "SERIAL", "NOT BEFORE", "NOT AFTER", "LIFE OVER"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for held in authority["certificates"].as_array().into_iter().flatten() {
        let time = |key: &str| held[key].as_u64().unwrap_or_default();
        let (begin, end) = (time("notBefore"), time("notAfter"));
        let over = now.saturating_sub(begin) * 100 / end.saturating_sub(begin).max(1);
        rows.push(vec![
            text(&held["role"]),
            text(&held["serial"]),
            moment(begin),
            moment(end),
            format!("{over}%"),
        ]);
    }
    print::table(&rows)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn moment(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    time.map_or_else(|| "-".to_owned(), |t| t.to_string())
}

/// As people say it, rounded up.
fn span(seconds: u64) -> String {
    match seconds {
        0..=180 => format!("{seconds} s"),
        181..=7200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_signs_and_what_comes_next_is_told() {
        let authority = json!({
            "source": "self-signed", "phase": "prepare", "nextAt": 1_800_000_100u64,
            "certificates": [
                {"role": "signs and is trusted", "serial": "0a",
                    "notBefore": 1_799_999_000u64, "notAfter": 1_800_001_000u64},
                {"role": "is trusted and signs next", "serial": "0b",
                    "notBefore": 1_800_000_000u64, "notAfter": 1_800_010_000u64}]});
        assert_eq!(
            headline(&authority),
            "Authority: self-signed\nRotation:  prepare (1 of 2): the next root is being trusted, and \
             signs from 2027-01-15T08:01:40Z\n"
        );
        let table = table(&authority, 1_800_000_000);
        let rows: Vec<&str> = table.lines().collect();
        assert!(rows[1].starts_with("signs and is trusted") && rows[1].ends_with("50%"), "{table}");
        assert!(rows[2].contains("2027-01-15T10:46:40Z") && rows[2].ends_with("0%"), "{table}");
        assert_eq!(span(53 * 3600 - 5), "53 h");
    }
}
