//! The resctrl file system (Documentation/filesystems/resctrl.rst, Linux 4.10): groups of processes with their shares of
//! caches and memory bandwidth, and groups in which their use is counted. Not for what a document asks for: that is
//! `plan/rdt.rs`.

mod change;
pub mod stats;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::sys::statfs::{FsType, statfs};
use serde::{Deserialize, Serialize};

pub use change::change;

use crate::error::InputError;
use crate::plan::rdt::IntelRdt;
use crate::sys::{Named, SysError};

const ROOT: &str = "/sys/fs/resctrl";

/// `RDTGROUP_SUPER_MAGIC` (linux/magic.h).
const MAGIC: FsType = FsType(0x0765_5821);

/// The mounted file system.
#[derive(Debug)]
pub struct Resctrl {
    root: PathBuf,
}

/// A container's groups; its record keeps this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    pub path: PathBuf,
    /// It was made for the container, and goes with it.
    pub own: bool,
    /// Where its use alone is counted; it goes with the container in any case.
    pub monitoring: Option<PathBuf>,
}

/// What stands against a container that is to have its shares on this host.
pub fn obstacle() -> Option<InputError> {
    Resctrl::find().is_none().then(missing)
}

fn missing() -> InputError {
    InputError::new("linux.intelRdt", format!("the host has no resctrl file system at {ROOT}"))
        .hint("it takes a processor with Intel RDT or AMD QoS, and mount -t resctrl resctrl /sys/fs/resctrl")
}

/// The groups of a container in the making.
#[derive(Debug)]
pub struct Prepared<'a> {
    resctrl: Resctrl,
    wanted: &'a IntelRdt,
    pub group: Group,
    made: bool,
}

impl<'a> Prepared<'a> {
    /// Looks at what there is. Nothing is made yet.
    ///
    /// # Errors
    /// If the host has no resctrl file system, and as [`Resctrl::place`].
    pub fn new(wanted: &'a IntelRdt, id: &str) -> Result<Self> {
        let resctrl = Resctrl::find().ok_or_else(missing)?;
        let group = resctrl.place(wanted, id)?;
        Ok(Self { resctrl, wanted, group, made: false })
    }

    /// As [`Resctrl::make`].
    pub fn make(&mut self) -> Result<()> {
        self.resctrl.make(self.wanted, &self.group)?;
        self.made = true;
        Ok(())
    }

    /// Removes what [`Self::make`] has made, if it came to that.
    pub fn undo(&self) -> Result<()> {
        if self.made { self.group.remove() } else { Ok(()) }
    }
}

impl Resctrl {
    /// `None` where it is not mounted.
    pub fn find() -> Option<Self> {
        let mounted = statfs(ROOT).is_ok_and(|found| found.filesystem_type() == MAGIC);
        mounted.then(|| Self { root: ROOT.into() })
    }

    /// The groups that the container is to be in. Nothing is made yet.
    ///
    /// # Errors
    /// A group to join that is not there, or that has other shares than those asked for; a name that is taken.
    pub fn place(&self, wanted: &IntelRdt, id: &str) -> Result<Group> {
        let path = if wanted.group.is_empty() { self.root.clone() } else { self.root.join(&wanted.group) };
        let there = path.is_dir();
        match (wanted.named, there) {
            (true, false) if wanted.schemata.is_empty() => {
                return Err(InputError::new("linux.intelRdt.closID", format!("{}: no such group", path.display()))
                    .hint("make it before, or give the schemata to make it with")
                    .into());
            }
            (true, true) => check_shares(&path, &wanted.schemata)?,
            (false, true) => {
                return Err(InputError::new("linux.intelRdt", format!("{}: is there already", path.display()))
                    .hint("closID says which group to share")
                    .into());
            }
            _ => {}
        }
        let monitoring = wanted.monitoring.then(|| path.join("mon_groups").join(id));
        Ok(Group { path, own: !there, monitoring })
    }

