//! All objects in memory, every change numbered and written to SQLite before anybody sees it.
//! Reads never touch the disk. A bounded run of past changes per resource lets watches resume.

mod disk;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use serde_json::Value;
use tokio::sync::{broadcast, watch};

use crate::client::{Change, Event};
use disk::Disk;
pub use disk::DiskError;

/// Where an object is: group, plural, namespace (empty if it has none), name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub group: String,
    pub plural: String,
    pub namespace: String,
    pub name: String,
}

/// A change as watches see it: with what was there before, to tell what a selector lost.
#[derive(Debug, Clone)]
pub struct Record {
    pub event: Arc<Event>,
    pub previous: Option<Arc<Value>>,
}

/// Why a write was not done.
#[derive(Debug)]
pub enum WriteError {
    /// The object is not in the state that the writer has seen.
    Stale,
    Disk(DiskError),
}

/// Changes that subscribers may be behind before they must list again.
const SUBSCRIBER_LAG: usize = 8192;

/// Kept changes of one resource; chatty ones keep fewer.
fn history_bound(plural: &str) -> usize {
    match plural {
        "leases" => 64,
        "events" => 256,
        _ => 512,
    }
}

#[derive(Default)]
struct Table {
    objects: BTreeMap<(String, String), Arc<Value>>,
    history: VecDeque<Record>,
    /// Changes up to this revision are forgotten.
    floor: u64,
}

#[derive(Default)]
struct Memory {
    revision: u64,
    tables: HashMap<(String, String), Table>,
    by_owner: HashMap<String, BTreeSet<Key>>,
}

pub struct Store {
    /// Held by a writer from its check to its publication, so that revisions come in order.
    disk: Mutex<Disk>,
    memory: RwLock<Memory>,
    revision: watch::Sender<u64>,
    events: broadcast::Sender<Arc<Event>>,
}

/// A list together with the revision that it shows.
pub struct Listing {
    pub revision: u64,
    pub objects: Vec<Arc<Value>>,
}

/// What a watch reads next.
pub enum Since {
    Records(Vec<Record>, u64),
    /// The asked-for revision is no longer in the history.
    Forgotten,
}

impl Store {
    pub fn open(path: &Path) -> Result<Store, DiskError> {
        let disk = Disk::open(path)?;
        let mut memory = Memory { revision: disk.revision()?, ..Memory::default() };
        disk.load_objects(|key, object| memory.put(&key, Arc::new(object)))?;
        for (group, plural, floor) in disk.floors()? {
            memory.table(&group, &plural).floor = floor;
        }
        disk.load_history(|event| memory.restore(event))?;
        let (revision, _) = watch::channel(memory.revision);
        let (events, _) = broadcast::channel(SUBSCRIBER_LAG);
        Ok(Store { disk: Mutex::new(disk), memory: RwLock::new(memory), revision, events })
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Value>> {
        let memory = self.read();
        let table = memory.tables.get(&(key.group.clone(), key.plural.clone()))?;
        table.objects.get(&(key.namespace.clone(), key.name.clone())).cloned()
    }

    /// Objects by namespace and name; those after `after` only.
    pub fn list(
        &self,
        group: &str,
        plural: &str,
        namespace: Option<&str>,
        after: Option<&(String, String)>,
    ) -> Listing {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let memory = self.read();
        let revision = memory.revision;
        let Some(table) = memory.tables.get(&(group.to_owned(), plural.to_owned())) else {
            return Listing { revision, objects: Vec::new() };
        };
        let first = namespace.map(|ns| (ns.to_owned(), String::new()));
        let from = match (after, &first) {
            (Some(after), _) => Excluded(after),
            (None, Some(first)) => Included(first),
            (None, None) => Unbounded,
        };
        let objects = table
            .objects
            .range((from, Unbounded))
            .take_while(|((ns, _), _)| namespace.is_none_or(|wanted| ns == wanted))
            .map(|(_, object)| object.clone())
            .collect();
        Listing { revision, objects }
    }

    /// Changes of a resource after a revision.
    pub fn since(&self, group: &str, plural: &str, revision: u64) -> Since {
        let memory = self.read();
        let Some(table) = memory.tables.get(&(group.to_owned(), plural.to_owned())) else {
            return Since::Records(Vec::new(), memory.revision);
        };
        if revision < table.floor {
            return Since::Forgotten;
        }
        let start = table.history.partition_point(|r| r.event.revision <= revision);
        Since::Records(table.history.iter().skip(start).cloned().collect(), memory.revision)
    }

    pub fn revision(&self) -> u64 {
        self.read().revision
    }

    /// Wakes its receivers at every change.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Event>> {
        self.events.subscribe()
    }

    /// Objects that name this uid as an owner.
    pub fn dependents(&self, uid: &str) -> Vec<Key> {
        self.read().by_owner.get(uid).map(|keys| keys.iter().cloned().collect()).unwrap_or_default()
    }

