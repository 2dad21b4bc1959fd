//! A mount namespace with next to nothing in it, kept for the containers to come: `/proc`, `/sys`, a `/dev` with the default
//! devices and places to attach to, on a tmpfs of its own. Cloned from there, a container's namespace costs the same however
//! many mounts the host has (`Plan::brings_its_mounts` says which containers can be). What a container gets of the host
//! comes with it as detached trees, made by this process in the host's namespace.
//!
//! It is kept by an nsfs bind, `STATE_ROOT/.pin/mnt`, in a directory for us alone that is an unbindable bind of itself: on a
//! shared one the kernel attaches no mount namespace, since it would have to copy it to the other places. `umount -R
//! STATE_ROOT/.pin` takes it away; the next container makes another.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{AT_FDCWD, OFlag};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::{Mode, SFlag, makedev, mkdirat, mknodat};
use nix::sys::statfs::fstatfs;
use nix::unistd::{fchdir, geteuid, pipe2, pivot_root};

use super::place::Place;
use crate::init::Trees;
use crate::plan::Plan;
use crate::plan::devices::DEFAULTS;
use crate::plan::mounts::MountKind;
use crate::plan::namespaces::Kind;
use crate::safe::rootfs::{file_type, stat};
use crate::sys::again::{open, openat, read};
use crate::sys::mount::{
    FsContext, MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, attach, clone_tree, clone_tree_as,
    clone_tree_of, holds_namespace, set_propagation,
};
use crate::sys::process::{Cloned, clone, enter_namespace, exit_now, lock, wait};
use crate::sys::{Named, SysError, mount_id, namespace_owner, namespace_type};

/// Below the state root.
pub const NAME: &str = ".pin";
/// The bind in there.
const FILE: &str = "mnt";
/// NSFS_MAGIC (linux/magic.h).
const NSFS_MAGIC: i64 = 0x6e73_6673;
/// Where the rootfs is attached.
const MNT: &str = "/mnt";

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// The namespace, and what the container is to get of the host.
pub struct Pin {
    namespace: OwnedFd,
    trees: Brought,
}

struct Brought {
    root: OwnedFd,
    binds: VecDeque<OwnedFd>,
}

/// The pinned namespace for a container that can do with it; `None` where the host's own is to be cloned: it needs that,
/// or nothing can be pinned here.
///
/// # Errors
/// What the container is to get of the host is not there.
pub fn prepare(plan: &Plan, root: &Path) -> Result<Option<Pin>> {
    // A hole that a weakened build is to show leads to the host's mounts, and so they have to be there (src/weak.rs).
    if !plan.brings_its_mounts() || cfg!(feature = "weakened") || !descriptors_suffice(plan) {
        return Ok(None);
    }
    // A host that refuses this refuses nothing that is asked for, and the way without is as good.
    let Ok(namespace) = find(root).or_else(|_| make(root)) else { return Ok(None) };
    Ok(Some(Pin { namespace, trees: bring(plan)? }))
}

/// Whether there can be a descriptor for each bind at the same time: the soft limit is usually 1024. Not asked for the
/// few that most containers have.
fn descriptors_suffice(plan: &Plan) -> bool {
    // No fewer are left for all else that is open.
    const FEW: usize = 64;
    let binds = plan.mounts.iter().filter(|mount| matches!(mount.kind, MountKind::Bind { .. })).count();
    binds <= FEW || getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(soft, _)| soft > (binds + FEW) as u64)
}

impl Pin {
    /// Enters the namespace, or for a user namespace a copy of it. Whoever is cloned there finds its trees as returned.
    pub fn enter(self, user_namespace: bool) -> Result<Trees> {
        enter_namespace(self.namespace.as_fd(), Kind::Mount.flag() as i32)?;
        let Brought { root, binds } = self.trees;
        if !user_namespace {
            return Ok(Trees::Brought { root: Some(root), binds });
        }
        // Trees that are attached in a namespace of the container's own root are its to change: it could make a read-only
        // mount of the host writable, and uncover what lies beneath another. So they are attached here, in a namespace of
        // the host's, and locked by the kernel when the child's is cloned from it (mount_namespaces(7)).
        unshare(CloneFlags::CLONE_NEWNS).named(|| "unshare(CLONE_NEWNS)".to_owned())?;
        attach(root.as_fd(), open(MNT, DIRECTORY, Mode::empty()).named(|| format!("open({MNT:?})"))?.as_fd())?;
        let mut places = VecDeque::new();
        for (i, tree) in binds.iter().enumerate() {
            let (path, target) = place_for(tree, i)?;
            attach(tree.as_fd(), target.as_fd())?;
            places.push_back(path);
        }
        Ok(Trees::Placed { root: MNT.into(), binds: places })
    }
}

