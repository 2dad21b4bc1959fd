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

/// What came of freezing.
enum Outcome {
    Frozen,
    /// The time is up.
    Moving,
    /// It is, and what was killed meanwhile has been thawed by who killed it.
    Thawed,
    /// Nobody is left to be frozen.
    Empty,
}

impl Cgroup {
    fn freezer(&self) -> Option<Freezer> {
        let v1 = self.place.v1.iter().find(|d| d.has("freezer")).map(|d| Freezer::V1(d.path()));
        v1.or_else(|| self.place.v2.as_ref().map(|d| Freezer::V2(d.path())))
    }

    /// Stops every process in the cgroup and below; returns when they stand still. On failure it is thawed again, and so it is
    /// where `kill` or `delete --force`, which wait for no other command, have ended all of them meanwhile.
    pub fn freeze(&self) -> Result<()> {
        let result = match self.freezer() {
            None => bail!("cannot toggle freezer: cgroups not configured for container"),
            Some(Freezer::V1(path)) => freeze_v1(&path),
            Some(Freezer::V2(path)) => freeze_v2(&path),
        };
        match result {
            Ok(Outcome::Frozen) => Ok(()),
            Ok(Outcome::Thawed) => bail!("unable to freeze: something else has thawed it meanwhile"),
            Ok(Outcome::Empty) => {
                self.thaw()?;
                bail!("container not running")
            }
            Ok(Outcome::Moving) => {
                // On v2 thawing wakes all of them for a moment. On v1 those that did stop look like the one that did not before.
                let look = || stuck::words(&self.pids(true).ok()?);
                let stuck = look();
                self.thaw()?;
                let stuck = stuck.or_else(look);
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

/// A task that forks while the freezer counts leaves it at FREEZING for good, and reading the state is what makes the kernel
/// count again: so it is written and read until it says FROZEN. What others thaw meanwhile is frozen again: who freezes a
/// container has to look whether it was killed ([`crate::state::Container::was_killed`]).
fn freeze_v1(path: &Path) -> sys::Result<Outcome> {
    let deadline = Deadline::after(PATIENCE);
    loop {
        file::put(&path.join("freezer.state"), "FROZEN")?;
        if v1_state(path)? == "FROZEN" {
            return Ok(Outcome::Frozen);
        }
        if deadline.passed() {
            return Ok(Outcome::Moving);
        }
        std::thread::yield_now();
    }
}

fn freeze_v2(path: &Path) -> sys::Result<Outcome> {
    let file = path.join("cgroup.freeze");
    match file::put(&file, "1") {
        Err(e) if file::is_gone(e.errno) => return Ok(Outcome::Empty),
        written => written?,
    }
    let is_frozen = |events: &str| file::key(events, "frozen") == Some("1");
    Ok(match wait_event(path, |events| is_frozen(events) || is_empty(events), Deadline::after(PATIENCE))? {
        Event::Happened(events) if is_frozen(&events) => Outcome::Frozen,
        Event::Happened(_) | Event::Gone => Outcome::Empty,
        // To thaw what was not frozen yet is no event.
        Event::TimeIsUp => match file::value(&file) {
            Ok(freeze) if freeze.trim() == "0" => Outcome::Thawed,
            Err(e) if file::is_gone(e.errno) => Outcome::Empty,
            read => read.map(|_| Outcome::Moving)?,
        },
    })
}

/// What [`wait_event`] has waited for.
pub(super) enum Event {
    /// `cgroup.events` as it was then.
    Happened(String),
    /// The cgroup is empty and has nothing to freeze.
    Gone,
    TimeIsUp,
}

/// Waits until `wanted` is true of what cgroup.events says.
pub(super) fn wait_event(path: &Path, wanted: impl Fn(&str) -> bool, deadline: Deadline) -> sys::Result<Event> {
    let path = path.join("cgroup.events");
    let fd = match file::open(&path, OFlag::O_RDONLY) {
        Err(e) if file::is_gone(e.errno) => return Ok(Event::Gone),
        other => other?,
    };
    let mut buf = [0; 256];
    loop {
        match pread(&fd, &mut buf, 0) {
            Ok(n) => {
                let events = String::from_utf8_lossy(&buf[..n]);
                if wanted(&events) {
                    return Ok(Event::Happened(events.into_owned()));
                }
            }
            Err(e) if file::is_gone(e) => return Ok(Event::Gone),
            Err(e) => return Err(SysError::new(format!("read({path:?})"), e)),
        }
        if deadline.passed() {
            return Ok(Event::TimeIsUp);
        }
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut fds, PollTimeout::from(deadline.millis())) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(SysError::new(format!("poll({path:?})"), e)),
        }
    }
}

/// For [`wait_event`]: nobody is in the cgroup, nor below.
pub(super) fn is_empty(events: &str) -> bool {
    file::key(events, "populated") == Some("0")
}
