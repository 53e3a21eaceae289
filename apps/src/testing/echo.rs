//! What is said of a request: a line for each thing, which callers look for by name.

use std::fmt::Write;

use hyper::HeaderMap;
use prost::Message;

use super::messages::EchoMessage;
use crate::flags::pod_name;
use crate::grpc;
use crate::web::{Call, Reply};

pub fn of_http(version: &str, port: u16, call: &Call) -> String {
    let mut said = format!(
        "StatusCode=200\n{}Method={}\nURL={}\nIP={}\n",
        server(version, port),
        call.method,
        call.path,
        call.peer
    );
    said.push_str(&headers(&call.headers));
    let _ = writeln!(said, "Hostname={}", pod_name());
    said
}

pub fn of_tcp(version: &str, port: u16) -> String {
    format!("{}Hostname={}\n", server(version, port), pod_name())
}

pub fn of_grpc(version: &str, port: u16, call: &Call, message: &[u8]) -> Reply {
    let Ok(request) = EchoMessage::decode(message) else { return grpc::refuse("3") };
    let mut said = headers(&call.headers);
    said.push_str(&server(version, port));
    let _ = writeln!(said, "IP={}", call.peer);
    let _ = writeln!(said, "StatusCode=200");
    let _ = writeln!(said, "Echo={}", request.message);
    let _ = writeln!(said, "Hostname={}", pod_name());
    grpc::answer(&EchoMessage { message: said }.encode_to_vec())
}

fn server(version: &str, port: u16) -> String {
    format!("ServiceVersion={version}\nServicePort={port}\n")
}

fn headers(headers: &HeaderMap) -> String {
    let line = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        format!("RequestHeader={name}:{}\n", String::from_utf8_lossy(value.as_bytes()))
    };
    headers.iter().map(line).collect()
}
