//! The root file system and the mounts, every option resolved to bits. Not for how a mount is made, nor for what only
//! the host can tell (does a source exist, is it really a procfs): `init/` finds that out.

mod cgroup;
mod entry;
pub mod hot;
mod idmap;
mod options;
mod root;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::Serialize;

use self::entry::Context;
pub use self::idmap::{IdMapping, Maps};
pub use self::options::{attr, ms, option_names};
pub use self::root::rootfs;
use super::cgroup::CgroupPlan;
use super::idmap::IdMaps;
use super::namespaces::{Kind, Namespaces};
use super::{Options, Result, annotations, lsm};
use crate::error::InputError;
use crate::weak::{Guard, lacks};

/// A change of mount attributes, for mount_setattr(2): `MOUNT_ATTR_*` bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AttrChange {
    pub set: u64,
    /// When an atime mode is set this holds `MOUNT_ATTR__ATIME`, as mount_setattr(2) wants it.
    pub clear: u64,
}

/// A propagation type, in the order asked (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Propagation {
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`.
    pub kind: u64,
    pub recursive: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rootfs {
    /// Absolute, on the host.
    pub path: PathBuf,
    pub readonly: bool,
    /// What `/` of the new mount namespace becomes before anything is mounted: `linux.rootfsPropagation`, or recursive slave.
    pub propagation: Propagation,
    /// The document asks for it, so it holds for the container's own `/` too, at the end.
    pub explicit_propagation: bool,
    /// `--no-pivot`: MS_MOVE and chroot instead of pivot_root, for a root on an initramfs.
    pub no_pivot: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// The JSON path, for errors: `mounts[3]`.
    pub at: String,
    /// Absolute, normalised; resolved inside the rootfs when carried out.
    pub destination: PathBuf,
    pub kind: MountKind,
    pub attrs: AttrChange,
    /// Attributes for this mount and all below it (`rro`, `rnosuid`, …).
    pub recursive_attrs: AttrChange,
    /// Where the kernel refuses the filesystem because the namespace that it shows is the caller's: there the caller has it.
    pub fallback: Option<&'static str>,
    /// Owners are shown and stored through a map.
    pub id_mapping: Option<IdMapping>,
    pub propagation: Vec<Propagation>,
    /// `tmpcopyup`: the directory's former content is copied into the new tmpfs.
    pub copy_up: bool,
    pub links: Links,
    /// The set of `MOUNT_ATTR_RDONLY` waits until the runtime has written below (tmpfs, `/dev`, cgroup v1's tmpfs).
    pub readonly_late: bool,
}

/// What becomes of a symlink at either end of a bind, by options that are crun's; else it is followed.
impl Mount {
    /// Whether all of it is to be private from the start: then it need not be anything else before.
    pub fn becomes_private(&self) -> bool {
        self.propagation.first().is_some_and(|first| first.kind == libc::MS_PRIVATE && first.recursive)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    /// `copy-symlink`: one at the source is made anew at the destination, and nothing is mounted.
    pub copy: bool,
    /// `src-nofollow`: one at the source is itself what is bound.
    pub bind_source: bool,
    /// `dest-nofollow`: one at the destination is itself what is covered.
    pub cover_destination: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MountKind {
    Bind {
        source: PathBuf,
        recursive: bool,
    },
    /// By fsopen(2): `flags` are superblock flags by their fsconfig(2) names (`ro`, `sync`, `dirsync`, …).
    Filesystem {
        fstype: String,
        source: Option<String>,
        flags: Vec<&'static str>,
        params: Vec<FsParam>,
    },
    /// `mount -o remount`: changes what an earlier entry mounted at the destination. With `bind` only the attributes.
    Remount {
        flags: Vec<&'static str>,
        params: Vec<FsParam>,
    },
    /// The cgroup v1 hierarchies below a tmpfs, as clients expect at `/sys/fs/cgroup`.
    CgroupV1 {
        hierarchies: Vec<CgroupHierarchy>,
        links: Vec<(String, String)>,
    },
}

/// One filesystem parameter of fsconfig(2): a flag, or a key with its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FsParam {
    pub key: String,
    pub value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CgroupHierarchy {
    /// Directory name below the mount, the host's: `cpu,cpuacct`, `systemd`.
    pub name: String,
    /// The filesystem, with a cgroup namespace: `cgroup` or `cgroup2`.
    pub fstype: &'static str,
    pub params: Vec<FsParam>,
    /// Without a cgroup namespace: the container's own cgroup directory on the host, bound here.
    pub bind: Option<PathBuf>,
    /// What is bound if that does not exist: the runtime's own cgroup, in which a rootless container is that may not
    /// have one of its own. Read-only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_own: Option<PathBuf>,
}

/// Where the container finds the socket of `NOTIFY_SOCKET` (sd_notify(3)); its directory is a bind of `notify` in the
/// state directory.
pub const NOTIFY_SOCKET: &str = "/run/notify/notify.sock";

/// What may be mounted over inside `/proc`: files that lxcfs and its like emulate (runc has the same list). Anything
/// else would let an image fake what the runtime and the container's programs rely on (CVE-2019-16884).
const PROC_ALLOWED: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Whether something may be mounted at `path`, absolute in the container with symlinks resolved. `/proc` itself may
/// only get a procfs: the caller's to check.
pub fn proc_target_allowed(path: &Path) -> bool {
    lacks(Guard::ProcTargets) || path == Path::new("/proc") || !path.starts_with("/proc") || is_emulated(path)
}

/// Whether `path` is a file of /proc that may be mounted over. `/proc/net` is a link to the reader's own, by its pid.
pub fn is_emulated(path: &Path) -> bool {
    let pid = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let own = path.strip_prefix("/proc").ok().and_then(|below| {
        let mut components = below.components();
        pid(components.next()?.as_os_str().to_str()?).then(|| Path::new("/proc").join(components.as_path()))
    });
    let path = own.as_deref().filter(|own| own.starts_with("/proc/net")).unwrap_or(path);
    PROC_ALLOWED.iter().any(|allowed| Path::new(allowed) == path)
}

fn needs_mount_namespace(at: impl Into<String>) -> InputError {
    InputError::new(at, "needs a mount namespace").hint("add {\"type\": \"mount\"} to linux.namespaces")
}

/// For what is mounted in the host's own mount namespace where the container has none: it takes the host's privileges.
pub(super) fn needs_privileges(at: &str, options: &Options, namespaces: &Namespaces) -> Result<()> {
    let without = namespaces.has(Kind::User) || options.rootless;
    if without && !namespaces.has(Kind::Mount) { Err(needs_mount_namespace(at)) } else { Ok(()) }
}

/// `mounts` in their order, then the runtime's own for `NOTIFY_SOCKET`.
///
/// # Errors
/// Whatever is wrong in an entry, by its JSON path; any entry with neither a mount namespace nor the host's privileges.
pub fn compile(
    spec: &Spec,
    options: &Options,
    namespaces: &Namespaces,
    id_maps: Option<&IdMaps>,
    cgroup: &CgroupPlan,
    warn: &mut Vec<String>,
) -> Result<Vec<Mount>> {
    let given = spec.mounts().as_deref().unwrap_or_default();
    if !given.is_empty() {
        needs_privileges("mounts", options, namespaces)?;
    }
    let label = spec.linux().as_ref().and_then(|linux| linux.mount_label().as_ref());
    let label = lsm::label("linux.mountLabel", label)?;
    let label_key = annotations::read(spec)?.context_type.unwrap_or("context");
    let context = Context {
        bundle: &options.bundle,
        own_cgroups: namespaces.has(Kind::Cgroup),
        namespaces,
        label: label.as_deref(),
        label_key,
        id_maps,
        cgroup,
    };
    let mut mounts = Vec::with_capacity(given.len() + 1);
    for (i, mount) in given.iter().enumerate() {
        mounts.push(context.mount(format!("mounts[{i}]"), mount, warn)?);
    }
    if options.notify_socket.is_some() {
        needs_privileges("NOTIFY_SOCKET", options, namespaces)?;
        mounts.push(notify(&options.state_dir));
    }
    for i in 0..mounts.len() {
        let (mount, later) = (&mounts[i], &mounts[i + 1..]);
        let filled = || later.iter().any(|other| other.destination.starts_with(&mount.destination));
        if matches!(mount.kind, MountKind::CgroupV1 { .. }) && !filled() {
            mounts[i].readonly_late = false;
        }
    }
    Ok(mounts)
}

fn notify(state_dir: &Path) -> Mount {
    let set = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
    Mount {
        at: "NOTIFY_SOCKET".into(),
        destination: PathBuf::from("/run/notify"),
        kind: MountKind::Bind { source: state_dir.join("notify"), recursive: false },
        attrs: AttrChange { set, clear: 0 },
        recursive_attrs: AttrChange::default(),
        fallback: None,
        id_mapping: None,
        propagation: Vec::new(),
        copy_up: false,
        links: Links::default(),
        readonly_late: false,
    }
}
