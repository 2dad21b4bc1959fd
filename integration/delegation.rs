//! A container that manages cgroups of its own: what it gets on v2 when it has a cgroup namespace, a user namespace, and a
//! writable mount of the cgroups (systemd's delegation, `/sys/kernel/cgroup/delegate`).

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::harness::{Bundle, cgroup};

/// The host's root of the container's user namespace.
const ROOT: u32 = 100_000;

/// A container with a user namespace, and its cgroups mounted so.
fn with_cgroups(script: &str, options: &[&str]) -> Bundle {
    let mut bundle = Bundle::sh(script);
    bundle.user_namespace().remove("/linux/resources");
    let options = [options, &["nosuid", "noexec", "nodev"]].concat();
    bundle.unmount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &options);
    bundle
}

/// Files of the container's v2 cgroup and whose they are on the host.
fn owners(bundle: &Bundle) -> Vec<(String, u32)> {
    let dir = cgroup::file("", &bundle.cgroup(), "");
    let entries = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().uid())).collect()
}

#[test]
fn a_writable_cgroup_of_a_user_namespace_belongs_to_its_root_as_far_as_the_kernel_says() {
    differs!("crun", "crun 1.8.1 gives the files only where an annotation asks for it");
    if !cgroup::is_v2() {
        skip!("the host has no pure cgroup v2");
    }
    let script = "mkdir /sys/fs/cgroup/sub && echo $$ > /sys/fs/cgroup/sub/cgroup.procs && cat /proc/self/cgroup
                  echo 1 > /sys/fs/cgroup/cgroup.max.depth 2>/dev/null || echo not its own; echo end; sleep 1000";
    let mut bundle = with_cgroups(script, &["rw"]);
    let mut said = crate::harness::Fifo::new(&bundle.rootfs("said"));
    bundle.script(&format!("exec > /said; {script}"));
    let _container = bundle.started();
    assert_eq!([said.line(), said.line(), said.line()], ["0::/sub", "not its own", "end"]);
    let delegate = fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap();
    let given: Vec<&str> = delegate.lines().collect();
    for (name, owner) in owners(&bundle) {
        let expected = if given.contains(&name.as_str()) { ROOT } else { 0 };
        assert_eq!(owner, expected, "{name}");
    }
    assert_eq!(fs::metadata(cgroup::file("", &bundle.cgroup(), "")).unwrap().uid(), ROOT);
}

#[test]
fn a_read_only_cgroup_or_one_without_a_namespace_stays_the_hosts() {
    if !cgroup::is_v2() {
        skip!("the host has no pure cgroup v2");
    }
    for (options, namespace) in [(&["ro"], true), (&["rw"], false)] {
        let mut bundle = with_cgroups("sleep 1000", options);
        if !namespace {
            bundle.no_namespace("cgroup");
        }
        let _container = bundle.started();
        for (name, owner) in owners(&bundle) {
            assert_eq!(owner, 0, "{name}, options {options:?}, namespace: {namespace}");
        }
    }
}

#[test]
fn every_hierarchy_that_is_mounted_inside_shows_the_container_as_its_root() {
    let script = "cat /proc/self/cgroup; for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do
                  [ ! -e $d/cgroup.procs ] || echo $d $(cat $d/cgroup.procs | wc -l); done";
    let output = Bundle::sh(script).run().ok();
    let (paths, members): (Vec<&str>, Vec<&str>) = output.lines().into_iter().partition(|line| line.contains(':'));
    assert!(paths.iter().all(|line| line.ends_with(":/")), "{output}");
    assert!(!members.is_empty(), "{output}");
    for line in members {
        // The shell and its helpers alone, not the host's processes.
        let count: u32 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!((1..=4).contains(&count), "{line}: {output}");
    }
}

#[test]
fn on_v1_the_hierarchies_of_a_user_namespace_are_not_given_away() {
    if cgroup::is_v2() {
        skip!("about cgroup v1");
    }
    let bundle = with_cgroups("sleep 1000", &["rw"]);

    let _container = bundle.started();
    for controller in cgroup::v1_controllers() {
        let dir = cgroup::file(controller, &bundle.cgroup(), "");
        assert_eq!(fs::metadata(&dir).unwrap().uid(), 0, "{}", dir.display());
    }
}
