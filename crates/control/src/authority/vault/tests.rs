//! Against a stand-in that answers as Vault's documentation says, and signs what it likes.

use super::*;
use base::{SpiffeId, WallTime};
use ca::Lifetimes;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer,
    KeyPair, SanType,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A root, one below it that signs, and what was asked.
struct Stand {
    root: String,
    signer: String,
    issuer: Issuer<'static, KeyPair>,
    logins: AtomicUsize,
    asked: Mutex<Vec<Value>>,
    /// Signs for somebody else.
    lies: bool,
}

impl Stand {
    fn new(lies: bool) -> Arc<Stand> {
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = params("root").self_signed(&root_key).unwrap().pem();
        let above = Issuer::new(params("root"), root_key);
        let signer = params("signer").signed_by(&key, &above).unwrap().pem();
        let issuer = Issuer::new(params("signer"), key);
        let (logins, asked) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Stand { root, signer, issuer, logins, asked, lies })
    }

    async fn serve(self: &Arc<Stand>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let stand = self.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut read = Vec::new();
                let (head, body) = loop {
                    stream.read_buf(&mut read).await.unwrap();
                    let text = String::from_utf8_lossy(&read).into_owned();
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let head = head.to_ascii_lowercase();
                    let length = head.split("content-length: ").nth(1);
                    let length = length.and_then(|l| l.lines().next()?.parse().ok()).unwrap_or(0);
                    if body.len() >= length {
                        break (head, body.to_owned());
                    }
                };
                let (status, said) = stand.answer(&head, &body);
                let answer = format!(
                    "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
                    said.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        at
    }

    fn answer(&self, head: &str, body: &str) -> (u16, String) {
        let path = head.split(' ').nth(1).unwrap_or_default();
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        match path {
            "/v1/pki/ca_chain" => (200, format!("{}{}", self.signer, self.root)),
            "/v1/auth/kubernetes/login" if body["jwt"] == "account" && body["role"] == "istiod" => {
                let n = self.logins.fetch_add(1, Ordering::SeqCst);
                let auth = json!({ "client_token": format!("token-{n}"), "lease_duration": 3600 });
                (200, json!({ "auth": auth }).to_string())
            }
            // The first token has been revoked meanwhile.
            "/v1/pki/sign/istio" if head.contains("x-vault-token: token-1") => {
                self.asked.lock().unwrap().push(body.clone());
                match body["ttl"] == "7s" {
                    true => (400, json!({ "errors": ["too short", "really"] }).to_string()),
                    false => (200, self.signed(&body)),
                }
            }
            "/v1/pki/sign/istio" => (403, json!({ "errors": ["permission denied"] }).to_string()),
            _ => (404, json!({ "errors": [] }).to_string()),
        }
    }

    fn signed(&self, body: &Value) -> String {
        let mut csr =
            CertificateSigningRequestParams::from_pem(body["csr"].as_str().unwrap()).unwrap();
        let uri = if self.lies {
            "spiffe://td/ns/x/sa/admin"
        } else {
            body["uri_sans"].as_str().unwrap()
        };
        csr.params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let leaf = csr.signed_by(&self.issuer).unwrap().pem();
        json!({ "data": { "certificate": leaf, "ca_chain": [self.signer, self.root] } }).to_string()
    }
}

fn options(address: String, account: &str) -> VaultOptions {
    let file = std::env::temp_dir().join(format!("lateen-vault-{}-{account}", std::process::id()));
    std::fs::write(&file, "account\n").unwrap();
    let login =
        Login::Kubernetes { mount: "kubernetes".into(), role: "istiod".into(), token: file };
    let read = |key: &str| (key == "VAULT_ADDR").then(|| address.clone());
    VaultOptions { login, ..VaultOptions::from_env(read).unwrap() }
}

fn order(ttl: u64) -> Order {
    let id = SpiffeId::new("td", "n", "s");
    let (csr, _) = tls::request(&id).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (names, ttl) = (Names::Workload(id), Duration::from_secs(ttl));
    Order::new(&csr, names, ttl, Lifetimes::default(), WallTime(now.as_nanos() as u64)).unwrap()
}

fn forget(options: &VaultOptions) {
    let Login::Kubernetes { token, .. } = &options.login else { return };
    let _ = std::fs::remove_file(token);
}

#[tokio::test]
async fn what_is_ordered_is_signed_and_led_to_the_root() {
    let stand = Stand::new(false);
    let options = options(stand.serve().await, "good");
    let (current, _) = begin(options.clone()).await.unwrap();
    let signer = current.borrow().clone();
    assert_eq!(ca::blocks(&signer.roots()), ca::blocks(&stand.root));
    let issued = signer.issue(&order(600)).await.unwrap();
    let [leaf, between, roots] = &issued.chain[..] else { panic!("{issued:?}") };
    let told = tls::certificate_facts(leaf).remove(0).identity.unwrap();
    assert_eq!(told, SpiffeId::new("td", "n", "s"));
    assert_eq!(ca::blocks(between), ca::blocks(&stand.signer));
    assert_eq!(ca::blocks(roots), ca::blocks(&stand.root));
    let asked = stand.asked.lock().unwrap()[0].clone();
    assert_eq!(
        (&asked["uri_sans"], &asked["ttl"]),
        (&"spiffe://td/ns/n/sa/s".into(), &"600s".into())
    );
    assert_eq!(stand.logins.load(Ordering::SeqCst), 2, "the first token was not taken any more");
    signer.issue(&order(600)).await.unwrap();
    assert_eq!(stand.logins.load(Ordering::SeqCst), 2, "the second one is kept");
    let refused = signer.issue(&order(7)).await.unwrap_err().to_string();
    assert!(refused.contains("sign/istio is answered 400: too short; really"), "{refused}");
    forget(&options);
}

#[tokio::test]
async fn what_was_not_ordered_is_not_passed_on() {
    let stand = Stand::new(true);
    let options = options(stand.serve().await, "lies");
    let (current, _) = begin(options.clone()).await.unwrap();
    let signer = current.borrow().clone();
    let refused = signer.issue(&order(600)).await.unwrap_err().to_string();
    assert!(refused.contains("spiffe://td/ns/x/sa/admin, which was not asked for"), "{refused}");
    forget(&options);
}

#[test]
fn tokens_do_not_travel_in_plaintext() {
    let of = |address: &str| {
        let read = |key: &str| (key == "VAULT_ADDR").then(|| address.to_owned());
        Vault::new(VaultOptions::from_env(read).unwrap()).err().map(|e| e.to_string())
    };
    assert_eq!(of("https://vault.example:8200"), None);
    assert_eq!(of("http://127.0.0.1:8200"), None);
    assert!(of("http://vault.example:8200").unwrap().contains("https, or http on the loopback"));
    assert!(of("vault").is_some());
    assert_eq!(VaultOptions::from_env(|_| None), None);
}

#[test]
fn a_root_that_was_replaced_is_trusted_as_long_as_its_leaves_live() {
    let (step, start) = (Duration::from_secs(60), Instant::now());
    let mut known = Known { now: "a".into(), before: None };
    assert!(!known.see("a".into(), start, step));
    assert!(known.see("b".into(), start, step));
    assert_eq!(known.bundle(), "ba");
    assert!(!known.see("b".into(), start + step / 2, step));
    assert!(known.see("b".into(), start + step, step));
    assert_eq!(known.bundle(), "b");
}
