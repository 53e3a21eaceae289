//! Metric shards, exporters of metrics and access logs.
