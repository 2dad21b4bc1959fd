//! Making the directories: what must be true of a cgroup before a process can join it. v1: cpus and mems for a cpuset.
//! v2: controllers handed down from the root, and a domain. Both: nobody in it, and not frozen.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::unistd::{Uid, chown};

use super::{file, freeze, members};
use crate::plan::cgroup::{CgroupPlan, Delegate, Dir, Limits, Place};
use crate::sys;

/// The directories made so far. Dropped before [`Made::keep`], they are removed again, the last first.
#[derive(Default)]
pub(super) struct Made {
    dirs: Vec<PathBuf>,
    /// The container's v2 directory is new: no program can be attached to it.
    pub leaf_of_v2: bool,
}

impl Made {
    pub(super) fn keep(mut self) {
        self.dirs.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for dir in self.dirs.iter().rev() {
            // Best effort, on the way out with an error that matters more: a parent may be in use by now.
            let _ = file::rmdir(dir);
        }
    }
}

/// Makes what there is not yet of `wanted`. `init`: the process that is in some of it already, put there by systemd, and
/// is to be in all of it; without, nobody may be.
pub(super) fn make(plan: &CgroupPlan, wanted: &Place, init: Option<i32>, made: &mut Made) -> Result<Place> {
    let mut place = Place { kind: wanted.kind, v1: Vec::new(), v2: None, unit: wanted.unit.clone() };
    for dir in &wanted.v1 {
        if let Some(fresh) = permitted(plan, mkdir_all(dir, made))? {
            v1(dir, fresh, plan, init).with_context(|| format!("cgroup {:?}", dir.path()))?;
            place.v1.push(dir.clone());
        }
    }
    if let Some(dir) = &wanted.v2
        && let Some(fresh) = permitted(plan, mkdir_all(dir, made))?
    {
        made.leaf_of_v2 = fresh;
        v2(dir, plan, init).with_context(|| format!("cgroup {:?}", dir.path()))?;
        if let Some(Delegate { below, uid }) = &plan.delegate {
            let sub = Dir { below: dir.below.join(below), ..dir.clone() };
            mkdir_all(&sub, made)?;
            delegate(&sub.path(), Uid::from_raw(*uid)).with_context(|| format!("cgroup {:?}", sub.path()))?;
        }
        place.v2 = Some(dir.clone());
    }
    Ok(place)
}

/// Rootless without a `cgroupsPath`, a hierarchy that may not be written is done without.
fn permitted<T>(plan: &CgroupPlan, result: sys::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(sys::SysError { errno: Errno::EPERM | Errno::EACCES | Errno::EROFS, .. })
            if plan.rootless && !plan.explicit =>
        {
            Ok(None)
        }
        Err(e) => Err(e.into()),
    }
}

/// Makes the directory and its missing parents; whether the directory itself is new.
fn mkdir_all(dir: &Dir, made: &mut Made) -> sys::Result<bool> {
    let path = dir.path();
    let mut mkdir = |path: &Path| {
        let fresh = file::mkdir(path)?;
        if fresh {
            made.dirs.push(path.to_owned());
        }
        Ok(fresh)
    };
    match mkdir(&path) {
        // Usually only the last directory is missing.
        Err(sys::SysError { errno: Errno::ENOENT, .. }) => {
            let mut at = dir.mount.clone();
            let mut fresh = false;
            for component in &dir.below {
                at.push(component);
                fresh = mkdir(&at)?;
            }
            Ok(fresh)
        }
        other => other,
    }
}

fn v1(dir: &Dir, fresh: bool, plan: &CgroupPlan, init: Option<i32>) -> Result<()> {
    let path = dir.path();
    if !fresh && init.is_none() {
        refuse_members(&path)?;
    }
    if dir.has("cpuset") {
        let given = |file: &str| plan.limits.writes.iter().any(|w| w.controller == "cpuset" && w.file == file);
        for name in ["cpus", "mems"] {
            if !given(&format!("cpuset.{name}")) {
                inherit(&path, &dir.mount, name, fresh)?;
            } else if let Some(parent) = path.parent().filter(|p| *p != dir.mount) {
                inherit(parent, &dir.mount, name, false)?;
            }
        }
    }
    // Frozen by a parent counts too: a child that joined would never get to run.
    if dir.has("freezer") && freeze::v1_state(&path)? != "THAWED" {
        bail!("container's cgroup unexpectedly frozen");
    }
    if let Some(pid) = init {
        enter(&path, pid)?;
    }
    Ok(())
}

/// Moves a process in. The slow way (see [`super::join_self`]); no write where it is in already.
fn enter(path: &Path, pid: i32) -> Result<()> {
    if !members::pids(path, false)?.contains(&pid) {
        file::put(&path.join("cgroup.procs"), &pid.to_string())?;
    }
    Ok(())
}

pub(super) fn refuse_members(path: &Path) -> Result<()> {
    match members::pids(path, true)?.len() {
        0 => Ok(()),
        count => bail!("container's cgroup is not empty: {count} process(es) found"),
    }
}

