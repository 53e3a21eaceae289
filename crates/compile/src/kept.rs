//! What a compilation leaves to the next one for the same kind of proxy: pieces, each with what it was
//! made from. A piece whose sources are the same is taken over, so that a change costs what depends
//! on it; how much was computed anew is counted.

use crate::Missing;
use crate::cluster::KeptClusters;
use crate::outbound::{Bindings, PortRoutes};
use crate::scope::{RuleSet, ServiceMap};
use base::{Finding, Host};
use ir::{NameTable, Str};
use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

/// Of the outbound side of a sidecar.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub base: Base,
    /// By visibility and the Sidecar object alone.
    pub reachable: Arc<ServiceMap>,
    /// With what the rules lead to.
    pub services: Arc<ServiceMap>,
    pub rules: Arc<RuleSet>,
    pub clusters: KeptClusters,
    pub bindings: Bindings,
    /// By the name of the route configuration.
    pub routes: BTreeMap<Str, Arc<PortRoutes>>,
    pub names: Option<Arc<NameTable>>,
    pub hosts: Arc<[Host]>,
}

/// The versions of all that is read but VirtualServices, which change most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub sidecar: Option<(String, u64)>,
    pub services: u64,
    pub rules: u64,
    pub mesh: u64,
    /// Where endpoints decide which listeners there are, or stand in clusters.
    pub endpoints: u64,
    /// Of the service accounts that answer for services.
    pub identities: u64,
}

impl Base {
    /// Whether single pieces may hold, each to be compared with its own sources.
    pub fn is_comparable(&self, other: &Base) -> bool {
        (&self.sidecar, self.mesh) == (&other.sidecar, other.mesh)
    }
}

/// What there is to say about a piece.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub findings: Vec<Finding>,
    pub missing: Vec<Missing>,
}

impl Said {
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty() && self.missing.is_empty()
    }

    pub fn extend(&mut self, other: &Said) {
        self.findings.extend_from_slice(&other.findings);
        self.missing.extend_from_slice(&other.missing);
    }
}

/// How many pieces were computed, not taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Services that were asked whether a client may reach them.
    pub reached: u64,
    /// Services of which the clusters were made.
    pub clusters: u64,
    /// Assignments of endpoints that were looked at.
    pub endpoints: u64,
    /// Listeners of outbound sides.
    pub listeners: u64,
    pub virtual_hosts: u64,
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        self.reached += other.reached;
        self.clusters += other.clusters;
        self.endpoints += other.endpoints;
        self.listeners += other.listeners;
        self.virtual_hosts += other.virtual_hosts;
    }
}
