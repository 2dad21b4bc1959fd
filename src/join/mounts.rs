//! `mounts add` and `mounts remove`: a process of ours enters the mount namespace of a running container and changes it.
//!
//! Trees of the host are cloned before, with their attributes, and attached by descriptor. Into the namespace of a user
//! namespace's root no tree may be moved as it is: it would not be locked, and that root could make a read-only mount
//! writable or uncover what lies beneath a mount. So they are attached in a private copy of the host's namespace first,
//! which is then copied from within the user namespace: the kernel locks the copy (mount_namespaces(7)), and what is
//! cloned from that stays locked.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nix::fcntl::{OFlag, readlinkat};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, mkdirat};
use nix::unistd::fchdir;

use super::{STOPPED, enter, is_own_user_namespace, open_root};
use crate::init::namespaces::become_root;
use crate::init::{copy_up, links, mounts as making};
use crate::plan::mounts::{Mount, MountKind};
use crate::plan::namespaces::Kind;
use crate::safe::rootfs::{Rootfs, file_type, stat};
use crate::state::Container;
use crate::sys::again::{open, openat, write};
use crate::sys::mount::{FsContext, attach, clone_tree, clone_tree_of, set_propagation};
use crate::sys::process::{Cloned, clone, close_all_but, exit_now, set_undumpable, wait};
use crate::sys::{Named, mount_id};

/// Mounts them, in order.
///
/// # Errors
/// The first that cannot be; those before it are unmounted again.
pub fn add(container: &Container, mounts: &[Mount]) -> Result<()> {
    // These show what is in the namespace that their maker is in.
    let of = |fstype: &str| match fstype {
        "sysfs" => Kind::Network.flag(),
        "mqueue" => Kind::Ipc.flag(),
        _ => 0,
    };
    let shown = mounts.iter().fold(0, |flags, mount| match &mount.kind {
        MountKind::Filesystem { fstype, .. } => flags | of(fstype),
        _ => flags,
    });
    inside(container, shown, |visit| visit.add(mounts))
}

/// Unmounts what is at their destinations, the last first.
///
/// # Errors
/// The first that cannot be; those after it in the document are gone.
pub fn remove(container: &Container, mounts: &[Mount]) -> Result<()> {
    inside(container, 0, |visit| {
        let rootfs = visit.enter()?;
        mounts.iter().rev().try_for_each(|mount| unmount(&rootfs, &mount.destination).with_context(|| named(mount)))
    })
}

fn named(mount: &Mount) -> String {
    format!("{} ({})", mount.at, mount.destination.display())
}

/// A process of ours on its way into a container.
struct Visit<'a> {
    init: OwnedFd,
    root: OwnedFd,
    /// `CLONE_NEW*` still to be entered.
    namespaces: u64,
    /// The state directory, a place on the host where there is nothing for a private namespace to miss.
    dir: &'a Path,
    rootless: bool,
}

/// Lets a child do `work`, and waits for it. `shown`: the namespaces to enter besides those of users and of mounts.
fn inside(container: &Container, shown: u64, work: impl FnOnce(&mut Visit<'_>) -> Result<()>) -> Result<()> {
    let base = &container.record.exec;
    if base.namespaces & Kind::Mount.flag() == 0 {
        bail!("the container has no mount namespace of its own (hint: it sees what is mounted on the host)");
    }
    let init = container.init()?.context(STOPPED)?;
    let pid = container.record.init.map_or(0, |init| init.pid);
    let mut namespaces = (shown | Kind::Mount.flag()) & base.namespaces;
    if base.namespaces & Kind::User.flag() != 0 && !is_own_user_namespace(pid)? {
        namespaces |= Kind::User.flag();
    }
    let root = open_root(pid)?;
    // A path by a pid is init's only as long as init lives.
    if container.init()?.is_none() {
        bail!(STOPPED);
    }
    let (result, report) = nix::unistd::pipe2(OFlag::O_CLOEXEC).named(|| "pipe2()".to_owned())?;
    let Cloned::Parent { pid, .. } = clone(0, None)? else {
        let kept = [&init, &root, &report].map(AsRawFd::as_raw_fd);
        let visit = Visit { init, root, namespaces, dir: &container.dir.path, rootless: base.rootless };
        let code = match live(visit, kept.to_vec(), work) {
            Ok(()) => 0,
            Err(error) => {
                let _ = write(&report, format!("{error:#}").as_bytes());
                1
            }
        };
        exit_now(code);
    };
    drop(report);
    let mut said = String::new();
    File::from(result).read_to_string(&mut said).named(|| "read(pipe)".to_owned())?;
    match wait(pid)? {
        0 => Ok(()),
        status if said.is_empty() => bail!("the process that enters the container died (wait status {status:#x})"),
        _ => Err(anyhow!(said)),
    }
}

fn live(mut visit: Visit<'_>, kept: Vec<i32>, work: impl FnOnce(&mut Visit<'_>) -> Result<()>) -> Result<()> {
    // Where a container shares a pid namespace its root could look at us.
    set_undumpable()?;
    close_all_but(3, kept)?;
    work(&mut visit)
}

