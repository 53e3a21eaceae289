//! What every part of one compilation writes to: origins, findings, and what was missing.

use crate::kept::{Said, Work};
use crate::memo::Pools;
use crate::{Missing, Proxy};
use base::{Finding, ObjectRef, Origin, OriginId, OriginTable};
use registry::Snapshot;
use std::sync::Arc;

pub(crate) struct Build<'a> {
    pub world: &'a Snapshot,
    pub proxy: &'a Proxy,
    pub origins: &'a mut Arc<OriginTable>,
    pub pools: &'a mut Pools,
    pub work: Work,
    pub findings: Vec<Finding>,
    pub missing: Vec<Missing>,
}

/// Admin, merged metrics, readiness, DNS and Envoy's metrics.
const OWN_PORTS: [u16; 5] = [15000, 15020, 15021, 15053, 15090];

impl<'a> Build<'a> {
    pub fn new(
        world: &'a Snapshot,
        proxy: &'a Proxy,
        origins: &'a mut Arc<OriginTable>,
        pools: &'a mut Pools,
    ) -> Build<'a> {
        Build {
            world,
            proxy,
            origins,
            pools,
            work: Work::default(),
            findings: Vec::new(),
            missing: Vec::new(),
        }
    }

    pub fn origin(&mut self, object: &ObjectRef, path: impl Into<String>) -> OriginId {
        let origin = Origin { object: object.clone(), path: path.into(), line: None };
        match self.origins.id(&origin) {
            Some(id) => id,
            None => Arc::make_mut(self.origins).intern(origin),
        }
    }

    /// Ports that the proxy itself listens on.
    pub fn is_reserved(&self, port: u16) -> bool {
        let mesh = &self.world.mesh.config;
        let own = [mesh.proxy_listen_port, mesh.proxy_inbound_listen_port];
        own.contains(&port) || OWN_PORTS.contains(&port)
    }

    /// What was said since this was last asked.
    pub fn said(&mut self) -> Said {
        let findings = std::mem::take(&mut self.findings);
        Said { findings, missing: std::mem::take(&mut self.missing) }
    }

    pub fn say(&mut self, object: &ObjectRef, finding: Finding) {
        self.findings.push(finding.about(object.clone()));
    }
}
