//! Objects in, one immutable Snapshot out: services, endpoints, workloads, policies, indexed.
