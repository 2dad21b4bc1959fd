//! Which cgroup hierarchies this host has, where, and where the runtime itself is in them: plain facts, probed once.

use std::path::{Path, PathBuf};

use nix::sys::statfs::{self, FsType};
use serde::{Deserialize, Serialize};

use crate::sys::{Result, read_text};

const ROOT: &str = "/sys/fs/cgroup";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    V1,
    /// v1 with a v2 hierarchy beside it at /sys/fs/cgroup/unified (systemd's name for it).
    Hybrid,
    V2,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// The mounted v1 hierarchies, in the order of their mounting.
    pub v1: Vec<Hierarchy>,
    pub v2: Option<Unified>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchy {
    /// Controllers mounted together (`["cpu", "cpuacct"]`), or one name (`["name=systemd"]`).
    pub controllers: Vec<String>,
    pub mount: PathBuf,
    /// The runtime's own cgroup, absolute as seen from `mount`; `None` where it lies outside.
    pub own: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unified {
    pub mount: PathBuf,
    pub own: Option<PathBuf>,
    /// cgroup.controllers at `mount`.
    pub controllers: Vec<String>,
}

impl Layout {
    pub fn kind(&self) -> Kind {
        match (&self.v2, self.v1.is_empty()) {
            (Some(_), true) => Kind::V2,
            (Some(_), false) => Kind::Hybrid,
            (None, _) => Kind::V1,
        }
    }

    /// The v1 hierarchy of a controller.
    pub fn v1(&self, controller: &str) -> Option<&Hierarchy> {
        self.v1.iter().find(|h| h.controllers.iter().any(|c| c == controller))
    }

    /// Looks at the host. /proc/self/mountinfo, which grows with the host's mounts, is read only where a hierarchy is
    /// not at its usual place.
    pub fn probe() -> Result<Self> {
        let own = read_text("/proc/self/cgroup")?;
        let root = Path::new(ROOT);
        if is(root, statfs::CGROUP2_SUPER_MAGIC) {
            // /proc/self/cgroup may list v1 hierarchies all the same: mounted elsewhere, or not at all.
            return Ok(Self { v1: Vec::new(), v2: Some(unified(root, &own)?) });
        }
        let mut layout = Self::default();
        let mut mountinfo = None;
        for (controllers, path) in own.lines().filter_map(line).filter(|(c, _)| !c.is_empty()) {
            let found = match usual(controllers, path) {
                Some(found) => Some(found),
                None => {
                    if mountinfo.is_none() {
                        mountinfo = Some(read_text("/proc/self/mountinfo")?);
                    }
                    mounted(controllers, path, mountinfo.as_deref().unwrap_or_default())
                }
            };
            let controllers = controllers.split(',').map(str::to_owned).collect();
            if let Some((mount, own)) = found {
                layout.v1.push(Hierarchy { controllers, mount, own });
            }
        }
        let v2 = root.join("unified");
        if is(&v2, statfs::CGROUP2_SUPER_MAGIC) {
            layout.v2 = Some(unified(&v2, &own)?);
        }
        layout.v1.reverse();
        Ok(layout)
    }
}

fn is(path: &Path, magic: FsType) -> bool {
    statfs::statfs(path).is_ok_and(|s| s.filesystem_type() == magic)
}

/// `4:memory:/path` as controllers and path (cgroups(7)); v2's line has no controllers.
pub fn line(line: &str) -> Option<(&str, &str)> {
    line.split_once(':')?.1.split_once(':')
}

fn unified(mount: &Path, own: &str) -> Result<Unified> {
    let controllers = read_text(mount.join("cgroup.controllers"))?;
    let own = own.lines().filter_map(line).find(|(c, _)| c.is_empty()).and_then(|(_, path)| below(mount, path));
    Ok(Unified { mount: mount.into(), own, controllers: controllers.split_whitespace().map(str::to_owned).collect() })
}

/// `path`, if it is what the mount shows under that name. In a container without its own cgroup namespace the mount
/// shows a part of what /proc/self/cgroup speaks of; beyond the root of a namespace, paths begin with `/..`.
fn below(mount: &Path, path: &str) -> Option<PathBuf> {
    let known = path == "/" || !path.starts_with("/..") && mount.join(&path[1..]).is_dir();
    known.then(|| path.into())
}

/// A v1 hierarchy at its conventional directory: `cpu,cpuacct`, a link `cpu` to it, or `systemd`.
fn usual(controllers: &str, path: &str) -> Option<(PathBuf, Option<PathBuf>)> {
    let name = controllers.strip_prefix("name=").unwrap_or(controllers);
    let first = name.split(',').next()?;
    let mount = [name, first].iter().map(|n| Path::new(ROOT).join(n)).find(|m| is(m, statfs::CGROUP_SUPER_MAGIC))?;
    let own = below(&mount, path)?;
    Some((mount, Some(own)))
}

/// A v1 hierarchy by /proc/self/mountinfo (proc_pid_mountinfo(5)): ID PARENT MAJ:MIN ROOT MOUNT … - TYPE SOURCE SUPER.
pub fn mounted(controllers: &str, path: &str, mountinfo: &str) -> Option<(PathBuf, Option<PathBuf>)> {
    let wanted = controllers.split(',').next()?;
    mountinfo.lines().find_map(|l| {
        let (mount, fs) = l.split_once(" - ")?;
        let fs: Vec<&str> = fs.split(' ').collect();
        if fs.first() != Some(&"cgroup") || !fs.last()?.split(',').any(|o| o == wanted) {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, unescape(fields.next()?));
        let own = Path::new(path).strip_prefix(root).ok().map(|rest| Path::new("/").join(rest));
        Some((PathBuf::from(at), own))
    })
}

/// mountinfo writes blanks and backslashes in octal.
fn unescape(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |s, (from, to)| s.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hierarchy_mounted_elsewhere_or_in_part_is_found_by_mountinfo() {
        let info = "36 25 0:31 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                    40 36 0:40 /docker/abc /cg\\040v1/memory ro shared:1 - cgroup cgroup rw,memory\n\
                    41 36 0:41 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";
        assert_eq!(mounted("memory", "/docker/abc/sub", info), Some(("/cg v1/memory".into(), Some("/sub".into()))));
        assert_eq!(mounted("memory", "/elsewhere", info), Some(("/cg v1/memory".into(), None)));
        assert_eq!(mounted("cpuacct,cpu", "/", info), Some(("/cg/cpu".into(), Some("/".into()))));
        assert_eq!(mounted("pids", "/", info), None);
    }

    #[test]
    fn this_hosts_layout_names_directories_that_exist() {
        let layout = Layout::probe().unwrap();
        assert!(layout.v1.iter().all(|h| h.mount.join("cgroup.procs").exists()));
        assert!(layout.v2.iter().all(|u| u.mount.join("cgroup.controllers").exists()));
        assert_eq!(serde_json::from_str::<Layout>(&serde_json::to_string(&layout).unwrap()).unwrap(), layout);
    }
}
