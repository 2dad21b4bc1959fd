//! `--cgroup-manager`: containers that have no cgroup, and what the verbs do with them; and that its other values are the
//! drivers that clients ask for in other ways.

use std::fs;
use std::os::fd::AsFd;

use crate::exec;
use crate::harness::{Bundle, Container, Fifo, cgroup, is_oarlock, json, sys};

/// A bundle whose container gets no cgroup.
fn bundle(script: &str) -> Bundle {
    let mut bundle = Bundle::sh(script);
    bundle.rt.global = vec!["--cgroup-manager".to_owned(), "disabled".to_owned()];
    bundle
}

fn ours() -> String {
    fs::read_to_string("/proc/self/cgroup").expect("our cgroups")
}

fn ps(container: &Container<'_>) -> Vec<i32> {
    serde_json::from_value(container.call("ps", &["--format=json"]).ok().json()).expect("pids")
}

#[test]
fn disabled_makes_no_cgroup_and_joins_none() {
    differs!("runc", "runc has no --cgroup-manager");
    let bundle = bundle("sleep 1000");
    let container = bundle.started();
    assert_eq!(container.proc("cgroup"), ours());
    let made: Vec<_> = cgroup::dirs(&bundle.cgroup()).into_iter().filter(|dir| dir.exists()).collect();
    assert!(made.is_empty(), "{made:?}");
    container.kill("KILL").wait();
    container.delete();
}

#[test]
fn limits_cannot_be_kept_without_a_cgroup_and_are_refused_by_name() {
    only_oarlock!("crun ignores them");
    for (pointer, value) in [
        ("memory/limit", json!(33_554_432)),
        ("pids/limit", json!(5)),
        ("cpu/shares", json!(512)),
        ("unified", json!({"pids.max": "5"})),
    ] {
        let mut bundle = bundle("true");
        bundle.remove("/linux/resources/devices");
        bundle.set(&format!("/linux/resources/{pointer}"), value);
        let at = format!("linux.resources.{}", pointer.replace('/', "."));
        bundle.refused().names(&at).says("--cgroup-manager disabled");
    }
    // What amounts to no limit is kept without one.
    let mut bundle = bundle("echo ran");
    bundle.set("/linux/resources/pids", json!({"limit": -1}));
    bundle.run().ok().prints("ran");
}

#[test]
fn that_device_rules_are_not_enforced_is_told() {
    only_oarlock!("crun says nothing");
    let output = bundle("echo ran").run().ok().says("linux.resources.devices: not enforced");
    assert_eq!(output.stdout.trim(), "ran");
}

#[test]
fn a_cgroups_path_means_nothing_then_whatever_its_form() {
    differs!("runc", "runc has no --cgroup-manager");
    let mut bundle = bundle("echo ran");
    bundle.set("/linux/cgroupsPath", "machine.slice:libpod:abc");
    bundle.run().ok().prints("ran");
}

#[test]
fn the_processes_are_found_without_a_cgroup() {
    differs!("runc", "runc has no --cgroup-manager");
    differs!("crun", "crun lists none");
    for shared in [false, true] {
        let mut bundle = bundle("sleep 1000 & echo ready > /said; wait");
        if shared {
            bundle.no_namespace("pid");
        }
        let mut said = Fifo::new(&bundle.rootfs("said"));
        let container = bundle.started();
        assert_eq!(said.line(), "ready");
        let pid_file = bundle.path("pid");
        let before = ps(&container);
        assert!(before.contains(&container.pid) && before.len() >= 2, "{before:?}");
        if !shared {
            // Nobody's descendant in there, but in the pid namespace.
            let file = format!("--pid-file={}", pid_file.display());
            container.call("exec", &["--detach", &file, "sleep", "1000"]).ok();
            assert_eq!(ps(&container).len(), before.len() + 1);
        }
        let held: Vec<_> = before.iter().filter_map(|pid| sys::pidfd_open(*pid)).collect();
        container.call("kill", &["--all", "KILL"]).ok();
        if !shared {
            exec::reap(&pid_file);
        }
        container.wait();
        // A signal that has been sent is not yet an end.
        assert!(held.iter().all(|pidfd| sys::wait_readable(pidfd.as_fd(), std::time::Duration::from_secs(30))));
        for pid in before {
            let alive = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
            assert!(!alive, "{pid} survived");
        }
    }
}

#[test]
fn what_needs_a_cgroup_is_refused_in_words() {
    only_oarlock!("crun has words of its own");
    let bundle = bundle("sleep 1000");
    let container = bundle.started();
    for (verb, args) in [
        ("pause", &[][..]),
        ("resume", &[]),
        ("update", &["--memory=33554432"]),
        ("events", &["--stats"]),
        ("events", &[]),
    ] {
        let output = container.call(verb, args).failed();
        assert!(output.stderr.contains("no cgroup") || output.stderr.contains("not paused"), "{output}");
    }
    container.call("exec", &["--cgroup=/sub", "true"]).code_is(255).says("--cgroup: the container has no cgroup");
    assert_eq!(container.status(), "running");
}

#[test]
fn exec_needs_no_cgroup_either() {
    differs!("runc", "runc has no --cgroup-manager");
    let bundle = bundle("sleep 1000");
    let _container = bundle.started();
    let output = bundle.rt.call(["exec", &bundle.id, "sh", "-c", "echo inside; exit 7"]);
    assert_eq!((output.code, output.stdout.trim()), (7, "inside"));
}

#[test]
fn a_container_without_a_cgroup_cannot_write_to_the_hosts() {
    differs!("runc", "runc has no --cgroup-manager");
    let mut bundle = bundle("mkdir /sys/fs/cgroup/oarlock-made 2>/dev/null; echo $?");
    bundle.no_namespace("cgroup");
    bundle.unmount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
    let output = bundle.run().ok();
    if cgroup::is_v2() {
        output.prints("1");
    } else if is_oarlock() {
        // v1: an empty directory, which is the container's own.
        output.prints("0");
    }
    let made = cgroup::dirs("/oarlock-made").into_iter().find(|dir| dir.exists());
    assert_eq!(made, None);
}

#[test]
fn cgroupfs_is_the_default_by_its_name() {
    differs!("runc", "runc has no --cgroup-manager");
    let mut bundle = Bundle::waiting();
    bundle.rt.global = vec!["--cgroup-manager=cgroupfs".to_owned()];
    let container = bundle.started();
    let name = if cgroup::is_v2() { "" } else { "pids" };
    assert_eq!(cgroup::read(name, &bundle.cgroup(), "cgroup.procs"), container.pid.to_string());
}

#[test]
fn managers_that_contradict_each_other_or_do_not_exist_are_refused() {
    only_oarlock!("crun takes the last");
    let mut bundle = Bundle::sh("true");
    bundle.rt.global = vec!["--systemd-cgroup".to_owned(), "--cgroup-manager=disabled".to_owned()];
    bundle.refused().names("--cgroup-manager: contradicts --systemd-cgroup");
    bundle.rt.global = vec!["--cgroup-manager=other".to_owned()];
    bundle.refused().names("--cgroup-manager");
}
