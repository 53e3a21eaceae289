//! Bytes: HTTP/1 codec, the Head view, frames, ClientHello, PROXY protocol, protocol detection; without I/O.
