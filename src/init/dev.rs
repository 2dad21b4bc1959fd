//! Fills `/dev`, and makes the working directory, which must happen before the root becomes read-only.

use std::fs::Permissions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, makedev, mknodat, umask};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, symlinkat, unlinkat};

use super::Init;
use super::mounts::keep_out_of_proc;
use crate::plan::devices::{Node, NodeKind};
use crate::safe::rootfs::{Rootfs, file_type, stat};
use crate::sys::again::openat;
use crate::sys::mount::{MOUNT_ATTR_RDONLY, attach, clone_tree, set_attributes};
use crate::sys::{Named, SysError};

pub fn populate(init: &mut Init<'_>) -> Result<()> {
    let plan = init.plan;
    let rootfs = init.rootfs()?;
    let previous = umask(Mode::empty());
    if plan.dev.populate {
        let mut parents = Parents { rootfs, last: None, exact: None };
        for node in &plan.dev.nodes {
            make(&mut parents, node).with_context(|| format!("{} ({})", node.at, node.path.display()))?;
        }
        for (path, target) in &plan.dev.links {
            if target == Path::new("/proc/kcore") && !target.exists() {
                continue; // a kernel without it
            }
            symlink(&mut parents, path, target)?;
        }
    }
    if let Some(process) = &plan.process
        && process.cwd != Path::new("/")
    {
        make_working_directory(rootfs, &process.cwd)?;
    }
    umask(previous);
    // The /dev that was to be read-only has its nodes now.
    if let Some(mount) = plan.mounts.iter().rev().find(|mount| mount.destination == Path::new("/dev"))
        && mount.readonly_late
    {
        let dev = rootfs.directory(&mount.destination)?;
        set_attributes(dev.as_fd(), MOUNT_ATTR_RDONLY, 0, false).with_context(|| mount.at.clone())?;
    }
    Ok(())
}

/// A missing working directory is made (mode 0755). What cannot be made is reported when it is entered, by its own name.
fn make_working_directory(rootfs: &Rootfs, cwd: &Path) -> Result<()> {
    let cwd = crate::plan::normalise(cwd).context("internal error: a relative process.cwd")?;
    if rootfs.find(&cwd).is_ok_and(|found| found.is_none()) {
        rootfs.directory(&cwd).context("process.cwd")?;
    }
    Ok(())
}

/// Directories that nodes and links are made in, each opened once for all that follow one another.
struct Parents<'a> {
    rootfs: &'a Rootfs,
    last: Option<(&'a Path, OwnedFd)>,
    /// What a node that was just made in there came out as, without help.
    exact: Option<Access>,
}

/// Mode and owner.
type Access = (u32, u32, u32);

impl<'a> Parents<'a> {
    /// As [`Rootfs::parent`].
    fn of(&mut self, path: &'a Path) -> Result<(BorrowedFd<'_>, &'a Path)> {
        let name = path.file_name().with_context(|| format!("{}: has no file name", path.display()))?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        if self.last.as_ref().is_none_or(|(last, _)| *last != parent) {
            self.last = Some((parent, self.rootfs.directory(parent)?));
            self.exact = None;
        }
        let (_, fd) = self.last.as_ref().context("internal error: no directory")?;
        Ok((fd.as_fd(), Path::new(name)))
    }
}

fn make<'a>(parents: &mut Parents<'a>, node: &'a Node) -> Result<()> {
    let rootfs = parents.rootfs;
    if node.bind {
        return bind(rootfs, node);
    }
    parents.of(&node.path)?;
    let wanted = (node.mode, node.uid, node.gid);
    let known = parents.exact == Some(wanted);
    let (parent, name) = parents.of(&node.path)?;
    let mut made = false;
    match mknod(parent, name, node) {
        // Without CAP_MKNOD over the filesystem (a user namespace around us) the host's node is bound.
        Err(SysError { errno: Errno::EPERM, .. }) if node.kind != NodeKind::Fifo => return bind(rootfs, node),
        Err(SysError { errno: Errno::EEXIST, .. }) => {}
        // The directory has neither a group nor an ACL to give to what is made in it, as another node has shown.
        Ok(()) if known => return Ok(()),
        result => {
            result?;
            made = true;
        }
    }
    // From here on by descriptor: the directory may be a volume that another container writes to, and what is looked up
    // twice may be another file the second time.
    let mut fd = open_node(parent, name)?;
    let mut found = stat(fd.as_fd())?;
    if !is(&found, node) {
        // The image's own idea of this device: a file, or a symlink to something else.
        match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
            // Something is mounted there: the document wants it so.
            Err(Errno::EBUSY) => return Ok(()),
            result => result.named(|| format!("unlink({name:?})"))?,
        }
        mknod(parent, name, node)?;
        fd = open_node(parent, name)?;
        found = stat(fd.as_fd())?;
        if !is(&found, node) {
            bail!("something else has been put in the place of the device");
        }
    }
    if made && is(&found, node) && (found.st_mode & 0o7777, found.st_uid, found.st_gid) == wanted {
        parents.exact = Some(wanted);
        return Ok(());
    }
    if (found.st_uid, found.st_gid) != (node.uid, node.gid) {
        let owner = (Some(Uid::from_raw(node.uid)), Some(Gid::from_raw(node.gid)));
        fchownat(&fd, "", owner.0, owner.1, AtFlags::AT_EMPTY_PATH).named(|| format!("chown({name:?})"))?;
    }
    if found.st_mode & 0o7777 != node.mode {
        // fchmod(2) refuses O_PATH descriptors. /proc is still the host's.
        let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
        std::fs::set_permissions(&link, Permissions::from_mode(node.mode)).named(|| format!("chmod({name:?})"))?;
    }
    Ok(())
}

