//! The clusters of all services of a scope, service by service, so that those of services whose
//! policy did not change are taken over.

use super::{Clusters, black_hole, of_service, passthrough};
use crate::build::Build;
use crate::endpoints::Assignments;
use crate::kept::Said;
use crate::scope::{Scope, rule_of};
use crate::whole::Shared;
use base::Host;
use ir::Cluster;
use registry::{Identities, Resolution, Rule, Service};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(crate) struct KeptClusters {
    by_host: Arc<HashMap<Host, Arc<OfService>>>,
    /// All of them, with those that every sidecar has.
    pub list: Shared<Cluster>,
    pub assignments: Arc<Assignments>,
    pub said: Arc<Said>,
}

/// The clusters of one service, and what they were made from.
#[derive(Debug)]
struct OfService {
    service: Arc<Service>,
    rule: Option<Arc<Rule>>,
    /// The version of the endpoints that stand in them.
    endpoints: u64,
    identities: Option<Arc<Identities>>,
    clusters: Clusters,
    said: Said,
}

impl KeptClusters {
    /// `last`: of the same mesh configuration.
    pub fn of(b: &mut Build<'_>, scope: &Scope, last: Option<&KeptClusters>) -> KeptClusters {
        let mut by_host = HashMap::new();
        let mut fresh = 0;
        for service in scope.services() {
            let known = last.and_then(|l| l.by_host.get(&service.host));
            let one = match known.filter(|k| k.holds(b, service)) {
                Some(same) => same.clone(),
                None => {
                    fresh += 1;
                    Arc::new(OfService::new(b, service))
                }
            };
            by_host.insert(service.host.clone(), one);
        }
        if let Some(last) = last.filter(|l| fresh == 0 && l.by_host.len() == by_host.len()) {
            return last.clone();
        }
        let (mut all, mut said) = (Clusters::default(), Said::default());
        for one in scope.services().filter_map(|s| by_host.get(&s.host)) {
            all.list.extend(one.clusters.list.iter().cloned());
            all.assignments.extend(one.clusters.assignments.iter().cloned());
            said.extend(&one.said);
        }
        for mut cluster in [black_hole(), passthrough(b)] {
            b.pools.clusters.share(&cluster.name.clone(), &mut cluster);
            all.list.push(cluster);
        }
        KeptClusters {
            by_host: Arc::new(by_host),
            list: all.list.into(),
            assignments: Arc::new(all.assignments.into()),
            said: Arc::new(said),
        }
    }
}

impl OfService {
    fn new(b: &mut Build<'_>, service: &Arc<Service>) -> OfService {
        let mut clusters = Clusters::default();
        of_service(b, service, &mut clusters);
        // A port that is written twice is one.
        let mut names = HashSet::new();
        clusters.list.retain(|c| names.insert(c.name.clone()));
        names.clear();
        clusters.assignments.retain(|a| names.insert(a.cluster.clone()));
        for cluster in &mut clusters.list {
            b.pools.clusters.share(&cluster.name.clone(), cluster);
        }
        for assignment in &mut clusters.assignments {
            b.pools.assignments.share(&assignment.cluster.clone(), assignment);
        }
        OfService {
            service: service.clone(),
            rule: rule_of(b.world, b.proxy, service).cloned(),
            endpoints: endpoints_in(b, service),
            identities: identities(b, service).cloned(),
            clusters,
            said: b.said(),
        }
    }

    fn holds(&self, b: &Build<'_>, service: &Arc<Service>) -> bool {
        let rule = rule_of(b.world, b.proxy, service);
        is_same(&self.service, service)
            && self.rule.as_ref().map(Arc::as_ptr) == rule.map(Arc::as_ptr)
            && self.endpoints == endpoints_in(b, service)
            && self.identities.as_ref().map(Arc::as_ptr) == identities(b, service).map(Arc::as_ptr)
    }
}

/// Some services are made anew with each snapshot, and may be the same nonetheless.
pub(crate) fn is_same(a: &Arc<Service>, b: &Arc<Service>) -> bool {
    Arc::ptr_eq(a, b) || (a.version == b.version && a == b)
}

/// Who may answer for it stands in its clusters.
fn identities<'a>(b: &Build<'a>, service: &Service) -> Option<&'a Arc<Identities>> {
    b.world.endpoints.get(&service.key()).map(|e| &e.identities)
}

/// Endpoints that DNS finds stand in the cluster.
fn endpoints_in(b: &Build<'_>, service: &Service) -> u64 {
    match service.resolution {
        Resolution::Dns | Resolution::DnsRoundRobin => {
            b.world.endpoints.get(&service.key()).map_or(0, |e| e.version)
        }
        _ => 0,
    }
}
