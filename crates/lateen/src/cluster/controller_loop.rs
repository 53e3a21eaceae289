//! Drives the controllers: keeps their `World` up to date from the API's changes, runs what a change
//! gives rise to, carries out the actions. One task owns the world; only the writes run beside it.
//!
//! A write's result is read back into the world before the same task runs again, so a controller
//! never acts on a state older than its own last action.

mod queue;
mod write;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use apiserver::{Change, Client, Event, Ref};
use controllers::{Key, Resource, World};
use jiff::Timestamp;
use objects::kinds::Registry;
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;

use queue::Queue;
use write::Written;

/// Tasks whose writes are under way at the same time. A webhook that does not answer holds up one
/// of them for its timeout, not the others.
const CONCURRENT: usize = 16;
static BUILT_IN: LazyLock<Registry> = LazyLock::new(Registry::builtin);
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Runs until the cluster's API is gone.
pub async fn run(client: Client) {
    let mut changes = client.subscribe();
    let mut driver = Driver {
        client,
        world: World::default(),
        queue: Queue::default(),
        running: JoinSet::new(),
    };
    driver.relist();
    loop {
        driver.start_due();
        let sleep = driver.queue.next_due().map_or(LONGEST_SLEEP, |at| {
            at.saturating_duration_since(Instant::now()).min(LONGEST_SLEEP)
        });
        tokio::select! {
            change = changes.recv() => match change {
                Ok(event) => driver.observe(&event),
                Err(RecvError::Lagged(missed)) => {
                    tracing::info!(missed, "controllers lag behind; listing everything again");
                    driver.relist();
                }
                Err(RecvError::Closed) => return,
            },
            Some(done) = driver.running.join_next() => match done {
                Ok(written) => driver.finish(written),
                Err(error) => tracing::error!(%error, "a controller's write did not end well"),
            },
            () = tokio::time::sleep(sleep) => {}
        }
    }
}

struct Driver {
    client: Client,
    world: World,
    queue: Queue,
    running: JoinSet<Written>,
}

impl Driver {
    /// Starts over from what the API has now; every object is looked at once.
    fn relist(&mut self) {
        self.world = World::default();
        for resource in resources(&self.client) {
            for object in self.client.list(&resource.group, &resource.plural, None) {
                self.world.observe(&resource, object);
            }
        }
        for resource in resources(&self.client) {
            for object in self.world.all(&resource) {
                self.queue.extend(controllers::affected(&self.world, &resource, object));
            }
        }
    }

    fn observe(&mut self, event: &Event) {
        let (group, plural) = &event.resource;
        let resource = Resource::new(group.as_str(), plural.as_str());
        let object = &event.object;
        let before = self.world.get(&Key::of(&resource, object)).cloned();
        if matches!(event.change, Change::Deleted) {
            self.world.observe_deleted(&resource, object, event.revision);
        } else {
            self.world.observe(&resource, object.clone());
        }
        self.queue.extend(controllers::affected(&self.world, &resource, object));
        if let Some(before) = before.filter(|before| !Arc::ptr_eq(before, object)) {
            self.queue.extend(controllers::affected(&self.world, &resource, &before));
        }
    }

    /// Reconciles what is due; the writes go on in the background.
    fn start_due(&mut self) {
        while self.running.len() < CONCURRENT {
            let Some(task) = self.queue.take(Instant::now()) else { return };
            let now = Timestamp::now();
            let outcome = controllers::reconcile(&self.world, &task, now);
            if let Some(at) = outcome.again_at {
                // Times are kept in whole seconds; a moment later is surely past it.
                let wait = at.duration_since(now).unsigned_abs() + Duration::from_millis(50);
                self.queue.at(task.clone(), Instant::now() + wait);
            }
            if outcome.actions.is_empty() {
                self.queue.done(&task);
                continue;
            }
            self.running.spawn(write::all(self.client.clone(), task, outcome.actions));
        }
    }

    fn finish(&mut self, written: Written) {
        for key in &written.touched {
            let current = self.client.get(&reference(key));
            let gone = current.is_none().then(|| self.world.get(key).cloned()).flatten();
            self.world.read_back(key, current);
            if let Some(object) = gone {
                self.queue.extend(controllers::affected(&self.world, &key.resource, &object));
            }
        }
        match written.error {
            None => self.queue.done(&written.task),
            Some(error) => {
                tracing::debug!(task = ?written.task, %error, "a controller tries again");
                self.queue.failed(written.task, Instant::now());
            }
        }
    }
}

fn reference(key: &Key) -> Ref {
    Ref {
        group: key.resource.group.to_string(),
        resource: key.resource.plural.to_string(),
        namespace: (!key.namespace.is_empty()).then(|| key.namespace.clone()),
        name: key.name.clone(),
    }
}

/// All resources that are stored: built in, and defined by users.
fn resources(client: &Client) -> Vec<Resource> {
    let built_in = BUILT_IN.all().iter();
    let mut all: Vec<Resource> =
        built_in.map(|kind| Resource::new(kind.group.as_str(), kind.plural.as_str())).collect();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    for definition in client.list("apiextensions.k8s.io", "customresourcedefinitions", None) {
        let group = text(definition.pointer("/spec/group"));
        let plural = text(definition.pointer("/spec/names/plural"));
        if let (Some(group), Some(plural)) = (group, plural) {
            all.push(Resource::new(group, plural));
        }
    }
    all
}
