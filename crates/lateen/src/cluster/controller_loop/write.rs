//! Carries out one task's actions, in order, up to the first that is refused.

use std::sync::Arc;

use apiserver::{ApiError, Client, DeleteOptions};
use controllers::{Action, Controller, Key, Propagation, Resource, Severity, Task};
use serde_json::Value;

use super::{BUILT_IN, reference};

/// What came of a task's actions.
pub struct Written {
    pub task: Task,
    /// The objects written to or found changed; the world must look at them again.
    pub touched: Vec<Key>,
    pub error: Option<ApiError>,
}

pub async fn all(client: Client, task: Task, actions: Vec<Action>) -> Written {
    let mut written = Written { task, touched: Vec::new(), error: None };
    for action in actions {
        if let Err(error) = one(&client, action, &mut written).await {
            written.error = Some(error);
            break;
        }
    }
    written
}

async fn one(client: &Client, action: Action, written: &mut Written) -> Result<(), ApiError> {
    match action {
        Action::Create { object, reported_on } => {
            create(client, object, reported_on, written).await
        }
        Action::Update(object) => {
            written.touch(&object);
            client.update(object).await.map(drop)
        }
        Action::UpdateStatus(object) => {
            written.touch(&object);
            client.update_status(object).await.map(drop)
        }
        Action::MergePatch { key, subresource, patch } => {
            let target = reference(&key);
            written.touched.push(key);
            client.merge_patch(&target, subresource, patch).await.map(drop)
        }
        Action::Delete { key, uid, grace_seconds, propagation } => {
            let target = reference(&key);
            written.touched.push(key);
            let propagation = match propagation {
                Propagation::Background => apiserver::Propagation::Background,
                Propagation::Foreground => apiserver::Propagation::Foreground,
            };
            let options = DeleteOptions {
                grace_seconds,
                uid: Some(uid),
                propagation: Some(propagation),
                ..DeleteOptions::default()
            };
            match client.delete(&target, options).await {
                Err(error) if error.code == 404 => Ok(()),
                other => other,
            }
        }
        Action::Event { regarding, severity, reason, message } => {
            let component = component(written.task.controller);
            client.record_event(&regarding, word(severity), reason, &message, component);
            Ok(())
        }
    }
}

async fn create(
    client: &Client,
    object: Value,
    reported_on: Option<Arc<Value>>,
    written: &mut Written,
) -> Result<(), ApiError> {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or("object").to_owned();
    // What is already there by that name must become known, or it would be created for ever.
    written.touch(&object);
    let component = component(written.task.controller);
    match client.create(object).await {
        Ok(created) => {
            written.touch(&created);
            if let Some(owner) = reported_on {
                let name = created.pointer("/metadata/name").and_then(Value::as_str);
                let lower = kind.to_lowercase();
                let message = format!("Created {lower}: {}", name.unwrap_or_default());
                client.record_event(&owner, "Normal", "SuccessfulCreate", &message, component);
            }
            Ok(())
        }
        Err(error) => {
            if let Some(owner) = reported_on {
                let message = format!("Error creating: {error}");
                client.record_event(&owner, "Warning", "FailedCreate", &message, component);
            }
            Err(error)
        }
    }
}

impl Written {
    fn touch(&mut self, object: &Value) {
        let Some(kind) = BUILT_IN.of_object(object) else { return };
        let key = Key::of(&Resource::new(kind.group.as_str(), kind.plural.as_str()), object);
        if !key.name.is_empty() && !self.touched.contains(&key) {
            self.touched.push(key);
        }
    }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Normal => "Normal",
        Severity::Warning => "Warning",
    }
}

/// Who an Event says it is from.
fn component(controller: Controller) -> &'static str {
    match controller {
        Controller::Deployment => "deployment-controller",
        Controller::ReplicaSet => "replicaset-controller",
        Controller::StatefulSet => "statefulset-controller",
        Controller::DaemonSet => "daemonset-controller",
        Controller::Job => "job-controller",
        Controller::CronJob => "cronjob-controller",
        Controller::Endpoints => "endpoint-controller",
        Controller::Pod => "default-scheduler",
        Controller::Namespace => "namespace-controller",
        Controller::DisruptionBudget => "disruption-controller",
    }
}