fn open_node(parent: BorrowedFd<'_>, name: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty()).named(|| format!("open({name:?})"))?)
}

fn mknod(parent: BorrowedFd<'_>, name: &Path, node: &Node) -> Result<(), SysError> {
    let (mode, device) = (Mode::from_bits_truncate(node.mode), makedev(node.major.into(), node.minor.into()));
    let device = if node.kind == NodeKind::Fifo { 0 } else { device };
    mknodat(parent, name, kind_bits(node.kind), mode, device)
        .named(|| format!("mknod({name:?}, {:?} {}:{})", node.kind, node.major, node.minor))
}

/// Binds the host's node, after a look that it is the device meant (CVE-2025-31133: what is at a path may be anything).
fn bind(rootfs: &Rootfs, node: &Node) -> Result<()> {
    let tree = match clone_tree(&node.path, false) {
        // The container may know it by another name than the host.
        Err(SysError { errno: Errno::ENOENT, .. }) => clone_tree(&host_name(node)?, false)?,
        tree => tree?,
    };
    if !is(&stat(tree.as_fd())?, node) {
        bail!("the host's {} is not device {}:{}", node.path.display(), node.major, node.minor);
    }
    if let Some(existing) = rootfs.find(&node.path)?
        && is(&stat(existing.as_fd())?, node)
    {
        return Ok(());
    }
    let target = rootfs.file(&node.path)?;
    keep_out_of_proc(rootfs, target.as_fd())?;
    attach(tree.as_fd(), target.as_fd())?;
    Ok(())
}

/// Where the host has this device, by what the kernel calls it (sysfs-dev).
fn host_name(node: &Node) -> Result<PathBuf> {
    let class = if node.kind == NodeKind::Block { "block" } else { "char" };
    let path = format!("/sys/dev/{class}/{}:{}/uevent", node.major, node.minor);
    let missing = || {
        let Node { major, minor, path, .. } = node;
        format!(
            "the host has no device {major}:{minor} to bind to {} (hint: mknod is refused in a user namespace)",
            path.display()
        )
    };
    let event = std::fs::read_to_string(&path).with_context(missing)?;
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME=")).with_context(missing)?;
    Ok(Path::new("/dev").join(name))
}

fn is(stat: &FileStat, node: &Node) -> bool {
    let kind = file_type(stat) == kind_bits(node.kind);
    kind && (node.kind == NodeKind::Fifo || stat.st_rdev == makedev(node.major.into(), node.minor.into()))
}

fn kind_bits(kind: NodeKind) -> SFlag {
    match kind {
        NodeKind::Char => SFlag::S_IFCHR,
        NodeKind::Block => SFlag::S_IFBLK,
        NodeKind::Fifo => SFlag::S_IFIFO,
    }
}

/// Makes the symlink `path` → `target` unless something is there already. The `ptmx` of the container's own devpts takes the
/// place of any other.
fn symlink<'a>(parents: &mut Parents<'a>, path: &'a Path, target: &Path) -> Result<()> {
    let (parent, name) = parents.of(path)?;
    let link = || symlinkat(target, parent, name).named(|| format!("symlink({path:?}) in the rootfs"));
    match link() {
        Err(SysError { errno: Errno::EEXIST, .. }) if path == Path::new("/dev/ptmx") => {
            unlinkat(parent, name, UnlinkatFlags::NoRemoveDir).named(|| format!("unlink({path:?})"))?;
            Ok(link()?)
        }
        Err(SysError { errno: Errno::EEXIST, .. }) => Ok(()),
        result => Ok(result?),
    }
}
