//! The cgroup v1 view at `/sys/fs/cgroup`: a tmpfs with one directory per hierarchy, as the host has it.

use std::fs::Permissions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{fchdir, symlinkat};

use crate::plan::mounts::CgroupHierarchy;
use crate::sys::again::openat;
use crate::sys::mount::{FsContext, MOUNT_ATTR_RDONLY, attach, clone_tree, mount_here, set_attributes};
use crate::sys::{Named, SysError};

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Mounts the tmpfs on `target`, with the hierarchies in it, each with `attributes`; the tmpfs itself becomes read-only
/// last. Returns the tmpfs.
pub fn mount(
    hierarchies: &[CgroupHierarchy],
    links: &[(String, String)],
    attributes: u64,
    target: BorrowedFd<'_>,
) -> Result<OwnedFd> {
    let tmpfs = FsContext::open("tmpfs")?;
    tmpfs.set_string("source", "tmpfs")?;
    tmpfs.set_string("mode", &format!("{:o}", Permissions::from_mode(0o755).mode()))?;
    let top = tmpfs.mount(attributes & !MOUNT_ATTR_RDONLY)?;
    // Attached first: mounts can be attached to a detached tree only since Linux 6.15.
    attach(top.as_fd(), target)?;
    // The tmpfs is new and, but for a target on a volume that shares its mounts, ours alone: names in it are safe to use.
    fchdir(&top).named(|| "fchdir(tmpfs)".to_owned())?;
    for hierarchy in hierarchies {
        let name = hierarchy.name.as_str();
        mkdirat(&top, name, Mode::from_bits_truncate(0o755)).named(|| format!("mkdir({name:?})"))?;
        one(hierarchy, attributes, top.as_fd()).with_context(|| format!("hierarchy {name}"))?;
    }
    for (name, target) in links {
        symlinkat(target.as_str(), &top, name.as_str()).named(|| format!("symlink({target:?}, {name:?})"))?;
    }
    Ok(top)
}

/// The hierarchy as the container's cgroup namespace shows it, or without one the container's own directory.
fn one(hierarchy: &CgroupHierarchy, attributes: u64, top: BorrowedFd<'_>) -> Result<()> {
    let name = hierarchy.name.as_str();
    if let Some(source) = &hierarchy.bind {
        let (tree, attributes) = match (clone_tree(source, false), &hierarchy.bind_own) {
            (Err(SysError { errno: Errno::ENOENT, .. }), Some(own)) => {
                (clone_tree(own, false)?, attributes | MOUNT_ATTR_RDONLY)
            }
            (tree, _) => (tree?, attributes),
        };
        set_attributes(tree.as_fd(), attributes, 0, false)?;
        let directory = openat(top, name, DIRECTORY, Mode::empty()).named(|| format!("open({name:?})"))?;
        return Ok(attach(tree.as_fd(), directory.as_fd())?);
    }
    // By mount(2), since there are up to a dozen of these. It has ro, nosuid, nodev and noexec at the same bits.
    const SAME: u64 = 0xf;
    const ACCESS_TIME: u64 = 0x70; // MOUNT_ATTR__ATIME
    let data = super::mounts::data_of(&hierarchy.params);
    mount_here(name, hierarchy.fstype, hierarchy.fstype, attributes & SAME, &data)?;
    let others = attributes & !SAME;
    if others != 0 {
        let mounted = openat(top, name, DIRECTORY, Mode::empty()).named(|| format!("open({name:?})"))?;
        let clear = if others & ACCESS_TIME == 0 { 0 } else { ACCESS_TIME };
        set_attributes(mounted.as_fd(), others, clear, false)?;
    }
    Ok(())
}
