//! RequestAuthentication (security.istio.io): whose tokens the requests of which workloads may carry.

use crate::{MatchLabels, PolicyTargetReference};
use serde::Deserialize;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestAuthentication {
    pub selector: Option<MatchLabels>,
    /// The older way to write one of `target_refs`.
    pub target_ref: Option<PolicyTargetReference>,
    pub target_refs: Vec<PolicyTargetReference>,
    pub jwt_rules: Vec<JwtRule>,
}

/// One issuer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtRule {
    pub issuer: String,
    pub audiences: Vec<String>,
    /// Where the keys are; without it they are where the issuer's discovery document says.
    #[serde(alias = "jwks_uri")]
    pub jwks_uri: String,
    /// The keys themselves.
    pub jwks: String,
    pub from_headers: Vec<JwtFromHeader>,
    pub from_params: Vec<String>,
    pub from_cookies: Vec<String>,
    pub output_payload_to_header: String,
    pub forward_original_token: bool,
    pub output_claim_to_headers: Vec<JwtClaimToHeader>,
    pub space_delimited_claims: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct JwtFromHeader {
    pub name: String,
    pub prefix: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct JwtClaimToHeader {
    pub header: String,
    pub claim: String,
}
