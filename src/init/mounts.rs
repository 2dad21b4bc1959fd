//! Carries out the mounts of the Plan, each by descriptor: the source as a detached tree, the target resolved below the
//! rootfs handle, so that no path is looked up twice.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::stat::SFlag;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::fchdir;

use super::{Init, Trees, at_once, cgroup_mount, copy_up, links, pivot};
use crate::plan::mounts::{AttrChange, FsParam, Mount, MountKind, Propagation, is_emulated};
use crate::safe::rootfs::{Rootfs, file_type, stat};
use crate::sync;
use crate::sys::mount::{
    FSCONFIG_VALUE_MAX, FsContext, MOUNT_ATTR_RDONLY, attach, mount_here, set_attributes, set_propagation,
};
use crate::sys::process::Spent;
use crate::sys::{Named, mount_id};
use crate::weak::{Guard, lacks};

pub fn apply(init: &mut Init<'_>) -> Result<()> {
    let plan = init.plan;
    let mut spent = Spent::default();
    for mount in &plan.mounts {
        one(init, mount, &mut spent).with_context(|| format!("{} ({})", mount.at, mount.destination.display()))?;
    }
    // What was to be written to first: later mounts need their mount points in it. /dev still waits for its nodes.
    for mount in plan.mounts.iter().filter(|mount| mount.readonly_late && mount.destination != Path::new("/dev")) {
        if let Some(mounted) = init.rootfs()?.find(&mount.destination)? {
            set_attributes(mounted.as_fd(), MOUNT_ATTR_RDONLY, 0, false)
                .with_context(|| format!("{} ({})", mount.at, mount.destination.display()))?;
        }
    }
    Ok(())
}

fn one(init: &mut Init<'_>, mount: &Mount, spent: &mut Spent) -> Result<()> {
    match &mount.kind {
        MountKind::Bind { source, recursive } => {
            let Some(tree) = links::source(init, mount, source, *recursive)? else { return Ok(()) };
            let is_directory = || Ok(file_type(&stat(tree.as_fd())?) == SFlag::S_IFDIR);
            let rootfs = init.rootfs()?;
            let target = links::target(rootfs, mount, is_directory)?;
            check_root(init, target.as_fd())?;
            check_proc(rootfs, target.as_fd(), mount, Some(tree.as_fd()))?;
            // The parent has made it private, if that is what it has brought.
            let done = mount.becomes_private() && matches!(init.inherited.trees, Trees::Brought { .. });
            let tree = pivot::attach_brought(init, tree, source, |init, tree, anew| {
                map_ids(init, mount, tree)?;
                attributes(tree, mount, now(mount))?;
                propagate(tree, &mount.propagation[usize::from(done && !anew)..])?;
                Ok(attach(tree.as_fd(), target.as_fd())?)
            })?;
            spent.put([tree, target]);
        }
        MountKind::Filesystem { fstype, source, flags, params } => {
            let target = directory_for(init.rootfs()?, fstype, &mount.destination)?;
            check_root(init, target.as_fd())?;
            check_proc(init.rootfs()?, target.as_fd(), mount, None)?;
            let params = with_default_mode(fstype, params, target.as_fd())?;
            let source = source.as_deref();
            if flags.is_empty() && at_once::mount(mount, fstype, source, &params, target.as_fd()) {
                spent.put([target]);
                return Ok(());
            }
            let tree = match (filesystem(fstype, source, flags, &params, now(mount).set), mount.fallback) {
                (Err(error), Some(path)) if is_refusal(&error) => hosts_own(init, mount, path)?,
                (Ok(Some(tree)), _) => tree,
                (Ok(None), _) => {
                    return mount_by_old_call(init.rootfs()?, fstype, source, mount, flags, &params, target);
                }
                (Err(error), _) => return Err(error),
            };
            if mount.copy_up {
                copy_up::copy(target.as_fd(), tree.as_fd()).context("tmpcopyup")?;
            }
            map_ids(init, mount, &tree)?;
            finish(&tree, mount, AttrChange::default())?;
            attach(tree.as_fd(), target.as_fd())?;
            spent.put([tree, target]);
        }
        MountKind::CgroupV1 { hierarchies, links } => {
            let target = init.rootfs()?.directory(&mount.destination)?;
            check_root(init, target.as_fd())?;
            check_proc(init.rootfs()?, target.as_fd(), mount, None)?;
            let tree = cgroup_mount::mount(hierarchies, links, mount.attrs.set, target.as_fd())?;
            if init.plan.mounts_on_the_host() {
                // The container's own cgroups, which are binds without a cgroup namespace.
                set_propagation(tree.as_fd(), libc::MS_SLAVE, true)?;
            }
            finish(&tree, mount, AttrChange { set: now(mount).set & MOUNT_ATTR_RDONLY, clear: 0 })?;
            spent.put([tree, target]);
        }
        MountKind::Remount { flags, params } => return remount(init.rootfs()?, mount, flags, params),
    }
    Ok(())
}

fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<crate::sys::SysError>().is_some_and(|error| error.errno == nix::errno::Errno::EPERM)
}

/// The host's own mount of a filesystem, with all that is mounted below: the kernel gives a user namespace no part of it.
/// For /sys that includes the cgroups of the user on the host, so it becomes read-only to the last (CVE-2023-25809).
fn hosts_own(init: &mut Init<'_>, mount: &Mount, path: &str) -> Result<OwnedFd> {
    let tree = pivot::open_tree(init, Path::new(path), true)?;
    let readonly = if path == "/sys" { MOUNT_ATTR_RDONLY } else { 0 };
    set_attributes(tree.as_fd(), mount.attrs.set | readonly, 0, true)?;
    Ok(tree)
}

/// The attributes to set while mounting: all, or all but read-only.
pub(super) fn now(mount: &Mount) -> AttrChange {
    let late = if mount.readonly_late { MOUNT_ATTR_RDONLY } else { 0 };
    AttrChange { set: mount.attrs.set & !late, clear: mount.attrs.clear }
}

/// Has the parent map the ids of the detached tree: it takes CAP_SYS_ADMIN over the filesystem, which may be the host's.
/// The tree was cloned in this mount namespace, so the kernel's locks on it are those of any other mount here.
fn map_ids(init: &mut Init<'_>, mount: &Mount, tree: &OwnedFd) -> Result<()> {
    if mount.id_mapping.is_some() {
        init.inherited.wire.ask_about(sync::Kind::MapIds, mount.at.as_bytes(), tree.as_fd(), sync::Kind::Done)?;
    }
    Ok(())
}

/// Attributes and propagation of the detached tree, before anyone can see it.
pub fn finish(tree: &OwnedFd, mount: &Mount, attrs: AttrChange) -> Result<()> {
    attributes(tree, mount, attrs)?;
    propagate(tree, &mount.propagation)
}

fn attributes(tree: &OwnedFd, mount: &Mount, attrs: AttrChange) -> Result<()> {
    if attrs != AttrChange::default() {
        set_attributes(tree.as_fd(), attrs.set, attrs.clear, false)?;
    }
    if mount.recursive_attrs != AttrChange::default() {
        set_attributes(tree.as_fd(), mount.recursive_attrs.set, mount.recursive_attrs.clear, true)?;
    }
    Ok(())
}

fn propagate(tree: &OwnedFd, changes: &[Propagation]) -> Result<()> {
    for propagation in changes {
        set_propagation(tree.as_fd(), propagation.kind, propagation.recursive)?;
    }
    Ok(())
}

