//! The load generator against servers whose behaviour is known.

#![allow(clippy::unwrap_used)]

mod programs;

use std::process::Command;

use programs::{Program, free_port, silent};
use serde_json::Value;

/// Runs a load and reads its summary; the exit code must agree with it.
fn load(port: u16, path: &str, args: &[&str]) -> Value {
    let url = format!("http://127.0.0.1:{port}{path}");
    let output = Command::new(env!("CARGO_BIN_EXE_lateen-apps"))
        .args(["load", "--url", &url, "--rate", "200", "--seconds", "1"])
        .args(args)
        .output()
        .unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(output.status.success(), summary["failed"] == 0, "{summary}");
    summary
}

#[test]
fn every_request_is_sent_and_counted() {
    let hello = Program::start("helloworld", &[]);
    for mode in ["keep-alive", "new", "h2c"] {
        let args = ["--mode", mode, "--classify", "one=version: v1", "--classify", "two=v2"];
        let summary = load(hello.port, "/hello", &args);
        assert_eq!(summary["ok"], 200, "{mode}: {summary}");
        assert_eq!(summary["classes"]["one"], 200, "{mode}");
        let rate = summary["rate"].as_f64().unwrap();
        assert!((150.0..=210.0).contains(&rate), "{mode}: {rate}");
    }
}

#[test]
fn what_is_not_as_expected_fails_by_its_reason() {
    let httpbin = Program::start("httpbin", &[]);
    let reason = |path: &str, args: &[&str]| {
        let summary = load(httpbin.port, path, &[args, &["--seconds", "0.1"]].concat());
        assert_eq!(summary["failed"], 20, "{summary}");
        let reasons = summary["reasons"].as_object().unwrap();
        assert_eq!(summary["first_failures"].as_array().unwrap().len(), 20);
        reasons.keys().next().unwrap().clone()
    };
    assert_eq!(reason("/status/503", &[]), "status 503");
    assert_eq!(reason("/get", &["--expect-body", "elephant"]), "wrong body");
    assert_eq!(reason("/delay/0.3", &["--slow", "100ms"]), "slow");
    assert_eq!(reason("/delay/2", &["--request-timeout", "0.2"]), "timeout");
}

/// A server that is slower than the rate is waited for, and nothing counts as late.
#[test]
fn a_closed_loop_waits_for_answers() {
    let httpbin = Program::start("httpbin", &[]);
    let args = ["--seconds", "0.25", "--in-flight", "5", "--closed", "--slow", "700ms"];
    let summary = load(httpbin.port, "/delay/0.1", &args);
    assert_eq!(summary["ok"], 50, "{summary}");
}

#[test]
fn a_closed_port_and_a_silent_server_are_failures() {
    let summary = load(free_port(), "/", &["--seconds", "0.1"]);
    assert_eq!(summary["reasons"]["connect: refused"], 20, "{summary}");
    let (address, _asked) = silent();
    let args = ["--seconds", "0.1", "--request-timeout", "0.3", "--in-flight", "5"];
    let summary = load(address.port(), "/", &args);
    assert_eq!(summary["reasons"]["timeout"], 5, "{summary}");
    assert_eq!(summary["reasons"]["too many unanswered"], 15, "{summary}");
}

#[test]
fn headers_host_and_grpc() {
    let go = Program::start("go-httpbin", &[]);
    let args = ["--header", "end-user: jason", "--header", "host: shop.example"];
    let count = ["--count-json", "/headers/Host/0", "--seconds", "0.1"];
    let summary = load(go.port, "/headers", &[args.as_slice(), &count].concat());
    assert_eq!(summary["classes"]["shop.example"], 20, "{summary}");

    let ports = [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let args = ["server", "-http-port", &ports[0], "-grpc-port", &ports[1], "-tcp-port", &ports[2]];
    let http = ports[0].parse().unwrap();
    let _fortio = Program::start_with("fortio", &args.map(str::to_owned), &[], http);
    let args = ["--mode", "grpc", "--body", "ping", "--expect-body", "ping"];
    let count = ["--count-header", "x-served-by"];
    let path = "/fgrpc.PingServer/Ping";
    let summary = load(ports[1].parse().unwrap(), path, &[args.as_slice(), &count].concat());
    assert_eq!(summary["classes"]["fortio-pod"], 200, "{summary}");
    // An answer without gRPC's trailers is no success, whatever its status.
    let summary = load(http, path, &["--mode", "grpc", "--seconds", "0.1"]);
    assert_eq!(summary["reasons"]["grpc-status missing"], 20, "{summary}");
}

#[test]
fn a_journal_has_a_line_for_every_request() {
    let go = Program::start("go-httpbin", &[]);
    let file = std::env::temp_dir().join(format!("lateen-journal-{}", std::process::id()));
    let headers = ["--count-header", "content-type", "--count-header", "x-absent"];
    let args = [&headers[..], &["--seconds", "0.5", "--journal", file.to_str().unwrap()]].concat();
    load(go.port, "/status/418", &args);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split('\t').collect()).collect();
    assert_eq!(lines.len(), 100);
    let mut due: Vec<u64> = lines.iter().map(|l| l[0].parse().unwrap()).collect();
    due.sort_unstable();
    assert_eq!(due[99] - due[0], 99 * 5000, "microseconds at 200 a second");
    for line in &lines {
        assert!(line[1].parse::<u64>().unwrap() < 5_000_000, "{line:?}");
        assert_eq!(line[2], "failed");
        assert!(line[3].starts_with("status 418 ") && line[3].ends_with(" none"), "{line:?}");
    }
}

/// A server that stops for a while delays all requests that were due meanwhile, and all of them tell.
#[test]
fn a_stall_shows_in_every_request_that_it_delays() {
    let hello = Program::start("helloworld", &[]);
    let pid = hello.id().to_string();
    let signal =
        |name: &str| assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    let summary = std::thread::scope(|scope| {
        let summary = scope.spawn(|| load(hello.port, "/hello", &["--timeline", "100"]));
        std::thread::sleep(std::time::Duration::from_millis(300));
        signal("-STOP");
        std::thread::sleep(std::time::Duration::from_millis(400));
        signal("-CONT");
        summary.join().unwrap()
    });
    assert_eq!(summary["ok"], 200);
    // 400 ms of 1 s: about 40% of the requests, evenly spread over waits from 400 ms down to none.
    let p90 = summary["latency_ms"]["p90"].as_f64().unwrap();
    assert!((200.0..=400.0).contains(&p90), "{summary}");
    let slots = summary["timeline"]["slots"].as_array().unwrap();
    assert!(slots.len() >= 9 && slots.iter().all(|slot| slot["ok"].as_u64().unwrap() >= 15));
}
