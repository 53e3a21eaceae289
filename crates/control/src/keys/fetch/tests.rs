//! Against a small server on the loopback: what is followed, what is not, and what is too much.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// RFC 8037, A.2.
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Answers by path; its port.
async fn server(answer: fn(&str, u16) -> String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let n = stream.read(&mut head).await.unwrap();
            let text = String::from_utf8_lossy(&head[..n]).into_owned();
            let path = text.split(' ').nth(1).unwrap_or_default();
            let _ = stream.write_all(answer(path, port).as_bytes()).await;
        }
    });
    port
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn to(place: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}

fn fetcher(also: &'static str) -> Fetcher {
    let read =
        move |key: &str| (key == "LATEEN_ALLOWED_CIDRS_IN_JWKS_URIS").then(|| also.to_owned());
    Fetcher::new(Allowed::from_env(read))
}

#[tokio::test]
async fn keys_are_fetched_and_every_step_is_checked() {
    let port = server(|path, port| match path {
        "/keys" => ok(KEYS),
        "/moved" => to("/keys"),
        "/away" => to(&format!("http://127.0.0.2:{port}/keys")),
        "/loop" => to("/loop"),
        "/long" => ok(&" ".repeat((1 << 20) + 1)),
        "/empty" => ok(r#"{"keys":[]}"#),
        "/bad" => ok("{}"),
        "/.well-known/openid-configuration" => {
            ok(&format!(r#"{{"jwks_uri":"http://127.0.0.1:{port}/keys"}}"#))
        }
        _ => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
    })
    .await;
    let world = registry::Store::new("cluster.local", "istio-system").snapshot();
    let fetcher = fetcher("127.0.0.1");
    let at = |path: &str| KeySource::Uri(format!("http://127.0.0.1:{port}{path}"));
    for path in ["/keys", "/moved"] {
        assert_eq!(fetcher.keys(&at(path), &world).await.unwrap().as_deref(), Some(KEYS), "{path}");
    }
    assert_eq!(fetcher.keys(&at("/empty"), &world).await.unwrap(), None, "there are none any more");
    let issuer = KeySource::Issuer(format!("http://127.0.0.1:{port}/"));
    assert_eq!(fetcher.keys(&issuer, &world).await.unwrap().as_deref(), Some(KEYS));
    for (path, says) in [
        ("/away", "127.0.0.2 has no address that may be asked"),
        ("/loop", "elsewhere too often"),
        ("/long", "cannot be read"),
        ("/bad", "no list"),
        ("/none", "status 404"),
    ] {
        let error = fetcher.keys(&at(path), &world).await.unwrap_err().to_string();
        assert!(error.contains(says), "{path}: {error}");
    }
    for uri in ["file:///etc/passwd", "ftp://a/b", "http://", "http://a@127.0.0.1/keys", "keys"] {
        let error = fetcher.keys(&KeySource::Uri(uri.into()), &world).await.unwrap_err();
        assert!(matches!(error, FetchError::Uri(_)), "{uri}: {error}");
    }
    let closed = super::super::allow::Allowed::default();
    let error = Fetcher::new(closed).keys(&at("/keys"), &world).await.unwrap_err();
    assert!(matches!(error, FetchError::Forbidden(_)), "{error}");
}

#[test]
fn nothing_leads_from_https_to_http_unseen() {
    let from = Target::parse("https://a.example/x").unwrap();
    assert!(!from.next("http://a.example/x").unwrap().tls);
    assert!(from.next("/y").unwrap().tls && from.next("//b/y").is_none());
    assert_eq!(from.next("https://b:8443/y").unwrap().port, 8443);
}
