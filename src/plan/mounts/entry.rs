//! One entry of `mounts`: what kind of mount it is, and whether its options make sense for that kind.

use std::path::{Path, PathBuf};

use super::super::cgroup::CgroupPlan;
use super::super::idmap::IdMaps;
use super::super::namespaces::{Kind, Namespaces};
use super::super::{Result, no_nul, normalise};
use super::options::{self, Options as Given, attr};
use super::{FsParam, Mount, MountKind, PROC_ALLOWED, cgroup, idmap, proc_target_allowed};
use crate::error::InputError;

/// Filesystems of which one superblock serves several mounts, of other containers too: `ro` is the mount's alone.
const SHARED_SUPERBLOCK: &[&str] = &["proc", "sysfs", "mqueue", "cgroup", "cgroup2"];

/// Filesystems that SELinux labels by itself, so that `linux.mountLabel` does not apply.
const NO_CONTEXT: &[&str] = &["proc", "sysfs", "cgroup", "cgroup2"];

/// Filesystems that show a namespace, which kind it is, and where a host has them. In a user namespace the kernel lets
/// nobody mount them of a namespace that it does not own.
const FALLBACKS: &[(&str, Kind, &str)] =
    &[("proc", Kind::Pid, "/proc"), ("sysfs", Kind::Network, "/sys"), ("mqueue", Kind::Ipc, "/dev/mqueue")];

/// What an entry depends on besides itself.
pub struct Context<'a> {
    pub bundle: &'a Path,
    pub own_cgroups: bool,
    pub namespaces: &'a Namespaces,
    pub label: Option<&'a str>,
    /// The mount option that carries it: one of the four of mount(8).
    pub label_key: &'a str,
    pub id_maps: Option<&'a IdMaps>,
    pub cgroup: &'a CgroupPlan,
}

impl Context<'_> {
    /// # Errors
    /// What is wrong in the entry, by its JSON path.
    pub fn mount(&self, at: String, mount: &oci_spec::runtime::Mount, warn: &mut Vec<String>) -> Result<Mount> {
        let destination = destination(&format!("{at}.destination"), mount.destination())?;
        let fstype = mount.typ().as_deref().unwrap_or_default();
        no_nul(&format!("{at}.type"), fstype)?;
        let source = mount.source().as_deref().filter(|source| !source.as_os_str().is_empty());
        if let Some(source) = source {
            no_nul(&format!("{at}.source"), &source.to_string_lossy())?;
        }
        let mut given = Given::read(&at, mount.options().as_deref().unwrap_or_default(), warn)?;
        // Not the specification's, but what a person means who writes nothing else; runc fails with ENODEV.
        if fstype == "bind" && !given.remount {
            given.bind.get_or_insert(false);
        }
        let mut out = Mount {
            kind: MountKind::Remount { flags: Vec::new(), params: Vec::new() },
            attrs: given.attrs,
            recursive_attrs: given.recursive_attrs,
            fallback: None,
            id_mapping: None,
            propagation: given.propagation.clone(),
            copy_up: given.copy_up.is_some(),
            links: given.links,
            readonly_late: false,
            destination,
            at,
        };
        if let Some(at) = given.copy_up.as_ref().filter(|_| fstype != "tmpfs" || given.bind.is_some() || given.remount)
        {
            return Err(InputError::new(at, "tmpcopyup is for a tmpfs alone"));
        }
        if let Some(at) = given.links_at.as_ref().filter(|_| given.bind.is_none() || given.remount) {
            return Err(InputError::new(at, "is for a bind mount alone: nothing else has a symlink to follow"));
        }
        out.kind = match (given.remount, given.bind, fstype) {
            (true, Some(_), _) => {
                only_attributes(&given)?;
                out.kind
            }
            (true, None, _) => remount(&given),
            (false, Some(recursive), _) => {
                only_attributes(&given)?;
                let source = source.ok_or_else(|| {
                    InputError::new(format!("{}.source", out.at), "is missing")
                        .hint("a bind mount needs the file or directory on the host")
                })?;
                MountKind::Bind { source: self.bundle.join(source), recursive }
            }
            (false, None, "" | "none") => {
                return Err(InputError::new(format!("{}.type", out.at), "is missing")
                    .hint("give the filesystem's type, or the option \"bind\""));
            }
            (false, None, _) => self.new_mount(&mut out, &given, fstype, source)?,
        };
        out.id_mapping =
            idmap::compile(&out, mount, given.idmap.as_ref(), self.namespaces.has(Kind::User), self.id_maps)?;
        Ok(out)
    }

    fn new_mount(&self, out: &mut Mount, given: &Given, fstype: &str, source: Option<&Path>) -> Result<MountKind> {
        if out.destination == Path::new("/proc") && fstype != "proc" {
            let what = "\"/proc\" cannot be mounted because it is not of type proc";
            return Err(InputError::new(format!("{}.type", out.at), what));
        }
        fresh(out);
        if fstype == "cgroup" {
            return cgroup::compile(out, given, self.own_cgroups, self.cgroup);
        }
        self.filesystem(out, given, fstype, source)
    }

    fn filesystem(&self, out: &mut Mount, given: &Given, fstype: &str, source: Option<&Path>) -> Result<MountKind> {
        for option in &given.params {
            self.mapped(option)?;
        }
        let mut params: Vec<_> = given.params.iter().map(|param| param.param.clone()).collect();
        if let Some(label) = self.label.filter(|_| !NO_CONTEXT.contains(&fstype))
            && !params.iter().any(|param| param.key == self.label_key)
        {
            params.push(FsParam { key: self.label_key.to_owned(), value: Some(label.to_owned()) });
        }
        out.fallback = FALLBACKS
            .iter()
            .find(|(name, kind, _)| *name == fstype && !self.namespaces.has(*kind))
            .map(|(_, _, path)| *path);
        let readonly = out.attrs.set & attr::RDONLY != 0;
        // Mount points of later entries, device nodes and copies are still to be made inside.
        out.readonly_late = readonly && (fstype == "tmpfs" || out.destination == Path::new("/dev"));
        let mut flags = Vec::new();
        if readonly && !out.readonly_late && !SHARED_SUPERBLOCK.contains(&fstype) {
            flags.push("ro");
        }
        flags.extend(given.superblock.iter().filter(|flag| flag.wanted).map(|flag| flag.on));
        // The source is a name that the filesystem may do without; in /proc/self/mountinfo a missing one reads `none`.
        let source = source.map(|source| source.to_string_lossy().into_owned());
        Ok(MountKind::Filesystem { fstype: fstype.to_owned(), source, flags, params })
    }

    /// `uid=` and `gid=` name ids of the container; the kernel refuses unmapped ones with a bare EINVAL.
    fn mapped(&self, option: &options::Param) -> Result<()> {
        let Some(maps) = self.id_maps else {
            return Ok(());
        };
        let FsParam { key, value } = &option.param;
        let Some(id) = value.as_deref().and_then(|value| value.parse().ok()) else {
            return Ok(());
        };
        let found = match key.as_str() {
            "uid" => maps.uid_to_host(id),
            "gid" => maps.gid_to_host(id),
            _ => return Ok(()),
        };
        if found.is_none() {
            let what = format!("{key}={id} is not mapped in the user namespace");
            return Err(InputError::new(&option.at, what).hint(format!("extend linux.{key}Mappings, or leave it out")));
        }
        Ok(())
    }
}

