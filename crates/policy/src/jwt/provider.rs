//! One issuer of tokens, compiled.

use super::extract::Places;
use ::jwt::{Audiences, CLOCK_SKEW, Keys};
use base::Finding;
use ir::{JwtProvider, Str};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Provider {
    pub name: Str,
    pub config: JwtProvider,
    /// `None`: there are none of use, and no token is taken.
    pub keys: Option<Arc<Keys>>,
    pub audiences: Audiences,
    pub places: Places,
}

impl Provider {
    pub fn new(
        name: &Str,
        config: &JwtProvider,
        path: &str,
        findings: &mut Vec<Finding>,
    ) -> Provider {
        let keys = Keys::parse(&config.keys);
        if let Err(bad) = &keys {
            let say = format!("{bad}: every token of issuer {:?} is refused", config.issuer);
            findings.push(Finding::warning(format!("{path}.providers[{name}].local_jwks"), say));
        }
        Provider {
            name: name.clone(),
            keys: keys.ok().map(Arc::new),
            audiences: Audiences::new(config.audiences.iter().map(|a| &**a)),
            places: Places::of([config]),
            config: config.clone(),
        }
    }

    pub fn skew(&self) -> u64 {
        match self.config.clock_skew_seconds {
            0 => CLOCK_SKEW,
            seconds => seconds.into(),
        }
    }
}
