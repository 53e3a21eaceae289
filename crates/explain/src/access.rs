//! Who may ask a workload for what: its AuthorizationPolicies, compiled and judged by the code that proxies
//! run, and what its PeerAuthentications say of the connection.

mod unknown;

use api::{MeshConfig, Protocol};
use base::{Labels, Origin, SpiffeId};
use compile::authorization::{Authorizer, Carries, Setting, TrustDomains, authorize, rule_of};
use ir::{HttpManager, Metadata, Rbac, RbacAction, RbacRules, RouteSource};
use policy::format::Peer;
use policy::normal::{self, Normalized, PathRules};
use policy::rbac::{Access, Half, Rules};
use registry::{Admission, Decided, Snapshot};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use unknown::Unknown;
use wire::Request;

/// What is asked of a workload.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Without one it is plaintext.
    pub client: Option<SpiffeId>,
    pub client_ip: Option<IpAddr>,
    pub method: String,
    pub authority: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// What the port is declared to carry.
    pub protocol: Protocol,
    /// Where the workload listens; `None`: no pod has an address yet.
    pub address: Option<IpAddr>,
    pub port: u16,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    pub outcome: Outcome,
    pub why: String,
    /// The rule that decided, as logs have it, and where it stands.
    pub rule: Option<(String, Option<Origin>)>,
    /// What came nearest to allowing it, and what it misses.
    pub nearest: Option<(String, Option<Origin>, &'static str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    Denied,
    /// It depends on what the wish leaves open.
    Unknown,
}

impl Permission {
    fn of(outcome: Outcome, why: &str) -> Permission {
        Permission { outcome, why: why.to_owned(), rule: None, nearest: None }
    }
}

impl Wish {
    /// As proxies judge it: with the canonical path; of a connection there is none.
    fn head(&self, mesh: &MeshConfig) -> Result<Option<Request>, &'static str> {
        if self.carries() == Carries::Tcp {
            return Ok(None);
        }
        let [method, authority, path] =
            [&self.method, &self.authority, &self.path].map(|s| s.as_bytes());
        let mut head = Request::new(method, authority, path);
        for (name, value) in &self.headers {
            head.set_field(name.to_ascii_lowercase().as_bytes(), value.as_bytes());
        }
        let mut manager = HttpManager::new("", RouteSource::Rds("".into()));
        compile::normalize(mesh, &mut manager);
        match normal::path(path, PathRules::of(&manager)) {
            Normalized::Unchanged => Ok(Some(head)),
            Normalized::Changed(path) => {
                head.set_path(&path);
                Ok(Some(head))
            }
            Normalized::Redirect(_) => Err("the client is told to ask for the canonical path"),
            Normalized::Rejected => Err("the path holds what is forbidden"),
        }
    }

    /// Where the protocol is not declared it is made out, and who asks by method and path speaks HTTP.
    fn carries(&self) -> Carries {
        match self.protocol {
            Protocol::Undeclared => Carries::Http,
            protocol if protocol.is_http() => Carries::Http,
            _ => Carries::Tcp,
        }
    }
}

/// The workload of these labels, as far as its policies go.
pub fn access(world: &Snapshot, namespace: &str, labels: &Labels, wish: &Wish) -> Permission {
    let admits = world.peer_authentications.of_workload(namespace, labels);
    let decided = admits.at(wish.port);
    if decided.mode == Admission::Mutual && wish.client.is_none() {
        return strict(decided);
    }
    let mesh = &world.mesh.config;
    let head = match wish.head(mesh) {
        Ok(head) => head,
        Err(why) => return Permission::of(Outcome::Denied, why),
    };
    let policies = world.authorization_policies.of_workload(namespace, labels);
    let trust = TrustDomains::of(mesh);
    let find = |name: &str| Authorizer::find(&mesh.extension_providers, &world.services, name);
    let setting = Setting { trust: &trust, provider: &|name| find(name).map(|a| a.reach()) };
    let compiled = authorize(policies.iter().map(|p| &**p), setting, wish.carries());
    // Where only plaintext is taken nobody proves who they are.
    let client = wish.client.as_ref().filter(|_| decided.mode != Admission::Plaintext);
    let peer = client.map(|client| Peer {
        uri_san: Some(client.to_string()),
        tls_version: Some("TLSv1.3"),
        ..Peer::default()
    });
    let address = wish.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let access = Access {
        head: head.as_ref(),
        peer: peer.as_ref(),
        direct: wish.client_ip,
        remote: wish.client_ip,
        local: Some(SocketAddr::new(address, wish.port)),
        server_name: "",
        metadata: &Metadata::new(),
    };
    let unknown = Unknown {
        client_ip: wish.client_ip.is_none(),
        server_ip: wish.address.is_none(),
        server_name: client.is_some(),
    };
    judge(compiled.custom.map(|c| c.choice).into_iter().chain(compiled.filters), &access, unknown)
}

