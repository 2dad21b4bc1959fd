//! Facts about the host, probed once and handed to `plan::compile` as data.

use std::fs;
use std::sync::OnceLock;

use anyhow::Context;
use caps::{CapSet, Capability};
use serde::Serialize;

use crate::cgroup::layout::Layout;
use crate::plan::cgroup::Manager;
use crate::review::Modules;

/// What `/proc/self/uid_map` holds in the initial user namespace (user_namespaces(7)): every id but the last.
const ALL_IDS: [&str; 3] = ["0", "0", "4294967295"];

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    pub cgroup: Layout,
    pub euid: u32,
    pub egid: u32,
    /// Our user outside of our user namespace.
    pub outer_uid: u32,
    /// We run inside a user namespace that does not map every id (so mknod(2) and friends are refused).
    pub in_user_namespace: bool,
    /// We hold CAP_SETUID / CAP_SETGID over our user namespace, so id maps can be written directly.
    pub can_map_ids: bool,
    /// `/proc/devices`, read only for the systemd driver, which knows whole majors by these names.
    pub device_names: Vec<DeviceName>,
}

/// One kind of device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeviceName {
    /// Block, not character, devices.
    pub block: bool,
    pub major: u32,
    pub name: String,
}

/// Looks at the host: the cgroup mounts, our ids and capabilities, our user namespace.
///
/// # Errors
/// `/proc` cannot be read, or the cgroup mounts make no sense.
pub fn probe(manager: Manager) -> anyhow::Result<Facts> {
    let map = uid_map()?;
    let effective = caps::read(None, CapSet::Effective).context("read our capabilities")?;
    let euid = nix::unistd::geteuid().as_raw();
    let device_names = match manager {
        Manager::Systemd => device_names(&fs::read_to_string("/proc/devices").context("/proc/devices")?),
        Manager::Cgroupfs | Manager::Disabled => Vec::new(),
    };
    Ok(Facts {
        cgroup: Layout::probe()?,
        euid,
        outer_uid: outside(map, euid),
        device_names,
        egid: nix::unistd::getegid().as_raw(),
        in_user_namespace: !maps_all_ids(map),
        can_map_ids: [Capability::CAP_SETUID, Capability::CAP_SETGID].iter().all(|cap| effective.contains(cap)),
    })
}

/// Whether we lack privileges over the host: not root, or root of some user namespace only.
///
/// # Errors
/// `/proc` cannot be read.
pub fn is_rootless() -> anyhow::Result<bool> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(true);
    }
    Ok(!maps_all_ids(uid_map()?))
}

/// Our user namespace's map. Read once: a process changes its user namespace only to enter a container.
fn uid_map() -> anyhow::Result<&'static str> {
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(map) = KNOWN.get() {
        return Ok(map);
    }
    let map = crate::sys::read_text("/proc/self/uid_map")?;
    Ok(KNOWN.get_or_init(|| map))
}

/// Which security modules the kernel enforces. Only for verbs that take their time: it is not asked on the way to a
/// container, where the kernel answers when a label is written.
pub fn security_modules() -> Modules {
    let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.trim() == "Y");
    // selinuxfs is mounted only where SELinux is in use (selinux(8)).
    let selinux = fs::metadata("/sys/fs/selinux/enforce").is_ok();
    Modules { apparmor, selinux }
}

/// What `id` is outside of the user namespace with that map.
pub fn outside(map: &str, id: u32) -> u32 {
    let ranges = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u32>().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    });
    let found = ranges.into_iter().find(|(inside, _, size)| id >= *inside && id - inside < *size);
    found.map_or(id, |(inside, outside, _)| outside.saturating_add(id - inside))
}

/// `136 pts` below `Character devices:` or `Block devices:` (proc_devices(5)).
pub fn device_names(text: &str) -> Vec<DeviceName> {
    let mut block = false;
    let mut names = Vec::new();
    for line in text.lines() {
        block |= line.starts_with("Block");
        if let Some((major, name)) = line.trim_start().split_once(' ')
            && let Ok(major) = major.parse()
        {
            names.push(DeviceName { block, major, name: name.to_owned() });
        }
    }
    names
}

fn maps_all_ids(map: &str) -> bool {
    map.split_whitespace().eq(ALL_IDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_full_map_is_the_hosts() {
        assert!(maps_all_ids("         0          0 4294967295\n"));
        assert!(!maps_all_ids("         0       1000          1\n"));
        assert!(!maps_all_ids("0 0 1000\n1000 1000 4294966295\n"));
    }

    #[test]
    fn ids_are_told_as_the_namespace_outside_has_them() {
        assert_eq!(outside("0 1000 1\n1 100000 65536\n", 0), 1000);
        assert_eq!(outside("0 1000 1\n1 100000 65536\n", 5), 100_004);
        assert_eq!(outside("", 7), 7);
    }

    #[test]
    fn kinds_of_devices_have_names() {
        let text = "Character devices:\n  1 mem\n136 pts\n\nBlock devices:\n  7 loop\n";
        let names: Vec<_> = device_names(text).into_iter().map(|d| (d.block, d.major, d.name)).collect();
        assert_eq!(names, [(false, 1, "mem".into()), (false, 136, "pts".into()), (true, 7, "loop".into())]);
    }
}
