//! Reconcilers of the embedded cluster: objects -> actions, pure.
