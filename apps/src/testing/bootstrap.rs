//! gRPC's bootstrap file: which control plane to ask, who we are, and where certificates lie.

use std::path::PathBuf;

use anyhow::Context;
use base::{SpiffeId, TrustDomain};
use proto::discovery::Node;
use proto::envoy::envoy::config::core::v3::Locality;
use proto::envoy::google::protobuf::value::Kind;
use proto::envoy::google::protobuf::{ListValue, Struct, Value as Wire};
use serde_json::Value;
use tls::{ClientAuth, Credential, CredentialSource, Expect, Trust, TrustSource};

use crate::flags::env;

#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The control plane's socket.
    pub server: Server,
    pub node: Node,
    provider: Option<Files>,
    listeners: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    Unix(PathBuf),
    /// `host:port`
    Tcp(String),
}

#[derive(Clone, Debug)]
struct Files {
    chain: PathBuf,
    key: PathBuf,
    roots: PathBuf,
}

impl Bootstrap {
    /// What `GRPC_XDS_BOOTSTRAP` names, if it names something.
    pub fn read() -> anyhow::Result<Option<Bootstrap>> {
        let Some(path) = env("GRPC_XDS_BOOTSTRAP") else { return Ok(None) };
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let json: Value = serde_json::from_str(&text).with_context(|| path.clone())?;
        Bootstrap::of(&json).with_context(|| path).map(Some)
    }

    fn of(json: &Value) -> anyhow::Result<Bootstrap> {
        let uri = json["xds_servers"][0]["server_uri"].as_str();
        let uri = uri.context("xds_servers[0].server_uri is missing")?;
        let node = &json["node"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let locality = &node["locality"];
        let config = &json["certificate_providers"]["default"]["config"];
        let file = |name: &str| config[name].as_str().map(PathBuf::from);
        let files = || {
            let (chain, key) = (file("certificate_file")?, file("private_key_file")?);
            Some(Files { chain, key, roots: file("ca_certificate_file")? })
        };
        Ok(Bootstrap {
            server: match uri.strip_prefix("unix:") {
                Some(path) => Server::Unix(path.trim_start_matches("//").into()),
                None => Server::Tcp(uri.trim_start_matches("dns:///").to_owned()),
            },
            node: Node {
                id: text(&node["id"]),
                cluster: text(&node["cluster"]),
                metadata: Some(structure(&node["metadata"])),
                locality: Some(Locality {
                    region: text(&locality["region"]),
                    zone: text(&locality["zone"]),
                    sub_zone: text(&locality["sub_zone"]),
                }),
                user_agent_name: "lateen-apps".to_owned(),
                ..Node::default()
            },
            provider: files(),
            listeners: text(&json["server_listener_resource_name_template"]),
        })
    }

    /// The resource that says how a port of ours is served.
    pub fn listener(&self, port: u16) -> String {
        self.listeners.replace("%s", &format!("[::]:{port}"))
    }

    /// The server's end of mutual TLS, with the certificate as it is now.
    pub fn acceptor(&self) -> anyhow::Result<tokio_rustls::TlsAcceptor> {
        let (credential, trust) = self.identity()?;
        let config = tls::server_config(credential, ClientAuth::Required(trust), &[b"h2"])?;
        Ok(config.into())
    }

    /// The client's end: the server must be one of these.
    pub fn connector(&self, peers: Peers) -> anyhow::Result<tokio_rustls::TlsConnector> {
        let (credential, trust) = self.identity()?;
        let expect = match peers {
            Peers::OneOf(ids) => Expect::OneOf(ids),
            Peers::AnyOf(domain) => Expect::AnyOf(domain),
        };
        Ok(tls::client_config(trust, expect, Some(credential), &[b"h2"])?.into())
    }

    fn identity(&self) -> anyhow::Result<(CredentialSource, TrustSource)> {
        let files = self.provider.as_ref();
        let files = files.context("the bootstrap names no certificate provider `default`")?;
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).with_context(|| path.display().to_string())
        };
        let credential = Credential::from_pem(&read(&files.chain)?, &read(&files.key)?)?;
        let trust = Trust::from_pem(&read(&files.roots)?)?;
        Ok((CredentialSource::new(credential), TrustSource::new(trust)))
    }
}

/// Who may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    OneOf(Vec<SpiffeId>),
    AnyOf(TrustDomain),
}

fn structure(json: &Value) -> Struct {
    let fields = json.as_object().into_iter().flatten();
    Struct { fields: fields.map(|(k, v)| (k.clone(), wire(v))).collect() }
}

fn wire(json: &Value) -> Wire {
    let kind = match json {
        Value::Null => Kind::NullValue(0),
        Value::Bool(b) => Kind::BoolValue(*b),
        Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or_default()),
        Value::String(s) => Kind::StringValue(s.clone()),
        Value::Array(list) => {
            Kind::ListValue(ListValue { values: list.iter().map(wire).collect() })
        }
        Value::Object(_) => Kind::StructValue(structure(json)),
    };
    Wire { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bootstrap_says_whom_to_ask_and_who_we_are() {
        let json = json!({
            "xds_servers": [{"server_uri": "unix:///etc/istio/proxy/XDS"}],
            "node": {"id": "a", "metadata": {"GENERATOR": "grpc", "LABELS": {"app": "echo"}}},
            "server_listener_resource_name_template": "x/inbound/%s"});
        let read = Bootstrap::of(&json).unwrap();
        assert_eq!(read.server, Server::Unix("/etc/istio/proxy/XDS".into()));
        assert_eq!(read.listener(80), "x/inbound/[::]:80");
        assert_eq!(read.node.metadata.unwrap().fields.len(), 2);
        assert!(read.provider.is_none());
        let direct = json!({"xds_servers": [{"server_uri": "dns:///istiod:15010"}]});
        assert_eq!(Bootstrap::of(&direct).unwrap().server, Server::Tcp("istiod:15010".into()));
        assert!(Bootstrap::of(&json!({})).is_err());
    }
}
