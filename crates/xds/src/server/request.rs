//! The two dialects of discovery on the outside, one form within.

use super::Encoded;
use crate::codec::{kind_of, type_url_of};
use ir::{Kind, Str};
use proto::discovery as pb;
use std::collections::HashMap;

/// What a client says.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub kind: Kind,
    pub ack: Option<Ack>,
    pub subscription: Subscription,
}

/// The answer to a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    pub nonce: String,
    /// Why it was refused.
    pub error: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Subscription {
    Delta {
        subscribe: Vec<Str>,
        unsubscribe: Vec<Str>,
        /// What a client that reconnects still holds.
        holds: HashMap<Str, String>,
    },
    /// All names; none is everything, where the kind has a wildcard.
    Whole(Vec<Str>),
}

/// `None` for types that we do not serve.
pub(super) fn ack_of(nonce: String, error: Option<pb::Status>) -> Option<Ack> {
    (!nonce.is_empty()).then(|| Ack { nonce, error: error.map(|e| e.message) })
}

impl Request {
    /// `None` where the type is not one that we serve.
    pub fn of_delta(r: pb::DeltaDiscoveryRequest) -> Option<Self> {
        let names = |list: Vec<String>| list.into_iter().map(Str::from).collect();
        Some(Self {
            kind: kind_of(&r.type_url)?,
            ack: ack_of(r.response_nonce, r.error_detail),
            subscription: Subscription::Delta {
                subscribe: names(r.resource_names_subscribe),
                unsubscribe: names(r.resource_names_unsubscribe),
                holds: r
                    .initial_resource_versions
                    .into_iter()
                    .map(|(n, v)| (n.into(), v))
                    .collect(),
            },
        })
    }

    /// `None` where the type is not one that we serve.
    pub fn of_whole(r: pb::DiscoveryRequest) -> Option<Self> {
        Some(Self {
            kind: kind_of(&r.type_url)?,
            ack: ack_of(r.response_nonce, r.error_detail),
            subscription: Subscription::Whole(
                r.resource_names.into_iter().map(Str::from).collect(),
            ),
        })
    }
}

/// One response.
#[derive(Clone, Debug, PartialEq)]
pub struct Push {
    pub kind: Kind,
    pub nonce: String,
    pub resources: Vec<(Str, Encoded)>,
    /// Has no meaning in the state-of-the-world dialect, where absence says it.
    pub removed: Vec<Str>,
}

impl Push {
    pub fn into_delta(self) -> pb::DeltaDiscoveryResponse {
        let type_url = type_url_of(self.kind);
        let resource = |(name, e): (Str, Encoded)| pb::Resource {
            version: version_text(e.version),
            resource: Some(pb::Any { type_url: type_url.clone(), value: e.bytes }),
            name: name.to_string(),
        };
        pb::DeltaDiscoveryResponse {
            system_version_info: self.nonce.clone(),
            resources: self.resources.into_iter().map(resource).collect(),
            type_url: type_url.clone(),
            nonce: self.nonce,
            removed_resources: self.removed.iter().map(Str::to_string).collect(),
            control_plane: None,
        }
    }

    pub fn into_whole(self) -> pb::DiscoveryResponse {
        let type_url = type_url_of(self.kind);
        let any = |(_, e): (Str, Encoded)| pb::Any { type_url: type_url.clone(), value: e.bytes };
        pb::DiscoveryResponse {
            version_info: self.nonce.clone(),
            resources: self.resources.into_iter().map(any).collect(),
            type_url: type_url.clone(),
            nonce: self.nonce,
            control_plane: None,
        }
    }
}

pub(super) fn version_text(version: u64) -> String {
    format!("{version:016x}")
}

pub(super) fn version_of(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}
