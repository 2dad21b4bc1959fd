//! Takes the rootfs into the new mount namespace, and at last makes it `/`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, fchdir, pivot_root};

use super::{Init, Trees};
use crate::plan::mounts::Propagation;
use crate::plan::namespaces::Kind;
use crate::safe::rootfs::Rootfs;
use crate::sync;
use crate::sys::again::{open, openat};
use crate::sys::mount::{
    MOUNT_ATTR_RDONLY, attach as attach_tree, attach_at, clone_tree, holds_namespace, set_attributes, set_propagation,
};
use crate::sys::{Named, SysError, mount_id};
use crate::weak::{Guard, lacks};

const DIRECTORY: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Attaches a clone of the rootfs, so that it is a mount point and its flags are ours to change: over itself where the
/// namespace is a copy of the host's.
pub fn attach(init: &mut Init<'_>) -> Result<()> {
    let plan = &init.plan.rootfs;
    if !init.plan.namespaces.has(Kind::Mount) {
        let fd = match init.inherited.root.take() {
            Some(attached) => attached,
            None => open(&plan.path, DIRECTORY, Mode::empty())
                .named(|| format!("open({:?})", plan.path))
                .context("root.path")?,
        };
        init.rootfs = Some(Rootfs::new(fd));
        return Ok(());
    }
    let tree = match &mut init.inherited.trees {
        Trees::Host => return over_itself(init),
        Trees::Brought { root, .. } => {
            let tree = root.take().context("internal error: no rootfs was brought")?;
            attach_brought(init, tree, &plan.path, |_, tree, _| Ok(attach_at(tree.as_fd(), c"/mnt")?))
                .context("root.path")?
        }
        Trees::Placed { root, .. } => {
            // Once more, over itself: the one that was placed is locked.
            let target = open(root.as_path(), DIRECTORY, Mode::empty()).named(|| format!("open({root:?})"))?;
            let tree = clone_tree(root, true).context("root.path")?;
            attach_tree(tree.as_fd(), target.as_fd()).context("root.path")?;
            tree
        }
    };
    init.rootfs = Some(Rootfs::new(tree));
    Ok(())
}

/// Decouples the namespace from the host's, of which it is a copy, and attaches the rootfs.
fn over_itself(init: &mut Init<'_>) -> Result<()> {
    let plan = &init.plan.rootfs;
    let slash = open("/", DIRECTORY, Mode::empty()).named(|| "open(\"/\")".to_owned())?;
    let asked = plan.propagation;
    // From an unbindable mount nothing could be cloned; private is the same otherwise, and the container's own root gets
    // what was asked for at the end.
    let kind = if asked.kind == libc::MS_UNBINDABLE { libc::MS_PRIVATE } else { asked.kind };
    propagate(slash.as_fd(), Propagation { kind, ..asked }).context("linux.rootfsPropagation")?;
    let tree = open_tree(init, &plan.path, true).context("root.path")?;
    let shared = may_be_shared(asked);
    if shared {
        // pivot_root(2) refuses a shared new root.
        let kind = if kind == libc::MS_SHARED { libc::MS_SLAVE } else { kind };
        set_propagation(tree.as_fd(), kind, true)?;
    }
    let target = match open(&plan.path, DIRECTORY, Mode::empty()) {
        // Not within reach of a user namespace's root.
        Err(Errno::EACCES) => ask_for(init, sync::Request::Path, &plan.path).context("root.path")?,
        target => target.named(|| format!("open({:?})", plan.path)).context("root.path")?,
    };
    if shared {
        // Or the mount below would propagate to the host, and pivot_root(2) would refuse a shared parent.
        set_propagation(mount_root(target.as_fd())?.as_fd(), libc::MS_PRIVATE, false)?;
    }
    attach_tree(tree.as_fd(), target.as_fd()).context("root.path")?;
    init.rootfs = Some(Rootfs::new(tree));
    Ok(())
}

/// Whether mounts of this namespace may still be shared with the host's: all that the change does not reach are.
fn may_be_shared(propagation: Propagation) -> bool {
    propagation.kind == libc::MS_SHARED || !propagation.recursive
}

fn propagate(fd: BorrowedFd<'_>, propagation: Propagation) -> Result<()> {
    Ok(set_propagation(fd, propagation.kind, propagation.recursive)?)
}

