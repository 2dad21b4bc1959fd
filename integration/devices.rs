//! Device nodes and links in /dev, and which devices the cgroup lets the container use.

use std::os::unix::fs::MetadataExt;

use crate::harness::{Bundle, cgroup, json};

#[test]
fn the_default_devices_have_their_numbers_modes_and_owner() {
    let output =
        Bundle::sh("stat -c '%n %F %t,%T %a %u:%g' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty")
            .run()
            .ok();
    let expected = [
        "/dev/null character special file 1,3 666 0:0",
        "/dev/zero character special file 1,5 666 0:0",
        "/dev/full character special file 1,7 666 0:0",
        "/dev/random character special file 1,8 666 0:0",
        "/dev/urandom character special file 1,9 666 0:0",
        "/dev/tty character special file 5,0 666 0:0",
    ];
    assert_eq!(output.lines(), expected);
}

#[test]
fn the_default_devices_work() {
    let output = Bundle::sh(
        "echo x > /dev/null && head -c 3 /dev/zero | od -An -tx1 && head -c 8 /dev/urandom | wc -c; echo x > /dev/full || echo full",
    );
    assert_eq!(output.run().ok().lines(), [" 00 00 00", "8", "full"]);
}

#[test]
fn the_default_links_are_there() {
    let output = Bundle::sh("for f in fd stdin stdout stderr ptmx; do readlink /dev/$f; done").run().ok();
    let expected = ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx"];
    assert_eq!(output.lines(), expected);
    let mut unmasked = Bundle::sh("readlink /dev/core");
    unmasked.set("/linux/maskedPaths", json!([]));
    if std::path::Path::new("/proc/kcore").exists() {
        unmasked.run().ok().prints("/proc/kcore");
    }
}

/// Proves: linux.devices[].{path,type,major,minor,fileMode,uid,gid}
#[test]
fn configured_devices_are_made_as_they_are_described() {
    let mut bundle = Bundle::sh("stat -c '%n %F %t,%T %a %u:%g' /dev/mine /dev/deep/block /dev/unbuffered /dev/pipe");
    bundle.set(
        "/linux/devices",
        json!([
            {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8},
            {"path": "/dev/deep/block", "type": "b", "major": 7, "minor": 200, "fileMode": 0o600},
            {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3, "fileMode": 0o666},
            {"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 1, "gid": 1}
        ]),
    );
    let expected = [
        "/dev/mine character special file 1,5 640 7:8",
        "/dev/deep/block block special file 7,c8 600 0:0",
        "/dev/unbuffered character special file 1,3 666 0:0",
        "/dev/pipe fifo 0,0 622 1:1",
    ];
    assert_eq!(bundle.run().ok().lines(), expected);
}

#[test]
fn a_device_without_a_mode_gets_0666_less_nothing() {
    let mut bundle = Bundle::sh("stat -c %a /dev/mine");
    bundle.set("/linux/devices", json!([{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5}]));
    bundle.run().ok().prints("666");
}

#[test]
fn a_configured_device_may_replace_a_default_one() {
    differs!("runc", "runc 1.1.5 takes the default's cgroup rule away with it");
    let mut bundle = Bundle::sh("stat -c '%t,%T %a' /dev/null");
    let device = json!({"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600});
    bundle.set("/linux/devices", json!([device]));
    let output = bundle.run().ok();
    assert!(output.stdout.starts_with("1,3 "), "{output}");
}

#[test]
fn a_device_outside_dev_is_made_in_the_rootfs() {
    let mut bundle = Bundle::sh("stat -c '%t,%T' /srv/node");
    bundle
        .set("/linux/devices", json!([{"path": "/srv/node", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600}]));
    bundle.run().ok().prints("1,5");
}

/// Proves: linux.devices[].type
#[test]
fn an_unknown_device_type_is_refused() {
    differs!("crun", "crun ignores it");
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/devices", json!([{"path": "/dev/x", "type": "z", "major": 1, "minor": 5}]));
    bundle.refused().names("linux.devices[0].type");
}

/// Proves: linux.devices[].path
#[test]
fn a_relative_device_path_is_refused() {
    differs!("runc", "runc 1.1.5 takes it as below the root");
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/devices", json!([{"path": "dev/x", "type": "c", "major": 1, "minor": 5}]));
    bundle.refused().names("linux.devices[0].path");
}

#[test]
fn in_a_user_namespace_the_hosts_devices_are_bound() {
    let mut bundle = Bundle::sh("stat -c '%t,%T' /dev/fuse");
    bundle.user_namespace();
    bundle.set("/linux/devices", json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]));
    bundle.run().ok().prints("a,e5");
}

#[test]
fn in_a_user_namespace_the_default_devices_work() {
    differs!("crun", "crun 1.8.1 chowns the host's own /dev/null (a race: another test may have mended it)");
    let mut bundle = Bundle::sh("stat -c '%t,%T' /dev/null /dev/zero; echo x > /dev/null && echo works");
    bundle.user_namespace();
    assert_eq!(bundle.run().ok().lines(), ["1,3", "1,5", "works"]);
    let null = std::fs::metadata("/dev/null").unwrap();
    assert_eq!((null.uid(), null.gid(), null.mode() & 0o7777), (0, 0, 0o666), "the host's own");
}

#[test]
fn a_device_that_is_not_allowed_cannot_be_opened() {
    let mut bundle =
        Bundle::sh("mknod /fuse c 10 229 && cat /fuse; echo code $?; mknod /zero c 1 5 && head -c 1 /zero | wc -c");
    bundle.set("/linux/resources/devices", json!([{"allow": false, "access": "rwm"}]));
    let output = bundle.run();
    assert!(output.stderr.contains("Operation not permitted"), "{output}");
    assert_eq!(output.lines(), ["code 1", "1"], "default devices stay usable: {output}");
}

/// Proves: linux.resources.devices[].{allow,type,major,minor,access}
#[test]
fn an_allowed_device_can_be_opened_with_the_access_given() {
    let mut bundle = Bundle::sh("true < /dev/fuse && echo read; true > /dev/fuse; echo code $?");
    bundle.set(
        "/linux/devices",
        json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o666}]),
    );
    bundle.set(
        "/linux/resources/devices",
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"}
        ]),
    );
    let output = bundle.run();
    assert_eq!(output.lines(), ["read", "code 1"], "{output}");
}

