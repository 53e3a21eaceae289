//! What is required of a request, and whether its tokens meet it.

use super::apply;
use super::cache::TokenCache;
use super::extract::{Found, Places};
use super::provider::Provider;
use super::{Denial, Judged};
use ::jwt::{Audiences, Refusal, Token};
use ir::{JwtRequirement, Str, Value};
use std::collections::BTreeMap;
use std::rc::Rc;
use wire::Request;

#[derive(Debug)]
pub(super) enum Need {
    Nothing,
    /// Cannot be met.
    Never,
    /// A token of the provider at this place; for these audiences in place of its own.
    Of(usize, Option<Audiences>),
    /// One of these; where all fail there may still be leniency.
    Any(Vec<Need>, Lenience),
    All(Vec<Need>),
    /// Tokens of whatever provider, if there are any.
    Lenient(Places, Lenience),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lenience {
    None,
    Missing,
    Failed,
}

impl Need {
    pub fn new(from: &JwtRequirement, providers: &[Provider]) -> Need {
        let of = |name: &Str, audiences| {
            let place = providers.iter().position(|p| p.name == *name);
            place.map_or(Need::Never, |place| Need::Of(place, audiences))
        };
        let lenient =
            |lenience| Need::Lenient(Places::of(providers.iter().map(|p| &p.config)), lenience);
        match from {
            JwtRequirement::Nothing => Need::Nothing,
            JwtRequirement::Provider(name) => of(name, None),
            JwtRequirement::ProviderAndAudiences(name, audiences) => {
                let audiences = Audiences::new(audiences.iter().map(|a| &**a));
                of(name, Some(audiences).filter(|a| !a.is_empty()))
            }
            JwtRequirement::AllowMissing => lenient(Lenience::Missing),
            JwtRequirement::AllowMissingOrFailed => lenient(Lenience::Failed),
            JwtRequirement::All(inner) => {
                Need::All(inner.iter().map(|r| Need::new(r, providers)).collect())
            }
            JwtRequirement::Any(inner) => any(inner, providers),
        }
    }

    pub fn judge(&self, run: &mut Run<'_>) -> Result<(), Refusal> {
        match self {
            Need::Nothing => Ok(()),
            Need::Never => Err(Refusal::UnknownIssuer),
            Need::Of(place, audiences) => run.of_provider(*place, audiences.as_ref()),
            Need::All(inner) if inner.is_empty() => Err(Refusal::Missing),
            Need::All(inner) => inner.iter().try_for_each(|need| need.judge(run)),
            Need::Any(inner, lenience) => {
                let mut refusal = Refusal::Missing;
                for need in inner {
                    match need.judge(run) {
                        Ok(()) => return Ok(()),
                        // That a token is bad says more than that it is not there.
                        Err(new) if !new.is_absence() || refusal == Refusal::Missing => {
                            refusal = new;
                        }
                        Err(_) => {}
                    }
                }
                lenience.forgive(refusal)
            }
            Need::Lenient(places, lenience) => {
                run.of_anybody(places).or_else(|refusal| lenience.forgive(refusal))
            }
        }
    }
}

fn any(inner: &[JwtRequirement], providers: &[Provider]) -> Need {
    let lenience = if inner.contains(&JwtRequirement::AllowMissingOrFailed) {
        Lenience::Failed
    } else if inner.contains(&JwtRequirement::AllowMissing) {
        Lenience::Missing
    } else {
        Lenience::None
    };
    let is_lenient = |r: &&JwtRequirement| {
        matches!(r, JwtRequirement::AllowMissing | JwtRequirement::AllowMissingOrFailed)
    };
    let needs: Vec<Need> =
        inner.iter().filter(|r| !is_lenient(r)).map(|r| Need::new(r, providers)).collect();
    match lenience {
        Lenience::Missing if needs.is_empty() => {
            Need::new(&JwtRequirement::AllowMissing, providers)
        }
        Lenience::Failed if needs.is_empty() => {
            Need::new(&JwtRequirement::AllowMissingOrFailed, providers)
        }
        lenience => Need::Any(needs, lenience),
    }
}

impl Lenience {
    fn forgive(self, refusal: Refusal) -> Result<(), Refusal> {
        match self {
            Lenience::Failed => Ok(()),
            Lenience::Missing if refusal == Refusal::Missing => Ok(()),
            _ => Err(refusal),
        }
    }
}

/// The tokens of one request being looked at.
pub(super) struct Run<'r> {
    providers: &'r [Provider],
    pub request: &'r mut Request,
    cache: &'r mut TokenCache,
    /// Seconds since the Unix epoch.
    now: u64,
    pub said: BTreeMap<Str, Value>,
    pub reroute: bool,
}