/// The source of the next bind, as a detached tree.
pub fn source(init: &mut Init<'_>, path: &Path, recursive: bool) -> Result<OwnedFd> {
    let missing = "internal error: a bind was not brought";
    match &mut init.inherited.trees {
        Trees::Host => open_tree(init, path, recursive),
        Trees::Brought { binds, .. } => binds.pop_front().context(missing),
        Trees::Placed { binds, .. } => Ok(clone_tree(&binds.pop_front().context(missing)?, true)?),
    }
}

/// Attaches what was brought of the host's `path`, by `how`. The kernel refuses what holds a file of a mount namespace older
/// than ours, lest two keep each other: then once more and `anew`, what a copy of the host's mounts would have had there,
/// which is all but such files.
pub fn attach_brought(
    init: &mut Init<'_>,
    tree: OwnedFd,
    path: &Path,
    how: impl Fn(&mut Init<'_>, &OwnedFd, bool) -> Result<()>,
) -> Result<OwnedFd> {
    match how(init, &tree, false) {
        Err(error) if holds_namespace(&error) && matches!(init.inherited.trees, Trees::Brought { .. }) => {
            let tree = ask_for(init, sync::Request::WithoutNamespaces, path)?;
            set_propagation(tree.as_fd(), init.plan.rootfs.propagation.kind, true)?;
            how(init, &tree, true)?;
            Ok(tree)
        }
        done => done.map(|()| tree),
    }
}

/// A detached clone of what is at `path` on the host. What the root of a user namespace cannot reach is cloned for it
/// by the parent, from this very namespace: the kernel's locks on flags and covered mounts stay in force that way.
pub fn open_tree(init: &mut Init<'_>, path: &Path, recursive: bool) -> Result<OwnedFd> {
    let cloned = if lacks(Guard::LockedMounts) {
        Err(SysError::new("open_tree", Errno::EACCES))
    } else {
        clone_tree(path, recursive)
    };
    match cloned {
        Err(SysError { errno: Errno::EACCES, .. }) if init.plan.namespaces.has(Kind::User) => {
            let request = if recursive { sync::Request::Trees } else { sync::Request::Tree };
            ask_for(init, request, path)
        }
        tree => {
            let tree = tree?;
            keep_from_host(init, &tree)?;
            Ok(tree)
        }
    }
}

/// Without a mount namespace a clone of a shared mount is its peer in the same table: what is mounted below, and, when the
/// container is deleted, unmounted, would be on the host as well. As a slave it only receives; in a namespace of its own
/// everything is one.
pub fn keep_from_host(init: &Init<'_>, tree: &OwnedFd) -> Result<()> {
    if init.plan.mounts_on_the_host() {
        set_propagation(tree.as_fd(), libc::MS_SLAVE, true)?;
    }
    Ok(())
}

/// An O_PATH descriptor of what is at `path` on the host itself: a symlink there is not followed.
pub fn open_itself(init: &mut Init<'_>, path: &Path) -> Result<OwnedFd> {
    match open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::EACCES) if init.plan.namespaces.has(Kind::User) => ask_for(init, sync::Request::Itself, path),
        opened => Ok(opened.named(|| format!("open({path:?}, O_NOFOLLOW)"))?),
    }
}

/// Asks the parent for what is at `path` in this mount namespace.
fn ask_for(init: &mut Init<'_>, request: sync::Request, path: &Path) -> Result<OwnedFd> {
    let mut body = vec![request as u8];
    body.extend_from_slice(path.as_os_str().as_encoded_bytes());
    let answer = init.inherited.wire.ask(sync::Kind::OpenTree, &body, sync::Kind::Tree)?;
    answer.fd.with_context(|| String::from_utf8_lossy(&answer.body).into_owned())
}

/// The root of the mount that the directory `fd` is on.
fn mount_root(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut at = fd.try_clone_to_owned().named(|| "dup()".to_owned())?;
    let mount = mount_id(at.as_fd())?;
    loop {
        let up = openat(&at, "..", DIRECTORY, Mode::empty()).named(|| "openat(\"..\")".to_owned())?;
        if mount_id(up.as_fd())? != mount || same_file(&up, &at)? {
            return Ok(at);
        }
        at = up;
    }
}

