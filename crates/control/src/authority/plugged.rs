//! An authority that the operator has plugged in: files of the Secret `cacerts`, read again when they
//! change. A replacement that would make connections fail is refused, and said so.

use super::Authority;
use crate::env::SystemEnv;
use base::{Env, WallTime};
use ca::{PlugIn, PlugInError, Signer};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Where the files are mounted.
#[derive(Clone, Debug)]
pub(crate) struct Plugged(pub PathBuf);

/// Files are looked at this often.
const LOOK: Duration = Duration::from_secs(5);

impl Plugged {
    /// `None`: nothing is plugged in, not even in part.
    pub fn read(&self) -> Result<Option<PlugIn>, PlugInError> {
        let file = |name: &str| std::fs::read_to_string(self.0.join(name));
        PlugIn::read(file, SystemEnv::default().wall())
    }

    /// Follows the files for ever.
    pub async fn keep(
        self,
        first: Arc<PlugIn>,
        authority: Authority,
        current: watch::Sender<Arc<dyn Signer>>,
    ) {
        let mut served = Served { now: first, before: Vec::new() };
        loop {
            tokio::time::sleep(LOOK).await;
            served.forget(Instant::now(), authority.pace().step());
            match self.next(&served) {
                Ok(None) => {}
                Ok(Some(next)) => {
                    tracing::info!("another authority is plugged in");
                    current.send_replace(next.clone());
                    served.change(next, Instant::now());
                }
                Err(error) => tracing::error!(%error, "the authority stays as it is"),
            }
        }
    }

    fn next(&self, served: &Served) -> Result<Option<Arc<PlugIn>>, PlugInError> {
        let Some(next) = self.read()? else { return Ok(None) };
        if next == *served.now {
            return Ok(None);
        }
        served.may_become(&next, SystemEnv::default().wall())?;
        Ok(Some(Arc::new(next)))
    }
}

/// What workloads may hold leaves of, and the roots that came with them: what is served, and what was replaced no
/// longer ago than leaves live.
struct Served {
    now: Arc<PlugIn>,
    before: Vec<(Arc<PlugIn>, Instant)>,
}

impl Served {
    fn may_become(&self, next: &PlugIn, now: WallTime) -> Result<(), PlugInError> {
        self.now.may_become(next, now)?;
        self.before.iter().try_for_each(|(old, _)| old.may_become(next, now))
    }

    fn change(&mut self, next: Arc<PlugIn>, at: Instant) {
        let old = std::mem::replace(&mut self.now, next);
        self.before.push((old, at));
    }

    fn forget(&mut self, now: Instant, step: Duration) {
        self.before.retain(|(_, until)| now.duration_since(*until) < step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use authority::Authority as Root;
    use std::io::ErrorKind;

    const NOW: WallTime = WallTime(1_800_000_000_000_000_000);

    /// Signed by one root, with these in `root-cert.pem`.
    fn plugged(signer: &Root, roots: &[&Root]) -> Arc<PlugIn> {
        let roots: String = roots.iter().map(|r| r.root.as_str()).collect();
        let file = |name: &str| match name {
            "ca-cert.pem" => Ok(signer.root.clone()),
            "ca-key.pem" => Ok(signer.key()),
            "root-cert.pem" => Ok(roots.clone()),
            _ => Err(ErrorKind::NotFound.into()),
        };
        Arc::new(PlugIn::read(file, NOW).unwrap().unwrap())
    }

    /// Each step of a change of roots waits until nobody holds what was before the last one.
    #[test]
    fn a_step_waits_until_every_leaf_was_renewed() {
        let (old, new) = (Root::new("old"), Root::new("new"));
        let steps =
            [plugged(&old, &[&old, &new]), plugged(&new, &[&old, &new]), plugged(&new, &[&new])];
        let (step, mut now) = (Duration::from_secs(60), Instant::now());
        let mut served = Served { now: plugged(&old, &[&old]), before: Vec::new() };
        for (number, next) in steps.into_iter().enumerate() {
            let early = served.may_become(&next, NOW);
            assert_eq!(early.is_ok(), number == 0, "{number}: who holds what was before fails");
            now += step;
            served.forget(now, step);
            served.may_become(&next, NOW).unwrap();
            served.change(next, now);
        }
    }

    #[test]
    fn only_where_nothing_lies_is_nothing_plugged_in() {
        let dir = std::env::temp_dir().join(format!("lateen-cacerts-{}", std::process::id()));
        let plugged = Plugged(dir.clone());
        assert!(matches!(plugged.read(), Ok(None)), "no such directory");
        std::fs::create_dir(&dir).unwrap();
        assert!(matches!(plugged.read(), Ok(None)), "an empty one");
        for name in ["ca-key.pem", "root-cert.pem", "tls.key", "ca.crt"] {
            std::fs::write(dir.join(name), "x").unwrap();
            let read = plugged.read();
            std::fs::remove_file(dir.join(name)).unwrap();
            assert!(matches!(read, Err(PlugInError::Missing(_))), "{name} alone: {read:?}");
        }
        // A directory is there and cannot be read as a file, whoever we are.
        for name in ["ca-cert.pem", "tls.crt"] {
            std::fs::create_dir(dir.join(name)).unwrap();
            let read = plugged.read();
            std::fs::remove_dir(dir.join(name)).unwrap();
            assert!(matches!(read, Err(PlugInError::Unusable(_))), "{name}: {read:?}");
        }
        std::fs::remove_dir(&dir).unwrap();
    }
}
