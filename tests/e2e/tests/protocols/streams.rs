//! What HTTP/1.1 connections carry beside whole bodies: slow streams, server-sent events, informational
//! responses, upgrades.

use super::shell;
use e2e::Mesh;

/// The first byte of a slow body comes long before its last.
pub fn slow_bodies_are_not_held_back(mesh: &Mesh) {
    let times = shell(
        mesh,
        "curl -sN 'http://httpbin:8000/drip?duration=2&numbytes=4&delay=0' -o /dev/null -w '%{time_starttransfer} %{time_total}'",
    );
    let (first, total) = times.trim().split_once(' ').expect("two times");
    let (first, total): (f64, f64) =
        (first.parse().expect("seconds"), total.parse().expect("seconds"));
    assert!(total > 1.0 && first < total / 2.0, "first byte after {first} s of {total} s");
}

/// Each event is read long before the next one is sent.
pub fn events_arrive_one_by_one(mesh: &Mesh) {
    let lines = shell(
        mesh,
        "curl -siN 'http://httpbin:8000/sse?count=4&duration=2' | \
         while IFS= read -r line; do printf '%s %s\\n' \"$(date +%s%N)\" \"$line\"; done",
    );
    assert!(lines.to_lowercase().contains("content-type: text/event-stream"), "{lines}");
    let arrivals: Vec<u64> = lines
        .lines()
        .filter(|line| line.contains(" data: {\"id\":"))
        .map(|line| line.split(' ').next().and_then(|t| t.parse().ok()).expect("a time"))
        .collect();
    assert_eq!(arrivals.len(), 4, "{lines}");
    let pauses = arrivals.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000);
    let pauses: Vec<u64> = pauses.collect();
    // One is sent every 500 ms; if any two were held together, nothing lies between them.
    assert!(pauses.iter().all(|pause| *pause >= 200), "milliseconds between events: {pauses:?}");
}

pub fn an_expectation_is_met(mesh: &Mesh) {
    let text = shell(
        mesh,
        "curl -sv --max-time 10 -H 'Expect: 100-continue' -d hello http://echo:8080/ 2>&1",
    );
    assert!(text.contains("HTTP/1.1 100 Continue"), "{text}");
    assert!(text.ends_with("hello"), "{text}");
}

/// The handshake, and frames both ways after it: masked with zeroes, they can be read as they are.
pub fn a_websocket_carries_messages(mesh: &Mesh) {
    let text = shell(
        mesh,
        r"(printf 'GET /websocket/echo HTTP/1.1\r\nHost: httpbin:8000\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
           printf 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
           sleep 0.5; printf '\201\205\0\0\0\0first'
           sleep 0.5; printf '\201\206\0\0\0\0second'; sleep 0.5
         ) | timeout 10 curl -sN telnet://httpbin:8000 | od -An -c -v -w1 | tr -d ' \n' || true",
    );
    assert!(text.starts_with("HTTP/1.1101"), "{text}");
    let lower = text.to_lowercase();
    assert!(lower.contains("sec-websocket-accept:s3pplmbitxaq9kygzzhzrbk+xoo="), "{text}");
    assert!(text.ends_with(r"\r\n\r\n201005first201006second"), "{text}");
}
