use super::*;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use serde_json::Value;

fn call(method: &str, target: &str, headers: &[(&'static str, &str)], body: &str) -> Call {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    Call {
        method: method.parse().unwrap(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: map,
        peer: "10.0.0.7".parse().unwrap(),
        body: Bytes::from(body.to_owned()),
    }
}

async fn run(call: Call, flavour: Flavour) -> (Reply, Value) {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            let (head, body) = answer(&call, flavour).await.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let value = serde_json::from_slice(&body).unwrap_or_default();
            (Reply::from_parts(head, web::text(StatusCode::OK, "", body).into_body()), value)
        })
        .await
}

#[tokio::test]
async fn the_flavours_differ_in_shape() {
    let headers = [("host", "httpbin:8000"), ("x-request-id", "r"), ("x-a", "1"), ("x-a", "2")];
    let ask = || call("GET", "/get?a=1&b=2&b=3", &headers, "");
    let (_, python) = run(ask(), Flavour::Python).await;
    assert_eq!(python["headers"]["X-A"], "1,2");
    assert_eq!(python["args"], json!({"a": "1", "b": ["2", "3"]}));
    assert_eq!(python["origin"], "10.0.0.7");
    assert_eq!(python["url"], "http://httpbin:8000/get?a=1&b=2&b=3");
    let (_, go) = run(ask(), Flavour::Go).await;
    assert_eq!(go["headers"]["X-A"], json!(["1", "2"]));
    assert_eq!(go["args"]["a"], json!(["1"]));
    assert_eq!(go["method"], "GET");
}

#[tokio::test]
async fn bodies_are_shown_by_their_kind() {
    let json_type = [("content-type", "application/json")];
    let (_, value) = run(call("POST", "/post", &json_type, "{\"a\": 1}"), Flavour::Python).await;
    assert_eq!((&value["json"]["a"], &value["data"]), (&json!(1), &json!("{\"a\": 1}")));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let (_, value) = run(call("PUT", "/put", &form, "x=1"), Flavour::Python).await;
    assert_eq!(value["form"], json!({"x": "1"}));
    let multipart = [("content-type", "multipart/form-data; boundary=B")];
    let body = "--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\r\nhi\r\n--B\r\n\
                Content-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n--B--\r\n";
    let (_, value) = run(call("POST", "/post", &multipart, body), Flavour::Go).await;
    assert_eq!((&value["files"], &value["form"]), (&json!({"f": ["hi"]}), &json!({"x": ["1"]})));
    let (reply, _) = run(call("GET", "/post", &[], ""), Flavour::Go).await;
    assert_eq!(reply.status(), 405);
}

#[tokio::test]
async fn status_redirects_and_headers_are_made_to_order() {
    let status = |target: &'static str| async move {
        let (reply, _) = run(call("GET", target, &[("host", "h")], ""), Flavour::Python).await;
        let header = |name| reply.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        (reply.status().as_u16(), header("location"), header("x-b"))
    };
    let to = |code: u16, location: &str| (code, Some(location.to_owned()), None);
    assert_eq!(status("/status/503").await.0, 503);
    assert_eq!(status("/status/200:0,418:1").await.0, 418);
    assert_eq!(status("/status/none").await.0, 400);
    assert_eq!(status("/redirect/2").await, to(302, "/relative-redirect/1"));
    assert_eq!(status("/redirect/1").await, to(302, "/get"));
    assert_eq!(status("/absolute-redirect/1").await, to(302, "http://h/get"));
    assert_eq!(status("/redirect-to?url=%2Fx&status_code=307").await, to(307, "/x"));
    assert_eq!(status("/response-headers?x-b=c").await.2.as_deref(), Some("c"));
    assert_eq!(status("/nothing").await.0, 404);
}

#[tokio::test]
async fn guards_let_the_right_ones_in() {
    for (target, authorization, expected) in [
        ("/basic-auth/u/p", Some("Basic dTpw"), 200),
        ("/basic-auth/u/p", Some("Basic dTp4"), 401),
        ("/basic-auth/u/p", None, 401),
        ("/hidden-basic-auth/u/p", None, 404),
        ("/bearer", Some("Bearer t"), 200),
        ("/bearer", Some("Basic dTpw"), 401),
    ] {
        let headers: Vec<_> = authorization.map(|a| ("authorization", a)).into_iter().collect();
        let (reply, _) = run(call("GET", target, &headers, ""), Flavour::Python).await;
        assert_eq!(reply.status(), expected, "{target} {authorization:?}");
    }
}

#[tokio::test]
async fn streams_have_the_length_asked_for() {
    for (target, length) in
        [("/bytes/1000", 1000), ("/stream-bytes/25000", 25_000), ("/drip?numbytes=5&duration=0", 5)]
    {
        let (reply, _) = run(call("GET", target, &[], ""), Flavour::Python).await;
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body.len(), length, "{target}");
    }
    let (reply, _) = run(call("GET", "/sse?count=3&duration=0", &[], ""), Flavour::Go).await;
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(String::from_utf8_lossy(&body).matches("\n\n").count(), 3);
}
