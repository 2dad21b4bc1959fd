//! Host name, domain name and sysctls.

use crate::harness::{Bundle, json};

/// Proves: hostname
#[test]
fn the_host_name_is_the_containers_alone() {
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mut bundle = Bundle::sh("hostname; cat /proc/sys/kernel/hostname");
    bundle.set("/hostname", "in-the-container");
    assert_eq!(bundle.run().ok().lines(), ["in-the-container"; 2]);
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

/// Proves: domainname
#[test]
fn the_domain_name_is_set() {
    differs!("runc", "domainname came with runc 1.1.7");
    let mut bundle = Bundle::sh("cat /proc/sys/kernel/domainname");
    bundle.set("/domainname", "example.org");
    bundle.run().ok().prints("example.org");
}

/// Proves: hostname
#[test]
fn a_host_name_without_a_uts_namespace_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.no_namespace("uts");
    bundle.refused().names("hostname");
}

#[test]
fn a_host_name_that_is_too_long_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.set("/hostname", "x".repeat(65));
    bundle.refused().names("hostname");
}

/// Proves: linux.sysctl
#[test]
fn sysctls_of_the_containers_namespaces_are_set() {
    let mut bundle =
        Bundle::sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max");
    bundle
        .set("/linux/sysctl", json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "12345", "fs.mqueue.msg_max": "17"}));
    assert_eq!(bundle.run().ok().lines(), ["1", "12345", "17"]);
}

#[test]
fn sysctls_do_not_reach_the_host() {
    let read = || std::fs::read_to_string("/proc/sys/kernel/msgmnb").unwrap();
    let before = read();
    let mut bundle = Bundle::sh("cat /proc/sys/kernel/msgmnb");
    bundle.set("/linux/sysctl", json!({"kernel.msgmnb": "23456"}));
    bundle.run().ok().prints("23456");
    assert_eq!(read(), before);
}

#[test]
fn a_sysctl_may_be_written_with_slashes_so_that_names_may_hold_dots() {
    let mut bundle = Bundle::sh("cat /proc/sys/net/ipv4/conf/lo/forwarding");
    bundle.set("/linux/sysctl", json!({"net/ipv4/conf/lo/forwarding": "1"}));
    bundle.run().ok().prints("1");
}

/// Proves: linux.sysctl
#[test]
fn a_sysctl_of_no_namespace_is_refused() {
    for key in ["kernel.panic", "vm.swappiness", "fs.file-max"] {
        let mut bundle = Bundle::waiting();
        bundle.set("/linux/sysctl", json!({key: "1"}));
        bundle.refused().names("linux.sysctl");
    }
}

#[test]
fn a_sysctl_of_a_namespace_that_is_the_hosts_is_refused() {
    for (kind, key) in [("network", "net.ipv4.ip_forward"), ("ipc", "kernel.msgmax")] {
        let mut bundle = Bundle::waiting();
        bundle.no_namespace(kind).unmount("/sys").unmount("/sys/fs/cgroup").unmount("/dev/mqueue");
        bundle.set("/linux/sysctl", json!({key: "1"}));
        bundle.refused().names("linux.sysctl");
    }
}

#[test]
fn a_sysctl_path_that_climbs_is_refused() {
    let before = std::fs::read_to_string("/proc/sys/vm/swappiness").unwrap();
    for key in ["net/../vm/swappiness", "net.../vm/swappiness", "/net/../vm/swappiness"] {
        let mut bundle = Bundle::waiting();
        bundle.set("/linux/sysctl", json!({key: "11"}));
        bundle.refused().names("linux.sysctl");
    }
    assert_eq!(std::fs::read_to_string("/proc/sys/vm/swappiness").unwrap(), before);
}

#[test]
fn a_value_that_the_kernel_refuses_is_an_error() {
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_forward": "not a number"}));
    bundle.refused().names("net.ipv4.ip_forward");
}
