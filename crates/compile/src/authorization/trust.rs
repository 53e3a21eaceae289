//! The trust domains that are one: principals that name one of them are meant in all.

use api::MeshConfig;

/// The mesh's own trust domain first, then its aliases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustDomains(Vec<String>);

/// In policies it stands for the mesh's own, whatever that is called.
const LOCAL: &str = "cluster.local";

impl TrustDomains {
    pub fn new(own: &str, aliases: &[String]) -> TrustDomains {
        let mut all = vec![own.to_owned()];
        for alias in aliases {
            if !all.contains(alias) {
                all.push(alias.clone());
            }
        }
        TrustDomains(all)
    }

    pub fn of(mesh: &MeshConfig) -> TrustDomains {
        TrustDomains::new(&mesh.trust_domain, &mesh.trust_domain_aliases)
    }

    /// A written principal under each name that its trust domain has.
    pub(super) fn expand(&self, principal: &str) -> Vec<String> {
        let parts: Vec<&str> = principal.split('/').collect();
        let [domain, _, _, _, _] = parts[..] else { return vec![principal.to_owned()] };
        let is_ours = domain == LOCAL || self.0.iter().any(|own| covers(domain, own));
        if domain == "*" || !is_ours {
            return vec![principal.to_owned()];
        }
        let rest = &principal[domain.len()..];
        let mut all: Vec<String> = Vec::new();
        for own in &self.0 {
            // A pattern stays what it is where it says the same.
            let name = if covers(domain, own) { domain } else { own };
            let principal = format!("{name}{rest}");
            if !all.contains(&principal) {
                all.push(principal);
            }
        }
        all
    }
}

/// Whether a written trust domain, of which the start may be open, is this one.
fn covers(written: &str, domain: &str) -> bool {
    match written.strip_prefix('*') {
        Some(end) => domain.ends_with(end),
        None => written == domain,
    }
}
