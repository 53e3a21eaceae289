//! Admission webhooks over HTTPS: changes, refusals, warnings, selectors, failures.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use crate::support::{Cluster, Resolver};

/// A webhook that answers with what its path says, and remembers what it was asked.
struct Hook {
    address: std::net::SocketAddr,
    ca: String,
    seen: Arc<Mutex<Vec<Value>>>,
}

impl Hook {
    async fn start() -> Hook {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["hook.default.svc".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let ca = STANDARD.encode(certificate.pem());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, log) = (tls.clone(), log.clone());
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(request, log.clone()));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    let _ = connection.await;
                });
            }
        });
        Hook { address, ca, seen }
    }

    fn resolver(&self) -> Resolver {
        let address = self.address;
        Arc::new(move |ns, name, port| {
            ((ns, name, port) == ("default", "hook", 443)).then_some(address)
        })
    }

    fn asked(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn answer(
    request: Request<Incoming>,
    log: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let uid = review["request"]["uid"].clone();
    log.lock().unwrap().push(review);
    let patch = |operations: Value| STANDARD.encode(operations.to_string());
    let response = match path.as_str() {
        "/label" => {
            let operations =
                json!([{"op": "add", "path": "/metadata/labels", "value": {"hooked": "yes"}}]);
            json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": patch(operations), "warnings": ["mind the hook"]})
        }
        "/deny" => {
            json!({"uid": uid, "allowed": false, "status": {"message": "not today", "code": 403}})
        }
        _ => json!({"uid": "another", "allowed": true}),
    };
    let answer = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response});
    Ok(Response::new(Full::new(Bytes::from(answer.to_string()))))
}

fn configuration(kind: &str, name: &str, hook: &Hook, path: &str, more: Value) -> Value {
    let mut webhook = json!({
        "name": format!("{name}.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"namespace": "default", "name": "hook", "path": path}, "caBundle": hook.ca},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        "objectSelector": {"matchLabels": {"case": name}},
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        webhook[key] = value.clone();
    }
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "webhooks": [webhook]})
}

fn case(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"generateName": "c-", "namespace": "default", "labels": {"case": name}}})
}

const MUTATING: &str = "MutatingWebhookConfiguration";
const VALIDATING: &str = "ValidatingWebhookConfiguration";

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_change_refuse_and_fail_as_configured() {
    let hook = Hook::start().await;
    let cluster = Cluster::start_with("webhook", hook.resolver()).await;
    let client = &cluster.client;
    for object in [
        configuration(MUTATING, "change", &hook, "/label", json!({})),
        configuration(VALIDATING, "refuse", &hook, "/deny", json!({})),
        configuration(MUTATING, "broken", &hook, "/nonsense", json!({})),
        configuration(MUTATING, "ignored", &hook, "/nonsense", json!({"failurePolicy": "Ignore"})),
        configuration(
            MUTATING,
            "elsewhere",
            &hook,
            "/deny",
            json!({"namespaceSelector": {"matchLabels": {"no": "such"}}}),
        ),
        configuration(
            VALIDATING,
            "nobody",
            &hook,
            "/deny",
            json!({"clientConfig": {"service": {"namespace": "default", "name": "gone"}, "caBundle": hook.ca}}),
        ),
        configuration(
            VALIDATING,
            "untrusted",
            &hook,
            "/deny",
            json!({"clientConfig": {"service": {"namespace": "default", "name": "hook"}}}),
        ),
    ] {
        client.create(object).await.unwrap();
    }
    let changed = client.create(case("change")).await.unwrap();
    assert_eq!(changed["metadata"]["labels"], json!({"hooked": "yes"}));
    let review = hook.seen.lock().unwrap()[0].clone();
    assert_eq!(review["request"]["operation"], "CREATE");
    assert_eq!(
        review["request"]["resource"],
        json!({"group": "", "version": "v1", "resource": "configmaps"})
    );
    assert_eq!(review["request"]["namespace"], "default");
    assert_eq!(review["request"]["object"]["metadata"]["labels"]["case"], "change");

    let refused = client.create(case("refuse")).await.unwrap_err();
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.message,
        "admission webhook \"refuse.example.com\" denied the request: not today"
    );
    let broken = client.create(case("broken")).await.unwrap_err();
    assert!(broken.message.contains("failed calling webhook \"broken.example.com\""), "{broken}");
    client.create(case("ignored")).await.unwrap();
    client.create(case("elsewhere")).await.unwrap();
    let nobody = client.create(case("nobody")).await.unwrap_err();
    assert!(nobody.message.contains("no endpoints available for service \"gone\""), "{nobody}");
    let untrusted = client.create(case("untrusted")).await.unwrap_err();
    assert!(untrusted.message.contains("unknown authority"), "{untrusted}");

    let before = hook.asked();
    client.create(case("nothing")).await.unwrap();
    assert_eq!(hook.asked(), before, "an object that no selector means is asked of nobody");
}
