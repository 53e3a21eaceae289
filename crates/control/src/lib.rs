//! Snapshot loop, ADS and CA serving, webhooks, status, debug endpoints.
