//! Names of things: which kind of resource (`Resource`) and which object of it (`Key`).
//! Every table of `World`, every work item and every action speaks in these.

use std::borrow::Cow;

use serde_json::Value;

use crate::read;

/// A resource as the API names it: API group ("" for core) and plural.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    pub group: Cow<'static, str>,
    pub plural: Cow<'static, str>,
}

impl Resource {
    pub const PODS: Resource = Resource::fixed("", "pods");
    pub const SERVICES: Resource = Resource::fixed("", "services");
    pub const ENDPOINTS: Resource = Resource::fixed("", "endpoints");
    pub const NODES: Resource = Resource::fixed("", "nodes");
    pub const NAMESPACES: Resource = Resource::fixed("", "namespaces");
    pub const REPLICATION_CONTROLLERS: Resource = Resource::fixed("", "replicationcontrollers");
    pub const DEPLOYMENTS: Resource = Resource::fixed("apps", "deployments");
    pub const REPLICA_SETS: Resource = Resource::fixed("apps", "replicasets");
    pub const STATEFUL_SETS: Resource = Resource::fixed("apps", "statefulsets");
    pub const DAEMON_SETS: Resource = Resource::fixed("apps", "daemonsets");
    pub const CONTROLLER_REVISIONS: Resource = Resource::fixed("apps", "controllerrevisions");
    pub const JOBS: Resource = Resource::fixed("batch", "jobs");
    pub const CRON_JOBS: Resource = Resource::fixed("batch", "cronjobs");
    pub const ENDPOINT_SLICES: Resource = Resource::fixed("discovery.k8s.io", "endpointslices");
    pub const DISRUPTION_BUDGETS: Resource = Resource::fixed("policy", "poddisruptionbudgets");

    const fn fixed(group: &'static str, plural: &'static str) -> Resource {
        Resource { group: Cow::Borrowed(group), plural: Cow::Borrowed(plural) }
    }

    pub fn new(group: impl Into<String>, plural: impl Into<String>) -> Resource {
        Resource { group: Cow::Owned(group.into()), plural: Cow::Owned(plural.into()) }
    }

    /// The resource of a controller that an owner reference names, if it is one of ours.
    pub(crate) fn of_owner(api_version: &str, kind: &str) -> Option<Resource> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Some(match (group, kind) {
            ("apps" | "extensions", "Deployment") => Resource::DEPLOYMENTS,
            ("apps" | "extensions", "ReplicaSet") => Resource::REPLICA_SETS,
            ("apps", "StatefulSet") => Resource::STATEFUL_SETS,
            ("apps" | "extensions", "DaemonSet") => Resource::DAEMON_SETS,
            ("batch", "Job") => Resource::JOBS,
            ("batch", "CronJob") => Resource::CRON_JOBS,
            ("", "ReplicationController") => Resource::REPLICATION_CONTROLLERS,
            ("", "Service") => Resource::SERVICES,
            _ => return None,
        })
    }
}

/// One object: its resource, namespace ("" when cluster-scoped) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub resource: Resource,
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(resource: Resource, namespace: &str, name: &str) -> Key {
        Key { resource, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub fn of(resource: &Resource, object: &Value) -> Key {
        Key::new(resource.clone(), read::namespace(object), read::name(object))
    }
}
