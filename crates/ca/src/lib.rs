//! Signer and token-authenticator traits, certificate signing.