/// Proves: linux.resources.devices[].{allow,type,major,minor,access}
#[test]
fn the_device_rules_are_those_of_the_host_file() {
    if !cgroup::has_v1("devices") {
        skip!("about cgroup v1: v2's rules are a program, not a file to read back");
    }
    let mut bundle = Bundle::waiting();
    bundle.set(
        "/linux/resources/devices",
        json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "b", "major": 7, "minor": 42, "access": "rm"}
        ]),
    );
    let _container = bundle.create();
    let list = cgroup::read("devices", &bundle.cgroup(), "devices.list");
    let rules: Vec<&str> = list.lines().collect();
    assert!(rules.contains(&"b 7:42 rm"), "{list}");
    assert!(rules.contains(&"c 1:3 rwm"), "{list}");
    assert!(!rules.contains(&"a *:* rwm"), "{list}");
}

#[test]
fn a_rule_that_allows_everything_does() {
    let mut bundle = Bundle::sh("mknod /fuse c 10 229 && true < /fuse && echo read");
    bundle.set("/linux/resources/devices", json!([{"allow": true, "access": "rwm"}]));
    bundle.run().ok().prints("read");
}

#[test]
fn dev_of_the_host_bound_into_the_container_is_left_as_it_is() {
    let mut bundle = Bundle::sh("stat -c '%t,%T' /dev/null");
    bundle.unmount("/dev").unmount("/dev/pts").unmount("/dev/shm").unmount("/dev/mqueue");
    let host = bundle.host_dir("dev");
    let _mount = crate::harness::HostMount::tmpfs(&host);
    let node = host.join("null");
    nix::sys::stat::mknod(
        &node,
        nix::sys::stat::SFlag::S_IFCHR,
        nix::sys::stat::Mode::from_bits_truncate(0o666),
        nix::sys::stat::makedev(1, 3),
    )
    .unwrap();
    let before = std::fs::read_dir(&host).unwrap().count();
    bundle.bind(&host, "/dev", &["rbind"]);
    bundle.run().ok().prints("1,3");
    assert_eq!(std::fs::read_dir(&host).unwrap().count(), before, "a bound /dev gains nothing");
}

/// Makers of VPNs rely on it: a runc that took it out of the list had to put it back (1.2.4).
#[test]
fn tun_is_among_the_devices_that_are_allowed_by_default() {
    let mut bundle = Bundle::sh("mknod /tun c 10 200 && exec 3<>/tun; echo code $?");
    bundle.set("/linux/resources/devices", json!([{"allow": false, "access": "rwm"}]));
    let output = bundle.run();
    // Without the module there is no such device; allowed it is all the same.
    assert!(!output.stderr.contains("Operation not permitted"), "{output}");
}
