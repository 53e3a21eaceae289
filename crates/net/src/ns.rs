//! Namespaces: leaving the ones we were born in, joining others, and asking what we may do there.

#![allow(unsafe_code)] // unshare and setns change what descriptors and ids mean; fenced in here.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Which namespaces to leave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Leave {
    pub net: bool,
    pub mount: bool,
    pub pid: bool,
    pub ipc: bool,
    pub uts: bool,
}

/// Leaves namespaces. The caller must be single-threaded for all but the network one, which
/// belongs to each thread.
pub fn unshare(leave: Leave) -> io::Result<()> {
    let mut flags = UnshareFlags::empty();
    for (wanted, flag) in [
        (leave.net, UnshareFlags::NEWNET),
        (leave.mount, UnshareFlags::NEWNS),
        (leave.pid, UnshareFlags::NEWPID),
        (leave.ipc, UnshareFlags::NEWIPC),
        (leave.uts, UnshareFlags::NEWUTS),
    ] {
        if wanted {
            flags |= flag;
        }
    }
    // SAFETY: no flag here shares or unshares the descriptor table or memory.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Becomes root of a new user namespace in which only the caller's own id exists.
/// Only a single-threaded process may do this.
pub fn become_root_of_user_namespace() -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    // SAFETY: as above; credentials are changed for the only thread.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER) }?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {} 1", uid.as_raw()))?;
    fs::write("/proc/self/gid_map", format!("0 {} 1", gid.as_raw()))
}

/// A namespace that can be joined; it lives as long as this does.
#[derive(Debug)]
pub struct Namespace(OwnedFd);

/// The kinds that we join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    User,
    Net,
    Mount,
}

impl Namespace {
    /// One of the namespaces of the calling thread.
    pub fn current(kind: Kind) -> io::Result<Self> {
        Self::at(&Path::new("/proc/thread-self/ns").join(kind.file()))
    }

    /// One of the namespaces of a process.
    pub fn of(pid: u32, kind: Kind) -> io::Result<Self> {
        Self::at(&Path::new("/proc").join(pid.to_string()).join("ns").join(kind.file()))
    }

    /// From a file that stands for it, such as another process's descriptor.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Namespace(fs::File::open(path)?.into()))
    }

    /// Moves the calling thread into it.
    pub fn join(&self, kind: Kind) -> io::Result<()> {
        let kind = match kind {
            Kind::User => LinkNameSpaceType::User,
            Kind::Net => LinkNameSpaceType::Network,
            Kind::Mount => LinkNameSpaceType::Mount,
        };
        Ok(rustix::thread::move_into_link_name_space(self.0.as_fd(), Some(kind))?)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Kind {
    fn file(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Net => "net",
            Kind::Mount => "mnt",
        }
    }
}

/// Whether a user id exists here; in an ordinary user's namespace only 0 does, and the traffic
/// of the proxy is told apart by mark instead of owner.
pub fn user_exists(uid: u32) -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.is_empty() || in_map(&map, uid)
}

fn in_map(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        matches!(numbers[..], [first, _, count] if (first..first + count).contains(&u64::from(uid)))
    })
}

/// Sets a kernel parameter of the calling thread's network namespace, e.g. `ipv4/ip_forward`.
pub fn set_net_parameter(name: &str, value: &str) -> io::Result<()> {
    fs::write(Path::new("/proc/sys/net").join(name), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mapped_users_exist() {
        let root = "         0          0 4294967295\n";
        assert!(in_map(root, 1337));
        let single = "         0       1000          1\n";
        assert!(in_map(single, 0));
        assert!(!in_map(single, 1337));
    }
}
