//! The keys of token issuers, fetched from where RequestAuthentications say and kept fresh. What arrives
//! goes to the registry; what cannot be had stays away, and its tokens are refused.

mod allow;
mod fetch;

use crate::world::World;
use allow::Allowed;
use fetch::Fetcher;
use registry::{KeySource, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The keys of a source, or that there are none any more.
pub(crate) type News = (KeySource, Option<String>);

/// Places beyond this many are not asked.
const MAX_SOURCES: usize = 256;
/// Questions under way at once.
const AT_ONCE: usize = 8;
/// As in Istio.
const REFRESH: Duration = Duration::from_secs(20 * 60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Keys that nobody could confirm for so long are not believed any more.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Keeps the keys fresh, for ever.
pub(crate) async fn keep(mut worlds: watch::Receiver<Option<World>>, news: mpsc::Sender<News>) {
    let fetcher = Arc::new(Fetcher::new(Allowed::from_env(|key| std::env::var(key).ok())));
    let mut book = Book::default();
    let mut running = JoinSet::new();
    loop {
        let room = running.len() < AT_ONCE;
        let next = book.next().filter(|_| room);
        tokio::select! {
            changed = worlds.changed() => if changed.is_err() { return },
            () = until(next) => {}
            Some(done) = running.join_next() => {
                if let Ok((source, found)) = done
                    && let Some(news_of) = book.done(source, found, Instant::now())
                    && news.send(news_of).await.is_err()
                {
                    return;
                }
            }
        }
        let Some(world) = worlds.borrow_and_update().clone() else { continue };
        let mut gone = book.want(wanted(&world.snapshot), Instant::now());
        gone.extend(book.stale(Instant::now()));
        for gone in gone {
            if news.send((gone, None)).await.is_err() {
                return;
            }
        }
        for source in book.due(AT_ONCE.saturating_sub(running.len()), Instant::now()) {
            let (fetcher, snapshot) = (fetcher.clone(), world.snapshot.clone());
            running.spawn(async move {
                let found = fetcher.keys(&source, &snapshot).await;
                (source, found.map_err(|e| e.to_string()))
            });
        }
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

fn wanted(snapshot: &Snapshot) -> BTreeSet<KeySource> {
    let rules = snapshot.request_authentications.iter().flat_map(|p| &p.spec.jwt_rules);
    rules.filter_map(KeySource::of).collect()
}

/// Which place is asked when.
#[derive(Debug, Default)]
struct Book {
    sources: BTreeMap<KeySource, Entry>,
    /// Those that there is no room for, as far as it was said.
    left_out: BTreeSet<KeySource>,
}

#[derive(Debug)]
struct Entry {
    /// While it is being asked: when it is asked again if no answer is told.
    due: Instant,
    failures: u32,
    /// When keys came last.
    good: Option<Instant>,
}

impl Book {
    /// Those that nobody wants any more. Where there are too many, those that came first stay.
    fn want(&mut self, wanted: BTreeSet<KeySource>, now: Instant) -> Vec<KeySource> {
        let gone: Vec<_> = self.sources.keys().filter(|s| !wanted.contains(s)).cloned().collect();
        self.sources.retain(|source, _| wanted.contains(source));
        let mut left_out = BTreeSet::new();
        for source in wanted {
            if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source) {
                left_out.insert(source);
                continue;
            }
            let new = || Entry { due: now, failures: 0, good: None };
            self.sources.entry(source).or_insert_with(new);
        }
        self.say_left_out(left_out);
        gone
    }

    /// Once for each: the world changes often, and most of it has nothing to do with keys.
    fn say_left_out(&mut self, left_out: BTreeSet<KeySource>) {
        for source in left_out.difference(&self.left_out) {
            tracing::error!(
                ?source,
                "keys of more than {MAX_SOURCES} places are wanted; this one is left out"
            );
        }
        self.left_out = left_out;
    }

    fn next(&self) -> Option<Instant> {
        self.sources.values().map(|entry| entry.due).min()
    }

    /// At most so many, who waits longest first; they count as being asked.
    fn due(&mut self, room: usize, now: Instant) -> Vec<KeySource> {
        let mut due: Vec<_> = self.sources.iter_mut().filter(|(_, e)| e.due <= now).collect();
        due.sort_by_key(|(_, entry)| entry.due);
        let asked = due.into_iter().take(room).map(|(source, entry)| {
            entry.due = now + LONGEST_PAUSE;
            source.clone()
        });
        asked.collect()
    }

    /// Keys that nobody could confirm for too long.
    fn stale(&mut self, now: Instant) -> Vec<KeySource> {
        let old = |e: &&mut Entry| e.good.is_some_and(|good| now - good > STALE);
        let entries = self.sources.iter_mut().filter_map(|(s, e)| Some((s, Some(e).filter(old)?)));
        let stale = entries.map(|(source, entry)| {
            entry.good = None;
            source.clone()
        });
        stale.collect()
    }

    /// What is to be told.
    fn done(
        &mut self,
        source: KeySource,
        found: Result<Option<String>, String>,
        now: Instant,
    ) -> Option<News> {
        let entry = self.sources.get_mut(&source)?;
        match found {
            Ok(keys) => {
                *entry = Entry { due: now + REFRESH, failures: 0, good: Some(now) };
                Some((source, keys))
            }
            Err(error) => {
                tracing::warn!(?source, error, "the keys of an issuer were not fetched");
                let pause = FIRST_PAUSE * 2u32.pow(entry.failures.min(6));
                entry.failures += 1;
                entry.due = now + pause.min(LONGEST_PAUSE);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_asked_again_later_and_later_and_old_keys_are_dropped() {
        let mut book = Book::default();
        let source = KeySource::Uri("https://a".into());
        let start = Instant::now();
        assert!(book.want([source.clone()].into(), start).is_empty());
        assert_eq!(book.due(0, start), []);
        assert_eq!(book.due(8, start), std::slice::from_ref(&source));
        assert_eq!((book.due(8, start).len(), book.next()), (0, Some(start + LONGEST_PAUSE)));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(book.done(source.clone(), Err("down".into()), start), None);
            pauses.push((book.next().unwrap() - start).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        let news = book.done(source.clone(), Ok(Some("keys".into())), start);
        assert_eq!(news, Some((source.clone(), Some("keys".into()))));
        assert_eq!(book.next(), Some(start + REFRESH));
        let later = start + STALE;
        assert_eq!(book.done(source.clone(), Err("down".into()), later), None);
        assert_eq!(book.stale(later), [], "kept meanwhile");
        let later = later + Duration::from_secs(1);
        assert_eq!(book.stale(later), std::slice::from_ref(&source), "not for ever");
        assert_eq!(book.stale(later), [], "said once");
        let news = book.done(source.clone(), Ok(None), later);
        assert_eq!(news, Some((source.clone(), None)), "the issuer has none any more");
        assert_eq!(book.want(BTreeSet::new(), later), std::slice::from_ref(&source));
        let late = book.done(source, Ok(Some("keys".into())), later);
        assert_eq!(late, None, "nobody wants it any more");
    }

    #[test]
    fn who_came_first_stays_and_who_waits_longest_is_asked_first() {
        let (mut book, start) = (Book::default(), Instant::now());
        let source = |n: usize| KeySource::Uri(format!("https://{n:04}"));
        let last: BTreeSet<_> = [source(9_999)].into();
        book.want(last.clone(), start);
        let many = (0..2 * MAX_SOURCES).map(source).chain(last).collect();
        assert!(book.want(many, start + Duration::from_secs(1)).is_empty());
        assert_eq!((book.sources.len(), book.left_out.len()), (MAX_SOURCES, MAX_SOURCES + 1));
        let asked = book.due(1, start + Duration::from_secs(2));
        assert_eq!(asked, [source(9_999)], "its name comes last");
    }
}
