//! Namespaces: new, joined by path, or the host's; and what user, time and cgroup namespaces hold.

use std::path::PathBuf;

use crate::harness::container::namespace_of;
use crate::harness::{Bundle, json};

/// The spec's names and those of the files in /proc/PID/ns.
const KINDS: [(&str, &str); 8] = [
    ("mount", "mnt"),
    ("network", "net"),
    ("uts", "uts"),
    ("pid", "pid"),
    ("ipc", "ipc"),
    ("cgroup", "cgroup"),
    ("user", "user"),
    ("time", "time"),
];

fn host(file: &str) -> String {
    namespace_of(std::process::id() as i32, file)
}

/// Proves: linux.namespaces[].type
#[test]
fn every_namespace_that_is_asked_for_is_new() {
    differs!("runc", "time namespaces came with runc 1.2");
    let mut bundle = Bundle::waiting();
    bundle.user_namespace().namespace("time", None);
    let container = bundle.started();
    for (kind, file) in KINDS {
        assert_ne!(container.namespace(file), host(file), "{kind}");
    }
}

#[test]
fn the_usual_six_namespaces_are_new() {
    let bundle = Bundle::waiting();
    let container = bundle.started();
    for (kind, file) in &KINDS[..6] {
        assert_ne!(container.namespace(file), host(file), "{kind}");
    }
}

#[test]
fn what_is_not_asked_for_is_the_hosts() {
    for (kind, file) in KINDS {
        if kind == "mount" {
            continue; // Without one, pivot_root would change the host's root.
        }
        let mut bundle = Bundle::waiting();
        bundle.no_namespace(kind);
        if kind == "uts" {
            bundle.remove("/hostname");
        }
        if kind == "network" {
            // sysfs shows the network namespace that it is mounted in.
            bundle.unmount("/sys").unmount("/sys/fs/cgroup");
        }
        let container = bundle.started();
        assert_eq!(container.namespace(file), host(file), "{kind}");
    }
}

/// Joins a namespace of another container by path; both must then be in the same one.
fn joins(kind: &str, file: &str, with_user: bool) {
    let mut first = Bundle::waiting();
    if with_user {
        first.user_namespace();
    }
    let one = first.started();
    let mut second = Bundle::waiting();
    if with_user {
        second.own_rootfs(100_000);
        let user = PathBuf::from(format!("/proc/{}/ns/user", one.pid));
        second.namespace("user", Some(&user));
    }
    if kind == "uts" {
        second.remove("/hostname");
    }
    let path = PathBuf::from(format!("/proc/{}/ns/{file}", one.pid));
    second.namespace(kind, Some(&path));
    let two = second.started();
    assert_eq!(two.namespace(file), one.namespace(file), "{kind}");
    for (other, other_file) in &KINDS[..6] {
        if other != &kind {
            assert_ne!(two.namespace(other_file), one.namespace(other_file), "{other} is its own");
        }
    }
}

/// Proves: linux.namespaces[].path
#[test]
fn a_network_namespace_is_joined_by_path() {
    joins("network", "net", false);
}

#[test]
fn a_uts_namespace_is_joined_by_path() {
    joins("uts", "uts", false);
}

#[test]
fn an_ipc_namespace_is_joined_by_path() {
    joins("ipc", "ipc", false);
}

#[test]
fn a_pid_namespace_is_joined_by_path() {
    joins("pid", "pid", false);
}

#[test]
fn a_cgroup_namespace_is_joined_by_path() {
    joins("cgroup", "cgroup", false);
}

#[test]
fn a_user_namespace_is_joined_by_path_together_with_a_new_pid_namespace() {
    differs!("runc", "runc 1.1 asks for id mappings even when the user namespace is joined");
    joins("user", "user", true);
}

#[test]
fn a_network_namespace_is_joined_in_a_joined_user_namespace() {
    differs!("runc", "runc 1.1 asks for id mappings even when the user namespace is joined");
    joins("network", "net", true);
}

