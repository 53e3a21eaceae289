//! (Snapshot, Proxy) -> (ir, origins, findings).