/// Where the tree of the bind with this number is attached: made once, for all containers.
fn place_for(tree: &OwnedFd, number: usize) -> Result<(PathBuf, OwnedFd)> {
    let is_directory = file_type(&stat(tree.as_fd())?) == SFlag::S_IFDIR;
    let path = PathBuf::from(format!("/{}{number}", if is_directory { 's' } else { 'f' }));
    if is_directory {
        match mkdirat(AT_FDCWD, &path, Mode::S_IRWXU) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(errno) => return Err(SysError::new(format!("mkdir({path:?})"), errno).into()),
        }
    }
    let flags = if is_directory { DIRECTORY } else { OFlag::O_CREAT | OFlag::O_RDONLY | OFlag::O_CLOEXEC };
    let fd = open(&path, flags, Mode::S_IRUSR | Mode::S_IWUSR).named(|| format!("open({path:?})"))?;
    Ok((path, fd))
}

/// Detached trees of all that the container gets of the host, in the order of its mounts.
fn bring(plan: &Plan) -> Result<Brought> {
    // As if it had been set on all of the host's mounts before, and these were cloned then.
    let kind = plan.rootfs.propagation.kind;
    let root = clone_tree_as(&plan.rootfs.path, true, kind).context("root.path")?;
    let mut binds = VecDeque::new();
    for mount in &plan.mounts {
        if let MountKind::Bind { source, recursive } = &mount.kind {
            let at = || format!("{} ({})", mount.at, mount.destination.display());
            let kind = if mount.becomes_private() { libc::MS_PRIVATE } else { kind };
            binds.push_back(clone_tree_as(source, *recursive, kind).with_context(at)?);
        }
    }
    Ok(Brought { root, binds })
}

/// The namespace that is pinned below the state root, if it is one of ours.
fn find(root: &Path) -> Result<OwnedFd> {
    let directory = root.join(NAME);
    let owned = nix::sys::stat::lstat(&directory).named(|| format!("lstat({directory:?})"))?;
    if owned.st_uid != geteuid().as_raw() || owned.st_mode & (libc::S_IFMT | 0o777) != libc::S_IFDIR | 0o700 {
        bail!("{} is not ours alone", directory.display());
    }
    let path = directory.join(FILE);
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = open(&path, flags, Mode::empty()).named(|| format!("open({path:?})"))?;
    let is_namespace = fstatfs(&fd).is_ok_and(|stat| stat.filesystem_type().0 == NSFS_MAGIC);
    if !is_namespace || u64::from(namespace_type(fd.as_fd())?) != Kind::Mount.flag() {
        bail!("{} is no mount namespace", path.display());
    }
    let ours = nix::sys::stat::stat("/proc/self/ns/user").named(|| "stat(\"/proc/self/ns/user\")".to_owned())?;
    let owner = stat(namespace_owner(fd.as_fd())?.as_fd())?;
    if (ours.st_dev, ours.st_ino) != (owner.st_dev, owner.st_ino) {
        bail!("{} belongs to another user namespace", path.display());
    }
    Ok(fd)
}

/// Makes the namespace and pins it, unless another process has just done so.
fn make(root: &Path) -> Result<OwnedFd> {
    let path = root.join(NAME);
    match nix::unistd::mkdir(&path, Mode::S_IRWXU) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
        Err(errno) => return Err(SysError::new(format!("mkdir({path:?})"), errno).into()),
    }
    let open_it = || open(&path, DIRECTORY, Mode::empty()).named(|| format!("open({path:?})"));
    let mut directory = open_it()?;
    let locked = directory.try_clone().named(|| "dup()".to_owned())?;
    lock(locked.as_fd())?;
    if let Ok(found) = find(root) {
        return Ok(found);
    }
    let top = open(root, DIRECTORY, Mode::empty()).named(|| format!("open({root:?})"))?;
    directory = open_it()?;
    if mount_id(directory.as_fd())? == mount_id(top.as_fd())? {
        let itself = clone_tree_of(directory.as_fd(), false)?;
        attach(itself.as_fd(), directory.as_fd())?;
        // Only now: what is attached below a shared mount becomes shared (mount_namespaces(7)). Unbindable is private, and
        // left out where a container binds what is around it.
        set_propagation(itself.as_fd(), libc::MS_UNBINDABLE, false)?;
        directory = itself;
    }
    let flags = OFlag::O_CREAT | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(&directory, FILE, flags, Mode::S_IRUSR).named(|| format!("open({FILE:?})"))?;
    attach(fresh(&path)?.as_fd(), file.as_fd())?;
    find(root)
}

