//! The processes in a cgroup: listing them, and signalling all of them without missing one that is just being forked.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::freeze::{Event, is_empty, wait_event};
use super::{Cgroup, Deadline, file, stuck};
use crate::plan::cgroup::Dir;
use crate::sys::{self, SysError, process};

/// How long killed processes get to die; one in uninterruptible sleep may take longer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Cgroup {
    /// The processes, in ascending order; `recursive`: those of the cgroups below, too. A cgroup that is gone has none.
    pub fn pids(&self, recursive: bool) -> Result<Vec<i32>> {
        let mut all = BTreeSet::new();
        for path in self.registers() {
            all.extend(pids(&path, recursive)?);
        }
        Ok(all.into_iter().collect())
    }

    /// Where to look for members: v1's freezer first, since what is frozen there is what must be found. A hybrid
    /// host's v2 side counts too, for a process may be moved out of either.
    pub(super) fn registers(&self) -> impl Iterator<Item = PathBuf> {
        let v1 = &self.place.v1;
        let first = ["freezer", "devices", "pids", "memory"].iter().find_map(|c| v1.iter().find(|d| d.has(c)));
        first.or(v1.first()).into_iter().chain(&self.place.v2).map(Dir::path)
    }

    /// Sends `signal` to every process in the cgroup and below. After SIGKILL, returns when they are gone.
    ///
    /// SIGKILL is one write on v2 (cgroup.kill, Linux 5.14). Else the cgroup is frozen, so that no fork escapes, and
    /// thawed afterwards (unless it was frozen before, and the signal is another): on v1 not even SIGKILL reaches a
    /// frozen process.
    pub fn kill(&self, signal: i32) -> Result<()> {
        let deadline = Deadline::after(PATIENCE);
        if signal == libc::SIGKILL
            && let Some(dir) = &self.place.v2
        {
            let path = dir.path();
            match file::put(&path.join("cgroup.kill"), "1") {
                Ok(()) if self.place.v1.is_empty() => {
                    if matches!(wait_event(&path, is_empty, deadline)?, Event::TimeIsUp) {
                        bail!("{}", alive(&pids(&path, true)?));
                    }
                    return Ok(());
                }
                Ok(()) => {}
                // Gone, or a kernel before 5.14.
                Err(e) if file::is_gone(e.errno) => {}
                Err(e) => return Err(e.into()),
            }
        }
        loop {
            let left = self.signal_all(signal)?;
            if signal != libc::SIGKILL || left.is_empty() {
                return Ok(());
            }
            wait_exit(&left, deadline)?;
            if deadline.passed() {
                bail!("{}", alive(&self.pids(true)?));
            }
        }
    }

    /// One round: freeze, list, signal, thaw. What was signalled.
    fn signal_all(&self, signal: i32) -> Result<Vec<OwnedFd>> {
        if self.pids(true)?.is_empty() {
            return Ok(Vec::new());
        }
        let was_frozen = self.is_frozen()?;
        // Without a freezer, or with a process that does not stop for it, the rounds alone must do.
        let froze = was_frozen || self.freeze().is_ok();
        let result = self.signal_frozen(signal);
        if signal == libc::SIGKILL {
            self.thaw_all();
        } else if froze && !was_frozen {
            self.thaw()?;
        }
        result
    }

    fn signal_frozen(&self, signal: i32) -> Result<Vec<OwnedFd>> {
        let mut signalled = Vec::new();
        // 0 stands for a process that this pid namespace does not see.
        for pid in self.pids(true)?.into_iter().filter(|pid| *pid > 0) {
            let fd = match process::pidfd_open(pid) {
                Ok(fd) => fd,
                // Dead and reaped since.
                Err(SysError { errno: Errno::ESRCH, .. }) => continue,
                Err(e) => return Err(e.into()),
            };
            match process::pidfd_send_signal(fd.as_fd(), signal) {
                Ok(()) => signalled.push(fd),
                Err(SysError { errno: Errno::ESRCH, .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(signalled)
    }

    /// Thaws the container and whatever it froze in cgroups of its own. Best effort: what stays frozen stays alive, and
    /// is reported as that.
    fn thaw_all(&self) {
        fn down(path: &Path, file: &str, value: &str) {
            let _ = file::put(&path.join(file), value);
            file::children(path).unwrap_or_default().iter().for_each(|child| down(child, file, value));
        }
        for dir in self.place.v1.iter().filter(|d| d.has("freezer")) {
            down(&dir.path(), "freezer.state", "THAWED");
        }
        if let Some(dir) = &self.place.v2 {
            down(&dir.path(), "cgroup.freeze", "0");
        }
    }
}

/// The processes of one directory.
pub(super) fn pids(path: &Path, recursive: bool) -> sys::Result<Vec<i32>> {
    let text = match file::read(&path.join("cgroup.procs")) {
        // A threaded v2 cgroup lists threads only.
        Err(e) if e.errno == Errno::EOPNOTSUPP => file::read(&path.join("cgroup.threads")),
        other => other,
    };
    let mut pids: Vec<i32> = match text {
        Ok(text) => text.lines().filter_map(|l| l.parse().ok()).collect(),
        Err(e) if file::is_gone(e.errno) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    if recursive {
        for child in file::children(path)? {
            pids.extend(self::pids(&child, true)?);
        }
    }
    Ok(pids)
}

/// Waits until all have exited or the deadline has passed.
pub(super) fn wait_exit(processes: &[OwnedFd], deadline: Deadline) -> sys::Result<()> {
    let mut left: Vec<PollFd> = processes.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    while !left.is_empty() && !deadline.passed() {
        match poll(&mut left, PollTimeout::from(deadline.millis())) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(SysError::new("poll(pidfds)", e)),
        }
        left.retain(|fd| !fd.any().unwrap_or(false));
    }
    Ok(())
}

pub(super) fn alive(pids: &[i32]) -> String {
    let shown: Vec<String> = pids.iter().take(8).map(ToString::to_string).collect();
    let more = if pids.len() > shown.len() { ", …" } else { "" };
    let why = stuck::words(pids).map_or(String::new(), |words| format!("; {words}"));
    format!("{} process(es) still alive in the cgroup: {}{more}{why}", pids.len(), shown.join(", "))
}
