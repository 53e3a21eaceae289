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
    /// `None`: nothing is plugged in.
    pub fn read(&self) -> Result<Option<PlugIn>, PlugInError> {
        let file = |name: &str| std::fs::read_to_string(self.0.join(name)).ok();
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
