//! Noticing that a container is paused while a process is on its way into it: that process stands still from then on, and
//! whoever waits for it would wait for ever.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFlags, PollTimeout};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::Mode;

use crate::cgroup::layout::Layout;
use crate::plan::cgroup::{Dir, Place};
use crate::sys::again::{open, pread};
use crate::sys::{Named, SysError, read_line};

/// How long a join may take before it is worth an inotify instance, which costs as much as the join itself (its release
/// waits for an SRCU grace period). Milliseconds.
const PATIENCE: u8 = 100;

/// A container's freezer under observation.
pub enum Watch {
    /// v1 has no event of its own, but every pause is a write(2) to `freezer.state`, here or in a cgroup above, and
    /// inotify(7) tells of those: from the moment that the join takes longer than it should.
    V1 { dir: Dir, inotify: Option<Inotify> },
    /// v2: cgroup.events signals that it has changed.
    V2 { events: OwnedFd, freeze: PathBuf },
}

impl Watch {
    /// `None` where nothing can freeze the container.
    pub fn new(place: &Place) -> Result<Option<Self>> {
        if let Some(dir) = freezer(place) {
            return Ok(Some(Self::V1 { dir: dir.clone(), inotify: None }));
        }
        let Some(dir) = &place.v2 else { return Ok(None) };
        let path = dir.path().join("cgroup.events");
        match open(&path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(events) => Ok(Some(Self::V2 { events, freeze: dir.path().join("cgroup.freeze") })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(SysError::new(format!("open({path:?})"), errno).into()),
        }
    }

    /// After which time without a word [`Watch::arm`] is to be called.
    pub fn patience(&self) -> PollTimeout {
        match self {
            Self::V1 { inotify: None, .. } => PATIENCE.into(),
            _ => PollTimeout::NONE,
        }
    }

    /// From here on there is something to poll for. What came before, [`Watch::is_frozen`] shows.
    pub fn arm(&mut self) -> Result<()> {
        if let Self::V1 { dir, inotify } = self {
            *inotify = Some(watch_writes(dir)?);
        }
        Ok(())
    }

    /// What to poll for.
    pub fn poll_fd(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        match self {
            Self::V1 { inotify, .. } => inotify.as_ref().map(|inotify| (inotify.as_fd(), PollFlags::POLLIN)),
            Self::V2 { events, .. } => Some((events.as_fd(), PollFlags::POLLPRI)),
        }
    }

    /// Whether the container, or a cgroup above it, is frozen or being so. Takes the event that was polled for.
    pub fn is_frozen(&self) -> Result<bool> {
        match self {
            Self::V1 { dir, inotify } => {
                match inotify.as_ref().map(Inotify::read_events) {
                    None | Some(Ok(_) | Err(Errno::EAGAIN | Errno::EINTR)) => {}
                    Some(Err(errno)) => return Err(SysError::new("read(inotify)", errno).into()),
                }
                // Gone with the container: that is for others to notice.
                Ok(read_line(dir.path().join("freezer.state")).is_ok_and(|state| state.trim() != "THAWED"))
            }
            Self::V2 { events, freeze } => {
                let mut text = [0; 256];
                let frozen = match pread(events, &mut text, 0) {
                    Ok(n) => String::from_utf8_lossy(&text[..n]).lines().any(|line| line == "frozen 1"),
                    Err(_) => false,
                };
                Ok(frozen || read_line(freeze).is_ok_and(|freeze| freeze.trim() == "1"))
            }
        }
    }
}

fn freezer(place: &Place) -> Option<&Dir> {
    place.v1.iter().find(|dir| dir.has("freezer"))
}

fn watch_writes(dir: &Dir) -> Result<Inotify> {
    let inotify =
        Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).named(|| "inotify_init()".to_owned())?;
    let mut at = dir.mount.clone();
    for component in &dir.below {
        at.push(component);
        let state = at.join("freezer.state");
        match inotify.add_watch(&state, AddWatchFlags::IN_MODIFY) {
            Ok(_) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(SysError::new(format!("inotify_add_watch({state:?})"), errno).into()),
        }
    }
    Ok(inotify)
}

/// Moves a process out of a frozen v1 cgroup into the runtime's own, where SIGKILL can reach it. Whether it is where it
/// can die: on v2 it always can.
pub fn release(place: &Place, pid: i32) -> bool {
    if freezer(place).is_none() {
        return true;
    }
    let Ok(layout) = Layout::probe() else { return false };
    let Some(own) = layout.v1("freezer").and_then(|freezer| {
        let own = freezer.own.as_ref()?;
        Some(freezer.mount.join(own.strip_prefix("/").ok()?).join("tasks"))
    }) else {
        return false;
    };
    std::fs::write(own, pid.to_string()).is_ok()
}
