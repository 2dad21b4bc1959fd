//! Id-mapped mounts, the parent's half: the kernel takes a map as a user namespace that has it. The container's own serves
//! where it can; another is made by a process that ends as soon as the namespace is held by a descriptor.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::statfs::{self, FsType, fstatfs};
use nix::unistd::pipe2;

use super::clone::Child;
use super::ids;
use crate::plan::Plan;
use crate::plan::idmap::IdMaps;
use crate::plan::mounts::{Maps, Mount, MountKind};
use crate::sys::again::read;
use crate::sys::mount::map_ids;
use crate::sys::process::{Cloned, clone, exit_now, wait};
use crate::sys::{Named, SysError};

/// The user namespaces that have been needed so far, by their maps; `None` is the container's.
#[derive(Debug, Default)]
pub struct Holders(Vec<(Option<Maps>, OwnedFd)>);

impl Holders {
    /// Maps the ids of `tree`, the detached mount of the entry at the JSON path `at`.
    ///
    /// # Errors
    /// By the entry and its filesystem, where that cannot do it.
    pub fn apply(&mut self, plan: &Plan, child: &Child, at: &[u8], tree: &OwnedFd) -> Result<()> {
        let mount = plan.mounts.iter().find(|mount| mount.at.as_bytes() == at);
        let mount = mount.context("internal error: no such mount in the Plan")?;
        self.map(plan, child, mount, tree).with_context(|| format!("{} ({})", mount.at, mount.destination.display()))
    }

    fn map(&mut self, plan: &Plan, child: &Child, mount: &Mount, tree: &OwnedFd) -> Result<()> {
        let mapping = mount.id_mapping.as_ref().context("internal error: its ids are not to be mapped")?;
        let index = match self.0.iter().position(|(maps, _)| *maps == mapping.maps) {
            Some(index) => index,
            None => {
                let namespace = match &mapping.maps {
                    None => user_namespace_of(child.pid).context("the container's user namespace")?,
                    Some(maps) => hold(maps, plan)?,
                };
                self.0.push((mapping.maps.clone(), namespace));
                self.0.len() - 1
            }
        };
        map_ids(tree.as_fd(), self.0[index].1.as_fd(), mapping.recursive).map_err(|error| explain(error, mount, tree))
    }
}

fn user_namespace_of(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/user");
    Ok(File::open(&path).named(|| format!("open({path:?})"))?.into())
}

/// A user namespace with these maps.
fn hold(maps: &Maps, plan: &Plan) -> Result<OwnedFd> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).named(|| "pipe2()".to_owned())?;
    let pid = match clone(libc::CLONE_NEWUSER as u64, None)? {
        Cloned::Parent { pid, .. } => pid,
        Cloned::Child => {
            // Until the parent has what it wants, or is gone.
            drop(theirs);
            let _ = read(&ours, &mut [0u8; 1]);
            exit_now(0);
        }
    };
    let privileges = plan.id_maps.as_ref().filter(|own| !own.of_joined);
    let maps = IdMaps {
        uids: maps.uids.clone(),
        gids: maps.gids.clone(),
        of_joined: false,
        by_helper: privileges.is_some_and(|own| own.by_helper),
        deny_setgroups: privileges.is_some_and(|own| own.deny_setgroups),
    };
    let namespace = ids::map(Some(&maps), pid).and_then(|()| user_namespace_of(pid));
    drop((ours, theirs));
    wait(pid)?;
    namespace.context("the map of the mount")
}

/// EINVAL says nothing of its many reasons.
fn explain(error: SysError, mount: &Mount, tree: &OwnedFd) -> anyhow::Error {
    let fstype = match &mount.kind {
        MountKind::Filesystem { fstype, .. } => fstype.clone(),
        _ => fstatfs(tree).map_or("unknown".to_owned(), |stat| name(stat.filesystem_type())),
    };
    let below = mount.id_mapping.as_ref().is_some_and(|mapping| mapping.recursive);
    match error.errno {
        Errno::EINVAL if below => anyhow!(error).context(format!(
            "the filesystem ({fstype}), or one mounted below, cannot have its ids mapped (hint: idmap in place of ridmap leaves out those below)"
        )),
        Errno::EINVAL => {
            anyhow!(error).context(format!("a filesystem of type {fstype} cannot have its ids mapped in this kernel"))
        }
        Errno::EPERM => anyhow!(error).context(
            "ids cannot be mapped (hint: they are already, or the filesystem does not belong to a user namespace of the caller's)",
        ),
        _ => error.into(),
    }
}

/// The filesystems that a bind is likely to be of, by the number that statfs(2) gives.
fn name(found: FsType) -> String {
    let known = [
        (statfs::OVERLAYFS_SUPER_MAGIC, "overlay"),
        (statfs::PROC_SUPER_MAGIC, "proc"),
        (statfs::SYSFS_MAGIC, "sysfs"),
        (statfs::CGROUP2_SUPER_MAGIC, "cgroup2"),
        (statfs::NFS_SUPER_MAGIC, "nfs"),
        (statfs::FUSE_SUPER_MAGIC, "fuse"),
    ];
    let name = known.iter().find(|(number, _)| *number == found);
    name.map_or_else(|| format!("{:#x}", found.0), |(_, name)| (*name).to_owned())
}