fn strict(decided: &Decided) -> Permission {
    let rule = decided.by.as_ref().map(|(object, path)| {
        let origin = Origin { object: object.clone(), path: path.clone(), line: None };
        (object.to_string(), Some(origin))
    });
    let why = "plaintext is refused: mutual TLS is STRICT here";
    Permission { rule, ..Permission::of(Outcome::Denied, why) }
}

/// In the order of the filters; the first that denies decides.
fn judge(
    filters: impl Iterator<Item = Rbac>,
    access: &Access<'_, Request>,
    unknown: Unknown,
) -> Permission {
    let mut last = Permission::of(Outcome::Allowed, "no policy is about the workload");
    let (mut asked, mut open) = (None, None);
    for filter in filters {
        if let Some(shadow) = &filter.shadow {
            // Who may be asked about is taken to be.
            let shadow = compiled(&unknown.bound(shadow, true));
            let chosen = shadow.judge(access).policy.filter(|r| r.starts_with("istio-ext-authz-"));
            asked = asked.or(chosen.map(|rule| placed(rule)));
        }
        let Some(rules) = &filter.rules else { continue };
        last = one(rules, access, unknown);
        match last.outcome {
            Outcome::Denied => return last,
            Outcome::Unknown => open = open.or(Some(last.clone())),
            Outcome::Allowed => {}
        }
    }
    if let Some(open) = open {
        return open;
    }
    if let Some(rule) = asked {
        let why = "the rules allow it, if the external authorizer does".to_owned();
        return Permission { why, rule: Some(rule), ..last };
    }
    last
}

fn compiled(rules: &RbacRules) -> Rules {
    Rules::new(rules, "rules", &mut Vec::new())
}

fn one(from: &RbacRules, access: &Access<'_, Request>, unknown: Unknown) -> Permission {
    let [rules, most] = [false, true].map(|matching| compiled(&unknown.bound(from, matching)));
    let (found, perhaps) = (rules.judge(access), most.judge(access));
    if found.allowed != perhaps.allowed {
        let why = "a rule asks for an address or a server name that is not known \
            (the client's address is said by --ip)";
        let rule = perhaps.policy.map(|name| placed(name));
        return Permission { rule, ..Permission::of(Outcome::Unknown, why) };
    }
    let (outcome, why) = match (from.action, found.allowed) {
        (RbacAction::Allow, true) => (Outcome::Allowed, "a rule allows it"),
        (RbacAction::Allow, false) => {
            (Outcome::Denied, "there are ALLOW policies, and no rule of theirs matches")
        }
        (RbacAction::Deny, false) => (Outcome::Denied, "a rule denies it"),
        (RbacAction::Deny | RbacAction::Log, _) => {
            (Outcome::Allowed, "no rule denies it, and nothing has to allow it")
        }
    };
    let near = || {
        rules.nearest(access).map(|near| {
            let (name, origin) = placed(near.policy);
            let missed = match near.missed {
                Half::Who => "it allows the operation, not the client",
                Half::What => "it allows the client, not the operation",
            };
            (name, origin, missed)
        })
    };
    let missed = from.action == RbacAction::Allow && !found.allowed;
    Permission {
        rule: found.policy.map(|name| placed(name)),
        nearest: missed.then(near).flatten(),
        ..Permission::of(outcome, why)
    }
}

fn placed(rule: &str) -> (String, Option<Origin>) {
    (rule.to_owned(), rule_of(rule))
}
