//! An authority that the operator brings: an intermediate certificate with its key, what leads from it to
//! the root, and the roots; in files under Istio's names, or under those of `kubernetes.io/tls`.

use crate::issue::{Answer, IssueError, Issued, Names, Order, Signer, State};
use crate::roots::Pace;
use crate::self_signed::{RootError, SelfSigned};
use base::{SpiffeId, WallTime};
use rustls_pki_types::UnixTime;
use std::io::ErrorKind;
use std::time::Duration;
use tls::{PeerRules, Role, Trust};

/// What signs, with everything that peers need to believe it.
#[derive(Debug)]
pub struct PlugIn {
    signer: SelfSigned,
    /// From the signer's certificate up to below the root.
    between: Vec<String>,
    roots: String,
}

#[derive(Debug, thiserror::Error)]
pub enum PlugInError {
    #[error(
        "{0} is missing; Secret cacerts has ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem"
    )]
    Missing(&'static str),
    #[error("{0}")]
    Unusable(String),
    #[error("ca-cert.pem does not lead to a root of root-cert.pem by cert-chain.pem: {0}")]
    Broken(String),
    #[error(
        "the replacement is refused: {0}; have both roots in root-cert.pem until every certificate was \
         renewed, or restart the control plane if connections may fail"
    )]
    Abrupt(&'static str),
}

impl PlugIn {
    /// `file` reads one of the files. `None`: nothing is plugged in, which is only so where not one of the
    /// files exists: half of an authority must not become a mesh with a root that nobody asked for.
    pub fn read(
        file: impl Fn(&str) -> std::io::Result<String>,
        now: WallTime,
    ) -> Result<Option<Self>, PlugInError> {
        let look = |name: &'static str| match file(name) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(PlugInError::Unusable(format!("{name} cannot be read: {error}"))),
        };
        let Some([cert, key, chain, root]) = naming(look)? else { return Ok(None) };
        let need = |name: &'static str| look(name)?.ok_or(PlugInError::Missing(name));
        let (cert, key, roots) = (need(cert)?, need(key)?, need(root)?);
        let first = blocks(&cert).into_iter().next();
        let signer_pem = first.ok_or(PlugInError::Missing("ca-cert.pem"))?;
        let between = between(&signer_pem, &look(chain)?.unwrap_or_default(), &roots);
        let signer = SelfSigned::from_pem(signer_pem, key).map_err(|e| match e {
            RootError::Unusable(why) => PlugInError::Unusable(why),
            other => PlugInError::Unusable(other.to_string()),
        })?;
        let plugged = Self { signer, between, roots };
        plugged.is_believed_under(&plugged.roots, now).map_err(PlugInError::Broken)?;
        Ok(Some(plugged))
    }

    /// Whether `next` may take our place while leaves of ours are in use: who has our roots must believe
    /// it, and who has its roots must believe us.
    pub fn may_become(&self, next: &PlugIn, now: WallTime) -> Result<(), PlugInError> {
        next.is_believed_under(&self.roots, now)
            .map_err(|_| PlugInError::Abrupt("workloads do not trust the new root yet"))?;
        if self.signer.facts.not_after <= now {
            // No leaf outlives its signer, so none of ours is in use.
            return Ok(());
        }
        self.is_believed_under(&next.roots, now)
            .map_err(|_| PlugInError::Abrupt("certificates of the old root are still in use"))
    }

    /// Tells it apart from others that peers would trust.
    pub(crate) fn fingerprint(&self) -> String {
        let digest = tls::sha256(body(&self.roots).as_bytes());
        tls::hex(&digest[..16])
    }

    /// `roots`: all that peers are to trust.
    pub(crate) fn sign(&self, order: &Order, roots: String) -> Result<Issued, IssueError> {
        self.signer.sign(order, &self.between, roots)
    }

    /// Tried with a leaf.
    fn is_believed_under(&self, roots: &str, now: WallTime) -> Result<(), String> {
        let told = |e: &dyn std::fmt::Display| e.to_string();
        let nobody = SpiffeId::new("cluster.local", "istio-system", "nobody");
        let (csr, key) = tls::request(&nobody).map_err(|e| told(&e))?;
        let names = Names::Workload(nobody);
        let minute = Duration::from_secs(60);
        let order = Order::new(&csr, names, minute, crate::Lifetimes::default(), now);
        let issued = self.signer.sign(&order.map_err(|e| told(&e))?, &self.between, String::new());
        let chain = issued.map_err(|e| told(&e))?.chain.concat();
        let leaf = tls::Credential::from_pem(&chain, &key).map_err(|e| told(&e))?;
        let trust = Some(Trust::from_pem(roots).map_err(|e| told(&e))?);
        let rules = PeerRules { trust, ..PeerRules::default() };
        let now = UnixTime::since_unix_epoch(Duration::from_nanos(now.0));
        let (leaf, above) = leaf.chain().split_first().ok_or("no certificate was made")?;
        rules.check(leaf, above, None, Role::Server, now).map_err(|e| told(&e))
    }
}