fn same_file(a: &OwnedFd, b: &OwnedFd) -> Result<bool> {
    let (a, b) = (crate::safe::rootfs::stat(a.as_fd())?, crate::safe::rootfs::stat(b.as_fd())?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

/// Makes the rootfs `/`. Afterwards no descriptor of ours leads outside.
pub fn switch(init: &mut Init<'_>) -> Result<()> {
    let plan = &init.plan.rootfs;
    let rootfs = init.rootfs.take().context("internal error: the rootfs is not attached yet")?;
    fchdir(&rootfs).named(|| "fchdir(rootfs)".to_owned())?;
    if plan.readonly {
        set_attributes(rootfs.as_fd(), MOUNT_ATTR_RDONLY, 0, false).context("root.readonly")?;
    }
    if !init.plan.namespaces.has(Kind::Mount) {
        chroot(".").named(|| "chroot(\".\")".to_owned())?;
        return Ok(chdir("/").named(|| "chdir(\"/\")".to_owned())?);
    }
    if plan.no_pivot {
        move_root(&rootfs)?;
    } else {
        let old = may_be_shared(plan.propagation)
            .then(|| open("/", DIRECTORY, Mode::empty()).named(|| "open(\"/\")".to_owned()))
            .transpose()?;
        pivot_root(".", ".").named(|| "pivot_root(\".\", \".\")".to_owned())?;
        if let Some(old) = old {
            // Still shared with the host's: without this, the umount below would happen there too.
            set_propagation(old.as_fd(), libc::MS_SLAVE, true)?;
            fchdir(&old).named(|| "fchdir(old root)".to_owned())?;
        }
        // The old root now lies over the new one: one umount takes all of the host's mounts away.
        umount2(".", MntFlags::MNT_DETACH).named(|| "umount2(\".\", MNT_DETACH)".to_owned())?;
    }
    chdir("/").named(|| "chdir(\"/\")".to_owned())?;
    if plan.explicit_propagation {
        // Again, since this is another mount than the "/" of before.
        propagate(rootfs.as_fd(), plan.propagation).context("linux.rootfsPropagation")?;
        if plan.propagation.recursive {
            keep_propagation_of_mounts(init, &rootfs)?;
        }
    }
    Ok(())
}

/// What a mount asks for itself outlasts what the root asks for all below it.
fn keep_propagation_of_mounts(init: &Init<'_>, rootfs: &Rootfs) -> Result<()> {
    for mount in init.plan.mounts.iter().filter(|mount| !mount.propagation.is_empty()) {
        let Some(mounted) = rootfs.find(&mount.destination)? else { continue };
        for propagation in &mount.propagation {
            propagate(mounted.as_fd(), *propagation).with_context(|| mount.at.clone())?;
        }
    }
    Ok(())
}

/// `--no-pivot`, for a host whose root is the initial ramfs, which pivot_root(2) refuses. What is mounted elsewhere
/// stays in the namespace, so the filesystems through which it could be reached or undone are unmounted first.
fn move_root(rootfs: &Rootfs) -> Result<()> {
    for place in host_mounts_of(&["proc", "sysfs"], rootfs)? {
        match umount2(place.as_str(), MntFlags::MNT_DETACH) {
            // Locked or in use: cover it, so that the container cannot use what it shows.
            Err(Errno::EINVAL | Errno::EPERM) => {
                let cover = crate::sys::mount::FsContext::open("tmpfs")?.mount(MOUNT_ATTR_RDONLY)?;
                let target = open(place.as_str(), DIRECTORY, Mode::empty()).named(|| format!("open({place:?})"))?;
                attach_tree(cover.as_fd(), target.as_fd())?;
            }
            result => result.named(|| format!("umount2({place:?}, MNT_DETACH)"))?,
        }
    }
    let slash = open("/", DIRECTORY, Mode::empty()).named(|| "open(\"/\")".to_owned())?;
    attach_tree(rootfs.as_fd(), slash.as_fd())?;
    Ok(chroot(".").named(|| "chroot(\".\")".to_owned())?)
}

/// Where the host's mounts of these types are, the last mounted first, leaving out those of the container itself.
fn host_mounts_of(types: &[&str], rootfs: &Rootfs) -> Result<Vec<String>> {
    let own = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&rootfs.as_fd())))
        .named(|| "readlink(rootfs)".to_owned())?;
    let table =
        std::fs::read_to_string("/proc/self/mountinfo").named(|| "read(\"/proc/self/mountinfo\")".to_owned())?;
    let mut found: Vec<String> = table
        .lines()
        .filter_map(|line| {
            let (mount, filesystem) = line.split_once(" - ")?;
            let place = mount.split(' ').nth(4)?;
            let fstype = filesystem.split(' ').next()?;
            (types.contains(&fstype) && !Path::new(place).starts_with(&own)).then(|| place.to_owned())
        })
        .collect();
    found.reverse();
    Ok(found)
}
