//! What one proxy must do: listeners, filter chains, routes, clusters, endpoints. Closed enums, Envoy-shaped.
