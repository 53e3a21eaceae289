//! The newest requests of a worker: as they came, and how they were decided. `lateen why` asks for them
//! by their id. Each worker keeps a ring of its own, which only its own thread touches; others ask the
//! worker for a copy.

use base::WallTime;
use ir::{Direction, Str};
use policy::Flags;
use policy::format::{Ends, Peer, Stream, Text};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use wire::{Head, Request, RequestHead};

/// Requests kept by each worker; older ones make room.
const KEPT: usize = 128;

/// Bytes of a head that are kept; fields beyond that are left out.
const LONGEST: usize = 2048;

/// A request that has passed, as others are told of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recent {
    /// `x-request-id`, also where the proxy has made it.
    pub id: String,
    pub start: WallTime,
    pub duration: Duration,
    pub listener: String,
    pub direction: Direction,
    /// The client's address, and the one that it connected to.
    pub source: String,
    pub destination: String,
    /// Whether the client's connection was encrypted.
    pub tls: bool,
    /// Who the client has proved to be (a URI of its certificate, of the mesh its SPIFFE ID).
    pub peer: Option<String>,
    /// The head as it came, before the proxy changed anything.
    pub method: String,
    pub authority: String,
    pub path: String,
    pub fields: Vec<(String, String)>,
    /// Some fields are missing: the head was too long to be kept.
    pub cut: bool,
    /// Where the worker's random numbers stood: the same draws can be made again.
    pub random: u64,
    pub virtual_host: Option<String>,
    pub route: Option<String>,
    /// Its place among the routes of the virtual host.
    pub place: Option<u32>,
    pub cluster: Option<String>,
    pub endpoint: Option<String>,
    pub attempts: u32,
    pub status: u16,
    pub flags: Flags,
    pub details: String,
}

/// A request as it came, noted before anything was changed or drawn.
#[derive(Debug, Default)]
pub struct Noted {
    /// Method, authority, path, then names and values, each ended by a line feed; none holds one.
    bytes: Vec<u8>,
    cut: bool,
    random: u64,
    listener: Option<Str>,
    direction: Direction,
    place: Option<u32>,
    host: Option<Str>,
}

impl Noted {
    /// Which virtual host and route it has.
    pub fn routed(&mut self, host: &policy::VirtualHost, route: Option<&policy::Route>) {
        self.place = route.map(|r| r.place);
        self.host = Some(host.name.clone());
    }
}

#[derive(Debug)]
struct Entry {
    noted: Noted,
    id: [u8; 64],
    start: WallTime,
    duration: Duration,
    route: Text,
    cluster: Text,
    downstream: Option<Rc<Ends>>,
    upstream: Option<Rc<Ends>>,
    peer: Option<Rc<Peer>>,
    attempts: u32,
    status: u16,
    flags: Flags,
    details: Cow<'static, str>,
}

/// The newest requests of one worker.
#[derive(Debug, Default)]
pub struct Ring {
    entries: RefCell<VecDeque<Entry>>,
    /// Memory of the entry that made room last.
    spare: RefCell<Vec<u8>>,
}

impl Ring {
    /// Notes a request before it is touched.
    pub fn note(&self, request: &Request, from: (&Str, Direction), random: u64) -> Noted {
        let mut bytes = self.spare.take();
        bytes.clear();
        let mut cut = false;
        for part in [request.method(), request.authority(), request.path()] {
            let room = LONGEST.saturating_sub(bytes.len());
            cut |= part.len() > room;
            bytes.extend_from_slice(&part[..part.len().min(room)]);
            bytes.push(b'\n');
        }
        for (name, value) in request.fields.iter() {
            if bytes.len() + name.len() + value.len() > LONGEST {
                cut = true;
                break;
            }
            for part in [name, value] {
                bytes.extend_from_slice(part);
                bytes.push(b'\n');
            }
        }
        let (listener, direction) = (Some(from.0.clone()), from.1);
        Noted { bytes, cut, random, listener, direction, place: None, host: None }
    }

