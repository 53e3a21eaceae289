//! An authority that the operator has plugged in: files of the Secret `cacerts`, read again when they
//! change. A replacement that would make connections fail is refused, and said so.

use crate::env::SystemEnv;
use base::Env;
use ca::{PlugIn, PlugInError, Signer};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

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
    pub async fn keep(self, mut known: Arc<PlugIn>, current: watch::Sender<Arc<dyn Signer>>) {
        loop {
            tokio::time::sleep(LOOK).await;
            match self.next(&known) {
                Ok(None) => {}
                Ok(Some(next)) => {
                    tracing::info!("another authority is plugged in");
                    known = Arc::new(next);
                    current.send_replace(known.clone());
                }
                Err(error) => tracing::error!(%error, "the authority stays as it is"),
            }
        }
    }

    fn next(&self, known: &PlugIn) -> Result<Option<PlugIn>, PlugInError> {
        let Some(next) = self.read()? else { return Ok(None) };
        if next == *known {
            return Ok(None);
        }
        known.may_become(&next, SystemEnv::default().wall())?;
        Ok(Some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
