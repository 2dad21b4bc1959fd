//! Hearing of processes that were killed for want of memory, as a descriptor to poll. Not for whose fault it was.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{Cgroup, file};
use crate::sys::again::pread;
use crate::sys::{Named, SysError};

/// Out-of-memory events of a container, from now on.
pub enum OomWatch {
    /// v1: the kernel adds to an eventfd (memory.oom_control).
    V1 { event: EventFd, dir: PathBuf },
    /// v2: memory.events signals that it has changed; `seen` is its `oom_kill` so far.
    V2 { events: OwnedFd, seen: u64 },
}

impl Cgroup {
    /// `None` where no memory controller watches over the container.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        if let Some(dir) = self.place.v1.iter().find(|dir| dir.has("memory")) {
            let dir = dir.path();
            let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
                .named(|| "eventfd()".to_owned())?;
            let control = file::open(&dir.join("memory.oom_control"), OFlag::O_RDONLY)?;
            // The kernel keeps what the two refer to; neither number is needed after this.
            let request = format!("{} {}", event.as_fd().as_raw_fd(), control.as_raw_fd());
            file::put(&dir.join("cgroup.event_control"), &request).context("watching for out-of-memory")?;
            return Ok(Some(OomWatch::V1 { event, dir }));
        }
        let Some(dir) = &self.place.v2 else { return Ok(None) };
        match file::open(&dir.path().join("memory.events"), OFlag::O_RDONLY) {
            Ok(events) => {
                let seen = oom_kills(&events)?;
                Ok(Some(OomWatch::V2 { events, seen }))
            }
            Err(e) if file::is_gone(e.errno) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

impl OomWatch {
    /// What to poll for.
    pub fn poll_fd(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            Self::V1 { event, .. } => (event.as_fd(), PollFlags::POLLIN),
            Self::V2 { events, .. } => (events.as_fd(), PollFlags::POLLPRI),
        }
    }

    /// Whether there was such an event since the last question.
    pub fn happened(&mut self) -> Result<bool> {
        match self {
            // Removing the cgroup signals the eventfd, too.
            Self::V1 { event, dir } => Ok(event.read().is_ok_and(|count| count > 0) && dir.exists()),
            Self::V2 { events, seen } => {
                let now = oom_kills(events)?;
                Ok(std::mem::replace(seen, now) < now)
            }
        }
    }
}

/// 0 once the cgroup is gone.
fn oom_kills(events: &OwnedFd) -> Result<u64> {
    let mut buf = [0; 512];
    match pread(events, &mut buf, 0) {
        Ok(n) => {
            let text = String::from_utf8_lossy(&buf[..n]);
            Ok(file::key(&text, "oom_kill").and_then(|count| count.parse().ok()).unwrap_or_default())
        }
        Err(e) if file::is_gone(e) => Ok(0),
        Err(e) => Err(SysError::new("read(memory.events)", e).into()),
    }
}
