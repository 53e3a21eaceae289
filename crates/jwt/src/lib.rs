//! JSON Web Tokens (RFC 7515, 7517, 7518, 7519): a token is read ([`Token`]), its signature is verified
//! by a set of keys ([`Keys`]), and its claims are held against the time and the wanted audiences. The
//! time is passed in. What is refused says why in Envoy's words ([`Refusal`]), which clients see.
//!
//! A key verifies only the algorithms that its own type and `alg` stand for, whatever a token says of
//! itself; there is no `none`, and no shared secrets.

mod algorithm;
mod audience;
mod json;
mod keys;
mod refusal;
mod token;

pub use algorithm::Algorithm;
pub use audience::Audiences;
pub use keys::{BadKeys, Keys};
pub use refusal::Refusal;
pub use token::{CLOCK_SKEW, Token};

#[cfg(test)]
mod tests;
