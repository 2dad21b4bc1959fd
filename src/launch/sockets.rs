//! Descriptors handed to other programs over unix sockets: the terminal's master, init's pidfd.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, sendmsg, socket,
};
use nix::sys::stat::Mode;

use crate::sys::Named;
use crate::sys::again::{again, open};

/// Connects to the stream socket at `path`, which may be longer than the 107 bytes of a socket address.
pub fn connect_stream(path: &Path) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
        .named(|| "socket(AF_UNIX)".to_owned())?;
    // Kept open until the connection is made: the short form of a long path goes through it.
    let (address, _directory) = address(path)?;
    again(|| connect(socket.as_raw_fd(), &address)).named(|| format!("connect({path:?})"))?;
    Ok(socket)
}

fn address(path: &Path) -> Result<(UnixAddr, Option<OwnedFd>)> {
    if let Ok(address) = UnixAddr::new(path) {
        return Ok((address, None));
    }
    let name = path.file_name().with_context(|| format!("{}: is no socket", path.display()))?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(parent, flags, Mode::empty()).named(|| format!("open({parent:?})"))?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    let address = UnixAddr::new(&short).named(|| format!("connect({path:?})"))?;
    Ok((address, Some(directory)))
}

/// Connects to the socket that is to receive a pidfd, as `at` says, before anything is made.
pub fn connect_pidfd(path: &Path, at: &str) -> Result<OwnedFd> {
    connect_stream(path).with_context(|| format!("{at} (hint: somebody must listen on this unix socket)"))
}

/// Sends init's pidfd with the word that runc sends beside it.
pub fn send_pidfd(socket: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> Result<()> {
    send(socket, "standard", pidfd)
}

/// Sends one descriptor, and `data` with it: SCM_RIGHTS needs some (unix(7)).
pub fn send(socket: BorrowedFd<'_>, data: &str, fd: BorrowedFd<'_>) -> Result<()> {
    let fds = [fd.as_raw_fd()];
    let (mut rest, mut rights) = (data.as_bytes(), Some([ControlMessage::ScmRights(&fds)]));
    while !rest.is_empty() {
        // The descriptor travels with the first byte.
        let control = rights.take();
        let control = control.as_ref().map_or(&[][..], |rights| &rights[..]);
        let sent = again(|| {
            sendmsg::<UnixAddr>(socket.as_raw_fd(), &[IoSlice::new(rest)], control, MsgFlags::MSG_NOSIGNAL, None)
        });
        rest = &rest[sent.named(|| format!("sendmsg({} bytes, SCM_RIGHTS)", data.len()))?..];
    }
    Ok(())
}