#[test]
fn a_mount_namespace_is_joined_by_path() {
    // One of the host's: the runtime must see the bundle in it.
    let mut unshare = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", "echo in; read line"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 3];
    std::io::Read::read_exact(unshare.stdout.as_mut().unwrap(), &mut line).unwrap();
    let pid = unshare.id() as i32;
    let mut bundle = Bundle::waiting();
    bundle.namespace("mount", Some(&PathBuf::from(format!("/proc/{pid}/ns/mnt"))));
    let container = bundle.started();
    let same = container.namespace("mnt") == namespace_of(pid, "mnt");
    drop(container);
    drop(unshare.stdin.take());
    unshare.wait().unwrap();
    assert!(same);
}

#[test]
fn a_time_namespace_is_joined_by_path() {
    differs!("crun", "crun 1.8.1 fails with `write to sync socket` for time offsets on this kernel");
    differs!("runc", "time namespaces came with runc 1.2");
    let mut first = Bundle::waiting();
    first.namespace("time", None).set("/linux/timeOffsets", json!({"boottime": {"secs": 5000}}));
    let one = first.started();
    let mut second = Bundle::new();
    let path = PathBuf::from(format!("/proc/{}/ns/time", one.pid));
    second.namespace("time", Some(&path)).probe(&["clocks"]);
    let here: i64 = uptime();
    let boot: i64 = second.run().ok().field("boottime=").parse().unwrap();
    assert!((boot - here - 5000).abs() < 60, "{boot} here {here}");
}

fn uptime() -> i64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    text.split('.').next().unwrap().parse().unwrap()
}

/// Proves: linux.timeOffsets.{monotonic,boottime}.secs
#[test]
fn time_offsets_move_both_clocks() {
    differs!("crun", "crun 1.8.1 fails with `write to sync socket` for time offsets on this kernel");
    differs!("runc", "time namespaces came with runc 1.2");
    let mut bundle = Bundle::new();
    bundle.namespace("time", None).probe(&["clocks"]).set(
        "/linux/timeOffsets",
        json!({"monotonic": {"secs": 100_000, "nanosecs": 500}, "boottime": {"secs": 200_000}}),
    );
    let here = uptime();
    let output = bundle.run().ok();
    let monotonic: i64 = output.field("monotonic=").parse().unwrap();
    let boot: i64 = output.field("boottime=").parse().unwrap();
    assert!((monotonic - here - 100_000).abs() < 60, "{output} here {here}");
    assert!((boot - here - 200_000).abs() < 60, "{output} here {here}");
}

/// Proves: linux.timeOffsets.{monotonic,boottime}.{secs,nanosecs}
#[test]
fn time_offsets_are_exact_to_the_nanosecond() {
    differs!("crun", "crun 1.8.1 fails with `write to sync socket` for time offsets on this kernel");
    differs!("runc", "time namespaces came with runc 1.2");
    let mut bundle = Bundle::sh("cat /proc/self/timens_offsets");
    let offsets = json!({"monotonic": {"secs": 7, "nanosecs": 500}, "boottime": {"secs": -1, "nanosecs": 999_999_999}});
    bundle.namespace("time", None).set("/linux/timeOffsets", offsets);
    let output = bundle.run().ok();
    let fields = |key: &str| output.field(key).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        (fields("monotonic"), fields("boottime")),
        (vec!["7".into(), "500".into()], vec!["-1".into(), "999999999".into()])
    );
}

/// Proves: linux.timeOffsets.boottime.secs
#[test]
fn time_offsets_without_a_new_time_namespace_are_refused() {
    differs!("runc", "runc 1.1 ignores timeOffsets");
    differs!("crun", "crun ignores timeOffsets without a time namespace");
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/timeOffsets", json!({"boottime": {"secs": 1}}));
    bundle.refused().names("linux.timeOffsets");
}

#[test]
fn duplicate_namespaces_are_refused() {
    differs!("crun", "crun unshares twice and says nothing");
    let mut bundle = Bundle::waiting();
    bundle.push("/linux/namespaces", json!({"type": "pid"}));
    bundle.refused().names("linux.namespaces[6]");
}

/// Proves: linux.namespaces[].type
#[test]
fn an_unknown_namespace_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.push("/linux/namespaces", json!({"type": "colour"}));
    bundle.refused().names("linux.namespaces[6].type");
}

