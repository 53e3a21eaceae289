//! Writes automatic addresses into `status.addresses` of ServiceEntries. Which, the registry decides
//! from the objects alone, so several control planes write the same.

use crate::world::{World, resource_of};
use api::Kind;
use k8s::Client;
use registry::Allocation;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;

/// Before what could not be written is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Keeps all entries supplied, for ever.
pub(crate) async fn write(client: Client, mut worlds: watch::Receiver<Option<World>>) {
    // What was written and has not come back yet.
    let mut under_way: Vec<Allocation> = Vec::new();
    while worlds.changed().await.is_ok() {
        loop {
            let Some(world) = worlds.borrow_and_update().clone() else { break };
            under_way.retain(|a| world.allocations.contains(a));
            let new = world.allocations.iter().filter(|a| !under_way.contains(a)).cloned();
            let mut failed = false;
            for allocation in new.collect::<Vec<_>>() {
                match put(&client, &allocation).await {
                    Ok(()) => under_way.push(allocation),
                    Err(error) => {
                        tracing::warn!(%error, entry = allocation.name, "an address was not written");
                        failed = true;
                    }
                }
            }
            if !failed {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
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
