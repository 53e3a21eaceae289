//! Tests of questions and answers.

use super::*;
use base::FixedEnv;
use ir::{AppendAction, GrpcAuthz};
use wire::Response;

fn http() -> HttpAuthz {
    HttpAuthz {
        uri: "http://authz".into(),
        cluster: "authz".into(),
        timeout: None,
        path_prefix: "/check".into(),
        path_override: "".into(),
        allowed_headers: None,
        headers_to_add: vec![("x-who".into(), "me".into())],
        upstream: vec![StringMatch::exact("x-user")],
        upstream_append: vec![StringMatch::exact("x-group")],
        client: Vec::new(),
        client_on_success: vec![StringMatch::exact("set-cookie")],
        metadata: vec![StringMatch::exact("x-meta")],
    }
}

fn by_http() -> AuthzService {
    AuthzService::Http(Box::new(http()))
}

fn by_grpc() -> AuthzService {
    AuthzService::Grpc(GrpcAuthz { cluster: "authz".into(), timeout: None })
}

fn rule(config: &ExtAuthz) -> AuthzRule {
    let mut findings = Vec::new();
    let rule = AuthzRule::new(config, "", &mut findings);
    assert!(findings.is_empty(), "{findings:?}");
    rule
}

fn request() -> Request {
    let mut request = Request::new(b"POST", b"h", b"/p?a=1&b=2");
    for (name, value) in [("authorization", "t"), ("x-a", "1"), ("x-a", "2"), ("te", "trailers")] {
        request.fields.push(name.as_bytes(), value.as_bytes());
    }
    request
}

fn names(rule: &AuthzRule) -> Vec<String> {
    let shown = rule.shown(&request(), false);
    let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
    shown.into_iter().map(|(n, v)| format!("{}={}", text(n), text(v))).collect()
}

#[test]
fn an_authorizer_gets_what_is_allowed_and_necessary() {
    let grpc = ExtAuthz::asking(by_grpc());
    let all = [":authority=h", ":path=/p?a=1&b=2", ":method=POST", ":scheme=http"];
    let all = [&all[..], &["authorization=t", "x-a=1,2", "te=trailers"]].concat();
    assert_eq!(names(&rule(&grpc)), all);
    let only = ExtAuthz {
        allowed_headers: Some(vec![StringMatch::exact("x-a"), StringMatch::exact("te")]),
        disallowed_headers: vec![StringMatch::exact("te")],
        raw_headers: true,
        ..grpc
    };
    assert_eq!(names(&rule(&only)), ["x-a=1", "x-a=2"]);
    let necessary = [":authority=h", ":path=/p?a=1&b=2", ":method=POST", "authorization=t"];
    assert_eq!(names(&rule(&ExtAuthz::asking(by_http()))), necessary);
}

#[test]
fn a_question_by_http_has_the_prefix_and_what_is_added() {
    let rule = rule(&ExtAuthz::asking(by_http()));
    let Service::Http(service) = rule.service(None) else { panic!() };
    let question = service.question(&rule.shown(&request(), false), 3);
    assert_eq!((question.method(), question.path()), (&b"POST"[..], &b"/check/p?a=1&b=2"[..]));
    let field = |name: &str| question.field(name.as_bytes());
    assert_eq!(field("content-length"), Some(&b"3"[..]));
    assert_eq!(field("x-who"), Some(&b"me"[..]));
    assert_eq!(field("x-a"), None);
}

#[test]
fn answers_by_http_are_read_by_status_and_lists() {
    let rule = rule(&ExtAuthz::asking(by_http()));
    let Service::Http(service) = rule.service(None) else { panic!() };
    let answer = |status: u16| {
        let mut response = Response::new(status);
        for (name, value) in [
            ("x-user", "u"),
            ("X-Group", "g"),
            ("set-cookie", "c"),
            ("x-meta", "m"),
            ("x-envoy-auth-headers-to-remove", "authorization, host, :path"),
        ] {
            response.fields.push(name.as_bytes(), value.as_bytes());
        }
        service.answer(&response, b"no".to_vec())
    };
    assert_eq!(answer(503), Answer::Failed);
    let Answer::Denied(denial) = answer(204) else { panic!() };
    assert_eq!((denial.status, denial.headers.len()), (204, 4), "all but what is to be removed");
    let Answer::Allowed(changes) = answer(200) else { panic!() };
    let mut request = request();
    request.fields.push(b"x-group", b"before");
    request.fields.push(b"x-user", b"forged");
    assert!(changes.apply(&mut request));
    let values = |name: &'static str| {
        request.fields.values(name.as_bytes()).map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    assert_eq!(values("x-user"), [b"u"]);
    assert_eq!(values("x-group"), [&b"before"[..], b"g"]);
    assert_eq!(values("authorization"), Vec::<Vec<u8>>::new());
    assert_eq!(request.path(), b"/p?a=1&b=2");
    assert_eq!(changes.metadata.len(), 1);
    let mut response = Response::new(200);
    Changes::answer(&changes.response, &mut response);
    assert_eq!(wire::Head::get(&response, b"set-cookie"), Some(&b"c"[..]));
}

#[test]
fn queries_are_changed_and_broken_fields_left_out() {
    let edit = |name: &str, value: &str| Edit {
        name: name.into(),
        value: value.into(),
        action: AppendAction::OverwriteIfExistsOrAdd,
    };
    let changes = Changes {
        request: vec![edit("x-ok", "1"), edit("x-bad", "1\r\nx-more: 2"), edit("a b", "c")],
        query_set: vec![("b".into(), "3".into()), ("c".into(), "4".into())],
        query_remove: vec!["a".into()],
        ..Changes::default()
    };
    let mut request = request();
    assert!(changes.invalid());
    changes.apply(&mut request);
    assert_eq!(request.path(), b"/p?b=3&c=4");
    assert!(request.fields.contains(b"x-ok") && !request.fields.contains(b"x-bad"));
    let gone = Changes { query_remove: vec!["a".into(), "b".into()], ..Changes::default() };
    let mut request = super::tests::request();
    gone.apply(&mut request);
    assert_eq!(request.path(), b"/p");
}

#[test]
fn who_is_not_asked_about_passes_or_is_refused() {
    let off = ExtAuthz { enabled: Some(ir::Fraction::percent(0)), ..ExtAuthz::asking(by_grpc()) };
    let concern = |config: &ExtAuthz| rule(config).concern(&Metadata::new(), &FixedEnv::seeded(1));
    assert_eq!(concern(&ExtAuthz::asking(by_grpc())), Concern::Ask);
    assert_eq!(concern(&off), Concern::Pass);
    assert_eq!(concern(&ExtAuthz { deny_at_disable: true, ..off }), Concern::Refuse);
}
