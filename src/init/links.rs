//! The symlinks at both ends of a bind: followed, unless an option says otherwise. What is on the way to them is followed
//! in any case, below the rootfs never out of it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::readlinkat;
use nix::sys::stat::SFlag;

use super::{Init, pivot};
use crate::plan::mounts::Mount;
use crate::safe::rootfs::{Rootfs, file_type, stat};
use crate::sys::Named;
use crate::sys::mount::clone_tree_of;

/// A detached clone of the bind's source; `None` when it was a symlink that has been copied instead.
pub fn source(init: &mut Init<'_>, mount: &Mount, source: &Path, recursive: bool) -> Result<Option<OwnedFd>> {
    if !mount.links.bind_source && !mount.links.copy {
        return pivot::source(init, source, recursive).map(Some);
    }
    let found = pivot::open_itself(init, source)?;
    let is_link = file_type(&stat(found.as_fd())?) == SFlag::S_IFLNK;
    if is_link && mount.links.copy {
        let target = readlinkat(&found, "").named(|| format!("readlink({source:?})"))?;
        init.rootfs()?.exact_symlink(&mount.destination, Path::new(&target)).context("copy-symlink")?;
        return Ok(None);
    }
    if is_link && !mount.links.bind_source {
        return pivot::open_tree(init, source, recursive).map(Some);
    }
    let tree = clone_tree_of(found.as_fd(), recursive)?;
    pivot::keep_from_host(init, &tree)?;
    Ok(Some(tree))
}

/// What the bind goes over, made if there is nothing: a directory for a directory.
pub fn target(rootfs: &Rootfs, mount: &Mount, is_directory: impl FnOnce() -> Result<bool>) -> Result<OwnedFd> {
    if mount.links.cover_destination {
        return rootfs.itself(&mount.destination, is_directory()?);
    }
    // Usually there is something, and the kernel knows by itself whether one can cover the other.
    match rootfs.find(&mount.destination)? {
        Some(found) => Ok(found),
        None if is_directory()? => rootfs.directory(&mount.destination),
        None => rootfs.file(&mount.destination),
    }
}