impl<'r> Run<'r> {
    pub fn new(
        providers: &'r [Provider],
        request: &'r mut Request,
        cache: &'r mut TokenCache,
        now: u64,
    ) -> Self {
        Self { providers, request, cache, now, said: BTreeMap::new(), reroute: false }
    }

    pub fn judged(self, refused: Option<Denial>) -> Judged {
        Judged { refused, said: self.said, reroute: self.reroute }
    }

    /// All tokens in the provider's places must be good: one that is not might be taken for one that is by
    /// what comes after.
    fn of_provider(&mut self, place: usize, for_whom: Option<&Audiences>) -> Result<(), Refusal> {
        let provider = &self.providers[place];
        let tokens = provider.places.find(self.request);
        if tokens.is_empty() {
            apply::failed(self, provider, Refusal::Missing);
            return Err(Refusal::Missing);
        }
        for found in &tokens {
            let good = self.check(found, provider, for_whom);
            let token = good.inspect_err(|refusal| apply::failed(self, provider, *refusal))?;
            apply::passed(self, provider, &token, found);
        }
        Ok(())
    }

    /// Each token counts for the provider whose name it bears. Here, too, all must be good, which is more
    /// than Envoy asks for.
    fn of_anybody(&mut self, places: &Places) -> Result<(), Refusal> {
        let tokens = places.find(self.request);
        if tokens.is_empty() {
            return Err(Refusal::Missing);
        }
        let mut outcome = Ok(());
        for found in &tokens {
            let checked = Token::parse(&found.text).and_then(|token| {
                let named =
                    |issuer: &str| self.providers.iter().find(|p| *p.config.issuer == *issuer);
                let provider = named(&token.issuer).or_else(|| named(""));
                let provider = provider.ok_or(Refusal::UnknownIssuer)?;
                Ok((provider, self.check(found, provider, None)?))
            });
            match checked {
                Ok((provider, token)) => apply::passed(self, provider, &token, found),
                Err(refusal) => outcome = outcome.and(Err(refusal)),
            }
        }
        outcome
    }

    /// The order decides which of several reasons a client reads.
    fn check(
        &mut self,
        found: &Found<'_>,
        provider: &Provider,
        for_whom: Option<&Audiences>,
    ) -> Result<Rc<Token>, Refusal> {
        let keys = provider.keys.as_ref();
        let known = keys.and_then(|keys| self.cache.get(&found.text, keys));
        let is_known = known.is_some();
        let token = match known {
            Some(token) => token,
            None => Rc::new(Token::parse(&found.text)?),
        };
        if !found.may_be_of(&token.issuer) {
            return Err(Refusal::UnknownIssuer);
        }
        token.check_time(self.now, provider.skew())?;
        let audiences = token.audiences.iter().map(|a| &**a);
        if !for_whom.unwrap_or(&provider.audiences).allow(audiences) {
            return Err(Refusal::AudienceNotAllowed);
        }
        let keys = keys.ok_or(Refusal::NoKeys)?;
        if !is_known {
            keys.verify(&token)?;
            self.cache.put(&found.text, keys, &token);
        }
        Ok(token)
    }
}