/// What a mount is made from.
enum Source {
    /// A detached tree of the host.
    Tree(OwnedFd),
    /// Where a symlink leads that is made anew.
    Link(PathBuf),
    /// A filesystem, to be made in there.
    New,
}

impl Visit<'_> {
    fn add(&mut self, mounts: &[Mount]) -> Result<()> {
        let locking = self.namespaces & Kind::User.flag() != 0;
        if locking && self.rootless {
            // Its privileges are what it takes to clone anything; in the copy all is locked.
            self.enter_user_namespace()?;
        }
        let mut sources = Vec::with_capacity(mounts.len());
        for mount in mounts {
            sources.push(source(mount).with_context(|| named(mount))?);
        }
        if locking && !self.rootless {
            self.lock(&mut sources, mounts)?;
        }
        let rootfs = self.enter()?;
        for (i, (mount, source)) in mounts.iter().zip(sources).enumerate() {
            if let Err(error) = put(&rootfs, mount, source).with_context(|| named(mount)) {
                for mount in mounts[..i].iter().rev() {
                    // The error to tell is the first.
                    let _ = unmount(&rootfs, &mount.destination);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Replaces the trees by clones that are locked for the container's root.
    fn lock(&mut self, sources: &mut [Source], mounts: &[Mount]) -> Result<()> {
        let staging = stage(self.dir)?;
        for (i, source) in sources.iter().enumerate() {
            if let Source::Tree(tree) = source {
                attach(tree.as_fd(), mount_point(&staging, &i.to_string(), is_directory(tree)?)?.as_fd())?;
            }
        }
        self.enter_user_namespace()?;
        for (i, (source, mount)) in sources.iter_mut().zip(mounts).enumerate() {
            if let Source::Tree(tree) = source {
                let path = self.dir.join(i.to_string());
                let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let staged = open(&path, flags, Mode::empty()).named(|| format!("open({path:?})"))?;
                // With all below: there is no more than was asked for.
                *tree = clone_tree_of(staged.as_fd(), true)?;
                // The copy has made it a slave.
                for propagation in &mount.propagation {
                    set_propagation(tree.as_fd(), propagation.kind, propagation.recursive)?;
                }
            }
        }
        Ok(())
    }

    /// Into the container's user namespace, with a mount namespace that belongs to it: a locked copy of the one so far.
    fn enter_user_namespace(&mut self) -> Result<()> {
        enter(self.init.as_fd(), Kind::User.flag())?;
        self.namespaces &= !Kind::User.flag();
        unshare(CloneFlags::CLONE_NEWNS).named(|| "unshare(CLONE_NEWNS)".to_owned())?;
        Ok(())
    }

    /// Into the container's namespaces, as its root; the handle on its root directory.
    fn enter(&mut self) -> Result<Rootfs> {
        enter(self.init.as_fd(), self.namespaces)?;
        let rootfs = Rootfs::enter(self.root.try_clone().named(|| "dup()".to_owned())?)?;
        // Nobody else's where there is no user namespace: we are root then, or all this would have failed.
        become_root(false)?;
        Ok(rootfs)
    }
}

/// Opens what comes from the host, with the attributes that it is to have.
fn source(mount: &Mount) -> Result<Source> {
    let MountKind::Bind { source, recursive } = &mount.kind else { return Ok(Source::New) };
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let itself = || open(source, flags, Mode::empty()).named(|| format!("open({source:?})"));
    if mount.links.copy {
        let found = itself()?;
        if file_type(&stat(found.as_fd())?) == SFlag::S_IFLNK {
            let target = readlinkat(&found, "").named(|| format!("readlink({source:?})"))?;
            return Ok(Source::Link(target.into()));
        }
    }
    let tree = match mount.links.bind_source {
        true => clone_tree_of(itself()?.as_fd(), *recursive)?,
        false => clone_tree(source, *recursive)?,
    };
    // What is mounted below it in there must not come to the host.
    set_propagation(tree.as_fd(), libc::MS_SLAVE, true)?;
    making::finish(&tree, mount, mount.attrs)?;
    Ok(Source::Tree(tree))
}

/// Attaches or makes it where it belongs.
fn put(rootfs: &Rootfs, mount: &Mount, source: Source) -> Result<()> {
    let tree = match source {
        Source::Link(target) => return rootfs.exact_symlink(&mount.destination, &target).context("copy-symlink"),
        Source::Tree(tree) => {
            let target = links::target(rootfs, mount, || is_directory(&tree))?;
            making::check_proc(rootfs, target.as_fd(), mount, Some(tree.as_fd()))?;
            return Ok(attach(tree.as_fd(), target.as_fd())?);
        }
        Source::New => &mount.kind,
    };
    let MountKind::Filesystem { fstype, source, flags, params } = tree else {
        bail!("internal error: a mount of a kind that cannot be added");
    };
    let target = making::directory_for(rootfs, fstype, &mount.destination)?;
    making::check_proc(rootfs, target.as_fd(), mount, None)?;
    let params = making::with_default_mode(fstype, params, target.as_fd())?;
    let tree = making::filesystem(fstype, source.as_deref(), flags, &params, 0)?
        .context("a value of over 255 bytes cannot be given to a mount that is added later")?;
    if mount.copy_up {
        copy_up::copy(target.as_fd(), tree.as_fd()).context("tmpcopyup")?;
    }
    making::finish(&tree, mount, mount.attrs)?;
    Ok(attach(tree.as_fd(), target.as_fd())?)
}

/// Unmounts what is at `path`, no symlink being followed on the way: one that a program of the container has put there
/// could lead to a mount that hides something from it.
fn unmount(rootfs: &Rootfs, path: &Path) -> Result<()> {
    let name = path.file_name().context("is the root of the container itself")?;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let nothing = || anyhow!("nothing is mounted there");
    let parent = rootfs
        .find_without_symlinks(parent)
        .context("hint: give the destination without symlinks")?
        .ok_or_else(nothing)?;
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mounted = openat(&parent, name, flags, Mode::empty()).map_err(|_| nothing())?;
    if mount_id(mounted.as_fd())? == mount_id(parent.as_fd())? {
        return Err(nothing());
    }
    // Open, it would be busy for another kind of umount.
    drop(mounted);
    fchdir(&parent).named(|| "fchdir(parent)".to_owned())?;
    umount2(name, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
        .named(|| format!("umount2({path:?}, MNT_DETACH) in the rootfs"))?;
    Ok(())
}

/// A private copy of the runtime's mount namespace, with an empty filesystem at `dir`, which is returned.
fn stage(dir: &Path) -> Result<OwnedFd> {
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    unshare(CloneFlags::CLONE_NEWNS).named(|| "unshare(CLONE_NEWNS)".to_owned())?;
    let slash = open("/", directory, Mode::empty()).named(|| "open(\"/\")".to_owned())?;
    set_propagation(slash.as_fd(), libc::MS_PRIVATE, true)?;
    let staging = FsContext::open("tmpfs")?.mount(0)?;
    let target = open(dir, directory, Mode::empty()).named(|| format!("open({dir:?})"))?;
    attach(staging.as_fd(), target.as_fd())?;
    Ok(staging)
}

/// Something to mount on.
fn mount_point(dir: &OwnedFd, name: &str, directory: bool) -> Result<OwnedFd> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    if directory {
        mkdirat(dir, name, Mode::S_IRWXU).named(|| "mkdir(staging)".to_owned())?;
        return Ok(openat(dir, name, flags | OFlag::O_PATH, Mode::empty()).named(|| "open(staging)".to_owned())?);
    }
    let file = openat(dir, name, flags | OFlag::O_CREAT | OFlag::O_WRONLY, Mode::S_IRUSR);
    Ok(file.named(|| "create(staging)".to_owned())?)
}

fn is_directory(tree: &OwnedFd) -> Result<bool> {
    Ok(file_type(&stat(tree.as_fd())?) == SFlag::S_IFDIR)
}
