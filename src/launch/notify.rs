//! sd_notify for the container (sd_notify(3)): its `READY=1` reaches whoever set NOTIFY_SOCKET for us, with the pid that
//! they know it by.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::state::Dir;
use crate::state::dir::NOTIFY;
use crate::sys::{Named, SysError};

/// Where the container finds the socket: `/run/notify` is a bind of the directory.
pub const SOCKET: &str = "notify.sock";

/// How long to wait until the service manager has read what we sent (as runc).
const BARRIER_MS: u16 = 30_000;

/// Makes the directory that the container gets; `start` puts the socket there.
pub fn make_directory(dir: &Dir) -> Result<()> {
    let path = dir.path.join(NOTIFY);
    // The container's user, whoever that is, must reach the socket.
    std::fs::DirBuilder::new().mode(0o755).create(&path).named(|| format!("mkdir({path:?})"))?;
    Ok(())
}

/// The container's notify socket, listening.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    host: SocketAddr,
}

impl Notify {
    /// Listens in the container's directory, if it has one and NOTIFY_SOCKET names where to forward.
    pub fn listen(dir: &Dir, host: Option<&Path>) -> Result<Option<Self>> {
        let directory = dir.path.join(NOTIFY);
        let Some(host) = host.filter(|_| directory.is_dir()) else { return Ok(None) };
        let path = directory.join(SOCKET);
        let socket = UnixDatagram::bind(&path).named(|| format!("bind({path:?})"))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).named(|| format!("chmod({path:?})"))?;
        Ok(Some(Self { socket, host: address(host)? }))
    }

    /// Waits for `READY=1` and forwards it; returns without it when init has exited.
    pub fn forward_ready(&self, pid: i32, init: BorrowedFd<'_>) -> Result<()> {
        loop {
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN), PollFd::new(init, PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(SysError::new("poll(notify)", errno).into()),
            }
            if fds[0].any().unwrap_or(false) {
                if self.forward_one(Some(pid))? {
                    return Ok(());
                }
            } else if fds[1].any().unwrap_or(false) {
                return Ok(());
            }
        }
    }

    /// Forwards one message if it says that the container is ready; whether it did. `pid`: say also who that is.
    pub fn forward_one(&self, pid: Option<i32>) -> Result<bool> {
        let mut message = [0u8; 4096];
        let length = self.socket.recv(&mut message).named(|| "recv(notify)".to_owned())?;
        let Some(ready) = message[..length].split(|byte| *byte == b'\n').find(|line| line.starts_with(b"READY="))
        else {
            return Ok(false);
        };
        let client = UnixDatagram::unbound().named(|| "socket(AF_UNIX)".to_owned())?;
        client.connect_addr(&self.host).named(|| "connect(NOTIFY_SOCKET)".to_owned())?;
        let send = |text: &[u8]| client.send(text).named(|| "send(NOTIFY_SOCKET)".to_owned()).map(drop);
        send(ready)?;
        if let Some(pid) = pid {
            send(format!("MAINPID={pid}").as_bytes())?;
        }
        barrier(&client)?;
        Ok(true)
    }
}

impl AsFd for Notify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn address(path: &Path) -> Result<SocketAddr> {
    let bytes = path.as_os_str().as_encoded_bytes();
    match bytes.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(path),
    }
    .with_context(|| format!("NOTIFY_SOCKET={} is no socket address", path.display()))
}

/// sd_notify_barrier(3): the manager closes the pipe once it has handled all that was sent before. Without it the
/// messages of a client that exits at once could be attributed to nobody.
fn barrier(client: &UnixDatagram) -> Result<()> {
    let (read, write): (OwnedFd, OwnedFd) = nix::unistd::pipe2(OFlag::O_CLOEXEC).named(|| "pipe2()".to_owned())?;
    let fds = [write.as_raw_fd()];
    let iov = [std::io::IoSlice::new(b"BARRIER=1")];
    sendmsg::<UnixAddr>(client.as_raw_fd(), &iov, &[ControlMessage::ScmRights(&fds)], MsgFlags::MSG_NOSIGNAL, None)
        .named(|| "sendmsg(BARRIER=1)".to_owned())?;
    drop(write);
    // A manager that knows no barriers lets this time out, which is no error.
    let _ = poll(&mut [PollFd::new(read.as_fd(), PollFlags::empty())], PollTimeout::from(BARRIER_MS));
    Ok(())
}
