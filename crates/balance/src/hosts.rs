//! The endpoints of a cluster with what this worker knows of them; survivors keep it when the
//! endpoints change.

use crate::outlier::Record;
use base::Instant;
use ir::{Address, Endpoint, EndpointGroup, Endpoints, Health};
use std::collections::HashMap;
use std::sync::Arc;

/// Names an endpoint for as long as it stays; afterwards the name is void, never another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndpointId {
    slot: u32,
    generation: u32,
}

/// How an endpoint counts when load is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Healthy,
    Degraded,
    Unhealthy,
}

#[derive(Debug)]
pub(crate) struct Host {
    generation: u32,
    /// Group and index in the current endpoints; `None` for a slot that is free.
    at: Option<(u32, u32)>,
    pub active: u32,
    pub record: Record,
    pub since: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Hosts {
    slots: Vec<Host>,
    by_address: HashMap<Address, u32>,
    free: Vec<u32>,
    current: Arc<Endpoints>,
}

impl Hosts {
    /// Takes over a new set. An address that stays keeps its slot and its state; of an address that
    /// is named twice the first counts.
    pub(crate) fn replace(&mut self, endpoints: Arc<Endpoints>, now: Instant) {
        let mut next = HashMap::with_capacity(self.by_address.len());
        for (g, group) in (0u32..).zip(&endpoints.groups) {
            for (i, endpoint) in (0u32..).zip(&group.endpoints) {
                if next.contains_key(&endpoint.address) {
                    continue;
                }
                let slot = match self.by_address.remove(&endpoint.address) {
                    Some(slot) => slot,
                    None => self.allot(now),
                };
                self.slots[slot as usize].at = Some((g, i));
                next.insert(endpoint.address.clone(), slot);
            }
        }
        let gone = std::mem::replace(&mut self.by_address, next);
        for slot in gone.into_values() {
            self.slots[slot as usize].at = None;
            self.slots[slot as usize].generation += 1;
            self.free.push(slot);
        }
        self.current = endpoints;
    }

    fn allot(&mut self, now: Instant) -> u32 {
        let fresh = |generation| Host {
            generation,
            at: None,
            active: 0,
            record: Record::default(),
            since: now,
        };
        if let Some(slot) = self.free.pop() {
            let generation = self.slots[slot as usize].generation;
            self.slots[slot as usize] = fresh(generation);
            return slot;
        }
        self.slots.push(fresh(0));
        (self.slots.len() - 1) as u32
    }

    pub(crate) fn id(&self, slot: u32) -> EndpointId {
        EndpointId { slot, generation: self.slots[slot as usize].generation }
    }

    pub(crate) fn slot(&self, id: EndpointId) -> Option<u32> {
        let host = self.slots.get(id.slot as usize)?;
        (host.generation == id.generation && host.at.is_some()).then_some(id.slot)
    }

    pub(crate) fn host(&self, slot: u32) -> &Host {
        &self.slots[slot as usize]
    }

    pub(crate) fn host_mut(&mut self, slot: u32) -> &mut Host {
        &mut self.slots[slot as usize]
    }

    /// Group and endpoint of a slot that is in use.
    pub(crate) fn place(&self, slot: u32) -> Option<(&EndpointGroup, &Endpoint)> {
        let (g, i) = self.slots.get(slot as usize)?.at?;
        let group = self.current.groups.get(g as usize)?;
        Some((group, group.endpoints.get(i as usize)?))
    }

    pub(crate) fn weight(&self, slot: u32) -> u32 {
        self.place(slot).and_then(|(_, e)| e.weight).unwrap_or(1).max(1)
    }

    pub(crate) fn class(&self, slot: u32) -> Class {
        let Some((_, endpoint)) = self.place(slot) else { return Class::Unhealthy };
        if self.host(slot).record.is_ejected() {
            return Class::Unhealthy;
        }
        match endpoint.health {
            Health::Unknown | Health::Healthy => Class::Healthy,
            Health::Degraded => Class::Degraded,
            Health::Unhealthy | Health::Draining | Health::Timeout => Class::Unhealthy,
        }
    }

    /// The slots in use, in the order of the configuration.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (u32, &EndpointGroup)> {
        self.current.groups.iter().enumerate().flat_map(move |(g, group)| {
            group.endpoints.iter().enumerate().filter_map(move |(i, endpoint)| {
                let slot = *self.by_address.get(&endpoint.address)?;
                let here = self.slots[slot as usize].at == Some((g as u32, i as u32));
                here.then_some((slot, group))
            })
        })
    }

    pub(crate) fn endpoints(&self) -> &Arc<Endpoints> {
        &self.current
    }

    pub(crate) fn len(&self) -> usize {
        self.by_address.len()
    }
}
