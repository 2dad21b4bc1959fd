//! Where a container's terminal goes: `--console-socket`, or this process in a foreground `run`.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::sockets;
use crate::error::InputError;
use crate::sys::Named;

/// The name that travels with the master: clients take it as the pty's path (go-runc, conmon).
const MASTER: &str = "/dev/ptmx";

/// Checks that a terminal and a place for it go together, and connects to `--console-socket`.
///
/// # Errors
/// In runc's words.
pub fn connect(terminal: bool, socket: Option<&Path>, detached: bool) -> Result<Option<OwnedFd>> {
    match (terminal, socket) {
        (true, None) if detached => Err(InputError::new(
            "process.terminal",
            "cannot allocate tty if runc will detach without setting console socket",
        )
        .hint("give --console-socket, or set process.terminal to false")
        .into()),
        (true, Some(_)) if !detached => Err(InputError::new(
            "--console-socket",
            "cannot use console socket if runc will not detach or allocate tty",
        )
        .hint("the terminal of a process in the foreground is this one")
        .into()),
        (false, Some(_)) => Err(InputError::new(
            "--console-socket",
            "cannot use console socket if runc will not detach or allocate tty",
        )
        .hint("the process asks for no terminal")
        .into()),
        (true, Some(path)) => sockets::connect_stream(path)
            .context("--console-socket (hint: somebody must listen on this unix socket)")
            .map(Some),
        (_, None) => Ok(None),
    }
}

/// A place for the master in this process: what is sent into the second end, [`receive_master`] takes from the first.
pub fn local() -> Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
        .named(|| "socketpair()".to_owned())?)
}

/// Sends the terminal's master to whoever asked for it.
pub fn send_master(socket: BorrowedFd<'_>, master: BorrowedFd<'_>) -> Result<()> {
    sockets::send(socket, MASTER, master).context("--console-socket")
}

pub fn receive_master(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    let (_, fd) = crate::sys::receive(socket, &mut [0u8; 64]).named(|| "recvmsg(terminal)".to_owned())?;
    fd.context("internal error: no terminal came from init")
}