    /// Makes what is not there of the container's groups.
    ///
    /// # Errors
    /// What the kernel refuses, in its own words (`info/last_cmd_status`); then nothing is left.
    pub fn make(&self, wanted: &IntelRdt, group: &Group) -> Result<()> {
        if group.own {
            make_directory(&group.path)?;
        }
        let fill = || {
            if group.own && !wanted.schemata.is_empty() {
                self.set(group, &wanted.schemata)?;
            }
            group.monitoring.as_deref().map_or(Ok(()), make_directory)
        };
        fill().inspect_err(|_| {
            if group.own {
                // The error that led here is the one to tell.
                let _ = fs::remove_dir(&group.path);
            }
        })
    }

    /// Writes lines of `schemata`; resources that they do not name keep their shares.
    pub fn set(&self, group: &Group, lines: &[String]) -> Result<()> {
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        write(&group.path.join("schemata"), &text).with_context(|| {
            let said = fs::read_to_string(self.root.join("info/last_cmd_status")).unwrap_or_default();
            format!("schemata {:?} (the kernel says: {})", lines.join(" "), said.trim())
        })
    }
}

impl Group {
    /// Lets a process, and its children to come, belong to the groups.
    pub fn add(&self, pid: i32) -> Result<()> {
        for path in [Some(&self.path), self.monitoring.as_ref()].into_iter().flatten() {
            write(&path.join("tasks"), &pid.to_string())?;
        }
        Ok(())
    }

    /// The lines of its `schemata`.
    pub fn shares(&self) -> Result<Vec<String>> {
        let text = read(&self.path.join("schemata"))?;
        Ok(text.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// Removes what was made for the container; what is left of its processes is back in the default class then.
    pub fn remove(&self) -> Result<()> {
        let own = self.own.then_some(&self.path);
        for path in [self.monitoring.as_ref(), own].into_iter().flatten() {
            match fs::remove_dir(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).named(|| format!("rmdir({path:?})")).context("linux.intelRdt");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A group that is shared must have the shares that are asked for (config-linux.md).
fn check_shares(path: &Path, wanted: &[String]) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let found = read(&path.join("schemata"))?;
    let Some(line) = wanted.iter().find(|line| !has(&found, line)) else { return Ok(()) };
    let found: Vec<&str> = found.lines().map(str::trim).collect();
    Err(InputError::new("linux.intelRdt", format!("{} has {:?}, not {line:?}", path.display(), found.join(" ")))
        .hint("a group that is shared keeps its shares: leave them out, or give the same")
        .into())
}

/// Whether the lines of a `schemata` file say what `wanted` says of its resource.
fn has(found: &str, wanted: &str) -> bool {
    let (resource, domains) = parse(wanted);
    let same = found.lines().map(parse).find(|(name, _)| *name == resource);
    same.is_some_and(|(_, found)| domains.iter().all(|domain| found.contains(domain)))
}

/// `L3:0=00ff;1=f` as the resource, and the values by domain without leading zeros.
fn parse(line: &str) -> (&str, Vec<(&str, String)>) {
    let (resource, values) = line.split_once(':').unwrap_or((line, ""));
    let domains = values.split(';').filter_map(|domain| domain.split_once('=')).map(|(domain, value)| {
        let value = value.trim().to_ascii_lowercase();
        let digits = value.trim_start_matches("0x").trim_start_matches('0');
        (domain.trim(), digits.to_owned())
    });
    (resource.trim(), domains.collect())
}

fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir(path).named(|| format!("mkdir({path:?})")).map_err(|error| {
        let none_left = error.errno == nix::errno::Errno::ENOSPC;
        let hint = if none_left { " (hint: the processor has no class of service left)" } else { "" };
        anyhow::Error::new(error).context(format!("linux.intelRdt{hint}"))
    })
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).named(|| format!("read({path:?})")).context("linux.intelRdt")
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).named(|| format!("write({path:?}, {text:?})")).context("linux.intelRdt")
}

/// Whether the error says that the group has gone: an administrator may remove it, and its processes live on.
pub fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<SysError>().is_some_and(|error| error.errno == nix::errno::Errno::ENOENT)
}
