//! Who is allowed in: the cluster's own authority (certificates and token keys), token checking,
//! and role-based authorisation.

mod authority;
pub mod escalation;
mod jwt;
pub mod rbac;

pub use authority::{Authority, AuthorityError, admin_kubeconfig};
pub use jwt::Claims;

/// The issuer of service-account tokens, and the audience of the API itself.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
