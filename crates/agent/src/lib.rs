//! Identity, readiness, probes, capture, merged metrics, discovery client; runs our data plane in process, or real Envoy beside it.
