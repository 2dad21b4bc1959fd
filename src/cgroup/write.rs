//! Carrying out a list of writes, and saying of a refused one what was asked, what the kernel said, and what to do.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::file;
use crate::plan::cgroup::{Check, OnError, Place, Write};
use crate::sys;

/// A limit that could not be set.
#[derive(Debug)]
pub struct WriteError {
    /// Where the value stands in the input.
    pub json: String,
    pub file: String,
    pub value: String,
    pub errno: Errno,
    pub hint: Option<String>,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (json, value, file) = (&self.json, &self.value, &self.file);
        write!(f, "{json}: write {value:?} to {file}: {}", sys::errno_text(self.errno))?;
        self.hint.iter().try_for_each(|hint| write!(f, " (hint: {hint})"))
    }
}

impl std::error::Error for WriteError {}

/// The container's directory for a controller.
pub(super) fn directory(place: &Place, controller: &str) -> Option<PathBuf> {
    let v1 = place.v1.iter().find(|d| d.has(controller));
    let v2 = || place.v2.as_ref().filter(|d| controller == "cgroup" || d.has(controller));
    v1.or_else(v2).map(crate::plan::cgroup::Dir::path)
}

/// Refuses numbers that do not exceed what is in use. Where that cannot be read there is nothing to compare with.
pub(super) fn check(place: &Place, checks: &[Check]) -> Result<()> {
    for c in checks {
        let usage = directory(place, &c.controller).and_then(|d| file::read(&d.join(&c.file)).ok());
        if let Some(usage) = usage.and_then(|u| u.trim().parse::<u64>().ok())
            && c.value <= usage
        {
            bail!("{}: rejecting limit {} <= usage {usage} (hint: checkBeforeUpdate is set)", c.json, c.value);
        }
    }
    Ok(())
}

/// Makes the writes in order.
pub(super) fn all(place: &Place, writes: &[Write]) -> Result<()> {
    for group in writes.chunk_by(|a, b| a.controller == b.controller) {
        let controller = &group[0].controller;
        let Some(path) = directory(place, controller) else {
            let json = &group[0].json;
            bail!("{json}: cannot set {controller} limit: container could not join or create cgroup");
        };
        let dir = path.as_path();
        let mut last = None;
        let mut again = Vec::new();
        for w in group {
            match one(dir, &mut last, &w.file, &w.value) {
                Err(Errno::EINVAL) if w.on_error == OnError::RetryLast => again.push(w),
                other => settle(w, other, dir, &mut last)?,
            }
        }
        for w in again {
            let result = one(dir, &mut last, &w.file, &w.value);
            settle(w, result, dir, &mut last)?;
        }
    }
    Ok(())
}

/// The file that was written last stays open: device rules are a dozen lines for one file.
type Last = Option<(String, OwnedFd)>;

fn one(dir: &Path, last: &mut Last, name: &str, value: &str) -> std::result::Result<(), Errno> {
    if let Some((open, fd)) = last
        && open == name
    {
        return file::write(fd, value);
    }
    let fd = file::open(&dir.join(name), OFlag::O_WRONLY).map_err(|e| e.errno)?;
    let (_, fd) = last.insert((name.to_owned(), fd));
    file::write(fd, value)
}

/// What the outcome of a write means.
fn settle(w: &Write, result: std::result::Result<(), Errno>, dir: &Path, last: &mut Last) -> Result<()> {
    let Err(errno) = result else { return Ok(()) };
    let (file, value, errno) = match &w.on_error {
        OnError::IgnoreMissing if errno == Errno::ENOENT => return Ok(()),
        OnError::IgnoreInvalid if errno == Errno::EINVAL => return Ok(()),
        OnError::Or { file, value } if errno == Errno::ENOENT => match one(dir, last, file, value) {
            Ok(()) => return Ok(()),
            Err(Errno::ENOENT) => (format!("{} or {file}", w.file), &w.value, Errno::ENOENT),
            Err(errno) => (file.clone(), value, errno),
        },
        _ => (w.file.clone(), &w.value, errno),
    };
    let hint = hint(w, errno, dir);
    Err(WriteError { json: w.json.clone(), file, value: value.clone(), errno, hint }.into())
}

/// What the kernel most likely meant.
fn hint(w: &Write, errno: Errno, dir: &Path) -> Option<String> {
    let number = |name: &str| {
        let fd = file::open(&dir.join(name), OFlag::O_RDONLY).ok()?;
        Some(file::read_fd(&fd).ok()?.trim().to_owned())
    };
    let text = match (w.controller.as_str(), w.file.as_str(), errno) {
        ("memory", "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes", Errno::EBUSY) => {
            let (now, peak) = (number("memory.usage_in_bytes")?, number("memory.max_usage_in_bytes")?);
            return Some(format!(
                "unable to set memory limit to {} (current usage: {now}, peak usage: {peak})",
                w.value
            ));
        }
        ("memory", "memory.memsw.limit_in_bytes" | "memory.swap.max", Errno::ENOENT) => {
            "the kernel counts no swap: boot it with swapaccount=1"
        }
        ("memory", "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes", Errno::EINVAL) => {
            "memory.swap counts memory and swap, so it cannot be less than memory.limit"
        }
        ("cpuset", _, Errno::EINVAL | Errno::EACCES | Errno::ERANGE) => {
            "every cpu and node of the list must exist and be in the parent's cpuset"
        }
        ("cpuset", _, Errno::EBUSY) => "a cgroup below, or an exclusive one beside, holds one of them",
        ("cpu", "cpu.shares" | "cpu.weight", Errno::EINVAL) => "shares cannot be set while cpu.idle is 1",
        ("cpu", "cpu.rt_runtime_us" | "cpu.rt_period_us", Errno::EINVAL) => {
            "the parent cgroup must have been given that much real-time bandwidth"
        }
        ("cpu", "cpu.rt_runtime_us" | "cpu.rt_period_us", Errno::ENOENT) => {
            "the kernel is built without CONFIG_RT_GROUP_SCHED"
        }
        ("cpu", "cpu.cfs_burst_us" | "cpu.max.burst", Errno::ENOENT) => "needs Linux 5.14",
        ("cpu", _, Errno::EINVAL) => "the share of a cpu that it asks for may exceed the parent cgroup's",
        ("hugetlb", _, Errno::ENOENT) => "/sys/kernel/mm/hugepages lists the page sizes of this host",
        ("blkio" | "io", _, Errno::ENOENT) => "weights need the BFQ I/O scheduler, or on v2 blk-iocost",
        ("blkio" | "io", _, Errno::ENODEV | Errno::ENXIO) => "there is no such block device",
        ("devices", "devices.allow", Errno::EPERM) => "the parent cgroup may not use that device either",
        ("devices", _, Errno::EINVAL) => "device rules cannot be reset while the cgroup has cgroups below it",
        (_, _, Errno::ENOENT) => "this kernel has no such file for that controller",
        _ => return None,
    };
    Some(text.into())
}
