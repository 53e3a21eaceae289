//! Who may ask a workload for what: its AuthorizationPolicies, compiled and judged by the code that proxies
//! run, and what its PeerAuthentications say of the connection.

use base::{Labels, Origin, SpiffeId};
use compile::authorization::{Authorizer, Carries, Setting, TrustDomains, authorize, rule_of};
use ir::{Metadata, Rbac, RbacAction};
use policy::format::Peer;
use policy::rbac::{Access, Half, RbacRule, Rules};
use registry::{Admission, Snapshot};
use std::net::{IpAddr, SocketAddr};
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
    /// Where the workload listens.
    pub at: SocketAddr,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    pub allowed: bool,
    pub why: String,
    /// The rule that decided, as logs have it, and where it stands.
    pub rule: Option<(String, Option<Origin>)>,
    /// What came nearest to allowing it, and what it misses.
    pub nearest: Option<(String, Option<Origin>, &'static str)>,
}

impl Wish {
    fn head(&self) -> Request {
        let [method, authority, path] =
            [&self.method, &self.authority, &self.path].map(|s| s.as_bytes());
        let mut head = Request::new(method, authority, path);
        for (name, value) in &self.headers {
            head.set_field(name.to_ascii_lowercase().as_bytes(), value.as_bytes());
        }
        head
    }
}

/// The workload of these labels, as far as its policies go.
pub fn access(world: &Snapshot, namespace: &str, labels: &Labels, wish: &Wish) -> Permission {
    let admits = world.peer_authentications.of_workload(namespace, labels);
    let decided = admits.at(wish.at.port());
    if decided.mode == Admission::Mutual && wish.client.is_none() {
        let by = decided.by.as_ref().map(|(object, path)| {
            let origin = Origin { object: object.clone(), path: path.clone(), line: None };
            (object.to_string(), Some(origin))
        });
        let why = "plaintext is refused: mutual TLS is STRICT here".to_owned();
        return Permission { allowed: false, why, rule: by, nearest: None };
    }
    let policies = world.authorization_policies.of_workload(namespace, labels);
    let mesh = &world.mesh.config;
    let trust = TrustDomains::of(mesh);
    let find = |name: &str| Authorizer::find(&mesh.extension_providers, &world.services, name);
    let setting = Setting { trust: &trust, provider: &|name| find(name).map(|a| a.reach()) };
    let compiled = authorize(policies.iter().map(|p| &**p), setting, Carries::Http);
    judge(compiled.custom.map(|c| c.choice).into_iter().chain(compiled.filters), wish)
}

/// In the order of the filters; the first that denies decides.
fn judge(filters: impl Iterator<Item = Rbac>, wish: &Wish) -> Permission {
    let peer = wish.client.as_ref().map(|client| Peer {
        uri_san: Some(client.to_string()),
        tls_version: Some("TLSv1.3"),
        ..Peer::default()
    });
    let (metadata, head) = (Metadata::new(), wish.head());
    let access = Access {
        head: Some(&head),
        peer: peer.as_ref(),
        direct: wish.client_ip,
        remote: wish.client_ip,
        local: Some(wish.at),
        server_name: "",
        metadata: &metadata,
    };
    let mut last = Permission {
        allowed: true,
        why: "no policy is about the workload".to_owned(),
        rule: None,
        nearest: None,
    };
    let mut asked = None;
    for filter in filters {
        let compiled = RbacRule::new(&filter, "rules", &mut Vec::new());
        if let Some(shadow) = &compiled.shadow
            && let (false, Some(rule)) =
                (shadow.judge(&access).allowed, shadow.judge(&access).policy)
            && rule.starts_with("istio-ext-authz-")
        {
            asked = Some(placed(rule));
        }
        if let (Some(rules), Some(of)) = (&compiled.rules, &filter.rules) {
            last = one(rules, of.action, &access);
            if !last.allowed {
                return last;
            }
        }
    }
    if let Some(rule) = asked {
        let why = "the rules allow it, if the external authorizer does".to_owned();
        return Permission { why, rule: Some(rule), ..last };
    }
    last
}

fn one(rules: &Rules, action: RbacAction, access: &Access<'_, Request>) -> Permission {
    let found = rules.judge(access);
    let why = match (action, found.allowed) {
        (RbacAction::Allow, true) => "a rule allows it",
        (RbacAction::Allow, false) => "there are ALLOW policies, and no rule of theirs matches",
        (RbacAction::Deny, false) => "a rule denies it",
        (RbacAction::Deny | RbacAction::Log, _) => "no rule denies it, and nothing has to allow it",
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
    let missed = action == RbacAction::Allow && !found.allowed;
    Permission {
        allowed: found.allowed,
        why: why.to_owned(),
        rule: found.policy.map(|name| placed(name)),
        nearest: missed.then(near).flatten(),
    }
}

fn placed(rule: &str) -> (String, Option<Origin>) {
    (rule.to_owned(), rule_of(rule))
}
