//! From `linux.cgroupsPath` to a directory in each hierarchy. The rules are runc's for its cgroupfs driver: absolute
//! from the hierarchy's root, relative from the runtime's own cgroup, none given the same as the container's id.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::{Dir, Place, Result};
use crate::cgroup::layout::Layout;
use crate::error::InputError;

const AT: &str = "linux.cgroupsPath";

/// The controllers whose v1 hierarchies a container joins (and systemd's named one); others are left alone.
pub(super) const JOINED: &[&str] = &[
    "cpuset",
    "cpu",
    "cpuacct",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "misc",
    "name=systemd",
];

pub(super) fn place(given: Option<&Path>, id: &str, layout: &Layout) -> Result<Place> {
    let path = given.unwrap_or(Path::new(id));
    let (absolute, below) = clean(path)?;

    // v1: below the runtime's own cgroup. Pure v2: beside it, for a v2 cgroup that holds processes (the runtime's own)
    // cannot hand controllers down. A hybrid host's v2 side has no controllers to speak of, and follows v1.
    let dir = |controllers: &[String], mount: &Path, own: Option<&Path>, beside: bool| {
        let below = match (absolute, own) {
            (true, _) => below.clone(),
            (false, Some(own)) => {
                let own = own.strip_prefix("/").unwrap_or(own);
                if beside { own.parent().unwrap_or(own).join(&below) } else { own.join(&below) }
            }
            (false, None) => {
                return Err(InputError::new(
                    AT,
                    "relative, but the runtime's own cgroup is outside of what is mounted",
                )
                .hint("give an absolute path"));
            }
        };
        Ok(Dir { controllers: controllers.to_vec(), mount: mount.to_owned(), below })
    };

    let mut v1 = Vec::new();
    for h in &layout.v1 {
        if h.controllers.iter().any(|c| JOINED.contains(&c.as_str())) {
            v1.push(dir(&h.controllers, &h.mount, h.own.as_deref(), false)?);
        }
    }
    let v2 = match &layout.v2 {
        Some(u) => Some(dir(&u.controllers, &u.mount, u.own.as_deref(), layout.v1.is_empty())?),
        None => None,
    };
    Ok(Place { kind: layout.kind(), v1, v2, unit: None })
}

/// Whether `path` is absolute, and its ordinary components.
fn clean(path: &Path) -> Result<(bool, PathBuf)> {
    let text = path.to_string_lossy();
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() == 3 && !text.contains('/') && (parts[0].is_empty() || parts[0].ends_with(".slice")) {
        return Err(InputError::new(AT, format!("{text:?} is of systemd's form slice:prefix:name"))
            .hint("give --systemd-cgroup, or a path such as /mygroup/name"));
    }
    if text.contains(['\0', '\n']) {
        return Err(InputError::new(AT, format!("{text:?} has a character that a cgroup's name cannot have")));
    }
    let mut below = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::ParentDir => {
                return Err(InputError::new(AT, format!("{text:?} contains \"..\"")));
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if below.as_os_str().is_empty() {
        return Err(InputError::new(AT, format!("{text:?} is the root of the hierarchy"))
            .hint("a container needs a cgroup of its own"));
    }
    Ok((path.is_absolute(), below))
}

/// The host's uid for the container's user, where the container is meant to manage its own cgroup: it has a cgroup
/// namespace and /sys/fs/cgroup is mounted writable in it.
pub(super) fn owner(spec: &Spec) -> Option<u32> {
    let linux = spec.linux().as_ref()?;
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let has = |typ| namespaces.iter().any(|n| n.typ() == typ);
    let writable = spec.mounts().as_deref().unwrap_or_default().iter().any(|m| {
        m.typ().as_deref() == Some("cgroup")
            && m.destination().components().eq(Path::new("/sys/fs/cgroup").components())
            && !m.options().as_deref().unwrap_or_default().iter().any(|o| o == "ro" || o == "rro")
    });
    if !writable || !has(LinuxNamespaceType::Cgroup) {
        return None;
    }
    host_uid(spec)
}

/// The host's uid for the container's user; `None` where it is not mapped.
pub(super) fn host_uid(spec: &Spec) -> Option<u32> {
    let linux = spec.linux().as_ref()?;
    let uid = spec.process().as_ref().map_or(0, |p| p.user().uid());
    if !linux.namespaces().iter().flatten().any(|namespace| namespace.typ() == LinuxNamespaceType::User) {
        return Some(uid);
    }
    linux.uid_mappings().as_deref().unwrap_or_default().iter().find_map(|m| {
        let offset = uid.checked_sub(m.container_id())?;
        (offset < m.size()).then(|| m.host_id().checked_add(offset))?
    })
}
