//! Autobahn's fuzzing client and its echo server: no verdict may change because our proxy is in between,
//! which is more than Envoy achieves: with it most connections are closed by the client's patience, a
//! second each, and so Envoy runs only with `LATEEN_AUTOBAHN=all`, as do all of Autobahn's cases.

use crate::{both, peers, program};
use differential::cases::single;
use differential::proxy::free_ports;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Framing, pings, reserved bits, opcodes, fragments, UTF-8, closing; long messages up to 1 MiB;
/// compression of short messages under each of its settings.
const CASES: [&str; 17] = [
    "1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.1.1", "9.1.3", "9.2.3", "9.3.3", "9.5.3",
    "10.*", "12.1.1", "12.2.2", "13.3.1", "13.7.1",
];

/// So many cases those are at least.
const LEAST: usize = 250;

/// Verdicts by the name of the case: on the messages, and on how the connection was closed.
type Verdicts = BTreeMap<String, (String, String)>;

#[test]
fn websockets_pass_through_as_they_are() {
    let Some(wstest) = program("WSTEST", "autobahn/bin/wstest") else { return };
    let dir = peers::directory("autobahn");
    let echo = SocketAddr::from(([127, 0, 0, 1], free_ports(1).unwrap()[0]));
    let _server = Server::start(&wstest, &dir, echo);
    // The echo server refuses hosts with another port than its own.
    let extra = json!({ "timeout": "0s", "host_rewrite_literal": echo.to_string() });
    let mut case = single("websocket", "a", extra, vec![]);
    case.manager = json!({ "upgrade_configs": [{ "upgrade_type": "websocket" }] });
    let Some([envoy, ours]) = both(&dir, case, Some(echo)) else { return };
    let mut agents = vec![("direct", echo), ("ours", ours.address(0))];
    if !is_default() {
        agents.push(("envoy", envoy.address(0)));
    }
    let runs: Vec<_> = agents
        .into_iter()
        .map(|(name, to)| {
            let (wstest, dir) = (wstest.clone(), dir.clone());
            (name, std::thread::spawn(move || fuzz(&wstest, &dir, name, to)))
        })
        .collect();
    let runs: BTreeMap<_, _> =
        runs.into_iter().map(|(name, run)| (name, run.join().unwrap())).collect();
    let direct = &runs["direct"];
    assert!(direct.len() >= LEAST || !is_default(), "{} cases were run", direct.len());
    for (name, through) in &runs {
        let names = direct.keys().chain(through.keys()).collect::<BTreeSet<_>>();
        let changed: Vec<_> = names
            .into_iter()
            .map(|case| (case, direct.get(case), through.get(case)))
            .filter(|(_, direct, through)| direct != through)
            .collect();
        println!("{name}: {} of {} verdicts changed", changed.len(), through.len());
        assert!(*name != "ours" || changed.is_empty(), "case, direct, ours: {changed:#?}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

fn is_default() -> bool {
    std::env::var("LATEEN_AUTOBAHN").is_err()
}

/// Runs the cases at one address; its report says what came of each.
fn fuzz(wstest: &Path, dir: &Path, agent: &str, to: SocketAddr) -> Verdicts {
    let cases = if is_default() { json!(CASES) } else { json!(["*"]) };
    let spec = json!({
        "outdir": dir.join(agent),
        "servers": [{ "agent": agent, "url": format!("ws://{to}") }],
        "cases": cases,
        "exclude-cases": [],
        "exclude-agent-cases": {},
    });
    let file = dir.join(format!("{agent}.spec.json"));
    std::fs::write(&file, spec.to_string()).unwrap();
    let status = command(wstest, dir).args(["-m", "fuzzingclient", "-s"]).arg(&file).status();
    assert!(status.unwrap().success());
    let report = std::fs::read_to_string(dir.join(agent).join("index.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let cases = report[agent].as_object().unwrap().iter();
    cases.map(|(n, c)| (n.clone(), (text(&c["behavior"]), text(&c["behaviorClose"])))).collect()
}

fn command(wstest: &Path, dir: &Path) -> Command {
    let mut command = Command::new(wstest);
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Autobahn's own echo server, which every case passes at.
struct Server(Child);

impl Server {
    fn start(wstest: &Path, dir: &Path, at: SocketAddr) -> Self {
        let url = format!("ws://{at}");
        let child = command(wstest, dir).args(["-m", "testeeserver", "-w", &url]).spawn().unwrap();
        // Another program, from a disk that may be cold.
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(at).is_err() {
            assert!(Instant::now() < deadline, "the echo server does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