fn destination(at: &str, given: &Path) -> Result<PathBuf> {
    no_nul(at, &given.to_string_lossy())?;
    if given.as_os_str().is_empty() {
        return Err(InputError::new(at, "is missing").hint("give an absolute path in the container"));
    }
    let path = normalise(given).ok_or_else(|| {
        InputError::new(at, format!("{given:?} is not absolute")).hint("paths in the container start with /")
    })?;
    if !proc_target_allowed(&path) {
        return Err(InputError::new(at, format!("{path:?} cannot be mounted because it is inside /proc"))
            .hint(format!("allowed there: {}", PROC_ALLOWED.join(", "))));
    }
    Ok(path)
}

/// A bind is another view of a mounted filesystem: the kernel ignores what belongs to the filesystem itself.
fn only_attributes(given: &Given) -> Result<()> {
    match given.of_filesystem() {
        None => Ok(()),
        Some(at) => Err(InputError::new(at, "bind mounts cannot have any filesystem-specific options applied")
            .hint("the kernel would ignore it; set it where the filesystem is mounted")),
    }
}

fn remount(given: &Given) -> MountKind {
    let mut flags = Vec::new();
    if given.attrs.set & attr::RDONLY != 0 {
        flags.push("ro");
    } else if given.attrs.clear & attr::RDONLY != 0 {
        flags.push("rw");
    }
    let superblock = given.superblock.iter().map(|flag| if flag.wanted { flag.on } else { flag.off });
    flags.extend(superblock.filter(|name| !name.is_empty()));
    MountKind::Remount { flags, params: given.params.iter().map(|param| param.param.clone()).collect() }
}

/// A new mount has nothing below it and no attribute to clear, but for the access time mode.
fn fresh(mount: &mut Mount) {
    let recursive = std::mem::take(&mut mount.recursive_attrs);
    if recursive.clear & attr::ATIME != 0 {
        mount.attrs.set &= !attr::ATIME;
    }
    mount.attrs.set = mount.attrs.set & !recursive.clear | recursive.set;
    mount.attrs.clear = (mount.attrs.clear | recursive.clear) & attr::ATIME;
}
