//! Open files handed from process to process over a Unix socket, and Unix sockets in directories
//! whose path is longer than a socket address may be.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// How many files go with one message.
pub const MOST: usize = 4;

/// Sends bytes with open files; returns how many bytes went.
pub fn send(to: &impl AsFd, bytes: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many files for one message"));
    }
    let parts = [IoSlice::new(bytes)];
    Ok(rustix::net::sendmsg(to, &parts, &mut control, SendFlags::NOSIGNAL)?)
}

/// Receives bytes and whatever files came with them; zero bytes at the end of the stream.
pub fn receive(from: &impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(bytes)];
    let got = rustix::net::recvmsg(from, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let files = control.drain().filter_map(|m| match m {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    Ok((got.bytes, files.flatten().collect()))
}

/// Connects to a socket in a directory with a path of any length.
pub fn connect_in(directory: &Path, name: &str) -> io::Result<UnixStream> {
    let (_held, path) = short(directory, name)?;
    UnixStream::connect(path)
}

/// Listens in a directory with a path of any length, replacing a leftover.
pub fn listen_in(directory: &Path, name: &str) -> io::Result<UnixListener> {
    let (_held, path) = short(directory, name)?;
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    UnixListener::bind(path)
}

fn short(directory: &Path, name: &str) -> io::Result<(OwnedFd, PathBuf)> {
    let held: OwnedFd = std::fs::File::open(directory)?.into();
    let path = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd())).join(name);
    Ok((held, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_file_arrives_open_with_its_message_even_in_a_deep_directory() {
        let deep = std::env::temp_dir().join(format!("{}-{}", "d".repeat(120), std::process::id()));
        std::fs::create_dir_all(&deep).unwrap();
        let listener = listen_in(&deep, "s").unwrap();
        let client = connect_in(&deep, "s").unwrap();
        let (server, _) = listener.accept().unwrap();
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"inside").unwrap();
        drop(writer);
        send(&client, b"hello", &[reader.as_fd()]).unwrap();
        let mut bytes = [0; 16];
        let (count, files) = receive(&server, &mut bytes).unwrap();
        assert_eq!((&bytes[..count], files.len()), (&b"hello"[..], 1));
        let mut text = String::new();
        std::fs::File::from(files.into_iter().next().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside");
        assert_eq!(reader.read(&mut bytes).unwrap(), 0);
        std::fs::remove_dir_all(deep).unwrap();
    }
}
