//! Removing the cgroup and everything below it, the deepest first; a unit of systemd is stopped. Parents are left alone,
//! whoever made them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use nix::errno::Errno;

use super::freeze::{is_empty, wait_event};
use super::members::{self, wait_exit};
use super::{Cgroup, Deadline, file, systemd};
use crate::sys::process;

/// How long processes that are dying may keep the cgroup busy.
const PATIENCE: Duration = Duration::from_secs(2);

impl Cgroup {
    /// A directory that is gone already is no error. All hierarchies are tried before the first failure is told.
    pub fn remove(&self) -> Result<()> {
        let deadline = Deadline::after(PATIENCE);
        // It removes what is its own; what we have added, as on v1, is left to us.
        let mut first = match &self.place.unit {
            Some(unit) => systemd::Bus::connect(unit.user).and_then(|mut systemd| systemd.stop(unit)),
            None => Ok(()),
        };
        for dir in self.dirs() {
            let v2 = self.place.v2.as_ref().is_some_and(|v2| std::ptr::eq(v2, dir));
            first = first.and(remove(&dir.path(), v2, deadline));
        }
        first
    }
}

pub(super) fn remove(path: &Path, v2: bool, deadline: Deadline) -> Result<()> {
    let mut emptied = false;
    loop {
        let error = match file::rmdir(path) {
            Ok(()) => return Ok(()),
            Err(e) if file::is_gone(e.errno) => return Ok(()),
            // A read-only cgroupfs says so even of a path that is not there.
            Err(e) if e.errno == Errno::EROFS && !path.exists() => return Ok(()),
            Err(e) if e.errno != Errno::EBUSY => return Err(e.into()),
            Err(e) => e,
        };
        let children = file::children(path)?;
        for child in &children {
            remove(child, v2, deadline)?;
        }
        // On a busy host the time may be up by now, and they were all that was in the way. Once: others may be made.
        if !children.is_empty() && !std::mem::replace(&mut emptied, true) {
            continue;
        }
        let left = members::pids(path, true)?;
        if deadline.passed() {
            return Err(match left.as_slice() {
                [] => error.into(),
                left => anyhow!("{error} (hint: {})", members::alive(left)),
            });
        }
        if v2 {
            wait_event(path, is_empty, deadline)?;
            continue;
        }
        // v1 has no event: its members' exits are what can be waited for. A task can be off the list a moment before
        // the cgroup is free.
        let exits: Vec<_> = left.iter().filter_map(|pid| process::pidfd_open(*pid).ok()).collect();
        if exits.is_empty() {
            std::thread::yield_now();
        }
        wait_exit(&exits, deadline)?;
    }
}
