//! The small programs: httpbin over a real socket, helloworld, tcp-echo, the WebSocket sample, the echo
//! servers, and an orderly end.

#![allow(clippy::unwrap_used)]

mod programs;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use programs::{Program, free_port};

#[test]
fn httpbin_waits_to_be_told_to_continue() {
    let httpbin = Program::start("httpbin", &[]);
    let mut stream = TcpStream::connect(("127.0.0.1", httpbin.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let head = "POST /post HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\
                connection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200") && rest.contains("\"data\": \"hello\""), "{rest}");
}

#[test]
fn gunicorns_arguments_say_where_httpbin_listens() {
    let port = free_port();
    let args = ["-b", &format!("0.0.0.0:{port}"), "httpbin:app", "-k", "gevent"];
    let httpbin = Program::start_with("gunicorn", &args.map(str::to_owned), &[], port);
    assert_eq!(httpbin.get("/status/204", "").status, 204);
    assert_eq!(httpbin.get("/ip", "").json()["origin"], "127.0.0.1");
}

#[test]
fn compressed_answers_unpack() {
    let httpbin = Program::start("httpbin", &[]);
    for (path, flag) in [("gzip", "gzipped"), ("deflate", "deflated")] {
        let url = format!("http://127.0.0.1:{}/{path}", httpbin.port);
        let Ok(curl) =
            std::process::Command::new("curl").args(["-s", "--compressed", &url]).output()
        else {
            println!("skipped: there is no curl");
            return;
        };
        let value: serde_json::Value = serde_json::from_slice(&curl.stdout).unwrap();
        assert_eq!(value[flag], true);
    }
}

#[test]
fn helloworld_says_who_it_is() {
    let hello = Program::start("examples-helloworld-v2", &[]);
    let said = hello.get("/hello", "").body;
    assert_eq!(said, "Hello version: v2, instance: examples-helloworld-v2-pod\n");
}

/// As the samples of gRPC start it; what it does by gRPC is walked through end to end.
#[test]
fn the_testing_app_says_who_it_is_on_every_port() {
    let [http, other, tcp, grpc] = [(); 4].map(|()| free_port());
    let args = [
        format!("--port={http}"),
        "--port".to_owned(),
        other.to_string(),
        format!("--tcp={tcp}"),
        format!("--grpc={grpc}"),
        "--version=v9".to_owned(),
    ];
    let app = Program::start_with("testing-app", &args, &[], grpc);
    for port in [http, other] {
        let said = programs::ask(port, "GET /a HTTP/1.1\r\nhost: x\r\n", "").body;
        for line in ["ServiceVersion=v9".to_owned(), format!("ServicePort={port}"), "URL=/a".into()]
        {
            assert!(said.lines().any(|l| l == line), "{line}: {said}");
        }
    }
    let mut stream = TcpStream::connect(("127.0.0.1", tcp)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("ServiceVersion=v9\n") && said.ends_with("\nhello"), "{said}");
    drop(app);
    // Without a control plane nobody says how such a port is served, so there is none.
    let args = [format!("--grpc={grpc}"), format!("--xds-grpc-server={grpc}")];
    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_lateen-apps"))
        .arg("testing-app")
        .args(args)
        .env_clear()
        .output()
        .unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("GRPC_XDS_BOOTSTRAP"));
}

#[test]
fn tcp_echo_puts_a_word_before_each_line_on_every_port() {
    let (first, second) = (free_port(), free_port());
    let args = [format!("{first},{second}"), "one".to_owned()];
    let _echo = Program::start_with("tcp-echo-server", &args, &[], first);
    for port in [first, second] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"a\nb\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        assert_eq!(said, "one a\none b\n");
    }
}

#[tokio::test]
async fn a_websocket_sends_everything_back() {
    use futures::{SinkExt, StreamExt};
    let demo = Program::start("websocket-demo", &[]);
    assert!(demo.get("/", "").body.contains("<title>WebSocket echo</title>"));
    let httpbin = Program::start("go-httpbin", &[]);
    for (program, path) in [(&demo, "/ws"), (&httpbin, "/websocket/echo")] {
        let url = format!("ws://127.0.0.1:{}{path}", program.port);
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        socket.send("hello".into()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap().into_text().unwrap(), "hello");
        assert_eq!(program.get(path, "").status, 426);
    }
}

#[test]
fn ext_authz_allows_who_says_so() {
    let (http, grpc) = (free_port(), free_port());
    let args = [format!("--http={http}"), format!("--grpc={grpc}")];
    let service = Program::start_with("ext-authz", &args, &[], http);
    assert_eq!(service.get("/any", "").status, 403);
    let allowed = service.get("/any", "x-ext-authz: allow\r\n");
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("x-ext-authz-check-result"), Some("allowed"));
}

#[test]
fn fortio_sends_bodies_back() {
    let ports = [free_port(), free_port(), free_port()];
    let args: Vec<String> = ["server", "-http-port", "-grpc-port", "-tcp-port"]
        .iter()
        .enumerate()
        .flat_map(|(i, name)| match i {
            0 => vec![(*name).to_owned()],
            i => vec![(*name).to_owned(), ports[i - 1].to_string()],
        })
        .collect();
    let fortio = Program::start_with("fortio", &args, &[], ports[0]);
    assert_eq!(fortio.post("/any", "", "payload").body, "payload");
    assert_eq!(fortio.get("/?status=503&delay=1ms", "").status, 503);
    let sized = fortio.get("/?size=100000", "");
    assert_eq!(sized.header("content-length"), Some("100000"));
    let mut stream = TcpStream::connect(("127.0.0.1", ports[2])).unwrap();
    stream.write_all(b"tcp").unwrap();
    let mut said = [0; 3];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"tcp");
}

#[test]
fn after_being_told_to_stop_a_program_still_answers_for_a_moment() {
    let httpbin = Program::start("go-httpbin", &[]);
    let told = std::process::Command::new("kill").arg(httpbin.id().to_string()).status().unwrap();
    assert!(told.success());
    assert_eq!(httpbin.get("/get", "").status, 200);
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", httpbin.port)).is_ok() {
        assert!(Instant::now() < deadline, "it never stops");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn programs_are_small() {
    for app in ["productpage", "reviews", "httpbin"] {
        let program = Program::start(app, &[]);
        program.get("/health", "");
        let limit = if cfg!(debug_assertions) { 16 << 10 } else { 4608 };
        let memory = program.memory();
        assert!(memory <= limit, "{app} holds {memory} KiB");
    }
}

#[test]
fn fortio_counts_answers_by_status() {
    let httpbin = Program::start("httpbin", &[]);
    let load = |path: &str| {
        let url = format!("http://127.0.0.1:{}{path}", httpbin.port);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lateen-apps"));
        let words = "fortio load -c 3 -qps 0 -n 30 -loglevel Warning";
        let out = command.args(words.split(' ')).arg(url).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let said = load("/get");
    assert!(said.contains("\nCode 200 : 30 (100.0 %)\n"), "{said}");
    assert!(said.contains("Sockets used: 3 ("), "{said}");
    assert!(said.contains("\nAll done 30 calls"), "{said}");
    assert!(load("/status/503").contains("\nCode 503 : 30 (100.0 %)\n"));
}
