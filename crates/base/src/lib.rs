//! Vocabulary shared by every crate: hosts, ports, identities, selectors, findings, origins, injected environment.
