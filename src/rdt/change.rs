//! `update` of a container's shares. One that has no group of its own gets one, with all of its processes, as runc has it.

use std::collections::HashSet;

use anyhow::{Context, Result};
use nix::errno::Errno;

use super::{Group, Resctrl};
use crate::error::InputError;
use crate::plan::rdt::IntelRdt;
use crate::state::Container;
use crate::sys::SysError;

/// A change that has been made.
pub struct Changed {
    resctrl: Resctrl,
    group: Group,
    before: Vec<String>,
}

impl Changed {
    /// Sets everything back as it was.
    pub fn restore(&self) {
        // What fails here cannot be mended, and hides no more than the error that led here.
        let _ = self.resctrl.set(&self.group, &self.before);
    }
}

/// Writes `lines` to the `schemata` of the container's group. A group that is made for it is put down in its record.
///
/// # Errors
/// `without` where the host has no resctrl; what the kernel refuses.
pub fn change(container: &mut Container, lines: &[String], without: InputError) -> Result<Changed> {
    let resctrl = Resctrl::find().ok_or(without)?;
    if container.record.intel_rdt.is_none() {
        let id = container.record.id.clone();
        let wanted = IntelRdt { group: id.clone(), named: false, schemata: Vec::new(), monitoring: false };
        let group = resctrl.place(&wanted, &id)?;
        container.record.intel_rdt = Some(group.clone());
        container.record.write(&container.dir)?;
        resctrl.make(&wanted, &group)?;
        gather(&group, || container.pids())?;
    }
    let group = container.record.intel_rdt.clone().context("internal error: no group")?;
    let before = group.shares()?;
    resctrl.set(&group, lines)?;
    Ok(Changed { resctrl, group, before })
}

/// Adds processes until there is none that is new: while they are added they can have children.
pub(super) fn gather(group: &Group, pids: impl Fn() -> Result<Vec<i32>>) -> Result<()> {
    let mut members = HashSet::new();
    loop {
        let new: Vec<i32> = pids()?.into_iter().filter(|pid| !members.contains(pid)).collect();
        if new.is_empty() {
            return Ok(());
        }
        for pid in new {
            match group.add(pid) {
                // Gone meanwhile.
                Err(error) if error.downcast_ref::<SysError>().is_some_and(|e| e.errno == Errno::ESRCH) => {}
                result => result?,
            }
            members.insert(pid);
        }
    }
}
