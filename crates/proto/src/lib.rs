//! Protobuf messages: Envoy resources re-exported, discovery service, Istio CA, NDS and debug services.
