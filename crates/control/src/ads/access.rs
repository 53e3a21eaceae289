//! Whether a proxy may be told the credentials that its configuration names: if the cluster would let its
//! account read Secrets. A caller that nobody has vouched for is told none.

use super::plan::Credentials;
use crate::discovery::Caller;
use crate::tokens::SecretAccess;
use base::{Instant, SpiffeId};
use std::time::Duration;
use tonic::Status;

/// Roles are not watched; whoever was refused by them is tried again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// And whoever was granted them: so long at the most a role that is taken away goes on to count.
const STILL_GRANTED: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Access {
    /// As whom the proxy is known.
    identity: Option<SpiffeId>,
    credentials: Credentials,
    ask_again: Option<Instant>,
}

impl Access {
    pub fn of(caller: &Caller) -> Access {
        let (identity, credentials) = match caller {
            Caller::Known(identity) => (Some(identity.clone()), Credentials::NotAsked),
            Caller::Trusted => (None, Credentials::None),
        };
        Access { identity, credentials, ask_again: None }
    }

    pub fn credentials(&self) -> Credentials {
        self.credentials
    }

    /// When the proxy is to be planned for anew, since roles may be others now.
    pub fn looks_again(&self) -> Option<Instant> {
        self.ask_again
    }

    /// Asks if something hangs on the answer (`needed`: credentials are named), and says whether there
    /// is a new one. While the cluster cannot be asked the proxy goes on with what it has.
    pub async fn settle(
        &mut self,
        cluster: &dyn SecretAccess,
        needed: bool,
        now: Instant,
    ) -> Result<bool, Status> {
        let Some(identity) = &self.identity else { return Ok(false) };
        if !needed {
            // An answer is not remembered for what may be named later.
            if self.ask_again.take().is_some() {
                self.credentials = Credentials::NotAsked;
            }
            return Ok(false);
        }
        let again = self.ask_again.is_some_and(|time| time <= now);
        if self.credentials != Credentials::NotAsked && !again {
            return Ok(false);
        }
        let before = self.credentials;
        let may = match cluster.may_read_secrets(identity).await {
            Ok(may) => may,
            // Nobody has taken anything away.
            Err(_) if before == Credentials::OfNamespace => {
                self.ask_again = Some(now.after(ASK_AGAIN));
                return Ok(false);
            }
            Err(why) => return Err(Status::unavailable(why)),
        };
        self.credentials = if may { Credentials::OfNamespace } else { Credentials::None };
        self.ask_again = Some(now.after(if may { STILL_GRANTED } else { ASK_AGAIN }));
        Ok(self.credentials != before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Mutex;

    /// A cluster that answers in this order, and nothing that it was not expected to be asked.
    struct Script(Mutex<VecDeque<Result<bool, String>>>);

    impl Script {
        fn new<const N: usize>(answers: [Result<bool, String>; N]) -> Script {
            Script(Mutex::new(answers.into()))
        }

        fn left(&self) -> usize {
            self.0.lock().unwrap().len()
        }
    }

    impl SecretAccess for Script {
        fn may_read_secrets<'a>(
            &'a self,
            identity: &'a SpiffeId,
        ) -> Pin<Box<dyn Future<Output = Result<bool, String>> + Send + 'a>> {
            assert_eq!(&*identity.service_account, "gateway");
            let next = self.0.lock().unwrap().pop_front().expect("a question too many");
            Box::pin(async move { next })
        }
    }

    fn known() -> Access {
        Access::of(&Caller::Known(SpiffeId::new("cluster.local", "shop", "gateway")))
    }

    fn at(seconds: u64) -> Instant {
        Instant::default().after(Duration::from_secs(seconds))
    }

    #[tokio::test]
    async fn roles_count_as_they_are_now_without_a_new_stream() {
        let away = || Err("the API server is away".into());
        let cluster = Script::new([away(), Ok(false), Ok(true), away(), Ok(true), Ok(false)]);
        let mut access = known();
        assert!(matches!(access.settle(&cluster, false, at(0)).await, Ok(false)), "nothing named");
        let refused = access.settle(&cluster, true, at(1)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unavailable);
        assert_eq!(access.credentials(), Credentials::NotAsked, "nobody has refused anything");
        assert!(matches!(access.settle(&cluster, true, at(2)).await, Ok(true)));
        assert_eq!((access.credentials(), access.looks_again()), (Credentials::None, Some(at(7))));
        assert!(matches!(access.settle(&cluster, true, at(6)).await, Ok(false)), "too early");
        assert!(matches!(access.settle(&cluster, true, at(7)).await, Ok(true)));
        assert_eq!(access.credentials(), Credentials::OfNamespace);
        assert_eq!(access.looks_again(), Some(at(37)));
        assert!(matches!(access.settle(&cluster, true, at(36)).await, Ok(false)), "too early");
        assert!(matches!(access.settle(&cluster, true, at(37)).await, Ok(false)), "away");
        assert_eq!(access.credentials(), Credentials::OfNamespace, "it goes on with what it has");
        assert!(matches!(access.settle(&cluster, true, at(42)).await, Ok(false)), "still granted");
        assert!(matches!(access.settle(&cluster, true, at(72)).await, Ok(true)), "taken away");
        assert_eq!((access.credentials(), access.looks_again()), (Credentials::None, Some(at(77))));
        assert_eq!(cluster.left(), 0);
    }

    #[tokio::test]
    async fn nobody_is_asked_about_what_is_not_named_any_more() {
        let cluster = Script::new([Ok(false), Ok(true)]);
        let mut access = known();
        assert!(matches!(access.settle(&cluster, true, at(0)).await, Ok(true)));
        assert!(matches!(access.settle(&cluster, false, at(60)).await, Ok(false)));
        assert_eq!(access.looks_again(), None);
        // Named again, it is asked at once.
        assert!(matches!(access.settle(&cluster, true, at(61)).await, Ok(true)));
        assert_eq!(access.credentials(), Credentials::OfNamespace);
        assert_eq!(cluster.left(), 0);
    }

    #[tokio::test]
    async fn whom_nobody_vouches_for_gets_nothing_and_is_not_asked_for() {
        let mut access = Access::of(&Caller::Trusted);
        assert!(matches!(access.settle(&Script::new([]), true, at(0)).await, Ok(false)));
        assert_eq!(access.credentials(), Credentials::None);
    }
}