impl PartialEq for PlugIn {
    fn eq(&self, other: &Self) -> bool {
        (self.signer.pem(), &self.between, &self.roots)
            == (other.signer.pem(), &other.between, &other.roots)
    }
}

impl Signer for PlugIn {
    fn issue<'a>(&'a self, order: &'a Order) -> Answer<'a> {
        let signed = self.sign(order, self.roots.clone());
        Box::pin(std::future::ready(signed))
    }

    fn roots(&self) -> String {
        self.roots.clone()
    }

    fn state(&self, _: Pace) -> State {
        let mut certificates = vec![("signs", self.signer.pem().to_owned())];
        let above = self.between.iter().filter(|pem| body(pem) != body(self.signer.pem()));
        certificates.extend(above.map(|pem| ("leads to a root", pem.clone())));
        certificates.extend(blocks(&self.roots).into_iter().map(|pem| ("is trusted", pem)));
        State {
            source: "plugged in (Secret cacerts)",
            phase: "of the operator",
            next_at: None,
            certificates,
        }
    }
}

/// The names of the files that are there: certificate, key, what is above, roots.
fn naming(
    look: impl Fn(&'static str) -> Result<Option<String>, PlugInError>,
) -> Result<Option<[&'static str; 4]>, PlugInError> {
    let both = [
        ["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"],
        ["tls.crt", "tls.key", "tls.crt", "ca.crt"],
    ];
    for names in both {
        if look(names[0])?.is_some() {
            return Ok(Some(names));
        }
    }
    for names in both {
        for name in names {
            if look(name)?.is_some() {
                return Err(PlugInError::Missing(names[0]));
            }
        }
    }
    Ok(None)
}

/// The signer's certificate and those above it, without the roots, which peers have.
fn between(signer: &str, chain: &str, roots: &str) -> Vec<String> {
    let roots: Vec<String> = blocks(roots).iter().map(|pem| body(pem)).collect();
    let mut list = vec![signer.to_owned()];
    list.extend(blocks(chain).into_iter().filter(|pem| body(pem) != body(signer)));
    list.retain(|pem| !roots.contains(&body(pem)));
    list
}

/// The certificates of a PEM text, one by one.
pub fn blocks(pem: &str) -> Vec<String> {
    let parts = pem.split_inclusive("-----END CERTIFICATE-----");
    let parts = parts.filter_map(|part| part.split_once("-----BEGIN CERTIFICATE-----"));
    parts.map(|(_, rest)| format!("-----BEGIN CERTIFICATE-----{rest}\n")).collect()
}

/// What is between the lines of dashes, however it is broken into lines.
fn body(pem: &str) -> String {
    pem.lines().filter(|line| !line.starts_with('-')).map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    use std::collections::BTreeMap;

    const NOW: WallTime = WallTime(1_800_000_000_000_000_000);

    type Issuer = CertifiedIssuer<'static, KeyPair>;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn root(name: &str) -> Issuer {
        CertifiedIssuer::self_signed(params(name), KeyPair::generate().unwrap()).unwrap()
    }

    fn below(name: &str, above: &Issuer) -> Issuer {
        CertifiedIssuer::signed_by(params(name), KeyPair::generate().unwrap(), above).unwrap()
    }

    /// The same, of which the validity is over at `NOW`.
    fn expired_below(name: &str, above: &Issuer) -> Issuer {
        let mut params = params(name);
        let end = std::time::UNIX_EPOCH + Duration::from_nanos(NOW.0);
        params.not_after = (end - Duration::from_secs(1)).into();
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), above).unwrap()
    }

    /// As Istio's documentation has them made: the chain holds the signer's certificate and the root, too.
    fn files(signer: &Issuer, above: &[&Issuer], roots: &[&Issuer]) -> BTreeMap<String, String> {
        let all = |list: &[&Issuer]| list.iter().map(|i| i.pem()).collect::<String>();
        [
            ("ca-cert.pem", signer.pem()),
            ("ca-key.pem", signer.key().serialize_pem()),
            ("cert-chain.pem", signer.pem() + &all(above) + &all(roots)),
            ("root-cert.pem", all(roots)),
        ]
        .map(|(name, text)| (name.to_owned(), text))
        .into()
    }

    fn read(files: &BTreeMap<String, String>) -> Result<Option<PlugIn>, PlugInError> {
        PlugIn::read(|name| files.get(name).cloned().ok_or(ErrorKind::NotFound.into()), NOW)
    }

    #[test]
    fn a_leaf_comes_with_all_that_leads_to_the_root_and_the_root_apart() {
        let top = root("top");
        let middle = below("middle", &top);
        let signer = below("signer", &middle);
        let plugged = read(&files(&signer, &[&middle], &[&top])).unwrap().unwrap();
        let (csr, _) = tls::request(&SpiffeId::new("td", "n", "s")).unwrap();
        let names = Names::Workload(SpiffeId::new("td", "n", "s"));
        let order = Order::new(&csr, names, Duration::ZERO, crate::Lifetimes::default(), NOW);
        let chain = plugged.issue(&order.unwrap()).now_or_never().unwrap().unwrap().chain;
        let bodies: Vec<String> = chain.iter().map(|pem| body(pem)).collect();
        assert_eq!(bodies[1..], [signer.pem(), middle.pem(), top.pem()].map(|pem| body(&pem)));
        let state = plugged.state(Pace::of(Duration::from_secs(60)));
        let roles: Vec<&str> = state.certificates.iter().map(|c| c.0).collect();
        assert_eq!(roles, ["signs", "leads to a root", "is trusted"]);
    }

    #[test]
    fn the_names_of_kubernetes_do_too() {
        let top = root("top");
        let signer = below("signer", &top);
        let files: BTreeMap<String, String> = [
            ("tls.crt", signer.pem()),
            ("tls.key", signer.key().serialize_pem()),
            ("ca.crt", top.pem()),
        ]
        .map(|(name, text)| (name.to_owned(), text))
        .into();
        assert!(read(&files).unwrap().is_some());
    }

    #[test]
    fn what_nobody_would_believe_is_refused() {
        let (top, other) = (root("top"), root("other"));
        let signer = below("signer", &top);
        assert!(read(&BTreeMap::new()).unwrap().is_none());
        let stray = files(&signer, &[], &[&other]);
        assert!(matches!(read(&stray), Err(PlugInError::Broken(_))));
        let mut keyless = files(&signer, &[], &[&top]);
        keyless.remove("ca-key.pem");
        assert!(matches!(read(&keyless), Err(PlugInError::Missing("ca-key.pem"))));
        let mut mixed = files(&signer, &[], &[&top]);
        mixed.insert("ca-key.pem".to_owned(), KeyPair::generate().unwrap().serialize_pem());
        assert!(matches!(read(&mixed), Err(PlugInError::Unusable(_))));
    }

    #[test]
    fn a_replacement_must_not_make_connections_fail() {
        let (old, new) = (root("old"), root("new"));
        let (first, second, third) = (below("1", &old), below("2", &old), below("3", &new));
        let plugged =
            |signer, roots: &[&Issuer]| read(&files(signer, &[], roots)).unwrap().unwrap();
        let before = plugged(&first, &[&old]);
        let table = [
            ("another signer of the same root", plugged(&second, &[&old]), true),
            ("the next root is trusted, too", plugged(&first, &[&old, &new]), true),
            ("at once by another root", plugged(&third, &[&new]), false),
            ("by a root that nobody knows yet", plugged(&third, &[&old, &new]), false),
        ];
        for (what, next, fine) in table {
            assert_eq!(before.may_become(&next, NOW).is_ok(), fine, "{what}");
        }
        let both = plugged(&first, &[&old, &new]);
        assert!(both.may_become(&plugged(&third, &[&old, &new]), NOW).is_ok());
        assert!(both.may_become(&plugged(&third, &[&new]), NOW).is_err(), "not in one step");
    }
    #[test]
    fn an_authority_that_has_ended_is_replaced_and_holds_nobody_up() {
        let (old, new) = (root("old"), root("new"));
        let before = WallTime(NOW.0 - 60_000_000_000);
        let ended = files(&expired_below("1", &old), &[], &[&old]);
        let file = |name: &str| ended.get(name).cloned().ok_or(ErrorKind::NotFound.into());
        let ended = PlugIn::read(file, before).unwrap().unwrap();
        let next = |by: &Issuer| {
            let files = files(&below("2", by), &[], &[by]);
            read(&files).unwrap().unwrap()
        };
        assert!(ended.may_become(&next(&old), NOW).is_ok(), "leaves of ours have all ended");
        assert!(ended.may_become(&next(&new), NOW).is_err(), "nobody has that root");
    }
}
