//! Starting programs: a container in a fresh root, or one more command in a running one. The
//! child tells through a pipe why it could not; the pipe closes by itself when the program runs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use net::ns::{Kind, Namespace};
use net::process::{Forked, fork};
use rustix::fs::{Gid, Uid};

use super::protocol::Start;
use super::root;

/// A started program.
pub struct Child {
    pub pid: u32,
    /// Names a container's mount namespace, and so every process in it.
    pub inside: Option<PathBuf>,
    /// Readable when it ends.
    pub ended: OwnedFd,
    pub output: Vec<(&'static str, File)>,
}

/// Starts a container's main process in a root of its own.
pub fn start(start: &Start) -> Result<Child, String> {
    let prepare = || -> io::Result<_> { Ok((io::pipe()?, io::pipe()?, File::open("/dev/null")?)) };
    let ((out, out_end), (err, err_end), null) = prepare().map_err(|e| e.to_string())?;
    let stdio = [null.into(), out_end.into(), err_end.into()];
    let child = spawn(stdio, |_, tell| {
        net::ns::unshare(net::ns::Leave { mount: true, ..Default::default() })?;
        // Told from inside: a short-lived process has no namespace left to look at.
        let inside = std::fs::read_link("/proc/self/ns/mnt")?;
        writeln!(tell, "{}", inside.display())?;
        root::build(start)?;
        execute(start, &start.argv)
    })?;
    let output = vec![
        ("stdout", File::from(OwnedFd::from(out))),
        ("stderr", File::from(OwnedFd::from(err))),
    ];
    for (_, file) in &output {
        rustix::io::ioctl_fionbio(file, true).map_err(|e| e.to_string())?;
    }
    Ok(Child { output, ..child })
}

/// Starts a command inside a container whose main process is `main`.
pub fn exec(
    start: &Start,
    main: u32,
    argv: &[String],
    files: Vec<OwnedFd>,
    terminal: bool,
) -> Result<Child, String> {
    let stdio = three(files).ok_or("exec needs one terminal or three files")?;
    let inside = Namespace::of(main, Kind::Mount).map_err(|e| format!("the container: {e}"))?;
    spawn(stdio, |stdin, _| {
        if terminal {
            rustix::process::ioctl_tiocsctty(stdin)?;
        }
        inside.join(Kind::Mount)?;
        execute(start, argv)
    })
}

fn three(files: Vec<OwnedFd>) -> Option<[OwnedFd; 3]> {
    match <[OwnedFd; 3]>::try_from(files) {
        Ok(three) => Some(three),
        Err(files) => {
            let one = files.into_iter().next()?;
            Some([one.try_clone().ok()?, one.try_clone().ok()?, one])
        }
    }
}

/// Forks; the child runs `become_it`, which returns only to say why it failed.
fn spawn(
    stdio: [OwnedFd; 3],
    become_it: impl FnOnce(&OwnedFd, &mut io::PipeWriter) -> io::Result<std::convert::Infallible>,
) -> Result<Child, String> {
    let (mut told, mut tell) = io::pipe().map_err(|e| e.to_string())?;
    match fork().map_err(|e| e.to_string())? {
        Forked::Child => {
            drop(told);
            let failed = prepare(&stdio).and_then(|()| become_it(&stdio[0], &mut tell));
            let why = failed.err().map_or_else(String::new, |e| e.to_string());
            // Whether the parent hears it or not, this process has nothing else to do.
            let _ = tell.write_all(why.as_bytes());
            std::process::exit(127)
        }
        Forked::Parent(pid) => {
            drop(tell);
            drop(stdio);
            let mut text = String::new();
            told.read_to_string(&mut text).map_err(|e| e.to_string())?;
            // A line that names the namespace, if it has one, then why it failed, if it did.
            let (inside, why) = match text.split_once('\n') {
                Some((line, rest)) if line.starts_with("mnt:") => (Some(line.into()), rest),
                _ => (None, text.as_str()),
            };
            if !why.is_empty() {
                return Err(why.to_owned());
            }
            let ended = net::process::descriptor(pid).map_err(|e| e.to_string())?;
            Ok(Child { pid, inside, ended, output: vec![] })
        }
    }
}

fn prepare(stdio: &[OwnedFd; 3]) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::stdio::dup2_stdin(stdio[0].as_fd())?;
    rustix::stdio::dup2_stdout(stdio[1].as_fd())?;
    rustix::stdio::dup2_stderr(stdio[2].as_fd())?;
    Ok(())
}

fn execute(start: &Start, argv: &[String]) -> io::Result<std::convert::Infallible> {
    let Some(name) = argv.first() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no command is given"));
    };
    give_stdio(start);
    net::process::bound_capabilities(&start.capabilities);
    become_user(start)?;
    if start.no_new_privileges {
        rustix::thread::set_no_new_privs(true)?;
    }
    let directory = start.directory.as_deref().unwrap_or("/");
    std::env::set_current_dir(directory)
        .map_err(|e| io::Error::new(e.kind(), format!("working directory {directory}: {e}")))?;
    let program = find(name, start)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{name}: not found")))?;
    let mut command = Command::new(program);
    command.arg0(name).args(&argv[1..]).env_clear();
    command.envs(start.env.iter().map(|(k, v)| (k, v)));
    let e = command.exec();
    Err(io::Error::new(e.kind(), format!("{name}: {e}")))
}

/// A program opens its own output by name, such as `/dev/stdout`, only if it owns what is behind it.
fn give_stdio(start: &Start) {
    if start.uid == 0 || !net::ns::user_exists(start.uid) {
        return;
    }
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    for file in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
        let kind = rustix::fs::fstat(file).map(|s| rustix::fs::FileType::from_raw_mode(s.st_mode));
        // Devices such as /dev/null belong to all; a terminal is as good as a pipe.
        if matches!(kind, Ok(rustix::fs::FileType::Fifo)) || rustix::termios::isatty(file) {
            // A file that somebody else keeps stays usable through its descriptor.
            let _ = rustix::fs::fchown(file, Some(Uid::from_raw(start.uid)), None);
        }
    }
}

/// Where only one user id exists the wish is noted by the runner and has no effect here.
fn become_user(start: &Start) -> io::Result<()> {
    if !net::ns::user_exists(start.uid) {
        return Ok(());
    }
    if net::ns::user_exists(start.gid) && net::ns::user_exists(1) {
        let gids: Vec<Gid> = start.groups.iter().map(|g| Gid::from_raw(*g)).collect();
        rustix::thread::set_thread_groups(&gids)?;
        rustix::thread::set_thread_gid(Gid::from_raw(start.gid))?;
    }
    Ok(rustix::thread::set_thread_uid(Uid::from_raw(start.uid))?)
}

/// The image's own names come first, then the search path of the container. A path may be where the
/// real image has a command that stands elsewhere here.
fn find(name: &str, start: &Start) -> Option<std::path::PathBuf> {
    if name.contains('/') {
        let as_named = Path::new(name);
        let own = Path::new(root::COMMANDS).join(as_named.file_name()?);
        return [as_named.to_owned(), own].into_iter().find(|path| path.exists());
    }
    let path = start.env.iter().rev().find(|(k, _)| k == "PATH").map_or("", |(_, v)| v.as_str());
    let directories = std::iter::once(root::COMMANDS).chain(path.split(':'));
    directories.map(|d| Path::new(d).join(name)).find(|p| p.is_file())
}
