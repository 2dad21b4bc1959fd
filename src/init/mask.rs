//! `linux.maskedPaths` and `linux.readonlyPaths`: the last mounts, after the hooks have had their say.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sys::stat::{SFlag, makedev};

use super::Init;
use crate::safe::rootfs::{file_type, stat};
use crate::sys::mount::{FsContext, MOUNT_ATTR_RDONLY, attach, clone_read_only, clone_tree_of, set_attributes};
use crate::sys::process::Spent;
use crate::weak::{Guard, lacks};

pub fn apply(init: &mut Init<'_>) -> Result<()> {
    let plan = init.plan;
    let mut spent = Spent::default();
    for path in &plan.readonly_paths {
        read_only(init, path, &mut spent).with_context(|| format!("linux.readonlyPaths ({})", path.display()))?;
    }
    let mut covers = Covers::default();
    for path in &plan.masked_paths {
        mask(init, path, &mut covers, &mut spent).with_context(|| format!("linux.maskedPaths ({})", path.display()))?;
    }
    spent.put(covers.file.into_iter().chain(covers.directory));
    Ok(())
}

fn read_only(init: &Init<'_>, path: &Path, spent: &mut Spent) -> Result<()> {
    let Some(target) = init.rootfs()?.find(path)? else { return Ok(()) };
    let tree = clone_tree_of(target.as_fd(), true)?;
    set_attributes(tree.as_fd(), MOUNT_ATTR_RDONLY, 0, false)?;
    attach(tree.as_fd(), target.as_fd())?;
    spent.put([tree, target]);
    Ok(())
}

/// What paths are covered with, once it is attached somewhere: detached mounts can be cloned only since Linux 6.15.
#[derive(Default)]
struct Covers {
    file: Option<OwnedFd>,
    directory: Option<OwnedFd>,
}

/// A file is covered by `/dev/null`, a directory by an empty read-only tmpfs: one for all of them, since each more would
/// be another superblock (there is one such path per CPU on some hosts).
fn mask(init: &Init<'_>, path: &Path, covers: &mut Covers, spent: &mut Spent) -> Result<()> {
    let Some(target) = init.rootfs()?.find(path)? else { return Ok(()) };
    let is_directory = file_type(&stat(target.as_fd())?) == SFlag::S_IFDIR;
    let cover = if is_directory { &mut covers.directory } else { &mut covers.file };
    let tree = match cover {
        // With its attributes.
        Some(attached) => clone_tree_of(attached.as_fd(), false)?,
        None if is_directory => empty_directory()?,
        None if lacks(Guard::RealNull) => images_null(init)?,
        None => null()?,
    };
    attach(tree.as_fd(), target.as_fd())?;
    spent.put([target]);
    match cover {
        Some(_) => spent.put([tree]),
        None => *cover = Some(tree),
    }
    Ok(())
}

/// What the image has in the place of the null device.
fn images_null(init: &Init<'_>) -> Result<OwnedFd> {
    let found = init.rootfs()?.find(Path::new("/dev/null"))?.context("/dev/null")?;
    Ok(clone_tree_of(found.as_fd(), false)?)
}

fn empty_directory() -> Result<OwnedFd> {
    let tmpfs = FsContext::open("tmpfs")?;
    tmpfs.set_string("source", "tmpfs")?;
    tmpfs.set_flag("ro")?;
    tmpfs.set_string("nr_blocks", "1")?;
    tmpfs.set_string("nr_inodes", "1")?;
    Ok(tmpfs.mount(MOUNT_ATTR_RDONLY)?)
}

/// The host's `/dev/null` as a tree, certain to be the null device: the container's own may be anything (CVE-2025-31133).
fn null() -> Result<OwnedFd> {
    // A device can be written to through a read-only mount all the same, but not chowned: the node is the host's.
    let tree = clone_read_only(Path::new("/dev/null"))?;
    let stat = stat(tree.as_fd())?;
    if file_type(&stat) != SFlag::S_IFCHR || stat.st_rdev != makedev(1, 3) {
        bail!("the host's /dev/null is not the null device");
    }
    Ok(tree)
}
