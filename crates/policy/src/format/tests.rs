use super::*;
use crate::Flag;
use wire::{Request, Response};

fn stream() -> Stream {
    let ends = |local: &str, remote: &str| {
        let shown = |a: &str| Shown::new(a.parse().unwrap());
        Some(Rc::new(Ends::new(shown(local), shown(remote))))
    };
    Stream {
        start: WallTime(1_795_269_000_824_000_000),
        duration: Some(Duration::from_millis(12)),
        protocol: Some(Version::Http11),
        status: 200,
        details: "via_upstream".into(),
        bytes_sent: 128,
        cluster: Some("up".into()),
        route: Some("default".into()),
        upstream: ends("127.0.0.1:43590", "127.0.0.1:9000"),
        downstream: ends("127.0.0.1:9106", "[::1]:40112"),
        ..Default::default()
    }
}

fn shown(template: &str, stream: &Stream) -> String {
    let mut request = Request::new(b"POST", b"h", b"/128?q");
    request.fields.push(b"X-Request-Id", b"f22aa2ed-e126");
    let response = Response::new(200);
    let info = Info { request: Some(&request), response: Some(&response), stream };
    let mut findings = Vec::new();
    let mut out = Vec::new();
    Template::log(template, "", &mut findings).write(&info, &mut out);
    assert_eq!(findings, []);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_log_line_of_istio() {
    let format = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";
    let expected = "[2026-11-21T13:50:00.824Z] \"POST /128?q HTTP/1.1\" 200 - via_upstream - \"-\" 0 128 12 - \"-\" \"-\" \"f22aa2ed-e126\" \"h\" \"127.0.0.1:9000\" up 127.0.0.1:43590 127.0.0.1:9106 [::1]:40112 - default\n";
    assert_eq!(shown(format, &stream()), expected);
}

#[test]
fn operators() {
    let mut flagged = stream();
    flagged.flags.set(Flag::NoRouteFound);
    let table = [
        ("%RESPONSE_FLAGS%/%RESPONSE_FLAGS_LONG%", "NR/NoRouteFound"),
        ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%", "::1 9106"),
        ("%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "127.0.0.1"),
        ("%REQ(X-REQUEST-ID):3%", "f22"),
        ("%PATH(NQ)%", "/128"),
        ("100%%", "100%"),
        ("%START_TIME(%s.%3f)%", "1795269000.824"),
        ("%TRAILER(x)%", "-"),
    ];
    for (template, expected) in table {
        assert_eq!(shown(template, &flagged), expected);
    }
}

#[test]
fn what_is_not_understood_is_reported() {
    for text in ["%NOPE%", "%REQ%", "%REQ(a", "%REQ(a)x%", "%START_TIME(%q)%"] {
        let mut findings = Vec::new();
        Template::log(text, "log", &mut findings);
        assert_eq!(findings.len(), 1, "{text}");
    }
}

#[test]
fn json_keeps_types() {
    let value = |s: &str| ir::Value::String(s.into());
    let tree = ir::Value::Struct(
        [
            ("code".into(), value("%RESPONSE_CODE%")),
            ("agent".into(), value("%REQ(USER-AGENT)%")),
            ("mixed".into(), value("%PROTOCOL% \"x\"")),
            ("nested".into(), ir::Value::List(vec![value("%DURATION%"), ir::Value::Bool(true)])),
        ]
        .into(),
    );
    let mut out = Vec::new();
    let request = Request::new(b"GET", b"h", b"/");
    let s = stream();
    let info = Info { request: Some(&request), response: None, stream: &s };
    JsonTemplate::new(&tree, "", &mut Vec::new()).write(&info, &mut out);
    let expected = r#"{"agent":null,"code":200,"mixed":"HTTP/1.1 \"x\"","nested":[12,true]}"#;
    assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"));
}
