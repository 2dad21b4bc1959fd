//! The processes of a container that has no cgroup to list them: init and its descendants, and whoever else is in its pid
//! namespace. Where that namespace is shared, a process whose parents have all ended is not found.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use anyhow::Result;
use nix::errno::Errno;

use super::Container;
use crate::sys::again::read_dir;
use crate::sys::process::{pidfd_open, pidfd_send_signal};
use crate::sys::{Named, SysError};

/// In ascending order; none once init has exited.
pub fn pids(container: &Container) -> Result<Vec<i32>> {
    // Held, so that its number is nobody else's while /proc is read.
    let (Some(_pidfd), Some(init)) = (container.init()?, container.record.init) else { return Ok(Vec::new()) };
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = container.record.own_pid_namespace.then(|| namespace(init.pid)).flatten();
    let mut found = BTreeSet::from([init.pid]);
    let mut parents = BTreeMap::new();
    for entry in read_dir("/proc").named(|| "opendir(\"/proc\")".to_owned())? {
        let entry = entry.named(|| "readdir(\"/proc\")".to_owned())?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if own.is_some() && namespace(pid) == own {
            found.insert(pid);
        } else if let Some(parent) = parent(pid) {
            parents.insert(pid, parent);
        }
    }
    // Those in namespaces below, too: each round finds the children of the round before.
    loop {
        let children: Vec<i32> =
            parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid).collect();
        if children.is_empty() {
            return Ok(found.into_iter().collect());
        }
        for pid in children {
            parents.remove(&pid);
            found.insert(pid);
        }
    }
}

/// Field 4 of /proc/PID/stat (proc_pid_stat(5)).
fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// Sends `signal` to each. They are all held before the first gets it, for the children of one that ends are nobody's
/// descendants any more.
pub fn kill(container: &Container, signal: i32) -> Result<()> {
    let pidfds: Vec<_> = pids(container)?.into_iter().filter_map(|pid| pidfd_open(pid).ok()).collect();
    for pidfd in &pidfds {
        match pidfd_send_signal(pidfd.as_fd(), signal) {
            Ok(()) | Err(SysError { errno: Errno::ESRCH, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
