//! Writes automatic addresses into `status.addresses` of ServiceEntries. Which, the registry decides
//! from the objects alone, so several control planes write the same.

use crate::world::{World, resource_of};
use api::Kind;
use k8s::Client;
use registry::Allocation;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

#[derive(Clone, Copy)]
struct Pace {
    /// Before what could not be written is tried again.
    pause: Duration,
    /// What was written is seen within this time; else somebody has taken it away, and it is written anew.
    comes_back: Duration,
}

const PACE: Pace = Pace { pause: Duration::from_secs(1), comes_back: Duration::from_secs(5) };

/// Keeps all entries supplied, for ever.
pub(crate) async fn write(client: Client, worlds: watch::Receiver<Option<World>>) {
    let put = |allocation| {
        let client = client.clone();
        async move { put(&client, &allocation).await }
    };
    keep(worlds, PACE, put).await;
}

async fn keep<E: std::fmt::Display, F: Future<Output = Result<(), E>>>(
    mut worlds: watch::Receiver<Option<World>>,
    pace: Pace,
    put: impl Fn(Allocation) -> F,
) {
    let mut under_way = UnderWay { written: HashMap::new(), comes_back: pace.comes_back };
    let mut again = None;
    loop {
        tokio::select! {
            changed = worlds.changed() => if changed.is_err() { return },
            () = until(again) => {}
        }
        let Some(world) = worlds.borrow_and_update().clone() else { continue };
        let mut failed = false;
        for allocation in under_way.due(&world.allocations, Instant::now()) {
            match put(allocation.clone()).await {
                Ok(()) => under_way.written(allocation, Instant::now()),
                Err(error) => {
                    tracing::warn!(%error, entry = allocation.name, "an address was not written");
                    failed = true;
                }
            }
        }
        let now = Instant::now();
        again = match failed {
            true => Some(now + pace.pause),
            false => under_way.looks_again(),
        };
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// What was written and has not come back yet.
struct UnderWay {
    /// By namespace and name of the entry, with the time.
    written: HashMap<(String, String), (Allocation, Instant)>,
    comes_back: Duration,
}

impl UnderWay {
    /// What of `wanted` is to be written now. The rest of what was written has come back.
    fn due(&mut self, wanted: &[Allocation], now: Instant) -> Vec<Allocation> {
        let mut last = std::mem::take(&mut self.written);
        let mut due = Vec::new();
        for allocation in wanted {
            let key = key(allocation);
            match last.remove(&key) {
                Some((same, at)) if same == *allocation && now < at + self.comes_back => {
                    self.written.insert(key, (same, at));
                }
                _ => due.push(allocation.clone()),
            }
        }
        due
    }

    fn written(&mut self, allocation: Allocation, now: Instant) {
        self.written.insert(key(&allocation), (allocation, now));
    }

    fn looks_again(&self) -> Option<Instant> {
        self.written.values().map(|(_, at)| *at + self.comes_back).min()
    }
}

fn key(allocation: &Allocation) -> (String, String) {
    (allocation.namespace.clone(), allocation.name.clone())
}

async fn put(client: &Client, allocation: &Allocation) -> Result<(), k8s::Error> {
    let resource = resource_of(Kind::ServiceEntry);
    let namespace = Some(allocation.namespace.as_str());
    let patch = json!({"status": {"addresses": addresses(allocation)}});
    match client.merge_patch(&resource, namespace, &allocation.name, Some("status"), &patch).await {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    }
}

fn addresses(allocation: &Allocation) -> Value {
    let address =
        |(host, ip): &(base::Host, std::net::IpAddr)| json!({"value": ip, "host": host.as_str()});
    allocation.addresses.iter().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Loader;
    use tokio::sync::mpsc;

    fn entries(loader: &mut Loader, entries: &[(&str, Value)]) -> World {
        for (name, status) in entries {
            let object = json!({"metadata": {"name": name, "namespace": "shop"}, "status": status,
                "spec": {"hosts": [format!("{name}.example")], "resolution": "STATIC",
                    "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]}});
            let resource = resource_of(Kind::ServiceEntry);
            loader.take(k8s::Change::Apply { resource, object });
        }
        loader.world()
    }

    const QUICK: Pace =
        Pace { pause: Duration::from_millis(20), comes_back: Duration::from_millis(200) };

    #[tokio::test]
    async fn what_is_missing_is_written_until_it_is_there() {
        let mut loader = Loader::new("cluster.local", "istio-system", &[]);
        let none = Value::Null;
        let world = entries(&mut loader, &[("a", none.clone()), ("b", none.clone())]);
        let (publish, worlds) = watch::channel(None);
        let (put, mut puts) = mpsc::unbounded_channel();
        let broken = std::sync::atomic::AtomicBool::new(true);
        let writer = keep(worlds, QUICK, |allocation| {
            let _ = put.send((Instant::now(), allocation));
            // The very first cannot be written.
            std::future::ready(match broken.swap(false, std::sync::atomic::Ordering::Relaxed) {
                false => Ok(()),
                true => Err("the API server is away"),
            })
        });
        let script = async {
            let mut next = async |name: &str| {
                let (at, allocation) = puts.recv().await.unwrap();
                assert_eq!(allocation.name, name);
                (at, allocation)
            };
            publish.send_replace(Some(world));
            let (failed, a) = next("a").await;
            let (written, _) = next("b").await;
            let (again, _) = next("a").await;
            assert!(again >= failed + QUICK.pause);
            // That of a is seen; that of b was taken away again before anybody saw it.
            let status = json!({"addresses": addresses(&a)});
            publish.send_replace(Some(entries(&mut loader, &[("a", status)])));
            let (anew, _) = next("b").await;
            assert!(anew >= written + QUICK.comes_back);
            // Then a loses what was seen: it is written at once.
            publish.send_replace(Some(entries(&mut loader, &[("a", none)])));
            next("a").await;
        };
        tokio::select! {
            () = writer => panic!("the writer ended"),
            done = tokio::time::timeout(Duration::from_secs(10), script) => {
                done.expect("written within ten seconds");
            }
        }
    }
}
