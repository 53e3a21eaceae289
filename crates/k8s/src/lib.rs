//! Watches, status writing, leases, the admission server: the only user of the crate kube.
