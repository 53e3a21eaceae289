//! The mesh's certificate authority: who asks (`authenticate`), what they may get (`issue`), and who
//! signs it: roots of our own that replace one another (`roots`, of `self_signed` ones), or what the
//! operator brings (`plug_in`), who may take over from roots of our own (`handover`). The service around it lives
//! in `control`.

mod authenticate;
mod handover;
mod issue;
mod plug_in;
mod roots;
mod self_signed;

pub use authenticate::{AuthError, Caller, TokenAuthenticator, caller_of};
pub use handover::Handover;
pub use issue::{Answer, IssueError, Issued, Lifetimes, Names, Order, Signer, State};
pub use plug_in::{PlugIn, PlugInError, blocks};
pub use roots::{Pace, Roots};
pub use self_signed::{RootError, SelfSigned};
