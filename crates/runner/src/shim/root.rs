//! A container's private root: an empty memory file system with the host's programs and
//! libraries bound in read-only, its own `/etc`, `/tmp`, `/run`, `/var`, `/dev` and `/proc`, and
//! the pod's volumes. Called in the child, after it left the shim's mount namespace.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};

use super::protocol::Start;

/// Where the programs that stand beside this one appear.
pub const PROGRAMS: &str = "/lateen/programs";
/// Names of the image's own commands; first in the search path.
pub const COMMANDS: &str = "/lateen/bin";
/// What one container may write outside its volumes.
const ROOT_SIZE: &CStr = c"mode=755,size=256m";

const SYSTEM: &[&str] = &["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Parts of the host's `/etc` that programs need in order to start and to trust.
const ETC: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "ssl",
    "pki",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "protocols",
    "services",
    "perl",
    "python3",
    "redis",
];
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// Builds the root and moves into it.
pub fn build(start: &Start) -> io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // /tmp exists everywhere; what is mounted here hides nothing outside this namespace.
    let root = Path::new("/tmp");
    // Sources under /tmp would be hidden by the mount, so they are opened before it.
    let held = Held::open(start)?;
    mount(c"lateen", root, c"tmpfs", MountFlags::NODEV | MountFlags::NOSUID, Some(ROOT_SIZE))?;
    system(root)?;
    etc(root, start)?;
    for (directory, mode) in [("tmp", 0o1777), ("run", 0o755), ("root", 0o755), ("home", 0o755)] {
        make(root, directory, mode)?;
    }
    for (directory, mode) in
        [("var/tmp", 0o1777), ("var/log", 0o755), ("var/lib", 0o755), ("var/cache", 0o755)]
    {
        make(root, directory, mode)?;
    }
    // Relative: an absolute link would lead to the host while the root is being built.
    symlink("../run", root.join("var/run"))?;
    devices(root)?;
    mount_proc(root)?;
    held.bind(root)?;
    commands(root, start)?;
    enter(root)?;
    if start.read_only_root {
        mount_remount("/", MountFlags::BIND | MountFlags::RDONLY | kept_flags("/")?, c"")?;
    }
    Ok(())
}

/// Mount sources, opened before the root hides them.
struct Held(Vec<(fs::File, PathBuf, bool)>);

impl Held {
    fn open(start: &Start) -> io::Result<Self> {
        let mut held = Vec::new();
        let programs = std::env::current_exe()?;
        let programs = programs.parent().unwrap_or(Path::new("/")).to_owned();
        held.push((path_only(&programs)?, PathBuf::from(PROGRAMS), true));
        for m in &start.mounts {
            let file = path_only(&m.source).map_err(|e| named(&m.source, e))?;
            held.push((file, m.target.clone(), m.read_only));
        }
        // A parent first: /a/b would disappear under a later /a.
        held.sort_by_key(|(_, target, _)| target.components().count());
        Ok(Held(held))
    }

    fn bind(self, root: &Path) -> io::Result<()> {
        for (file, target, read_only) in self.0 {
            let directory = file.metadata()?.is_dir();
            let inside = within(root, &target);
            mount_point(&inside, directory).map_err(|e| named(&target, e))?;
            bind_open(&file, &inside, read_only).map_err(|e| named(&target, e))?;
        }
        Ok(())
    }
}

fn path_only(path: &Path) -> io::Result<fs::File> {
    use rustix::fs::{Mode, OFlags};
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?.into())
}

fn bind_open(file: &fs::File, target: &Path, read_only: bool) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let source = format!("/proc/self/fd/{}", file.as_raw_fd());
    mount_bind_recursive(source, target)?;
    if read_only { make_read_only(target) } else { Ok(()) }
}

fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount_bind_recursive(source, target)?;
    make_read_only(target)
}

