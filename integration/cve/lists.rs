//! CVE-2021-43784: lists so long that a length of 16 bits wraps. They are taken whole, or refused, and never cost the
//! container its isolation.

use super::Host;
use crate::harness::container::namespace_of;
use crate::harness::{Bundle, MountTable, json};

#[test]
fn cve_2021_43784_more_mounts_than_64_kib_tell_are_all_made_in_the_containers_namespaces() {
    let mut bundle = Bundle::waiting();
    let _host = Host::new(&bundle);
    let source = bundle.host_dir("source");
    for i in 0..1200 {
        bundle.bind(&source, &format!("/mnt/a-name-that-makes-the-list-longer-{i}"), &["ro"]);
    }
    let container = bundle.started();
    for kind in ["mnt", "net", "pid", "ipc", "uts"] {
        assert_ne!(container.namespace(kind), namespace_of(std::process::id() as i32, kind), "{kind}");
    }
    let table = MountTable::parse(&container.proc("mountinfo"));
    let made = table.0.iter().filter(|mount| mount.point.starts_with("/mnt/a-name")).count();
    assert_eq!(made, 1200);
}

#[test]
fn cve_2021_43784_more_groups_than_64_kib_tell_are_all_set() {
    let mut bundle = Bundle::waiting();
    let groups: Vec<u32> = (2000..22000).collect();
    bundle.set("/process/user/additionalGids", json!(groups));
    let container = bundle.started();
    let status = container.proc("status");
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap();
    let found: Vec<u32> = line.split_whitespace().map(|gid| gid.parse().unwrap()).collect();
    assert_eq!(found, groups);
    assert_ne!(container.namespace("net"), namespace_of(std::process::id() as i32, "net"));
}
