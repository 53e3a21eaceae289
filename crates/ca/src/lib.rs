//! The mesh's certificate authority: who asks (`authenticate`), what they get (`issue`), and the
//! self-signed root that signs it (`self_signed`). The service around it lives in `control`.

mod authenticate;
mod issue;
mod self_signed;

pub use authenticate::{AuthError, Caller, TokenAuthenticator, caller_of};
pub use issue::{IssueError, Issued, Lifetimes, Names, Signer, issue};
pub use self_signed::{RootError, SelfSigned};
