//! Kubernetes object mechanics: server-side apply, strategic merge, JSON patch, structural schemas, selectors, tables.
