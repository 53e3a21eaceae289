use super::*;

fn request(text: &str) -> Result<(Request, Framing), HeadError> {
    request_bytes(text.as_bytes())
}

fn request_bytes(bytes: &[u8]) -> Result<(Request, Framing), HeadError> {
    let mut into = Request::default();
    let parsed = parse_request(bytes, &mut HeadScan::default(), &Limits::default(), &mut into)?;
    let (_, framing) = parsed.expect("the head is complete");
    Ok((into, framing))
}

#[test]
fn targets_become_authority_and_path() {
    let table = [
        ("GET /a?b HTTP/1.1\r\nHost: h:80\r\n\r\n", "h:80", "/a?b"),
        ("GET http://x/p HTTP/1.1\r\nHost: h\r\n\r\n", "x", "/p"),
        ("GET HTTPS://x?q HTTP/1.1\r\nHost: h\r\n\r\n", "x", "/?q"),
        ("GET http://x HTTP/1.1\r\nHost: h\r\n\r\n", "x", "/"),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "h", "*"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: b\r\n\r\n", "a:443", ""),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "", "/"),
        ("GET / HTTP/1.0\r\n\r\n", "", "/"),
    ];
    for (text, authority, path) in table {
        let (request, _) = request(text).unwrap();
        assert_eq!(request.authority(), authority.as_bytes(), "{text}");
        assert_eq!(request.path(), path.as_bytes(), "{text}");
        assert!(!request.fields.contains(b"host"));
    }
}

#[test]
fn framing_follows_the_head() {
    let head = |rest: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{rest}\r\n");
    let (_, plain) = request(&head("")).unwrap();
    assert_eq!(plain, Framing { keep_alive: true, ..Default::default() });
    let (_, f) = request(&head("Content-Length: 12\r\nConnection: Close\r\n")).unwrap();
    assert_eq!((f.body, f.keep_alive), (Body::Length(12), false));
    let (r, f) = request(&head("Transfer-Encoding: CHUNKED\r\nExpect: 100-Continue\r\n")).unwrap();
    assert_eq!((f.body, f.expect_continue), (Body::Chunked, true));
    assert!(!r.fields.contains(b"transfer-encoding"));
    let (r, f) =
        request(&head("Connection: Upgrade, x-a\r\nUpgrade: websocket\r\nX-A: 1\r\n")).unwrap();
    assert!(f.upgrade && !r.fields.contains(b"x-a") && r.fields.contains(b"upgrade"));
    let (r, f) = request(&head("Upgrade: websocket\r\nTE: gzip\r\nKeep-Alive: 5\r\n")).unwrap();
    assert!(!f.upgrade && r.fields.is_empty());
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n";
    let (r, f) = request(&head(h2c)).unwrap();
    assert!(!f.upgrade && f.keep_alive && r.fields.is_empty());
    for upgrades in ["h2c, websocket", "websocket, H2C", "websocket\r\nUpgrade: h2c"] {
        let (r, f) =
            request(&head(&format!("Connection: Upgrade\r\nUpgrade: {upgrades}\r\n"))).unwrap();
        // One of several is nothing that may be passed over.
        assert!(f.upgrade && r.fields.contains(b"upgrade"), "{upgrades}");
    }
    let (r, _) = request(&head("TE: trailers, gzip\r\n")).unwrap();
    assert!(r.fields.contains(b"te"));
}

