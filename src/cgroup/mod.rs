//! A container's cgroup on v1, hybrid and v2 hosts: making it, joining it, limits, freezing, killing, removal. It
//! carries out what [`crate::plan::cgroup`] decided and knows nothing of the OCI document.

mod devices;
mod file;
mod freeze;
pub mod layout;
mod make;
mod members;
pub mod oom;
mod remove;
pub mod stats;
#[cfg(test)]
mod tests;
mod undo;
mod write;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

pub use undo::Before;

use crate::plan::cgroup::{CgroupPlan, Dir, Limits, Place};
use crate::sys;

/// A container's cgroup that exists. Kept in state.json; all that the later commands need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cgroup {
    place: Place,
}

/// What a process needs to be placed in the cgroup. All fds are close-on-exec.
#[derive(Debug)]
pub struct JoinFds {
    /// For clone3's `cgroup` with `CLONE_INTO_CGROUP`: v2, and the v2 side of a hybrid host.
    pub v2: Option<OwnedFd>,
    /// v1's `tasks` files, for [`join_self`] in the child.
    pub tasks: Vec<OwnedFd>,
}

impl Cgroup {
    /// Makes the directories and sets the limits. On failure what was made is removed again.
    ///
    /// Fails where the cgroup exists and holds processes or is frozen, in runc's words. Where `rootless` lacks the
    /// permission for a hierarchy and no limit needs it, the container goes without.
    pub fn create(plan: &CgroupPlan) -> Result<Self> {
        let mut made = make::Made::default();
        let cgroup = Self { place: make::make(plan, &mut made).context("linux.cgroupsPath")? };
        cgroup.set(&plan.limits, made.leaf_of_v2)?;
        made.keep();
        Ok(cgroup)
    }

    /// Refuses a cgroup that holds processes, in runc's words. [`Cgroup::create`] does so too; asked before anything is
    /// recorded, it makes sure that what a later `delete --force` finds in there is the container's.
    pub fn refuse_in_use(plan: &CgroupPlan) -> Result<()> {
        for dir in plan.place.v1.iter().chain(&plan.place.v2) {
            let path = dir.path();
            if path.exists() {
                make::refuse_members(&path).with_context(|| format!("linux.cgroupsPath: cgroup {path:?}"))?;
            }
        }
        Ok(())
    }

    /// Sets limits on a cgroup in use (`update`): all of them, or none. What they were before.
    pub fn apply(&self, limits: &Limits) -> Result<Before> {
        if let Some(dir) = &self.place.v2 {
            make::enable(dir, limits)?;
        }
        let before = Before::remember(&self.place, &limits.writes);
        match self.set(limits, false) {
            Ok(()) => Ok(before),
            Err(error) => Err(match before.restore().first() {
                None => error,
                Some(left) => error.context(format!("not every earlier limit could be set back ({left})")),
            }),
        }
    }

    /// Sets the limits that must wait until init has joined.
    pub fn apply_late(&self, limits: &Limits) -> Result<()> {
        write::all(&self.place, &limits.late)
    }

    fn set(&self, limits: &Limits, fresh: bool) -> Result<()> {
        write::check(&self.place, &limits.checks)?;
        write::all(&self.place, &limits.writes)?;
        if let (Some(rules), Some(dir)) = (&limits.devices, &self.place.v2) {
            devices::attach(&dir.path(), rules, fresh).context("linux.resources.devices")?;
        }
        Ok(())
    }

    /// Moves init on into the cgroup that it is to manage. It was born in the container's own, for that to be the root of its
    /// cgroup namespace.
    pub fn move_down(&self, plan: &CgroupPlan, pid: i32) -> Result<()> {
        if let (Some(delegate), Some(dir)) = (&plan.delegate, &self.place.v2) {
            file::put(&dir.path().join(&delegate.below).join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Opens what [`join_self`] and clone3 need.
    pub fn join_fds(&self) -> Result<JoinFds> {
        let v2 = self.place.v2.as_ref().map(|d| file::open(&d.path(), OFlag::O_PATH | OFlag::O_DIRECTORY));
        let tasks = self.place.v1.iter().map(|d| file::open(&d.path().join("tasks"), OFlag::O_WRONLY));
        Ok(JoinFds { v2: v2.transpose()?, tasks: tasks.collect::<sys::Result<_>>()? })
    }

    /// The directories: without those that a rootless container had to do without.
    pub fn place(&self) -> &Place {
        &self.place
    }

    fn dirs(&self) -> impl Iterator<Item = &Dir> {
        self.place.v1.iter().chain(&self.place.v2)
    }
}

impl From<Place> for Cgroup {
    /// One that a record tells of: it may be gone by now, or not exist yet.
    fn from(place: Place) -> Self {
        Self { place }
    }
}

/// Moves the calling task into the cgroups whose `tasks` files are given. For a child after clone: no allocation
/// unless it fails.
///
/// A pid written to cgroup.procs waits for an RCU grace period (3–19 ms); "0" written to `tasks` by a process of one
/// thread does not (22–36 µs).
pub fn join_self(tasks: &[OwnedFd]) -> sys::Result<()> {
    for fd in tasks {
        nix::unistd::write(fd.as_fd(), b"0").map_err(|e| sys::SysError::new("write(tasks, \"0\")", e))?;
    }
    Ok(())
}

/// A moment after which waiting is given up.
#[derive(Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    fn passed(self) -> bool {
        Instant::now() >= self.0
    }

    /// For poll: milliseconds, rounded up.
    fn millis(self) -> u16 {
        let left = self.0.saturating_duration_since(Instant::now());
        u16::try_from(left.as_micros().div_ceil(1000)).unwrap_or(u16::MAX)
    }
}