/// A new namespace, as a detached bind of its file. `somewhere` is a directory to mount on for a moment.
fn fresh(somewhere: &Path) -> Result<OwnedFd> {
    let (done, tell) = pipe2(OFlag::O_CLOEXEC).named(|| "pipe2()".to_owned())?;
    let (stay, release) = pipe2(OFlag::O_CLOEXEC).named(|| "pipe2()".to_owned())?;
    let pid = match clone(Kind::Mount.flag(), None)? {
        Cloned::Parent { pid, .. } => pid,
        Cloned::Child => {
            drop((done, release));
            if furnish(somewhere).is_ok() {
                let _ = crate::sys::again::write(&tell, b"0");
                drop(tell);
                // Until the parent has it, or is gone.
                let _ = read(&stay, &mut [0u8; 1]);
            }
            exit_now(0);
        }
    };
    drop((tell, stay));
    let made = read(&done, &mut [0u8; 1]);
    let namespace = clone_tree(Path::new(&format!("/proc/{pid}/ns/mnt")), false);
    drop(release);
    wait(pid)?;
    match made {
        Ok(1) => Ok(namespace?),
        _ => bail!("cannot furnish a mount namespace"),
    }
}

/// Makes this process's new mount namespace what containers are cloned from.
fn furnish(somewhere: &Path) -> Result<()> {
    let slash = open("/", DIRECTORY, Mode::empty()).named(|| "open(\"/\")".to_owned())?;
    set_propagation(slash.as_fd(), libc::MS_PRIVATE, true)?;
    let tmpfs = FsContext::open("tmpfs")?;
    tmpfs.set_string("source", "oarlock")?;
    tmpfs.set_string("mode", "0755")?;
    let top = tmpfs.mount(0)?;
    attach(top.as_fd(), open(somewhere, DIRECTORY, Mode::empty()).named(|| format!("open({somewhere:?})"))?.as_fd())?;
    let made = |name: &str| -> Result<OwnedFd> {
        mkdirat(&top, name, Mode::from_bits_truncate(0o755)).named(|| format!("mkdir({name:?})"))?;
        Ok(openat(&top, name, DIRECTORY, Mode::empty()).named(|| format!("open({name:?})"))?)
    };
    nix::sys::stat::umask(Mode::empty());
    // The kernel lets a user namespace mount these only where they are in full view already (mount_namespaces(7)).
    for (name, fstype) in [("proc", "proc"), ("sys", "sysfs")] {
        let context = FsContext::open(fstype)?;
        context.set_string("source", fstype)?;
        attach(context.mount(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)?.as_fd(), made(name)?.as_fd())?;
    }
    let dev = made("dev")?;
    for (path, major, minor) in DEFAULTS {
        let name = Path::new(path).file_name().context("internal error: a device without a name")?;
        let mode = Mode::from_bits_truncate(0o666);
        mknodat(&dev, name, SFlag::S_IFCHR, mode, makedev((*major).into(), (*minor).into()))
            .named(|| format!("mknod({path:?})"))?;
    }
    made("mnt")?;
    fchdir(&top).named(|| "fchdir()".to_owned())?;
    pivot_root(".", ".").named(|| "pivot_root(\".\", \".\")".to_owned())?;
    umount2(".", MntFlags::MNT_DETACH).named(|| "umount2(\".\", MNT_DETACH)".to_owned())?;
    Ok(())
}

/// Runs `what` from the pinned namespace, if there is one, and returns from it whatever happens.
pub fn from_within<T>(pin: Option<Pin>, user_namespace: bool, what: impl FnOnce(Trees) -> Result<T>) -> Result<T> {
    let Some(pin) = pin else { return what(Trees::Host) };
    let here = Place::save()?;
    let result = match pin.enter(user_namespace) {
        // A tree holds a file of a mount namespace, which a copy of the host's mounts does not have.
        Err(error) if holds_namespace(&error) => {
            here.return_to()?;
            return what(Trees::Host);
        }
        entered => entered.and_then(what),
    };
    here.return_to()?;
    result
}
