//! A container's cgroup on v1, hybrid and v2 hosts: making it, joining it, limits, freezing, killing, removal. It
//! carries out what [`crate::plan::cgroup`] decided and knows nothing of the OCI document.
//!
//! Two drivers make it. The cgroupfs driver makes directories, in which init is born. systemd, whose units must have a
//! process from the start, makes one around init when that exists ([`Cgroup::adopt`]); nothing is made in its part of the
//! tree before. From then on a cgroup is a cgroup: only an update and the removal tell systemd, too.

mod devices;
mod file;
mod freeze;
pub mod layout;
mod make;
mod members;
pub mod oom;
mod remove;
pub mod stats;
pub mod stuck;
pub mod systemd;
#[cfg(test)]
mod tests;
mod undo;
mod write;

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;

pub use undo::Before;

use crate::plan::cgroup::{CgroupPlan, Dir, Limits, Place, of_limits};
use crate::sys;

/// A container's cgroup. Its [`Place`] is kept in state.json; all that the later commands need.
#[derive(Debug)]
pub struct Cgroup {
    place: Place,
    /// The systemd that will make the unit, until it has.
    systemd: Option<systemd::Bus>,
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
    /// Makes the directories and sets the limits. On failure what was made is removed again. With the systemd driver, only
    /// sees that systemd is there.
    ///
    /// Fails where the cgroup exists and holds processes or is frozen, in runc's words. Where `rootless` lacks the
    /// permission for a hierarchy and no limit needs it, the container goes without.
    pub fn create(plan: &CgroupPlan) -> Result<Self> {
        if let Some(unit) = &plan.unit {
            let nowhere = Place { kind: plan.place.kind, v1: Vec::new(), v2: None, unit: None };
            return Ok(Self { place: nowhere, systemd: Some(systemd::Bus::connect(unit.id.user)?) });
        }
        let mut made = make::Made::default();
        let place = make::make(plan, &plan.place, None, &mut made).context("linux.cgroupsPath")?;
        let cgroup = Self::from(place);
        cgroup.set(&plan.limits, made.leaf_of_v2)?;
        made.keep();
        Ok(cgroup)
    }

    /// With the systemd driver: has the unit made around `pid`, which is init, and adds what systemd leaves to us: v1
    /// hierarchies that it does not use, a subgroup, limits that it does not know, our own device program.
    ///
    /// What has been made when it fails is in [`Cgroup::place`], for [`Cgroup::remove`].
    pub fn adopt(&mut self, plan: &CgroupPlan, pid: i32) -> Result<()> {
        let (Some(unit), Some(mut systemd)) = (&plan.unit, self.systemd.take()) else { return Ok(()) };
        systemd.start(unit, pid)?;
        let mut place = plan.place.clone();
        place.unit = Some(unit.id.clone());
        // Where it really is: a manager that is not at the root, or an annotation that names another slice.
        let hierarchy = if place.v1.is_empty() { "" } else { "name=systemd" };
        if let Some(below) = systemd::cgroup_of(pid, hierarchy) {
            let below: PathBuf =
                [Some(below), unit.subgroup.clone().map(PathBuf::from)].into_iter().flatten().collect();
            place.v1.iter_mut().chain(&mut place.v2).for_each(|dir| dir.below.clone_from(&below));
        }
        self.place = place.clone();
        let mut made = make::Made::default();
        make::make(plan, &place, Some(pid), &mut made).context("linux.cgroupsPath")?;
        made.keep();
        // Beside systemd's own program for the devices, not in its place.
        self.set(&plan.limits, true)?;
        match self.place.v1.iter().find(|dir| dir.has("devices")) {
            Some(dir) if !unit.knows_devices() => {
                let kept = devices::keep_rules(&self.place, &dir.path(), &plan.limits.writes);
                kept.context("linux.resources.devices")
            }
            _ => Ok(()),
        }
    }

    /// Whether a process that is to be in here is not, for want of permission: then it is moved by systemd, which has it.
    pub fn bring_in(&self, pid: i32) -> Result<()> {
        let (Some(unit), Some(dir)) = (&self.place.unit, &self.place.v2) else { return Ok(()) };
        if systemd::cgroup_of(pid, "").is_none_or(|below| below == dir.below) {
            return Ok(());
        }
        let mut scope = dir.below.ancestors();
        let scope = scope.find(|path| path.file_name().is_some_and(|name| *name == *unit.name));
        let subgroup = scope.and_then(|scope| dir.below.strip_prefix(scope).ok()).unwrap_or("".as_ref());
        systemd::Bus::connect(unit.user)?.attach(unit, subgroup, pid)
    }

    /// Refuses a cgroup that holds processes, in runc's words. [`Cgroup::create`] does so too, of every hierarchy; asked
    /// before anything is recorded, it makes sure that what a later `delete --force` finds and kills is the container's,
    /// and so looks where that one does.
    pub fn refuse_in_use(plan: &CgroupPlan) -> Result<()> {
        for path in Self::from(plan.place.clone()).registers() {
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
        match self.set(limits, false).and_then(|()| self.tell_systemd(limits)) {
            Ok(()) => Ok(before),
            Err(error) => Err(match before.restore().first() {
                None => error,
                Some(left) => error.context(format!("not every earlier limit could be set back ({left})")),
            }),
        }
    }

    /// systemd would set back what it does not know of.
    fn tell_systemd(&self, limits: &Limits) -> Result<()> {
        let Some(unit) = &self.place.unit else { return Ok(()) };
        let properties = of_limits(limits);
        if properties.is_empty() {
            return Ok(());
        }
        systemd::Bus::connect(unit.user)?.set(unit, &properties)?;
        // It has written them in its own precision.
        write::all(&self.place, &limits.writes)
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
        let tasks = self.place.v1.iter().map(|d| file::open(&d.path().join("tasks"), OFlag::O_WRONLY));
        let tasks = tasks.collect::<sys::Result<_>>()?;
        let v2 = self.place.v2.as_ref().map(|d| file::open(&d.path(), OFlag::O_PATH | OFlag::O_DIRECTORY));
        Ok(JoinFds { v2: v2.transpose()?, tasks })
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
        Self { place, systemd: None }
    }
}

/// Moves the calling task into the cgroups whose `tasks` files are given. For a child after clone: no allocation
/// unless it fails.
///
/// A pid written to cgroup.procs waits for an RCU grace period (3–19 ms); "0" written to `tasks` by a process of one
/// thread does not (22–36 µs).
pub fn join_self(tasks: &[OwnedFd]) -> sys::Result<()> {
    for fd in tasks {
        crate::sys::again::write(fd.as_fd(), b"0").map_err(|e| sys::SysError::new("write(tasks, \"0\")", e))?;
    }
    Ok(())
}

/// A moment after which waiting is given up.
#[derive(Debug, Clone, Copy)]
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
