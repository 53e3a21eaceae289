#![allow(clippy::unwrap_used)]

use super::*;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A server whose certificate nobody has reason to trust; it answers 200 on `/well` and else 503.
async fn server(over_tls: bool) -> std::net::SocketAddr {
    let made = rcgen::generate_simple_self_signed(["nobody.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            if !over_tls {
                answer(&mut stream).await;
            } else if let Ok(mut stream) = acceptor.accept(stream).await {
                answer(&mut stream).await;
            }
        }
    });
    address
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let mut request = [0; 1024];
    let count = stream.read(&mut request).await.unwrap();
    let well = request[..count].starts_with(b"GET /well HTTP/1.1\r\n");
    let code = if well { "200 OK" } else { "503 Service Unavailable" };
    let reply = format!("HTTP/1.1 {code}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(reply.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}

async fn ask(address: std::net::SocketAddr, scheme: &str, path: &str) -> Result<(), String> {
    let asked = serde_json::json!({"scheme": scheme, "path": path, "port": address.port()});
    let asked: HttpGet = serde_json::from_value(asked).unwrap();
    get(TcpStream::connect(address).await.unwrap(), &asked).await
}

#[tokio::test]
async fn the_answer_counts_over_tls_too() {
    let (plain, secure) = (server(false).await, server(true).await);
    for (address, scheme) in [(plain, "HTTP"), (secure, "HTTPS")] {
        assert_eq!(ask(address, scheme, "well").await, Ok(()), "{scheme}");
        let said = ask(address, scheme, "/ill").await.unwrap_err();
        assert_eq!(said, "HTTP probe failed with statuscode: 503", "{scheme}");
    }
    let said = ask(plain, "HTTPS", "/well").await.unwrap_err();
    assert!(said.starts_with("TLS handshake with 127.0.0.1:"), "{said}");
}
