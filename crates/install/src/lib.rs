//! Manifests of the control plane and gateways for a profile.
