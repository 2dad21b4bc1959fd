//! What a runtime may not leave on the host: processes, mounts, cgroups, state, a changed /dev/null.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{cgroup, runtime, sys};

/// Everything of container `id` that is still there, in words. Empty is right.
pub fn find(id: &str, cgroup: &str, bundle: &Path, state: &Path) -> Vec<String> {
    let mut left = processes(id);
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let bundle = bundle.to_str().expect("UTF-8");
    left.extend(mounts.lines().filter(|line| line.contains(bundle)).map(|l| format!("mount {l}")));
    let cgroups = cgroup::dirs(cgroup).into_iter().filter(|dir| dir.exists());
    left.extend(cgroups.map(|dir| format!("cgroup {}", dir.display())));
    // Names with a dot are the runtime's own, not a container's: caches, locks.
    for entry in fs::read_dir(state).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            left.push(format!("state {}", entry.path().display()));
        }
    }
    left.extend(dev_null());
    left
}

/// Processes that belong to the container, in words.
fn processes(id: &str) -> Vec<String> {
    let describe = |pid: i32| {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        format!("process {pid} {} {:?}", read("cmdline").replace('\0', " "), read("stat"))
    };
    pids(id).into_iter().map(describe).collect()
}

/// Processes that belong to the container, by cgroup or by their command line. Zombies wait for us, not for the
/// runtime.
fn pids(id: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let names = |text: &str| text.split(['/', ' ', '\n', '\0']).any(|word| word == id);
        let ours = names(&read("cmdline")) || names(&read("cgroup"));
        if ours && !read("stat").contains(") Z ") {
            found.push(pid);
        }
    }
    found
}

/// /dev/null must stay `c 1:3`, root's, 0666: runtimes have chowned it and replaced it.
fn dev_null() -> Option<String> {
    let null = fs::metadata("/dev/null").expect("/dev/null");
    let right =
        null.rdev() == nix::sys::stat::makedev(1, 3) && (null.uid(), null.gid(), null.mode() & 0o7777) == (0, 0, 0o666);
    if right {
        return None;
    }
    let what = format!("/dev/null is {}:{} {:o}", null.uid(), null.gid(), null.mode());
    if runtime::name() == "oarlock" {
        return Some(what);
    }
    // A known fault of others that would fail every test after it: mended, and said.
    std::os::unix::fs::chown("/dev/null", Some(0), Some(0)).expect("chown /dev/null");
    eprintln!("mended: {what}");
    None
}

/// Kills processes whose command line contains `text`: hooks whose runtime a test has killed.
pub fn kill_by_command_line(text: &str) {
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let (Some(pid), true) = (pid, String::from_utf8_lossy(&command).contains(text)) {
            kill(pid);
        }
    }
}

/// Removes what is left, so that one failing test does not spoil the machine for the others.
pub fn clear(id: &str, cgroup: &str, dir: &Path) {
    for pid in pids(id) {
        kill(pid);
    }
    let dir = dir.to_str().expect("UTF-8");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    for line in mounts.lines().rev() {
        let point = line.split(' ').nth(4).expect("mount point");
        if point.starts_with(dir) {
            nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH).ok();
        }
    }
    for dir in cgroup::dirs(cgroup) {
        remove_cgroup(&dir);
    }
}

/// Ends a process and waits until it has.
fn kill(pid: i32) {
    let Some(pidfd) = sys::pidfd_open(pid) else { return };
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
    sys::wait_readable(pidfd.as_fd(), sys::DEADLINE);
    nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WNOHANG)).ok();
}

fn remove_cgroup(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    fs::remove_dir(dir).ok();
}