    /// Keeps a request that has come to its end. `request` is its head by now, which has its id.
    pub fn keep(&self, noted: Noted, request: &Request, stream: &Stream) {
        let mut id = [0; 64];
        let given = request.get(b"x-request-id").unwrap_or_default();
        let given = &given[..given.len().min(id.len())];
        id[..given.len()].copy_from_slice(given);
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= KEPT
            && let Some(old) = entries.pop_front()
        {
            *self.spare.borrow_mut() = old.noted.bytes;
        }
        entries.push_back(Entry {
            noted,
            id,
            start: stream.start,
            duration: stream.duration.unwrap_or_default(),
            route: stream.route.clone(),
            cluster: stream.cluster.clone(),
            downstream: stream.downstream.clone(),
            upstream: stream.upstream.clone(),
            peer: stream.peer.clone(),
            attempts: stream.attempts,
            status: stream.status,
            flags: stream.flags,
            details: stream.details.clone(),
        });
    }

    /// The oldest first.
    pub fn tell(&self) -> Vec<Recent> {
        self.entries.borrow().iter().map(Entry::tell).collect()
    }
}

impl Entry {
    fn tell(&self) -> Recent {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let own = |text: &Text| text.as_ref().map(|t| t.to_string());
        let noted = &self.noted;
        let mut parts = noted.bytes.split(|b| *b == b'\n').map(text);
        let mut next = || parts.next().unwrap_or_default();
        let (method, authority, path) = (next(), next(), next());
        let mut fields = Vec::new();
        while let Some(name) = parts.next().filter(|n| !n.is_empty()) {
            fields.push((name, parts.next().unwrap_or_default()));
        }
        let end = self.id.iter().position(|b| *b == 0).unwrap_or(self.id.len());
        let downstream = self.downstream.as_ref();
        let peer = self.peer.as_deref();
        Recent {
            id: text(&self.id[..end]),
            start: self.start,
            duration: self.duration,
            listener: noted.listener.as_ref().map(|l| l.to_string()).unwrap_or_default(),
            direction: noted.direction,
            source: downstream.map(|e| e.remote.text.to_string()).unwrap_or_default(),
            destination: downstream.map(|e| e.local.text.to_string()).unwrap_or_default(),
            tls: peer.is_some_and(|p| p.tls_version.is_some()),
            peer: peer.and_then(|p| p.uri_san.clone()),
            method,
            authority,
            path,
            fields,
            cut: noted.cut,
            random: noted.random,
            virtual_host: noted.host.as_ref().map(|h| h.to_string()),
            route: own(&self.route),
            place: noted.place,
            cluster: own(&self.cluster),
            endpoint: self.upstream.as_ref().map(|e| e.remote.text.to_string()),
            attempts: self.attempts,
            status: self.status,
            flags: self.flags,
            details: self.details.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTENER: &str = "0.0.0.0_80";

    #[test]
    fn the_newest_are_kept_as_they_came() {
        let ring = Ring::default();
        for n in 0..KEPT + 3 {
            let mut request = Request::new(b"GET", b"a", format!("/{n}").as_bytes());
            request.fields.push(b"end-user", b"jason");
            let noted = ring.note(&request, (&LISTENER.into(), Direction::Outbound), n as u64);
            request.set_path(b"/changed");
            request.fields.push(b"x-request-id", format!("id-{n}").as_bytes());
            ring.keep(noted, &request, &Stream { status: 404, ..Stream::default() });
        }
        let told = ring.tell();
        assert_eq!(told.len(), KEPT);
        let first = &told[0];
        assert_eq!((first.id.as_str(), first.path.as_str()), ("id-3", "/3"));
        assert_eq!((first.random, first.status), (3, 404));
        assert_eq!(first.fields, [("end-user".to_owned(), "jason".to_owned())]);
        assert!(!first.cut);
    }

    #[test]
    fn a_long_head_is_cut() {
        let ring = Ring::default();
        let mut request = Request::new(b"GET", b"a", &[b'/'; 3000]);
        request.fields.push(b"x", b"1");
        ring.keep(
            ring.note(&request, (&LISTENER.into(), Direction::Outbound), 0),
            &request,
            &Stream::default(),
        );
        let told = ring.tell();
        let whole = ["GET\n", "a\n"].concat().len();
        assert!(told[0].cut && told[0].fields.is_empty());
        assert_eq!(told[0].path.len(), LONGEST - whole);
    }
}