/// In a user namespace the flags that a mount was born with must be repeated.
fn make_read_only(target: &Path) -> io::Result<()> {
    mount_remount(target, MountFlags::BIND | MountFlags::RDONLY | kept_flags(target)?, c"")?;
    Ok(())
}

fn kept_flags(target: impl rustix::path::Arg) -> io::Result<MountFlags> {
    let has = statvfs(target)?.f_flag;
    let mut kept = MountFlags::empty();
    for (flag, same) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if has.contains(flag) {
            kept |= same;
        }
    }
    Ok(kept)
}

fn system(root: &Path) -> io::Result<()> {
    for name in SYSTEM {
        let host = Path::new("/").join(name);
        let Ok(kind) = fs::symlink_metadata(&host) else { continue };
        let here = root.join(name);
        if kind.is_symlink() {
            symlink(fs::read_link(&host)?, here)?;
        } else {
            fs::create_dir(&here)?;
            bind(&host, &here)?;
        }
    }
    Ok(())
}

fn etc(root: &Path, start: &Start) -> io::Result<()> {
    make(root, "etc", 0o755)?;
    for name in ETC {
        let host = Path::new("/etc").join(name);
        let Ok(kind) = fs::metadata(&host) else { continue };
        let here = root.join("etc").join(name);
        mount_point(&here, kind.is_dir())?;
        bind(&host, &here)?;
    }
    for (name, text) in &start.files {
        let path = within(root, Path::new(name));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}

fn devices(root: &Path) -> io::Result<()> {
    make(root, "dev/shm", 0o1777)?;
    for name in DEVICES {
        let here = root.join("dev").join(name);
        mount_point(&here, false)?;
        mount_bind_recursive(Path::new("/dev").join(name), here)?;
    }
    fs::create_dir(root.join("dev/pts"))?;
    mount_bind_recursive("/dev/pts", root.join("dev/pts"))?;
    symlink("/proc/self/fd", root.join("dev/fd"))?;
    for (n, name) in ["stdin", "stdout", "stderr"].into_iter().enumerate() {
        symlink(format!("/proc/self/fd/{n}"), root.join("dev").join(name))?;
    }
    Ok(())
}

fn mount_proc(root: &Path) -> io::Result<()> {
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    let here = root.join("proc");
    fs::create_dir(&here)?;
    mount(c"proc", &here, c"proc", flags, None)?;
    // Parameters of the whole machine are not for pods to change.
    for name in ["sys", "sysrq-trigger", "irq", "bus"] {
        let inside = here.join(name);
        if inside.exists() {
            bind(&inside, &inside)?;
        }
    }
    Ok(())
}

fn commands(root: &Path, start: &Start) -> io::Result<()> {
    make(root, COMMANDS, 0o755)?;
    let directory = within(root, Path::new(COMMANDS));
    start.commands.iter().try_for_each(|(name, target)| symlink(target, directory.join(name)))
}

fn enter(root: &Path) -> io::Result<()> {
    std::env::set_current_dir(root)?;
    // The old root is stacked on the new one's mount point and taken away at once.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")
}

fn make(root: &Path, directory: &str, mode: u32) -> io::Result<()> {
    let path = within(root, Path::new(directory));
    fs::create_dir_all(&path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn mount_point(path: &Path, directory: bool) -> io::Result<()> {
    if directory {
        return fs::create_dir_all(path);
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::OpenOptions::new().create(true).append(true).open(path).map(drop)
}

/// A container path below the root that is being built; `..` cannot climb out of it.
fn within(root: &Path, path: &Path) -> PathBuf {
    use std::path::Component;
    path.components().fold(root.to_owned(), |at, part| match part {
        Component::Normal(name) => at.join(name),
        _ => at,
    })
}

fn named(path: &Path, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_targets_stay_below_the_root() {
        let root = Path::new("/r");
        assert_eq!(within(root, Path::new("/../../etc/./x")), Path::new("/r/etc/x"));
    }
}
