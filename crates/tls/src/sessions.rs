//! Sessions of clients that may be resumed. A proxy has a context for every destination that it might
//! speak to, and speaks to few: room is made with the first session.

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls_pki_types::ServerName;
use std::sync::OnceLock;

/// Sessions of one context that are kept.
const MOST: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Sessions(OnceLock<ClientSessionMemoryCache>);

impl Sessions {
    fn kept(&self) -> &ClientSessionMemoryCache {
        self.0.get_or_init(|| ClientSessionMemoryCache::new(MOST))
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, name: ServerName<'static>, group: NamedGroup) {
        self.kept().set_kx_hint(name, group);
    }

    fn kx_hint(&self, name: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.get()?.kx_hint(name)
    }

    fn set_tls12_session(&self, name: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.kept().set_tls12_session(name, session);
    }

    fn tls12_session(&self, name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.get()?.tls12_session(name)
    }

    fn remove_tls12_session(&self, name: &ServerName<'static>) {
        if let Some(kept) = self.0.get() {
            kept.remove_tls12_session(name);
        }
    }

    fn insert_tls13_ticket(&self, name: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.kept().insert_tls13_ticket(name, ticket);
    }

    fn take_tls13_ticket(&self, name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.get()?.take_tls13_ticket(name)
    }
}
