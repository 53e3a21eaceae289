//! Over real sockets: what the node and Prometheus get from 15020.

use super::*;
use std::net::{IpAddr, Ipv4Addr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// An application that answers every connection with `answer` and tells what it was asked.
async fn application(answer: &'static str) -> (u16, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tx, rx) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = vec![0; 4096];
            let n = socket.read(&mut buffer).await.unwrap_or(0);
            let _ = tx.send(String::from_utf8_lossy(&buffer[..n]).into_owned()).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (port, rx)
}

struct Agent {
    address: SocketAddr,
    readiness: watch::Sender<Readiness>,
    quit: watch::Receiver<bool>,
}

async fn agent(probers: &str, application: Option<Application>) -> Agent {
    let (readiness, ready) = watch::channel(Readiness::Waiting("clusters".into()));
    let (quit, quits) = watch::channel(false);
    let status = Status {
        readiness: ready,
        probes: Probes::read(probers, Some(LOCAL), Dial::default()).unwrap(),
        proxy_metrics: Arc::new(|| Box::pin(async { "istio_requests_total 1\n".to_owned() })),
        application,
        names: None,
        dial: Dial::default(),
        quit,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(status.serve(listener));
    Agent { address, readiness, quit: quits }
}

async fn ask(agent: &Agent, method: &str, path: &str) -> (u16, String) {
    let socket = TcpStream::connect(agent.address).await.unwrap();
    let request = Request::builder().method(method).uri(path).header("host", "x");
    let response =
        fetch::http1(socket, request.body(Full::new(Bytes::new())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8(response.into_body().to_vec()).unwrap())
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let agent = agent("", None).await;
    let (status, body) = ask(&agent, "GET", "/healthz/ready").await;
    assert_eq!((status, body.as_str()), (503, "not ready: clusters\n"));
    agent.readiness.send_replace(Readiness::Ready);
    assert_eq!(ask(&agent, "GET", "/healthz/ready").await.0, 200);
    agent.readiness.send_replace(Readiness::Draining);
    assert_eq!(ask(&agent, "GET", "/healthz/ready").await.0, 503);
}

#[tokio::test]
async fn probes_reach_the_application_as_the_node_would() {
    let (port, mut asked) =
        application("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
    let (dead, closed) = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (listener.local_addr().unwrap().port(), listener)
    };
    drop(closed);
    let probers = format!(
        r#"{{"/app-health/a/livez": {{"httpGet": {{"path": "/health", "port": {port},
             "httpHeaders": [{{"name": "Host", "value": "a.example"}}, {{"name": "x-k", "value": "v"}}]}}}},
            "/app-health/a/readyz": {{"tcpSocket": {{"port": {port}}}, "timeoutSeconds": 2}},
            "/app-health/b/livez": {{"tcpSocket": {{"port": {dead}}}}}}}"#
    );
    let agent = agent(&probers, None).await;
    assert_eq!(ask(&agent, "GET", "/app-health/a/livez").await.0, 204);
    let request = asked.recv().await.unwrap();
    assert!(request.starts_with("GET /health HTTP/1.1"), "{request}");
    assert!(request.contains("host: a.example") && request.contains("x-k: v"), "{request}");
    assert!(request.contains("kube-probe"), "{request}");
    assert_eq!(ask(&agent, "GET", "/app-health/a/readyz").await.0, 200);
    assert_eq!(ask(&agent, "GET", "/app-health/b/livez").await.0, 500);
    assert_eq!(ask(&agent, "GET", "/app-health/c/livez").await.0, 404);
}

#[tokio::test]
async fn a_redirect_to_itself_is_followed_and_a_loop_fails() {
    let (port, _asked) =
        application("HTTP/1.1 302 Found\r\nlocation: /again\r\nconnection: close\r\n\r\n").await;
    let probers = format!(r#"{{"/app-health/a/livez": {{"httpGet": {{"port": {port}}}}}}}"#);
    let agent = agent(&probers, None).await;
    assert_eq!(ask(&agent, "GET", "/app-health/a/livez").await.0, 500);
}

#[tokio::test]
async fn metrics_of_proxy_and_application_are_one_page() {
    let (port, mut asked) =
        application("HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\nhits 7\n# EOF\n\r\n").await;
    let application = Application { path: "/m".into(), port: port.to_string() };
    let agent = agent("", Some(application)).await;
    let (status, page) = ask(&agent, "GET", "/stats/prometheus").await;
    assert_eq!((status, page.as_str()), (200, "istio_requests_total 1\nhits 7\n\n"));
    assert!(asked.recv().await.unwrap().starts_with("GET /m "));
}

#[tokio::test]
async fn an_application_without_metrics_does_not_fail_the_page() {
    let application = Application { path: String::new(), port: "1".into() };
    let agent = agent("", Some(application)).await;
    let (status, page) = ask(&agent, "GET", "/metrics").await;
    assert_eq!((status, page.as_str()), (200, "istio_requests_total 1\n"));
}

#[tokio::test]
async fn quitting_is_asked_for_by_post() {
    let agent = agent("", None).await;
    assert_eq!(ask(&agent, "GET", "/quitquitquit").await.0, 405);
    assert!(!*agent.quit.borrow());
    assert_eq!(ask(&agent, "POST", "/quitquitquit").await.0, 200);
    assert!(*agent.quit.borrow());
}
