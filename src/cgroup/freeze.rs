//! Freezing and thawing. v2 says when all is still (cgroup.events); v1 has no event and is asked until it is.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Cgroup, Deadline, file, stuck};
use crate::sys::again::pread;
use crate::sys::{self, SysError};

const PATIENCE: Duration = Duration::from_secs(5);

/// Where a container is frozen.
enum Freezer {
    V1(PathBuf),
    V2(PathBuf),
}

impl Cgroup {
    fn freezer(&self) -> Option<Freezer> {
        let v1 = self.place.v1.iter().find(|d| d.has("freezer")).map(|d| Freezer::V1(d.path()));
        v1.or_else(|| self.place.v2.as_ref().map(|d| Freezer::V2(d.path())))
    }

    /// Stops every process in the cgroup and below; returns when they stand still. On failure it is thawed again.
    pub fn freeze(&self) -> Result<()> {
        let result = match self.freezer() {
            None => bail!("cannot toggle freezer: cgroups not configured for container"),
            Some(Freezer::V1(path)) => freeze_v1(&path),
            Some(Freezer::V2(path)) => file::put(&path.join("cgroup.freeze"), "1")
                .and_then(|()| wait_event(&path, "frozen", "1", Deadline::after(PATIENCE))),
        };
        match result {
            Ok(true) => Ok(()),
            Ok(false) => {
                // First: those that did stop look like the one that did not.
                self.thaw()?;
                let stuck = self.pids(true).ok().and_then(|pids| stuck::words(&pids));
                let why = stuck.map_or(String::new(), |words| format!(": {words}"));
                bail!("unable to freeze: a process did not stop within {} s{why}", PATIENCE.as_secs())
            }
            Err(e) => {
                // Half frozen is worse than not; the first error is the one to tell.
                let _ = self.thaw();
                Err(e.into())
            }
        }
    }

    /// In a cgroup that is gone, or goes at this moment with the last of a container, nothing is frozen.
    pub fn thaw(&self) -> Result<()> {
        let written = match self.freezer() {
            None => bail!("cannot toggle freezer: cgroups not configured for container"),
            Some(Freezer::V1(path)) => file::put(&path.join("freezer.state"), "THAWED"),
            Some(Freezer::V2(path)) => file::put(&path.join("cgroup.freeze"), "0"),
        };
        match written {
            Err(e) if !file::is_gone(e.errno) => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Whether the container itself is frozen or being so; a frozen parent does not count. `false` where it is gone.
    pub fn is_frozen(&self) -> Result<bool> {
        let read = match self.freezer() {
            None => return Ok(false),
            Some(Freezer::V1(path)) => file::value(&path.join("freezer.self_freezing")),
            Some(Freezer::V2(path)) => file::value(&path.join("cgroup.freeze")),
        };
        match read {
            Ok(state) => Ok(state.trim() == "1"),
            Err(e) if file::is_gone(e.errno) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

pub(super) fn v1_state(path: &Path) -> sys::Result<String> {
    Ok(file::value(&path.join("freezer.state"))?.trim().to_owned())
}

/// Whether all stands still. A task that forks while the freezer counts leaves it at FREEZING for good, and reading
/// the state is what makes the kernel count again: so it is written and read until it says FROZEN.
fn freeze_v1(path: &Path) -> sys::Result<bool> {
    let deadline = Deadline::after(PATIENCE);
    loop {
        file::put(&path.join("freezer.state"), "FROZEN")?;
        if v1_state(path)? == "FROZEN" {
            return Ok(true);
        }
        if deadline.passed() {
            return Ok(false);
        }
        std::thread::yield_now();
    }
}

/// Waits until cgroup.events says `key value`; `false` if the deadline came first. A cgroup that is gone is empty and
/// has nothing to freeze.
pub(super) fn wait_event(path: &Path, key: &str, value: &str, deadline: Deadline) -> sys::Result<bool> {
    let path = path.join("cgroup.events");
    let fd = match file::open(&path, OFlag::O_RDONLY) {
        Err(e) if file::is_gone(e.errno) => return Ok(true),
        other => other?,
    };
    let mut buf = [0; 256];
    loop {
        match pread(&fd, &mut buf, 0) {
            Ok(n) if file::key(&String::from_utf8_lossy(&buf[..n]), key) == Some(value) => {
                return Ok(true);
            }
            Ok(_) => {}
            Err(e) if file::is_gone(e) => return Ok(true),
            Err(e) => return Err(SysError::new(format!("read({path:?})"), e)),
        }
        if deadline.passed() {
            return Ok(false);
        }
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut fds, PollTimeout::from(deadline.millis())) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(SysError::new(format!("poll({path:?})"), e)),
        }
    }
}