#[test]
fn a_namespace_path_that_does_not_exist_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.namespace("network", Some(&PathBuf::from("/no/such/namespace")));
    bundle.refused().names("linux.namespaces[5].path");
}

/// Proves: linux.namespaces[].path
#[test]
fn a_namespace_path_of_another_type_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.namespace("network", Some(&PathBuf::from("/proc/self/ns/uts")));
    bundle.refused().names("linux.namespaces[5].path");
}

/// Proves: linux.{uidMappings,gidMappings}[].{containerID,hostID,size}
#[test]
fn the_maps_of_a_new_user_namespace_are_those_asked_for() {
    let mut bundle = Bundle::sh("id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map; cat /proc/self/setgroups");
    bundle.user_namespace();
    let more = json!({"containerID": 70_000, "hostID": 300_000, "size": 10});
    bundle.push("/linux/uidMappings", more);
    let output = bundle.run().ok();
    let words: Vec<Vec<&str>> = output.lines().iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(words[..2], [["0"], ["0"]]);
    assert_eq!(words[2], ["0", "100000", "65536"]);
    assert_eq!(words[3], ["70000", "300000", "10"]);
    assert_eq!(words[4], ["0", "100000", "65536"]);
    assert_eq!(words[5], ["allow"]);
}

#[test]
fn root_of_a_user_namespace_is_nobody_on_the_host() {
    let mut bundle = Bundle::waiting();
    bundle.user_namespace();
    let container = bundle.started();
    let status = container.proc("status");
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
    assert!(uid.split_whitespace().all(|id| id == "100000"), "{uid}");
}

#[test]
fn files_made_in_a_user_namespace_belong_to_the_mapped_host_id() {
    use std::os::unix::fs::MetadataExt;
    let mut bundle = Bundle::sh("touch /tmp/made; chown 7:8 /tmp/made");
    bundle.user_namespace();
    bundle.run().ok();
    let made = std::fs::metadata(bundle.rootfs("tmp/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (100_007, 100_008));
}

#[test]
fn a_user_namespace_without_maps_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.namespace("user", None);
    bundle.refused().names("linux.uidMappings");
}

/// Proves: linux.{uidMappings,gidMappings}[].{containerID,hostID,size}
#[test]
fn maps_without_a_user_namespace_are_refused() {
    differs!("runc", "runc ignores them");
    differs!("crun", "crun ignores them");
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/uidMappings", json!([{"containerID": 0, "hostID": 1000, "size": 1}]));
    bundle.refused().names("linux.uidMappings");
}

#[test]
fn the_cgroup_namespace_shows_the_containers_cgroup_as_its_root() {
    let output = Bundle::sh("cat /proc/self/cgroup").run().ok();
    for line in output.lines() {
        // A v2 hierarchy beside v1 may not hold the container at all: then its own root is shown.
        assert!(line.ends_with(":/"), "{output}");
    }
}

#[test]
fn without_a_cgroup_namespace_the_path_is_the_hosts() {
    let mut bundle = Bundle::sh("cat /proc/self/cgroup");
    bundle.no_namespace("cgroup");
    let path = bundle.cgroup();
    let output = bundle.run().ok();
    assert!(output.stdout.contains(&format!("{path}\n")), "{output}");
}

#[test]
fn a_container_without_a_network_namespace_of_its_own_sees_the_hosts_devices() {
    let mut bundle = Bundle::sh("cat /proc/net/dev");
    bundle.no_namespace("network").unmount("/sys").unmount("/sys/fs/cgroup");
    let host = std::fs::read_to_string("/proc/net/dev").unwrap();
    assert_eq!(bundle.run().ok().lines().len(), host.lines().count());
}

#[test]
fn loopback_is_up_in_a_new_network_namespace() {
    let output = Bundle::sh("cat /sys/class/net/lo/flags; ip address show lo").run().ok();
    assert_eq!(output.lines()[0], "0x9", "UP and LOOPBACK: {output}");
    assert!(output.stdout.contains("127.0.0.1"), "{output}");
}
