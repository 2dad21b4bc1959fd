//! The wire between the parent (`launch/`) and the child (`init/`), and the only description of its protocol (`exec` speaks
//! a part of it, drawn in `join.rs`).
//!
//! ```text
//!   parent                                   child
//!   ──────                                   ─────
//!   clone3 ────────────────────────────────▶ joins cgroup v1 by itself
//!   writes id maps, oom_score_adj
//!   Go            ─────────────────────────▶ enters and makes what clone3 could not
//!   Seccomp(BPF)  ─────────────────────────▶ (kept until the last phase)
//!                 ◀───────────────────────── NetDevices             only with linux.netDevices
//!   Done          ─────────────────────────▶
//!                 ◀───────────────────────── TimeOffsets            only with linux.timeOffsets
//!   Done          ─────────────────────────▶
//!                 ◀───────────────────────── OpenTree(path)         only what a user namespace's root cannot reach,
//!   Tree + fd     ─────────────────────────▶                        or what holds a mount namespace; any number of times
//!                 ◀───────────────────────── MapIds(JSON path) + fd  for each id-mapped mount, before anyone can see it
//!   Done          ─────────────────────────▶
//!                 ◀───────────────────────── RunHooks               only with prestart or createRuntime hooks
//!   Done          ─────────────────────────▶
//!                 ◀───────────────────────── Rlimit(JSON path)      for each limit the child may not raise itself
//!   Done          ─────────────────────────▶
//!                 ◀───────────────────────── Listener(number) + fd  only with SCMP_ACT_NOTIFY: `init/listener.rs`
//!   Done(rings)   ─────────────────────────▶ loads the filter, touches the page
//!   sends the listener to the agent
//!                 ◀───────────────────────── Ready
//!   writes state.json and the pid file
//!   Committed     ─────────────────────────▶ waits on exec.fifo
//! ```
//!
//! At any point the child may send `Failed(phase, text)` and end; the parent may go away, which the child sees as an end
//! of file and takes as the order to end too: a container that is not in `state.json` does not live.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socketpair};

use crate::sys::again::{again, read, write};

/// What is on the wire: the first byte of each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Go = 1,
    Seccomp,
    Done,
    Tree,
    Committed,
    NetDevices,
    TimeOffsets,
    OpenTree,
    MapIds,
    RunHooks,
    Rlimit,
    Listener,
    Ready,
    Failed,
}

const KINDS: &[Kind] = &[
    Kind::Go,
    Kind::Seccomp,
    Kind::Done,
    Kind::Tree,
    Kind::Committed,
    Kind::NetDevices,
    Kind::TimeOffsets,
    Kind::OpenTree,
    Kind::MapIds,
    Kind::RunHooks,
    Kind::Rlimit,
    Kind::Listener,
    Kind::Ready,
    Kind::Failed,
];

/// What [`Kind::OpenTree`] asks for, the first byte of its body; the rest is the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Request {
    /// A clone of the mount there.
    Tree = 1,
    /// With everything mounted below it.
    Trees,
    /// An O_PATH descriptor of the directory.
    Path,
    /// An O_PATH descriptor of whatever is there, be it a symlink.
    Itself,
    /// A clone of the host's mount there with everything below it but files of mount namespaces.
    WithoutNamespaces,
}

/// A packet as received.
#[derive(Debug)]
pub struct Packet {
    pub kind: Kind,
    pub body: Vec<u8>,
    pub fd: Option<OwnedFd>,
}

/// The longest packet: a seccomp filter has at most 4096 instructions (BPF_MAXINSNS) of 8 bytes.
const MAX_PACKET: usize = 1 + 4096 * 8;

/// One end of the wire.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Both ends.
    pub fn pair() -> Result<(Self, Self)> {
        let (parent, child) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).context("socketpair")?;
        Ok((Self(parent), Self(child)))
    }

    /// # Errors
    /// EPIPE when the other half is gone: see [`unless_gone`].
    pub fn send(&self, kind: Kind, body: &[u8]) -> Result<()> {
        // write(2), which every seccomp filter has to allow, and not sendmsg(2).
        let packet = [&[kind as u8], body].concat();
        write(&self.0, &packet).map(drop).context("write to the other half of the runtime")
    }

    pub fn send_with(&self, kind: Kind, body: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let head = [kind as u8];
        let iov = [IoSlice::new(&head), IoSlice::new(body)];
        let raw = fd.map(|fd| [fd.as_raw_fd()]);
        let rights = raw.as_ref().map(|raw| [ControlMessage::ScmRights(raw)]);
        let control = rights.as_ref().map_or(&[][..], |rights| &rights[..]);
        again(|| sendmsg::<UnixAddr>(self.0.as_raw_fd(), &iov, control, MsgFlags::MSG_NOSIGNAL, None))
            .map(drop)
            .context("sendmsg to the other half of the runtime")
    }

    /// The kind of the next packet, which has neither body nor descriptor; `None` when the other half is gone.
    pub fn receive_plain(&self) -> Result<Option<Kind>> {
        let mut packet = [0u8; 1];
        match read(&self.0, &mut packet) {
            Ok(0) | Err(Errno::ECONNRESET) => Ok(None),
            Ok(_) => kind(packet[0]).map(Some),
            Err(errno) => Err(errno).context("read from the other half of the runtime"),
        }
    }

    /// The next packet; `None` when the other half is gone.
    pub fn receive(&self) -> Result<Option<Packet>> {
        let mut buffer = vec![0u8; MAX_PACKET];
        let (bytes, fd) = match again(|| crate::sys::receive(self.0.as_fd(), &mut buffer)) {
            Ok(received) => received,
            // The other half died with packets of ours unread.
            Err(Errno::ECONNRESET) => return Ok(None),
            Err(errno) => return Err(errno).context("recvmsg from the other half of the runtime"),
        };
        if bytes == 0 {
            return Ok(None);
        }
        let kind = kind(buffer[0])?;
        buffer.truncate(bytes);
        buffer.drain(..1);
        Ok(Some(Packet { kind, body: buffer, fd }))
    }
}

/// False where what was sent has reached nobody, since the other half is gone; what it has said before, and how it ended, is
/// the better error then.
///
/// # Errors
/// Whatever else went wrong.
pub fn unless_gone(sent: Result<()>) -> Result<bool> {
    match sent {
        Err(error) if error.downcast_ref() == Some(&Errno::EPIPE) => Ok(false),
        sent => sent.map(|()| true),
    }
}

fn kind(byte: u8) -> Result<Kind> {
    match KINDS.iter().find(|&&kind| kind as u8 == byte) {
        Some(kind) => Ok(*kind),
        None => bail!("unknown packet {byte} from the other half of the runtime"),
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `phase` and `text` of a failure as the body of [`Kind::Failed`].
pub fn failure(phase: &str, text: &str) -> Vec<u8> {
    // A reader that is flooded with text still gets one packet.
    let text: String = text.chars().take(8000).collect();
    format!("{phase}\0{text}").into_bytes()
}

/// The reverse of [`failure`].
pub fn parse_failure(body: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(body);
    match text.split_once('\0') {
        Some((phase, text)) => (phase.to_owned(), text.to_owned()),
        None => (String::new(), text.into_owned()),
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

impl From<OwnedFd> for Channel {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}
