//! The cgroup v1 view at `/sys/fs/cgroup`: a tmpfs with one directory per hierarchy, as the host has it.

use std::fs::Permissions;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;

use crate::plan::mounts::CgroupHierarchy;
use crate::sys::mount::{FsContext, MOUNT_ATTR_RDONLY, attach, clone_tree, set_attributes};
use crate::sys::{Named, SysError};

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
    for hierarchy in hierarchies {
        let name = hierarchy.name.as_str();
        mkdirat(&top, name, Mode::from_bits_truncate(0o755)).named(|| format!("mkdir({name:?})"))?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = openat(&top, name, flags, Mode::empty()).named(|| format!("open({name:?})"))?;
        let tree = tree(hierarchy, attributes).with_context(|| format!("hierarchy {name}"))?;
        attach(tree.as_fd(), directory.as_fd())?;
    }
    for (name, target) in links {
        symlinkat(target.as_str(), &top, name.as_str()).named(|| format!("symlink({target:?}, {name:?})"))?;
    }
    Ok(top)
}

/// The hierarchy as the container's cgroup namespace shows it, or without one the container's own directory.
fn tree(hierarchy: &CgroupHierarchy, attributes: u64) -> Result<OwnedFd> {
    if let Some(source) = &hierarchy.bind {
        let (tree, attributes) = match (clone_tree(source, false), &hierarchy.bind_own) {
            (Err(SysError { errno: Errno::ENOENT, .. }), Some(own)) => {
                (clone_tree(own, false)?, attributes | MOUNT_ATTR_RDONLY)
            }
            (tree, _) => (tree?, attributes),
        };
        set_attributes(tree.as_fd(), attributes, 0, false)?;
        return Ok(tree);
    }
    let context = FsContext::open(hierarchy.fstype)?;
    context.set_string("source", hierarchy.fstype)?;
    super::mounts::set_params(&context, &hierarchy.params)?;
    Ok(context.mount(attributes)?)
}