/// The directory to mount on. For proc and sysfs no symlink may lead there: the runtime and the program would mean
/// different files by the same name (CVE-2019-19921, CVE-2023-27561).
pub fn directory_for(rootfs: &Rootfs, fstype: &str, destination: &Path) -> Result<OwnedFd> {
    if !matches!(fstype, "proc" | "sysfs") || lacks(Guard::OrdinaryDirectories) {
        return rootfs.directory(destination);
    }
    let ordinary = || anyhow!("filesystem {fstype:?} must be mounted on ordinary directory");
    match rootfs.find_without_symlinks(destination) {
        Ok(Some(found)) if file_type(&stat(found.as_fd())?) == SFlag::S_IFDIR => Ok(found),
        Ok(Some(_)) => Err(ordinary()),
        Ok(None) => {
            rootfs.directory(destination)?;
            // Looked up again, since a symlink may have stood in the part that existed.
            rootfs.find_without_symlinks(destination).ok().flatten().ok_or_else(ordinary)
        }
        Err(error)
            if error.downcast_ref::<crate::sys::SysError>().is_some_and(|e| e.errno == nix::errno::Errno::ELOOP) =>
        {
            Err(ordinary())
        }
        Err(error) => Err(error),
    }
}

/// Refuses to cover the root that `delete` is to find again in the host's own mount namespace.
fn check_root(init: &Init<'_>, target: BorrowedFd<'_>) -> Result<()> {
    if !init.plan.mounts_on_the_host() {
        return Ok(());
    }
    let root = init.rootfs()?.as_fd();
    let (a, b) = (stat(root)?, stat(target)?);
    if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) && mount_id(root)? == mount_id(target)? {
        bail!(
            "would cover the root, which needs a mount namespace (hint: add {{\"type\": \"mount\"}} to linux.namespaces)"
        );
    }
    Ok(())
}

/// Refuses what the rule of `/proc` forbids: a procfs may be bound over `/proc`, and nothing over what is inside one.
pub fn check_proc(rootfs: &Rootfs, target: BorrowedFd<'_>, mount: &Mount, tree: Option<BorrowedFd<'_>>) -> Result<()> {
    if mount.destination != Path::new("/proc") {
        return keep_out_of_proc(rootfs, target);
    }
    // What is new is a procfs, or the Plan had refused it, and so is on an ordinary directory.
    let Some(tree) = tree.filter(|_| !lacks(Guard::ProcTargets)) else { return Ok(()) };
    if !is_proc(tree)? {
        bail!(
            "only a procfs may be mounted on /proc (hint: mounts inside it are refused, since labels and sysctls are written there)"
        );
    }
    if is_proc(target)? && rootfs.path_of(target)? != mount.destination {
        bail!(INSIDE_PROC);
    }
    Ok(())
}

/// Refuses to cover what is inside a procfs, however the path led there: LSM labels and sysctls are written through it
/// (CVE-2019-16884). By where the target is, not by what it is called: an image or a volume may have a symlink there.
pub fn keep_out_of_proc(rootfs: &Rootfs, target: BorrowedFd<'_>) -> Result<()> {
    if lacks(Guard::ProcTargets) || !is_proc(target)? {
        return Ok(());
    }
    if rootfs.trusts_proc() && is_emulated(&rootfs.path_of(target)?) {
        return Ok(());
    }
    bail!(INSIDE_PROC)
}

const INSIDE_PROC: &str =
    "is inside a procfs (hint: mounts inside /proc are refused, since labels and sysctls are written there)";

fn is_proc(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(fstatfs(fd).named(|| "fstatfs()".to_owned())?.filesystem_type() == PROC_SUPER_MAGIC)
}

/// A tmpfs takes the mode of the directory that it covers, unless told otherwise (as runc).
pub fn with_default_mode(fstype: &str, params: &[FsParam], target: BorrowedFd<'_>) -> Result<Vec<FsParam>> {
    let mut params = params.to_vec();
    if fstype == "tmpfs" && !params.iter().any(|param| param.key == "mode") {
        let mode = stat(target)?.st_mode & 0o7777;
        params.insert(0, FsParam { key: "mode".to_owned(), value: Some(format!("{mode:o}")) });
    }
    Ok(params)
}