    /// Puts `object` where `expected` is the revision of what is there now (None: nothing).
    /// The object gets the new resource version.
    pub fn put(
        &self,
        key: &Key,
        expected: Option<u64>,
        mut object: Value,
    ) -> Result<Arc<Value>, WriteError> {
        let mut disk = self.lock_disk();
        let previous = self.check(key, expected)?;
        let revision = self.revision() + 1;
        objects::meta::metadata(&mut object)
            .insert("resourceVersion".to_owned(), Value::String(revision.to_string()));
        let change = if previous.is_some() { Change::Modified } else { Change::Added };
        let event = Arc::new(event(key, revision, change, Arc::new(object)));
        disk.write(key, &event).map_err(WriteError::Disk)?;
        self.publish(&mut disk, key, event.clone(), previous);
        Ok(event.object.clone())
    }

    /// Removes what is there at revision `expected`; returns its last state.
    pub fn remove(&self, key: &Key, expected: u64) -> Result<Arc<Value>, WriteError> {
        let mut disk = self.lock_disk();
        let previous = self.check(key, Some(expected))?;
        let revision = self.revision() + 1;
        let mut last = previous.as_deref().cloned().unwrap_or_default();
        objects::meta::metadata(&mut last)
            .insert("resourceVersion".to_owned(), Value::String(revision.to_string()));
        let event = Arc::new(event(key, revision, Change::Deleted, Arc::new(last)));
        disk.write(key, &event).map_err(WriteError::Disk)?;
        self.publish(&mut disk, key, event.clone(), previous);
        Ok(event.object.clone())
    }

    fn check(&self, key: &Key, expected: Option<u64>) -> Result<Option<Arc<Value>>, WriteError> {
        let current = self.get(key);
        let found = current.as_deref().and_then(objects::meta::resource_version);
        if found == expected { Ok(current) } else { Err(WriteError::Stale) }
    }

    fn publish(&self, disk: &mut Disk, key: &Key, event: Arc<Event>, previous: Option<Arc<Value>>) {
        let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
        memory.revision = event.revision;
        match event.change {
            Change::Deleted => memory.take(key),
            _ => memory.put(key, event.object.clone()),
        }
        let table = memory.table(&key.group, &key.plural);
        table.history.push_back(Record { event: event.clone(), previous });
        if table.trim(history_bound(&key.plural)) {
            disk.forget_later(&key.group, &key.plural, table.floor);
        }
        drop(memory);
        self.revision.send_replace(event.revision);
        // No subscriber is fine.
        let _ = self.events.send(event);
    }

    fn read(&self) -> RwLockReadGuard<'_, Memory> {
        self.memory.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn event(key: &Key, revision: u64, change: Change, object: Arc<Value>) -> Event {
    Event { revision, resource: (key.group.clone(), key.plural.clone()), change, object }
}

impl Table {
    /// Forgets the oldest changes beyond the bound.
    fn trim(&mut self, bound: usize) -> bool {
        let mut trimmed = false;
        while self.history.len() > bound {
            if let Some(old) = self.history.pop_front() {
                self.floor = old.event.revision;
                trimmed = true;
            }
        }
        trimmed
    }
}

impl Memory {
    fn table(&mut self, group: &str, plural: &str) -> &mut Table {
        self.tables.entry((group.to_owned(), plural.to_owned())).or_default()
    }

    fn put(&mut self, key: &Key, object: Arc<Value>) {
        self.take(key);
        for uid in owners(&object) {
            self.by_owner.entry(uid.to_owned()).or_default().insert(key.clone());
        }
        let place = (key.namespace.clone(), key.name.clone());
        self.table(&key.group, &key.plural).objects.insert(place, object);
    }

    fn take(&mut self, key: &Key) {
        let place = (key.namespace.clone(), key.name.clone());
        let Some(old) = self.table(&key.group, &key.plural).objects.remove(&place) else { return };
        for uid in owners(&old) {
            if let Some(keys) = self.by_owner.get_mut(uid) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_owner.remove(uid);
                }
            }
        }
    }

    /// Puts a change read from disk into the history. What was there before is unknown for the
    /// first change of an object.
    fn restore(&mut self, event: Event) {
        let (group, plural) = event.resource.clone();
        let bound = history_bound(&plural);
        let table = self.table(&group, &plural);
        let same =
            |r: &&Record| objects::meta::uid(&r.event.object) == objects::meta::uid(&event.object);
        let previous = table.history.iter().rev().find(same).map(|r| r.event.object.clone());
        table.history.push_back(Record { event: Arc::new(event), previous });
        table.trim(bound);
    }
}

fn owners(object: &Value) -> impl Iterator<Item = &str> {
    let references = objects::meta::items(object, &["metadata", "ownerReferences"]);
    references.iter().filter_map(|r| objects::meta::text(r, &["uid"]))
}

#[cfg(test)]
mod tests;
