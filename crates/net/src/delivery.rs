//! How much of what was sent on a TCP connection the peer's kernel has taken. A request that was never
//! taken can be sent again on another connection, whatever its method.
#![allow(
    unsafe_code,
    reason = "TCP_INFO has no safe wrapper; the buffer is ours and its size is given"
)]

use std::os::fd::{AsFd, AsRawFd};

/// Offset of `tcpi_bytes_acked` in `struct tcp_info` (Linux 4.1 and later).
const BYTES_ACKED: usize = 120;

/// Bytes that the peer has acknowledged since the connection began; `None` if the kernel cannot tell.
pub fn acknowledged(socket: &impl AsFd) -> Option<u64> {
    let mut info = [0u8; 256];
    let mut len = info.len() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `info`, and the kernel writes at most `len` bytes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut len,
        )
    };
    let field = info.get(BYTES_ACKED..BYTES_ACKED + 8)?;
    let complete = result == 0 && len as usize >= BYTES_ACKED + 8;
    complete.then(|| u64::from_ne_bytes(field.try_into().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_the_peer_has_taken_is_counted_and_what_it_refused_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let before = acknowledged(&client).unwrap();
        client.write_all(b"hello").unwrap();
        server.read_exact(&mut [0; 5]).unwrap();
        let taken = || acknowledged(&client).unwrap() - before;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while taken() < 5 {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
        drop(server);
        let closed = acknowledged(&client).unwrap();
        client.write_all(b"again").unwrap();
        assert!(client.read(&mut [0; 1]).map_or(true, |n| n == 0));
        assert_eq!(acknowledged(&client), Some(closed));
    }
}
