//! A command in a container, connected to whoever asked for it: through pipes or a terminal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use apiserver::{Channel, ExecStream};
use bytes::Bytes;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::{mpsc, oneshot};

use crate::shim::client::Shim;

const QUEUE: usize = 16;
const PIECE: usize = 16 << 10;

/// Starts the command; what it says and its exit code arrive through the returned ends.
pub fn run(
    shim: Shim,
    container: String,
    command: Vec<String>,
    stdin: bool,
    tty: bool,
) -> io::Result<ExecStream> {
    let (output_in, output) = mpsc::channel(QUEUE);
    let (resize, resizes) = mpsc::channel(QUEUE);
    let (tell_exit, exit) = oneshot::channel();
    let (files, stdin) = if tty {
        terminal(stdin, output_in.clone(), resizes)?
    } else {
        pipes(stdin, output_in.clone())?
    };
    tokio::spawn(async move {
        let code = match shim.exec(&container, command, files, tty).await {
            Ok(code) => code,
            Err(e) => {
                let text = format!("{e}\n");
                // If nobody listens any more the code says enough.
                let _ = output_in.send((Channel::Stderr, Bytes::from(text))).await;
                126
            }
        };
        drop(output_in);
        let _ = tell_exit.send(code);
    });
    Ok(ExecStream { stdin, output, exit, resize })
}

type Ends = (Vec<OwnedFd>, Option<mpsc::Sender<Bytes>>);

fn pipes(stdin: bool, output: mpsc::Sender<(Channel, Bytes)>) -> io::Result<Ends> {
    let (out, out_end) = io::pipe()?;
    let (err, err_end) = io::pipe()?;
    let (input, typed) = if stdin {
        let (input, writer) = io::pipe()?;
        let (send, receive) = mpsc::channel(QUEUE);
        write_from(receive, File::from(OwnedFd::from(writer)));
        (OwnedFd::from(input), Some(send))
    } else {
        (File::open("/dev/null")?.into(), None)
    };
    read_to(Channel::Stdout, File::from(OwnedFd::from(out)), output.clone());
    read_to(Channel::Stderr, File::from(OwnedFd::from(err)), output);
    Ok((vec![input, out_end.into(), err_end.into()], typed))
}

fn terminal(
    stdin: bool,
    output: mpsc::Sender<(Channel, Bytes)>,
    mut resizes: mpsc::Receiver<(u16, u16)>,
) -> io::Result<Ends> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let inner = ioctl_tiocgptpeer(&master, flags)?;
    let sized = master.try_clone()?;
    tokio::spawn(async move {
        while let Some((columns, rows)) = resizes.recv().await {
            let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
            // The command may have ended; then its terminal has no size.
            let _ = tcsetwinsize(&sized, size);
        }
    });
    let typed = if stdin {
        let (send, receive) = mpsc::channel(QUEUE);
        write_from(receive, File::from(master.try_clone()?));
        Some(send)
    } else {
        None
    };
    read_to(Channel::Stdout, File::from(master), output);
    Ok((vec![inner], typed))
}

/// Reads until the command and all it started have closed their end. A terminal reports that as
/// an error, which means the same.
fn read_to(channel: Channel, mut from: File, to: mpsc::Sender<(Channel, Bytes)>) {
    tokio::task::spawn_blocking(move || {
        let mut piece = vec![0; PIECE];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            let bytes = Bytes::copy_from_slice(&piece[..count]);
            if to.blocking_send((channel, bytes)).is_err() {
                return;
            }
        }
    });
}

fn write_from(mut from: mpsc::Receiver<Bytes>, mut to: File) {
    tokio::task::spawn_blocking(move || {
        while let Some(bytes) = from.blocking_recv() {
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
    });
}