/// A new, detached mount; `None` if a value is too long for fsconfig(2).
pub fn filesystem(
    fstype: &str,
    source: Option<&str>,
    flags: &[&str],
    params: &[FsParam],
    attributes: u64,
) -> Result<Option<OwnedFd>> {
    let values = params.iter().filter_map(|param| param.value.as_deref()).chain(source);
    if values.into_iter().any(|value| value.len() >= FSCONFIG_VALUE_MAX) {
        return Ok(None);
    }
    let context = FsContext::open(fstype)?;
    if let Some(source) = source {
        context.set_string("source", source)?;
    }
    for flag in flags {
        context.set_flag(flag)?;
    }
    set_params(&context, params)?;
    Ok(Some(context.mount(attributes)?))
}

pub(super) fn set_params(context: &FsContext, params: &[FsParam]) -> Result<()> {
    for FsParam { key, value } in params {
        match value {
            Some(value) => context.set_string(key, value)?,
            None => context.set_flag(key)?,
        }
    }
    Ok(())
}

/// Superblock flags by the names that fsconfig(2) has for them.
const SUPERBLOCK_FLAGS: &[(&str, u64)] = &[
    ("ro", libc::MS_RDONLY),
    ("sync", libc::MS_SYNCHRONOUS),
    ("dirsync", libc::MS_DIRSYNC),
    ("mand", libc::MS_MANDLOCK),
    ("lazytime", 1 << 25), // MS_LAZYTIME (linux/mount.h)
    ("silent", libc::MS_SILENT),
    // How it is anyway.
    ("rw", 0),
    ("async", 0),
    ("nomand", 0),
    ("nolazytime", 0),
];

/// Parameters as mount(2) takes them.
pub(super) fn data_of(params: &[FsParam]) -> String {
    let words: Vec<String> = params
        .iter()
        .map(|FsParam { key, value }| match value {
            // An SELinux context: mount(2) splits at commas outside of quotes.
            Some(value) if value.contains(',') => format!("{key}=\"{value}\""),
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        })
        .collect();
    words.join(",")
}

/// mount(2), for long values such as many overlay layers. The working directory stands for the target, so that this
/// call looks up no path either.
fn mount_by_old_call(
    rootfs: &Rootfs,
    fstype: &str,
    source: Option<&str>,
    mount: &Mount,
    flags: &[&str],
    params: &[FsParam],
    target: OwnedFd,
) -> Result<()> {
    if mount.id_mapping.is_some() {
        bail!(
            "ids cannot be mapped together with a value of over 255 bytes (hint: only fsconfig(2) leaves the mount detached)"
        );
    }
    let mut bits = 0;
    for flag in flags {
        let known = SUPERBLOCK_FLAGS.iter().find(|(name, _)| name == flag);
        bits |= known.with_context(|| format!("{flag} cannot be given together with a value of over 255 bytes"))?.1;
    }
    fchdir(&target).named(|| "fchdir(target)".to_owned())?;
    mount_here(".", source.unwrap_or("none"), fstype, bits, &data_of(params))?;
    let mounted = rootfs.find(&mount.destination)?.context("internal error: the mount is not where it was put")?;
    if mount.copy_up {
        copy_up::copy(target.as_fd(), mounted.as_fd()).context("tmpcopyup")?;
    }
    finish(&mounted, mount, now(mount))
}

/// `remount`: the flags and data of what an earlier entry has mounted at the destination.
fn remount(rootfs: &Rootfs, mount: &Mount, flags: &[&str], params: &[FsParam]) -> Result<()> {
    let mounted = rootfs
        .find(&mount.destination)?
        .context("nothing is mounted there to remount (hint: the entry that mounts it must come first)")?;
    if !flags.is_empty() || !params.is_empty() {
        let context = FsContext::pick(mounted.as_fd())?;
        for flag in flags {
            context.set_flag(flag)?;
        }
        set_params(&context, params)?;
        context.reconfigure()?;
    }
    finish(&mounted, mount, mount.attrs)
}