/// Requests that two programs could read in two ways, and what each is refused for.
#[test]
fn the_smuggling_corpus_is_refused() {
    use HeadError::*;
    let lines: [(&[u8], HeadError); 29] = [
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked", LengthAndCoding),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", LengthAndCoding),
        (b"Content-Length: 1\r\nContent-Length: 1", ContentLength),
        (b"Content-Length: 1\r\nContent-Length: 2", ContentLength),
        (b"Content-Length: 1, 1", ContentLength),
        (b"Content-Length: +1", ContentLength),
        (b"Content-Length: -1", ContentLength),
        (b"Content-Length:", ContentLength),
        (b"Content-Length: 0x1", ContentLength),
        (b"Content-Length: 1 2", ContentLength),
        (b"Content-Length: 99999999999999999999", ContentLength),
        (b"Transfer-Encoding: identity", UnknownCoding),
        (b"Transfer-Encoding: gzip, chunked", UnknownCoding),
        (b"Transfer-Encoding: chunked, chunked", UnknownCoding),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", UnknownCoding),
        (b"Transfer-Encoding: xchunked", UnknownCoding),
        (b"Transfer-Encoding: \x0bchunked", HeaderLine),
        (b"Transfer-Encoding : chunked", HeaderLine),
        (b"X: a\r\n folded", HeaderLine),
        (b"X: a\rb", HeaderLine),
        (b"X: a\0b", HeaderLine),
        (b"X\0: a", HeaderLine),
        (b"X: a\x7f", HeaderLine),
        (b"X a: b", HeaderLine),
        (b": b", HeaderLine),
        (b"no colon", HeaderLine),
        (b":path: /x", HeaderLine),
        (b"Host: h", Host),
        (b"Connection: x-forwarded-for", Connection),
    ];
    for (line, expected) in lines {
        let bytes = [b"POST / HTTP/1.1\r\nHost: h\r\n", line, b"\r\n\r\n"].concat();
        assert_eq!(request_bytes(&bytes).err(), Some(expected), "{}", line.escape_ascii());
    }
    let heads: [(&[u8], HeadError); 18] = [
        (b"GET / HTTP/1.1\nHost: h\r\n\r\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost: h\n\r\n", BareLf),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\n", BareLf),
        (b"GET / HTTP/1.1\r\n\r\n", MissingHost),
        (b"GET / HTTP/1.1\r\nHost: a<b\r\n\r\n", Host),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Host),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Host),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", StartLine),
        (b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", StartLine),
        (b"get / HTTP/1.1\r\nHost: h\r\n\r\n", Method),
        (b"FOO / HTTP/1.1\r\nHost: h\r\n\r\n", Method),
        (b"G@T / HTTP/1.1\r\nHost: h\r\n\r\n", StartLine),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", Target),
        (b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", Fragment),
        (b"GET a HTTP/1.1\r\nHost: h\r\n\r\n", Target),
        (b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", Target),
        (b"GET ftp://a/ HTTP/1.1\r\nHost: h\r\n\r\n", Target),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Coding),
    ];
    for (head, expected) in heads {
        assert_eq!(request_bytes(head).err(), Some(expected), "{}", head.escape_ascii());
    }
    let old = request("GET / HTTP/2.0\r\nHost: h\r\n\r\n");
    assert_eq!(old.err(), Some(HeadError::Version));
    let tls = parse_request(
        b"\x16\x03\x01",
        &mut HeadScan::default(),
        &Limits::default(),
        &mut Request::default(),
    );
    assert_eq!(tls, Err(StartLine));
    assert_eq!(request("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n").err(), Some(StartLine));
    for start in ["GET / HTTP/1.2", "GET / HTTP/2.0", "GET /a b HTTP/1.1"] {
        assert!(request(&format!("{start}\r\nHost: h\r\n\r\n")).is_err(), "{start}");
    }
}

#[test]
fn limits_hold() {
    let many: String = (0..100).map(|i| format!("h{i}: 1\r\n")).collect();
    let head = |more: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{more}\r\n");
    assert_eq!(request(&head(&many)).err(), Some(HeadError::TooManyHeaders));
    let long = format!("x: {}\r\n", "a".repeat(61 * 1024));
    assert_eq!(request(&head(&long)).err(), Some(HeadError::TooLarge));
}

fn response(method: &str, text: &str) -> Result<(Response, Framing), HeadError> {
    let mut into = Response::default();
    let mut scan = HeadScan::default();
    let (bytes, limits) = (text.as_bytes(), Limits::default());
    let parsed = parse_response(bytes, &mut scan, &limits, method.as_bytes(), &mut into)?;
    Ok((into, parsed.expect("the head is complete").framing))
}

#[test]
fn the_end_of_a_response_is_known() {
    let table = [
        ("GET", "200 OK\r\nContent-Length: 5\r\n", Body::Length(5), true),
        ("GET", "200 OK\r\nTransfer-Encoding: chunked\r\n", Body::Chunked, true),
        ("GET", "200 OK\r\n", Body::UntilClose, false),
        ("HEAD", "200 OK\r\nContent-Length: 5\r\n", Body::Empty, true),
        ("GET", "204 No Content\r\n", Body::Empty, true),
        ("GET", "304 Not Modified\r\nContent-Length: 5\r\n", Body::Empty, true),
        ("GET", "200 OK\r\nContent-Length: 5\r\nConnection: close\r\n", Body::Length(5), false),
        ("CONNECT", "200 OK\r\n", Body::Empty, true),
        ("GET", "101 Switching Protocols\r\n", Body::Empty, true),
    ];
    for (method, head, body, keep_alive) in table {
        let (_, f) = response(method, &format!("HTTP/1.1 {head}\r\n")).unwrap();
        assert_eq!((f.body, f.keep_alive), (body, keep_alive), "{method} {head}");
    }
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(response("GET", both).err(), Some(HeadError::LengthAndCoding));
}

#[test]
fn mutilated_heads_never_panic() {
    use base::Env;
    let env = base::FixedEnv::seeded(11);
    let sample =
        b"POST http://h/p?q HTTP/1.1\r\nHost: a\r\nConnection: x, upgrade\r\nUpgrade: w\r\n\
        Content-Length: 12\r\nTE: trailers\r\nExpect: 100-continue\r\n\r\n";
    for _ in 0..30_000 {
        let mut bytes = sample.to_vec();
        for _ in 0..1 + env.below(5) {
            let at = env.below(bytes.len() as u64) as usize;
            bytes[at] = if env.below(2) == 0 {
                env.random() as u8
            } else {
                b"\r\n :,\0"[env.below(6) as usize]
            };
        }
        let mut into = Request::default();
        let mut scan = HeadScan::default();
        let _ = parse_request(&bytes, &mut scan, &Limits::default(), &mut into);
    }
}
