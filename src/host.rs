//! Facts about the host, probed once and handed to `plan::compile` as data.

use std::fs;

use anyhow::Context;
use caps::{CapSet, Capability};
use serde::Serialize;

use crate::cgroup::layout::Layout;
use crate::review::Modules;

/// What `/proc/self/uid_map` holds in the initial user namespace (user_namespaces(7)): every id but the last.
const ALL_IDS: [&str; 3] = ["0", "0", "4294967295"];

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    pub cgroup: Layout,
    pub euid: u32,
    pub egid: u32,
    /// We run inside a user namespace that does not map every id (so mknod(2) and friends are refused).
    pub in_user_namespace: bool,
    /// We hold CAP_SETUID / CAP_SETGID over our user namespace, so id maps can be written directly.
    pub can_map_ids: bool,
}

/// Looks at the host: the cgroup mounts, our ids and capabilities, our user namespace.
///
/// # Errors
/// `/proc` cannot be read, or the cgroup mounts make no sense.
pub fn probe() -> anyhow::Result<Facts> {
    let map = fs::read_to_string("/proc/self/uid_map").context("/proc/self/uid_map")?;
    let effective = caps::read(None, CapSet::Effective).context("read our capabilities")?;
    Ok(Facts {
        cgroup: Layout::probe()?,
        euid: nix::unistd::geteuid().as_raw(),
        egid: nix::unistd::getegid().as_raw(),
        in_user_namespace: !maps_all_ids(&map),
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
    let map = fs::read_to_string("/proc/self/uid_map").context("/proc/self/uid_map")?;
    Ok(!maps_all_ids(&map))
}

/// Which security modules the kernel enforces. Only for verbs that take their time: it is not asked on the way to a
/// container, where the kernel answers when a label is written.
pub fn security_modules() -> Modules {
    let apparmor = fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.trim() == "Y");
    // selinuxfs is mounted only where SELinux is in use (selinux(8)).
    let selinux = fs::metadata("/sys/fs/selinux/enforce").is_ok();
    Modules { apparmor, selinux }
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
}
