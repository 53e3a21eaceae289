//! Watches: changes of a resource as lines of JSON. A watch keeps its place in the store's
//! history and no queue of its own; one that falls behind the history is told to list again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use objects::meta;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answer::{self, Body};
use super::resources::{Shown, list_options};
use super::{Context, Query};
use crate::client::Change;
use crate::core::{Core, ListOptions, Target};
use crate::error::ApiError;
use crate::store::{Record, Since};

/// How often a quiet watch hears how far the server is.
const BOOKMARK: Duration = Duration::from_secs(30);
/// A watch without a time of its own ends after this.
const DEFAULT_LIFE: u64 = 45 * 60;
const MAX_LIFE: u64 = 24 * 3600;
/// Lines that may wait for the peer to read them.
const BUFFER: usize = 64;

const INITIAL_END: &str = "k8s.io/initial-events-end";

struct Watch {
    core: Arc<Core>,
    target: Target,
    select: ListOptions,
    shown: Shown,
    bookmarks: bool,
    lines: mpsc::Sender<Bytes>,
    first_line: bool,
}

/// The peer is gone.
struct Closed;

pub fn start(context: &Context, target: &Target, shown: Shown) -> Result<Response<Body>, ApiError> {
    let query = &context.query;
    let begin = begin(query)?;
    if let Begin::After(revision) = begin
        && revision > context.core.store.revision()
    {
        let message = format!("Too large resource version: {revision}");
        return Err(ApiError::new(504, "Timeout", message));
    }
    let mut select = list_options(query)?;
    select.limit = None;
    if !target.name.is_empty() {
        let pinned = format!("metadata.name={}", target.name);
        select.fields = objects::selector::FieldSelector::parse(&pinned)
            .map_err(|e| ApiError::bad_request(e.to_string()))?;
    }
    let life = query.number("timeoutSeconds").filter(|s| *s > 0).unwrap_or(DEFAULT_LIFE);
    let (lines, receiver) = mpsc::channel(BUFFER);
    let content_type = shown.content_type().to_owned();
    let watch = Watch {
        core: context.core.clone(),
        target: target.clone(),
        select,
        shown,
        bookmarks: query.flag("allowWatchBookmarks"),
        lines,
        first_line: true,
    };
    tokio::spawn(watch.run(begin, Duration::from_secs(life.min(MAX_LIFE))));
    Ok(answer::streamed(&content_type, receiver))
}

enum Begin {
    /// With everything there is; then say so if `marked`.
    Now {
        marked: bool,
    },
    After(u64),
}

fn begin(query: &Query) -> Result<Begin, ApiError> {
    let version = query.get("resourceVersion").unwrap_or_default();
    match query.get("sendInitialEvents") {
        Some("true") => {
            if query.get("resourceVersionMatch") != Some("NotOlderThan") {
                let message =
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
                return Err(ApiError::bad_request(message));
            }
            return Ok(Begin::Now { marked: true });
        }
        Some("false") if version.is_empty() || version == "0" => {
            return Ok(Begin::After(0));
        }
        _ => {}
    }
    if version.is_empty() || version == "0" {
        return Ok(Begin::Now { marked: false });
    }
    let revision = version.parse().map_err(|_| {
        ApiError::bad_request(format!("resourceVersion: invalid value {version:?}"))
    })?;
    Ok(Begin::After(revision))
}

impl Watch {
    async fn run(mut self, begin: Begin, life: Duration) {
        // The peer being gone is the ordinary end.
        let _ = self.follow(begin, life).await;
    }

    async fn follow(&mut self, begin: Begin, life: Duration) -> Result<(), Closed> {
        let end = Instant::now() + life;
        let mut revisions = self.core.store.revisions();
        let mut position = match begin {
            Begin::Now { marked } => self.send_everything(marked).await?,
            Begin::After(0) => self.core.store.revision(),
            Begin::After(revision) => revision,
        };
        loop {
            revisions.mark_unchanged();
            let (group, plural) = (&self.target.kind.group, &self.target.kind.plural);
            match self.core.store.since(group, plural, position) {
                Since::Forgotten => return self.send("ERROR", &ApiError::expired().status()).await,
                Since::Records(records, current) => {
                    for record in records {
                        self.send_record(&record).await?;
                    }
                    position = current.max(position);
                }
            }
            let lines = self.lines.clone();
            tokio::select! {
                changed = revisions.changed() => if changed.is_err() { return Ok(()) },
                () = lines.closed() => return Err(Closed),
                () = tokio::time::sleep(BOOKMARK) => self.send_bookmark(position, false).await?,
                () = tokio::time::sleep_until(end) => {
                    return self.send_bookmark(position, false).await;
                }
            }
        }
    }

    async fn send_everything(&mut self, marked: bool) -> Result<u64, Closed> {
        let page = self.core.list(&self.target, &self.select);
        for object in &page.items {
            self.send_object("ADDED", object).await?;
        }
        if marked {
            self.bookmarks = true;
            self.send_bookmark(page.revision, true).await?;
        }
        Ok(page.revision)
    }

    /// A change as the selector sees it: an object that no longer fits is gone for this watch.
    async fn send_record(&mut self, record: &Record) -> Result<(), Closed> {
        let object = &record.event.object;
        let elsewhere = !self.target.namespace.is_empty()
            && meta::namespace(object) != Some(self.target.namespace.as_str());
        if elsewhere && !self.target.is("", "namespaces") {
            return Ok(());
        }
        let fits = self.select.selects(object);
        let fitted = record.previous.as_ref().map(|p| self.select.selects(p));
        let kind = match (record.event.change, fitted, fits) {
            (Change::Deleted, _, true) => "DELETED",
            (Change::Deleted, Some(true), false) => "DELETED",
            (Change::Deleted, _, false) => return Ok(()),
            (Change::Added, _, true) => "ADDED",
            (Change::Modified, Some(false), true) => "ADDED",
            (Change::Modified, _, true) => "MODIFIED",
            (Change::Modified, Some(true) | None, false) => "DELETED",
            (_, _, false) => return Ok(()),
        };
        self.send_object(kind, object).await
    }

    async fn send_object(&mut self, kind: &str, object: &Value) -> Result<(), Closed> {
        let shown = self.core.present(&self.target, object);
        let shown = self.shown.one(&self.target, shown, self.first_line);
        self.first_line = false;
        self.send(kind, &shown).await
    }

    async fn send_bookmark(&mut self, revision: u64, initial_end: bool) -> Result<(), Closed> {
        if !self.bookmarks {
            return Ok(());
        }
        let mut object = json!({
            "kind": self.target.kind.kind, "apiVersion": self.target.api_version(),
            "metadata": {"resourceVersion": revision.to_string(), "creationTimestamp": null},
        });
        if initial_end {
            meta::metadata(&mut object)
                .insert("annotations".to_owned(), json!({INITIAL_END: "true"}));
        }
        let object = self.shown.bookmark(object, revision);
        self.send("BOOKMARK", &object).await
    }

    async fn send(&self, kind: &str, object: &Value) -> Result<(), Closed> {
        let mut line =
            serde_json::to_vec(&json!({"type": kind, "object": object})).unwrap_or_default();
        line.push(b'\n');
        self.lines.send(Bytes::from(line)).await.map_err(|_| Closed)
    }
}
