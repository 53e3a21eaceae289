//! Sockets, original destination, listener sets, network namespaces, nftables and links by netlink: the crate with unsafe.
