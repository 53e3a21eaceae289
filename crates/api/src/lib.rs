//! Istio and Kubernetes kinds that we read: the type, its defaults, its validation, its CRD schema.
