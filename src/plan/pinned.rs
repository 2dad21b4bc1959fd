//! Whether a container needs the host's mounts around it while it is made. If not, its mount namespace is cloned from a
//! nearly empty one (`launch/pin.rs`), and what it gets of the host is brought there: the cost of CLONE_NEWNS and of
//! dropping the old root grows with the mounts that are copied, and so with the containers on the host.

use std::path::Path;

use super::Plan;
use super::devices::{DEFAULTS, Node};
use super::hooks::Hook;
use super::mounts::MountKind;
use super::namespaces::Kind;

/// Filesystems that are made from nothing: what others take as their source is looked up in the mount namespace.
const WITHOUT_SOURCE: &[&str] = &["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "ramfs"];

impl Plan {
    /// What is brought of the host is the rootfs and the sources of binds, and nothing else is needed.
    pub fn brings_its_mounts(&self) -> bool {
        let own_namespaces = self.namespaces.is_new(Kind::Mount) && self.namespaces.joined(Kind::User).is_none();
        let hooks = &self.hooks;
        own_namespaces
            && !self.cgroup.rootless
            && !self.rootfs.no_pivot
            // What stays shared with the host, or becomes it, is told by the host's own table alone.
            && self.rootfs.propagation.recursive
            && [libc::MS_SLAVE, libc::MS_PRIVATE].contains(&self.rootfs.propagation.kind)
            // They may look for anything of the host's, below the container's root or beside it.
            && hooks.create_container.is_empty()
            && hooks.prestart.iter().chain(&hooks.create_runtime).all(needs_only_the_network)
            // The default ones are there; any other would be looked up on the host.
            && self.dev.nodes.iter().all(|node| !node.bind || is_default(node))
            // Only init can tell what a symlink comes to.
            && self.mounts.iter().all(|mount| !mount.links.bind_source && !mount.links.copy)
            // The host's own mount may take the place of one that a user namespace is refused.
            && self.mounts.iter().all(|mount| mount.fallback.is_none() || !self.namespaces.has(Kind::User))
            && self.mounts.iter().all(|mount| match &mount.kind {
                // One inside of the rootfs shows what has been mounted there before; and in a user namespace the kernel
                // itself refuses to leave out what is mounted below.
                MountKind::Bind { source, recursive } => {
                    !source.starts_with(&self.rootfs.path) && (*recursive || !self.namespaces.has(Kind::User))
                }
                MountKind::Filesystem { fstype, .. } => WITHOUT_SOURCE.contains(&fstype.as_str()),
                MountKind::CgroupV1 { hierarchies, .. } => hierarchies.iter().all(|one| one.bind.is_none()),
                MountKind::Remount { .. } => true,
            })
    }
}

/// Docker's hook, which every container on a bridge has: it hands the network namespace to the daemon.
fn needs_only_the_network(hook: &Hook) -> bool {
    hook.args.first().is_some_and(|name| name == "libnetwork-setkey")
}

fn is_default(node: &Node) -> bool {
    DEFAULTS
        .iter()
        .any(|(path, major, minor)| node.path == Path::new(path) && (node.major, node.minor) == (*major, *minor))
}
