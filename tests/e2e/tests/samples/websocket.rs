//! A WebSocket client of one message, frames by hand (RFC 6455).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Sends one text message; returns the one that comes back.
pub fn say(address: &str, path: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("it answers");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    let mask = [1_u8, 2, 3, 4];
    let masked = text.bytes().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key);
    let length = u8::try_from(text.len()).expect("a short text");
    // The last fragment, text; its length, masked.
    let mut frame = vec![0x81, 0x80 | length];
    frame.extend(mask);
    frame.extend(masked);
    stream.write_all(&frame).expect("it reads");
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("a frame");
    assert_eq!(head[0], 0x81, "a text frame");
    let mut body = vec![0; usize::from(head[1])];
    stream.read_exact(&mut body).expect("its body");
    String::from_utf8(body).expect("text")
}
