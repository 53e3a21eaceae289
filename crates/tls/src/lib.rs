//! rustls configuration, SPIFFE verification, certificate sources, injected time.
