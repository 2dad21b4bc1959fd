//! What a mount of type `cgroup` becomes: it depends on the host's hierarchies and on whether the container has a
//! cgroup namespace.

use super::super::Result;
use super::super::cgroup::{CgroupPlan, Dir};
use super::options::{Options, attr};
use super::{CgroupHierarchy, FsParam, Mount, MountKind};
use crate::cgroup::layout::Kind;
use crate::error::InputError;
use crate::weak::{Guard, lacks};

/// The attributes that every cgroup mount gets on v1: nothing there is ever a program, a device or setuid.
const V1_ATTRS: u64 = attr::NOSUID | attr::NODEV | attr::NOEXEC;

/// Decides the kind of `mount`, whose attributes are the document's so far.
///
/// On v2 it is the filesystem, or without a cgroup namespace the container's own directory: the filesystem would show
/// the host's whole tree, which a container without a cgroup of its own may at least not write to. On v1 it is a tmpfs
/// with one directory for each hierarchy, named as on the host; the unified hierarchy of a hybrid host is left out, as by
/// runc: a systemd inside would try to manage it.
///
/// # Errors
/// Parameters of a filesystem where none is mounted.
pub fn compile(mount: &mut Mount, options: &Options, own: bool, cgroup: &CgroupPlan) -> Result<MountKind> {
    if !own && cgroup.rootless && !lacks(Guard::RootlessCgroups) {
        // CVE-2023-25809: a rootless container could write to the cgroups of its user on the host.
        mount.attrs.set |= attr::RDONLY;
    }
    let kind = match (&cgroup.place.kind, &cgroup.place.v2) {
        (Kind::V2, Some(dir)) if !own => MountKind::Bind { source: dir.path(), recursive: false },
        // No superblock flags but those asked for by name: one superblock serves the whole host.
        (Kind::V2, dir) => {
            if dir.is_none() && !own {
                mount.attrs.set |= attr::RDONLY;
            }
            let flags = options.superblock.iter().filter(|flag| flag.wanted).map(|flag| flag.on).collect();
            let params = options.params.iter().map(|param| param.param.clone()).collect();
            let source = Some("cgroup".to_owned());
            return Ok(MountKind::Filesystem { fstype: "cgroup2".into(), source, flags, params });
        }
        _ => {
            mount.attrs.set |= V1_ATTRS;
            mount.readonly_late = mount.attrs.set & attr::RDONLY != 0;
            v1(&cgroup.place.v1, own, cgroup.rootless && !cgroup.explicit)
        }
    };
    match options.of_filesystem() {
        None => Ok(kind),
        Some(at) => Err(InputError::new(at, "does not apply to this mount of the cgroups")
            .hint("filesystem parameters need cgroup v2 and a cgroup namespace")),
    }
}

/// `optional`: the directories are those of a rootless container, which is run without where it may not make them.
fn v1(dirs: &[Dir], own: bool, optional: bool) -> MountKind {
    let mut hierarchies = Vec::with_capacity(dirs.len());
    let mut links = Vec::new();
    for dir in dirs {
        let name = dir.mount.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // Clients look for `cpu` where the host has `cpu,cpuacct`.
        let aliases = dir.controllers.iter().filter(|c| !c.contains('=') && **c != name);
        links.extend(aliases.map(|controller| (controller.clone(), name.clone())));
        let params = dir.controllers.iter().map(|controller| match controller.split_once('=') {
            Some((key, value)) => FsParam { key: key.into(), value: Some(value.into()) },
            None => FsParam { key: controller.clone(), value: None },
        });
        hierarchies.push(CgroupHierarchy {
            name,
            fstype: "cgroup",
            params: params.collect(),
            bind: (!own).then(|| dir.path()),
            // Without a cgroupsPath the container's is directly below the runtime's own.
            bind_own: dir.path().parent().filter(|_| !own && optional).map(Into::into),
        });
    }
    MountKind::CgroupV1 { hierarchies, links }
}
