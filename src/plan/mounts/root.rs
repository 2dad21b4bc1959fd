//! `root` and what belongs to it: where it is, and how its mounts propagate.

use oci_spec::runtime::Spec;

use super::super::namespaces::{Kind, Namespaces};
use super::super::{Options, Result, no_nul};
use super::{Propagation, Rootfs, ms, needs_mount_namespace, needs_privileges, options};
use crate::error::InputError;

/// `root`, `linux.rootfsPropagation`, `--no-pivot`.
///
/// # Errors
/// No root, an unknown propagation type, settings that need a mount namespace without one.
pub fn rootfs(spec: &Spec, given: &Options, namespaces: &Namespaces) -> Result<Rootfs> {
    let missing = || InputError::new("root.path", "is missing").hint("give the directory of the root file system");
    let root = spec.root().as_ref().ok_or_else(missing)?;
    if root.path().as_os_str().is_empty() {
        return Err(missing());
    }
    no_nul("root.path", &root.path().to_string_lossy())?;
    let readonly = root.readonly().unwrap_or(false);
    let asked = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    let asked = asked.filter(|name| !name.is_empty());
    if !namespaces.has(Kind::Mount) {
        if readonly {
            needs_privileges("root.readonly", given, namespaces)?;
        }
        let needs = [("linux.rootfsPropagation", asked.is_some()), ("--no-pivot", given.no_pivot)];
        if let Some((at, _)) = needs.iter().find(|(_, given)| *given) {
            return Err(needs_mount_namespace(*at));
        }
    }
    let at = "linux.rootfsPropagation";
    let propagation = match asked {
        None => Propagation { kind: ms::SLAVE, recursive: true },
        Some(name) => options::propagation(name).ok_or_else(|| {
            InputError::new(at, format!("unknown propagation {name:?}"))
                .hint("known: shared, slave, private, unbindable, and with r before them")
        })?,
    };
    // With MS_MOVE the host's mounts stay below the new root; private would keep what the host unmounts alive.
    if given.no_pivot && propagation.kind == ms::PRIVATE {
        return Err(InputError::new(at, "[r]private is not safe without pivot_root").hint("leave out --no-pivot"));
    }
    Ok(Rootfs {
        path: given.bundle.join(root.path()),
        readonly,
        explicit_propagation: asked.is_some(),
        propagation,
        no_pivot: given.no_pivot,
    })
}
