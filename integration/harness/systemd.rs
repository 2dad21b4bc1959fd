//! Containers as scopes of systemd, and what systemd says of them. Not for what stands in cgroup files.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::{Bundle, Container, Output, cgroup, sys};

/// What the scopes' names begin with.
pub const PREFIX: &str = "oarlock_test";

pub fn running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Makes a bundle's containers scopes of systemd in `slice`.
pub fn into_slice(mut bundle: Bundle, slice: &str) -> Bundle {
    bundle.set("/linux/cgroupsPath", format!("{slice}:{PREFIX}:{}", bundle.id));
    bundle.rt.global = vec!["--systemd-cgroup".into()];
    bundle
}

pub fn scoped(bundle: Bundle) -> Bundle {
    into_slice(bundle, "system.slice")
}

pub fn unit(bundle: &Bundle) -> String {
    format!("{PREFIX}-{}.scope", bundle.id)
}

/// The container's cgroup, as the files of the hierarchies know it.
pub fn path(bundle: &Bundle) -> String {
    format!("/system.slice/{}", unit(bundle))
}

pub fn systemctl(args: &[&str]) -> String {
    let output = Command::new("systemctl").args(args).output().expect("systemctl");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn show(unit: &str) -> HashMap<String, String> {
    let text = systemctl(&["show", unit]);
    text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect()
}

#[track_caller]
pub fn gone(bundle: &Bundle) {
    assert_eq!(show(&unit(bundle))["LoadState"], "not-found", "{} is still known to systemd", unit(bundle));
    let left: Vec<_> = cgroup::dirs(&path(bundle)).into_iter().filter(|dir| dir.exists()).collect();
    assert!(left.is_empty(), "cgroups are left: {left:?}");
}

/// systemd's own line of a process's cgroups.
pub fn cgroup_of(container: &Container) -> String {
    let text = container.proc("cgroup");
    let prefix = if cgroup::is_v2() { "0::" } else { "name=systemd:" };
    text.lines().find_map(|line| Some(line.split_once(prefix)?.1.to_owned())).expect("a cgroup")
}

/// Runs a script in the container.
#[track_caller]
pub fn exec(bundle: &Bundle, script: &str) -> Output {
    bundle.rt.call(["exec", &bundle.id, "sh", "-c", script])
}

/// A unit that is not the runtime's.
pub struct Foreign(String, pub Child);

impl Foreign {
    pub fn start(unit: &str, args: &[&str]) -> Self {
        let mut command = Command::new("systemd-run");
        command.args(["--scope", "--quiet", &format!("--unit={unit}")]).args(args);
        let child = command.stdin(Stdio::null()).spawn().expect("systemd-run");
        Self(unit.into(), child)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        systemctl(&["kill", "--signal=KILL", &self.0]);
        systemctl(&["stop", &self.0]);
        systemctl(&["reset-failed", &self.0]);
        self.1.wait().ok();
    }
}

/// Waits until the unit is in that state; systemd says so on its own time.
#[track_caller]
pub fn until(unit: &str, state: &str) {
    let deadline = sys::deadline();
    while show(unit)["ActiveState"] != state {
        assert!(std::time::Instant::now() < deadline, "{unit} does not become {state}");
        std::thread::yield_now();
    }
}

/// Waits until systemd knows no unit of such a name any more.
#[track_caller]
pub fn forgotten(pattern: &str) {
    let deadline = sys::deadline();
    loop {
        let units = systemctl(&["list-units", "--all", "--plain", "--no-legend", pattern]);
        if units.trim().is_empty() {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "systemd still has {units}");
        std::thread::yield_now();
    }
}
