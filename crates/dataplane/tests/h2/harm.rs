//! Clients that mean harm, frame by frame: each loses its connection, and nobody else notices.

use crate::peers::{Answer, TestProxy, client, get, upstream};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// `:method GET`, `:scheme http`, `:path /`, `:authority h`.
const HEAD: &[u8] = &[0x82, 0x86, 0x84, 0x41, 0x01, b'h'];

async fn attacker(to: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// Sends pieces until the proxy closes; whether it did before `most` bytes were taken.
async fn is_cut_off(
    mut stream: TcpStream,
    most: usize,
    mut piece: impl FnMut(u32) -> Vec<u8>,
) -> bool {
    let attack = async {
        let mut sent = 0;
        for n in 0.. {
            let bytes = piece(n);
            if sent > most || stream.write_all(&bytes).await.is_err() {
                break;
            }
            sent += bytes.len();
        }
        sent
    };
    let sent = tokio::time::timeout(Duration::from_secs(20), attack).await.unwrap();
    if sent <= most {
        return true;
    }
    let drained = tokio::time::timeout(Duration::from_secs(5), async {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).await.is_ok_and(|n| n > 0) {}
    });
    drained.await.is_ok()
}

/// Another client of the same worker still gets its answers.
async fn others_are_fine(proxy: &TestProxy) {
    let mut send = client(proxy.address).await;
    let (response, _) = send.send_request(get("/"), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
}

fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn rapid_resets() {
    let up = upstream(Answer::Echo).await;
    let proxy = TestProxy::new(&up, true, "");
    let stream = attacker(proxy.address).await;
    let cut = is_cut_off(stream, 20 << 20, |n| {
        let id = 2 * n + 1;
        let open = frame(HEADERS, END_STREAM | END_HEADERS, id, HEAD);
        [open, frame(RESET, 0, id, &8u32.to_be_bytes())].concat()
    });
    assert!(cut.await);
    others_are_fine(&proxy).await;
}

#[tokio::test]
async fn continuations_without_end() {
    let up = upstream(Answer::Echo).await;
    let proxy = TestProxy::new(&up, true, "");
    let before = memory();
    let mut stream = attacker(proxy.address).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, HEAD)).await.unwrap();
    // A literal field without indexing, again and again: `x: <100 bytes>`.
    let field = [&[0x00, 0x01, b'x', 100][..], &[b'v'; 100]].concat();
    let payload = field.repeat(100);
    assert!(is_cut_off(stream, 50 << 20, |_| frame(CONTINUATION, 0, 1, &payload)).await);
    assert!(memory() < before + (32 << 20), "{} -> {}", before, memory());
    others_are_fine(&proxy).await;
}

/// Some peers send many frames that carry nothing; their connections live on.
#[tokio::test]
async fn empty_data_between_data_costs_nothing() {
    let up = upstream(Answer::Echo).await;
    let proxy = TestProxy::new(&up, true, "");
    let mut stream = attacker(proxy.address).await;
    // As `HEAD`, with `:method POST`.
    let post = [&[0x83], &HEAD[1..]].concat();
    for n in 0..4u32 {
        let id = 2 * n + 1;
        let row = [frame(DATA, 0, id, &[]).repeat(60), frame(DATA, 0, id, b"x")].concat();
        let request = [
            frame(HEADERS, END_HEADERS, id, &post),
            row.repeat(3),
            frame(DATA, END_STREAM, id, &[]),
        ];
        stream.write_all(&request.concat()).await.unwrap();
        let answered = || {
            proxy.stat("cluster.up.upstream_rq_total") == u64::from(n) + 1
                && proxy.stat("http.in.downstream_rq_active") == 0
        };
        crate::peers::until(Duration::from_secs(5), answered).await;
    }
}

#[tokio::test]
async fn empty_data_without_end() {
    let up = upstream(Answer::Echo).await;
    let proxy = TestProxy::new(&up, true, "");
    let mut stream = attacker(proxy.address).await;
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, HEAD)).await.unwrap();
    assert!(is_cut_off(stream, 10 << 20, |_| frame(DATA, 0, 1, &[])).await);
    others_are_fine(&proxy).await;
}

#[tokio::test]
async fn empty_continuations_without_end() {
    let up = upstream(Answer::Echo).await;
    let proxy = TestProxy::new(&up, true, "");
    let mut stream = attacker(proxy.address).await;
    stream.write_all(&frame(HEADERS, END_STREAM, 1, HEAD)).await.unwrap();
    assert!(is_cut_off(stream, 10 << 20, |_| frame(CONTINUATION, 0, 1, &[])).await);
    others_are_fine(&proxy).await;
}

#[tokio::test]
async fn a_bomb_of_references_to_one_large_field() {
    let up = upstream(Answer::Echo).await;
    let proxy = TestProxy::new(&up, true, "");
    let before = memory();
    let stream = attacker(proxy.address).await;
    // First a field of 4,000 bytes into the dynamic table, then thousands of references to it.
    let large = [&[0x40, 0x01, b'x', 0x7f, 0xa1, 0x1e][..], &[b'v'; 4000]].concat();
    let bomb = [HEAD, &large, &[0xbe; 10_000]].concat();
    let cut = is_cut_off(stream, 30 << 20, |n| {
        frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &bomb)
    });
    // Refusing each head is as good as closing.
    let _ = cut.await;
    assert!(memory() < before + (32 << 20), "{} -> {}", before, memory());
    others_are_fine(&proxy).await;
}

#[tokio::test]
async fn windows_of_zero_hold_no_memory() {
    let up = upstream(Answer::Endless).await;
    let proxy = TestProxy::new(&up, true, "");
    let before = memory();
    let mut stream = TcpStream::connect(proxy.address).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    // SETTINGS_INITIAL_WINDOW_SIZE = 0
    stream.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await.unwrap();
    for n in 0..100u32 {
        let open = frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, HEAD);
        stream.write_all(&open).await.unwrap();
    }
    crate::peers::until(Duration::from_secs(10), || {
        proxy.stat("cluster.up.upstream_rq_total") == 100
    })
    .await;
    assert!(up.sent() < 4 << 20, "{} bytes were taken for windows of zero", up.sent());
    assert!(memory() < before + (32 << 20), "{} -> {}", before, memory());
    drop(stream);
    crate::peers::until(Duration::from_secs(5), || up.resets() == 100).await;
}
