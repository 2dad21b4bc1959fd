//! The document of `mounts add` and `mounts remove`: mounts like those of a configuration, for a container that exists.

use std::path::Path;

use super::entry::Context;
use super::{Mount, MountKind, Result};
use crate::cgroup::layout::Kind;
use crate::error::InputError;
use crate::plan::cgroup::{CgroupPlan, Limits, Place};
use crate::plan::namespaces::Namespaces;

/// Compiles them; `bundle` is where relative sources begin.
///
/// # Errors
/// What is wrong in an entry, or cannot be done to a container that exists, by its JSON path.
pub fn compile(given: &[oci_spec::runtime::Mount], bundle: &Path, warn: &mut Vec<String>) -> Result<Vec<Mount>> {
    // Only mounts of type cgroup look at it, and those are refused.
    let cgroup = CgroupPlan {
        place: Place { kind: Kind::V1, v1: Vec::new(), v2: None, unit: None },
        unit: None,
        limits: Limits::default(),
        owner: None,
        delegate: None,
        rootless: false,
        explicit: false,
    };
    // Of those of the container only the kernel knows by now.
    let unknown = Namespaces { entries: Vec::new(), time_offsets: Vec::new() };
    let context = Context {
        bundle,
        own_cgroups: false,
        namespaces: &unknown,
        label: None,
        label_key: "context",
        id_maps: None,
        cgroup: &cgroup,
    };
    let one = |(i, mount)| possible(context.mount(format!("mounts[{i}]"), mount, warn)?);
    given.iter().enumerate().map(one).collect()
}

fn possible(mount: Mount) -> Result<Mount> {
    let refuse = |field: &str, what: &str| Err(InputError::new(format!("{}{field}", mount.at), what));
    if mount.destination == Path::new("/") {
        return refuse(".destination", "is the root of the container itself");
    }
    if mount.id_mapping.is_some() {
        return refuse("", "ids are mapped only in the mounts of a configuration");
    }
    match &mount.kind {
        MountKind::Bind { .. } => Ok(mount),
        MountKind::Remount { .. } => refuse(".options", "a remount is neither added nor removed"),
        // It would show the processes of the runtime's namespace.
        MountKind::Filesystem { fstype, .. } if fstype == "proc" => refuse(".type", "a procfs cannot be mounted later"),
        MountKind::Filesystem { fstype, .. } if fstype != "cgroup2" => Ok(mount),
        MountKind::Filesystem { .. } | MountKind::CgroupV1 { .. } => refuse(".type", "cgroups cannot be mounted later"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::error;
    use super::*;
    use serde_json::{Value, json};

    fn compiled(mount: Value) -> Result<Vec<Mount>> {
        compile(&[serde_json::from_value(mount).unwrap()], Path::new("/bundle"), &mut Vec::new())
    }

    #[test]
    fn binds_and_new_filesystems_can_be_mounted_later() {
        let bind = compiled(json!({ "destination": "/x/../y", "source": "data", "options": ["rbind", "ro"] })).unwrap();
        assert_eq!(bind[0].destination, Path::new("/y"));
        assert_eq!(bind[0].kind, MountKind::Bind { source: "/bundle/data".into(), recursive: true });
        compiled(json!({ "destination": "/x", "type": "tmpfs", "options": ["size=1m"] })).unwrap();
    }

    #[test]
    fn what_cannot_is_named() {
        for (mount, at) in [
            (json!({ "destination": "/x", "options": ["remount", "ro"] }), "mounts[0].options: "),
            (json!({ "destination": "/x", "type": "cgroup" }), "mounts[0].type: cgroups"),
            (json!({ "destination": "/x", "type": "cgroup2" }), "mounts[0].type: cgroups"),
            (json!({ "destination": "/proc", "type": "proc" }), "mounts[0].type: a procfs"),
            (json!({ "destination": "/", "type": "tmpfs" }), "mounts[0].destination: "),
            (json!({ "destination": "/x", "source": "/y", "options": ["bind", "idmap"] }), "mounts[0]"),
            (json!({ "destination": "/proc/self", "type": "tmpfs" }), "mounts[0].destination: "),
        ] {
            let text = error(compiled(mount));
            assert!(text.starts_with(at), "{text}");
        }
    }
}