/// Gives a v1 cpuset its parent's list where it has none, as a `fresh` one: joining it would be ENOSPC. What is set is
/// left alone.
fn inherit(path: &Path, mount: &Path, name: &str, fresh: bool) -> sys::Result<String> {
    // The second where the hierarchy is mounted with `noprefix`.
    let [file, unprefixed] = [path.join(format!("cpuset.{name}")), path.join(name)];
    let either = |call: &dyn Fn(&Path) -> sys::Result<String>| match call(&file) {
        Err(e) if e.errno == Errno::ENOENT => call(&unprefixed),
        done => done,
    };
    let list = if fresh { String::new() } else { either(&file::value)? };
    let Some(parent) = path.parent().filter(|_| list.trim().is_empty() && path != mount) else {
        return Ok(list);
    };
    let list = inherit(parent, mount, name, false)?;
    either(&|file| file::put(file, list.trim()).map(|()| list.clone()))
}

fn v2(dir: &Dir, plan: &CgroupPlan, init: Option<i32>) -> Result<()> {
    let path = dir.path();
    let events = file::value(&path.join("cgroup.events"))?;
    if file::key(&events, "populated") == Some("1") && init.is_none() {
        refuse_members(&path)?;
    }
    if file::key(&events, "frozen") == Some("1") {
        bail!("container's cgroup unexpectedly frozen");
    }
    if let Some(pid) = init {
        // Before controllers are handed down to it: who hands them down cannot have members.
        enter(&path, pid)?;
    }
    enable(dir, &plan.limits)?;
    let kind = file::value(&path.join("cgroup.type"))?;
    match kind.trim() {
        "domain" => {}
        "domain invalid" => bail!(
            "it is in an invalid state: a cgroup above it is threaded (hint: choose a cgroupsPath below a domain cgroup)"
        ),
        kind => bail!("it is in {kind} mode, which cannot hold a container (hint: choose another cgroupsPath)"),
    }
    if let Some(uid) = plan.owner.filter(|uid| *uid != 0) {
        delegate(&path, Uid::from_raw(uid))?;
    }
    Ok(())
}

/// Hands the wanted controllers down from the root. Those that cannot be enabled are left to the limit that needs them.
pub(super) fn enable(dir: &Dir, limits: &Limits) -> Result<()> {
    let wanted = &limits.enable;
    let missing = |dir: &Path, file: &str| -> sys::Result<Vec<&String>> {
        let have = file::read(&dir.join(file))?;
        Ok(wanted.iter().filter(|c| !have.split_whitespace().any(|h| h == c.as_str())).collect())
    };
    // One look at the end tells whether all the way is done already: the usual case.
    if wanted.is_empty() || missing(&dir.path(), "cgroup.controllers")?.is_empty() {
        return Ok(());
    }
    let mut at = dir.mount.clone();
    let mut refusal = None;
    for component in &dir.below {
        let control = at.join("cgroup.subtree_control");
        let lacking = missing(&at, "cgroup.subtree_control")?;
        let all: Vec<String> = lacking.iter().map(|c| format!("+{c}")).collect();
        if !all.is_empty() && file::put(&control, &all.join(" ")).is_err() {
            // One that cannot be had (the cpu controller with real-time tasks about, say) fails the others with it.
            // What is refused further up is why it is missing further down.
            let error = all.iter().filter_map(|c| file::put(&control, c).err()).next_back();
            refusal = refusal.or(error);
        }
        at.push(component);
    }
    let missing = missing(&dir.path(), "cgroup.controllers")?;
    let mut writes = limits.writes.iter().chain(&limits.late);
    if let Some(write) = writes.find(|w| missing.contains(&&w.controller)) {
        let why = refusal.as_ref().map_or_else(|| "it is not delegated".to_owned(), ToString::to_string);
        let hint = match refusal.as_ref().map(|r| r.errno) {
            Some(Errno::EBUSY) => " (hint: a v2 cgroup that holds processes cannot hand controllers down)",
            _ => "",
        };
        bail!("{}: the {:?} controller cannot be enabled: {why}{hint}", write.json, write.controller);
    }
    Ok(())
}

/// Gives the cgroup to the container's user: the directory, and the files that the kernel names for delegation.
fn delegate(path: &Path, uid: Uid) -> Result<()> {
    let own = |path: &Path| {
        chown(path, Some(uid), None).map_err(|e| sys::SysError::new(format!("chown({path:?}, {uid})"), e))
    };
    own(path)?;
    // Since Linux 4.15; the list before that.
    let names = std::fs::read_to_string("/sys/kernel/cgroup/delegate")
        .unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".into());
    for name in names.lines() {
        match own(&path.join(name)) {
            // The list is the kernel's for every controller, enabled or not.
            Err(e) if e.errno == Errno::ENOENT => {}
            other => other?,
        }
    }
    Ok(())
}
