//! The SQLite file behind the store. WAL with synchronous=NORMAL: a commit is in the operating
//! system's hands when it returns, so killing any process loses nothing; only a power cut may
//! lose the last moments, never consistency.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;
use thiserror::Error;

use super::Key;
use crate::client::{Change, Event};

#[derive(Debug, Error)]
pub enum DiskError {
    #[error("the state file {path} cannot be opened: {source}")]
    Open { path: String, source: rusqlite::Error },
    #[error(
        "the state file refused an operation: {0}; check the disk's free space and permissions"
    )]
    Sql(#[from] rusqlite::Error),
    #[error("the state file holds an object that is not JSON: {0}")]
    Broken(#[from] serde_json::Error),
}

/// Forgetting is done in batches of this many trimmed changes.
const FORGET_BATCH: usize = 128;

pub struct Disk {
    connection: Connection,
    forgotten: std::collections::HashMap<(String, String), u64>,
    pending: usize,
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS objects (
  grp TEXT NOT NULL, plural TEXT NOT NULL, ns TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (grp, plural, ns, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
  revision INTEGER PRIMARY KEY, grp TEXT NOT NULL, plural TEXT NOT NULL, change INTEGER NOT NULL,
  body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS floors (
  grp TEXT NOT NULL, plural TEXT NOT NULL, floor INTEGER NOT NULL, PRIMARY KEY (grp, plural)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
";

impl Disk {
    pub fn open(path: &Path) -> Result<Disk, DiskError> {
        let open = |source| DiskError::Open { path: path.display().to_string(), source };
        let connection = Connection::open(path).map_err(open)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -1024)?;
        connection.busy_timeout(std::time::Duration::from_secs(5))?;
        connection.execute_batch(SCHEMA)?;
        Ok(Disk { connection, forgotten: Default::default(), pending: 0 })
    }

    pub fn revision(&self) -> Result<u64, DiskError> {
        Ok(self.setting("revision")?.and_then(|v| v.parse().ok()).unwrap_or(0))
    }

    fn setting(&self, name: &str) -> Result<Option<String>, DiskError> {
        let mut query =
            self.connection.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
        Ok(query.query_row([name], |row| row.get(0)).optional()?)
    }

    pub fn load_objects(&self, mut each: impl FnMut(Key, Value)) -> Result<(), DiskError> {
        let mut query =
            self.connection.prepare("SELECT grp, plural, ns, name, body FROM objects")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let key = Key {
                group: row.get(0)?,
                plural: row.get(1)?,
                namespace: row.get(2)?,
                name: row.get(3)?,
            };
            each(key, serde_json::from_str(row.get_ref(4)?.as_str().unwrap_or_default())?);
        }
        Ok(())
    }

    pub fn load_history(&self, mut each: impl FnMut(Event)) -> Result<(), DiskError> {
        let mut query = self
            .connection
            .prepare("SELECT revision, grp, plural, change, body FROM history ORDER BY revision")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let body: Value = serde_json::from_str(row.get_ref(4)?.as_str().unwrap_or_default())?;
            each(Event {
                revision: row.get::<_, i64>(0)?.unsigned_abs(),
                resource: (row.get(1)?, row.get(2)?),
                change: match row.get::<_, i64>(3)? {
                    0 => Change::Added,
                    1 => Change::Modified,
                    _ => Change::Deleted,
                },
                object: Arc::new(body),
            });
        }
        Ok(())
    }

    pub fn floors(&self) -> Result<Vec<(String, String, u64)>, DiskError> {
        let mut query = self.connection.prepare("SELECT grp, plural, floor FROM floors")?;
        let rows = query.query_map([], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs()))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One change, whole or not at all.
    pub fn write(&mut self, key: &Key, event: &Event) -> Result<(), DiskError> {
        let body = serde_json::to_string(&*event.object)?;
        let transaction = self.connection.transaction()?;
        let place = [&key.group, &key.plural, &key.namespace, &key.name];
        if event.change == Change::Deleted {
            transaction
                .prepare_cached(
                    "DELETE FROM objects WHERE grp=?1 AND plural=?2 AND ns=?3 AND name=?4",
                )?
                .execute(place)?;
        } else {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO objects VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![place[0], place[1], place[2], place[3], body])?;
        }
        let revision = i64::try_from(event.revision).unwrap_or(i64::MAX);
        let change = match event.change {
            Change::Added => 0,
            Change::Modified => 1,
            Change::Deleted => 2,
        };
        transaction
            .prepare_cached("INSERT OR REPLACE INTO history VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![revision, key.group, key.plural, change, body])?;
        transaction
            .prepare_cached("INSERT OR REPLACE INTO settings VALUES ('revision', ?1)")?
            .execute([event.revision.to_string()])?;
        if self.pending >= FORGET_BATCH {
            for ((group, plural), floor) in self.forgotten.drain() {
                let floor = i64::try_from(floor).unwrap_or(i64::MAX);
                transaction
                    .prepare_cached(
                        "DELETE FROM history WHERE grp=?1 AND plural=?2 AND revision<=?3",
                    )?
                    .execute(params![group, plural, floor])?;
                transaction
                    .prepare_cached("INSERT OR REPLACE INTO floors VALUES (?1, ?2, ?3)")?
                    .execute(params![group, plural, floor])?;
            }
            self.pending = 0;
        }
        Ok(transaction.commit()?)
    }

    /// Changes up to `floor` may be deleted with one of the next writes.
    pub fn forget_later(&mut self, group: &str, plural: &str, floor: u64) {
        self.forgotten.insert((group.to_owned(), plural.to_owned()), floor);
        self.pending += 1;
    }
}
