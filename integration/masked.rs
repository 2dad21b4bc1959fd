//! Masked and read-only paths, and what may be mounted below /proc.

use std::os::unix::fs::symlink;

use crate::harness::{Bundle, json};
use crate::mounts::table;

/// Proves: linux.maskedPaths
#[test]
fn a_masked_file_reads_as_empty_and_keeps_what_is_written_to_itself() {
    let mut bundle = Bundle::sh("cat /secret /proc/keys; echo x > /secret; echo code $?");
    bundle.file("secret", "secret text", 0o666);
    bundle.push("/linux/maskedPaths", json!("/secret"));
    let output = bundle.run();
    assert!(!output.stdout.contains("secret text"), "{output}");
    assert!(output.stdout.starts_with("code"), "{output}");
    assert_eq!(std::fs::read_to_string(bundle.rootfs("secret")).unwrap(), "secret text");
}

/// Proves: linux.maskedPaths
#[test]
fn a_masked_directory_is_empty_and_read_only() {
    let mut bundle = Bundle::sh("ls -A /hidden /sys/firmware; touch /hidden/x 2>/dev/null || echo refused");
    bundle.file("hidden/file", "secret", 0o644);
    bundle.push("/linux/maskedPaths", json!("/hidden"));
    let output = bundle.run().ok();
    assert!(!output.stdout.contains("file"), "{output}");
    assert_eq!(output.lines().last(), Some(&"refused"));
}

#[test]
fn all_masked_directories_share_one_file_system() {
    differs!("runc", "runc before 1.5 makes a tmpfs for each");
    differs!("crun", "crun before 1.24 makes a tmpfs for each");
    let mut bundle = Bundle::new();
    for name in ["one", "two", "three"] {
        std::fs::create_dir(bundle.rootfs(name)).unwrap();
        bundle.push("/linux/maskedPaths", json!(format!("/{name}")));
    }
    let table = table(&mut bundle);
    let devices = ["/one", "/two", "/three", "/sys/firmware"].map(|point| table.at(point).device.clone());
    assert!(devices.iter().all(|device| device == &devices[0]), "{table:#?}");
}

#[test]
fn a_masked_path_that_does_not_exist_is_passed_over() {
    let mut bundle = Bundle::sh("ls /no-such; echo still here");
    bundle.push("/linux/maskedPaths", json!("/no-such/path"));
    bundle.push("/linux/readonlyPaths", json!("/no-such/path"));
    bundle.run().ok().prints("still here");
}

/// Proves: linux.readonlyPaths
#[test]
fn read_only_paths_can_be_read_but_not_written() {
    let mut bundle = Bundle::sh(
        "cat /data/file; echo x > /data/file || echo refused; touch /data/new || echo refused; cat /proc/sys/kernel/ostype; echo x > /proc/sys/kernel/hostname || echo refused",
    );
    bundle.file("data/file", "text\n", 0o666);
    bundle.push("/linux/readonlyPaths", json!("/data"));
    let output = bundle.run().ok();
    assert_eq!(output.lines(), ["text", "refused", "refused", "Linux", "refused"], "{output}");
    std::fs::write(bundle.rootfs("data/file"), "the host still writes").unwrap();
}

#[test]
fn a_read_only_path_keeps_the_other_flags_of_its_mount() {
    let mut bundle = Bundle::new();
    let table = table(&mut bundle);
    for path in ["/proc/sys", "/proc/bus"] {
        let mount = table.at(path);
        assert!(mount.has("ro"), "{mount:?}");
    }
}

#[test]
fn the_masks_hide_what_docker_hides() {
    let mut bundle = Bundle::sh(
        "cat /proc/kcore /proc/timer_list /proc/keys 2>/dev/null | wc -c; ls -A /proc/acpi /sys/firmware 2>/dev/null | grep -v : | grep -c .",
    );
    let output =
        bundle.script("cat /proc/timer_list /proc/keys 2>/dev/null | wc -c; ls -A /sys/firmware | wc -l").run().ok();
    assert_eq!(output.lines(), ["0", "0"], "{output}");
}

#[test]
fn mounting_over_proc_is_restricted_to_a_list() {
    differs!("crun", "crun has no such list");
    for target in ["/proc/self", "/proc/sys/kernel", "/proc/1", "/proc/sysrq-trigger", "/proc/mounts"] {
        let mut bundle = Bundle::waiting();
        let source = bundle.host_dir("source");
        bundle.bind(&source, target, &[]);
        bundle.refused().names("mounts[7]");
    }
}

#[test]
fn a_tmpfs_or_a_directory_over_proc_itself_is_refused() {
    differs!("crun", "crun mounts whatever it is told to over /proc");
    let mut bundle = Bundle::waiting();
    let source = bundle.host_dir("source");
    bundle.bind(&source, "/proc", &[]);
    bundle.refused().names("mounts[7]");
}

#[test]
fn lxcfs_may_mount_its_files_over_proc() {
    for name in ["cpuinfo", "meminfo", "stat", "uptime", "swaps", "loadavg", "diskstats"] {
        let mut bundle = Bundle::sh(&format!("cat /proc/{name}"));
        let file = bundle.host_dir("lxcfs").join(name);
        std::fs::write(&file, format!("fake {name}")).unwrap();
        bundle.bind(&file, &format!("/proc/{name}"), &[]);
        bundle.run().ok().prints(&format!("fake {name}"));
    }
}

#[test]
fn a_proc_that_is_a_symlink_in_the_rootfs_is_refused() {
    differs!("crun", "crun follows it inside the rootfs");
    for name in ["proc", "sys"] {
        let bundle = Bundle::waiting();
        std::fs::remove_dir(bundle.rootfs(name)).unwrap();
        std::fs::create_dir(bundle.rootfs("elsewhere")).unwrap();
        symlink("/elsewhere", bundle.rootfs(name)).unwrap();
        bundle.refused().says("must be mounted on ordinary directory");
    }
}

#[test]
fn masks_through_symlinks_stay_inside_the_root() {
    let mut bundle = Bundle::sh("cat /real/file; echo done");
    bundle.file("real/file", "inside", 0o644);
    let outside = bundle.host_dir("outside");
    std::fs::write(outside.join("file"), "outside").unwrap();
    symlink(outside.join("file"), bundle.rootfs("link")).unwrap();
    bundle.push("/linux/maskedPaths", json!("/link"));
    bundle.run();
    assert_eq!(std::fs::read_to_string(outside.join("file")).unwrap(), "outside");
}

#[test]
fn masks_and_read_only_paths_hold_against_root_inside() {
    let mut bundle = Bundle::sh(
        "umount /proc/sys 2>&1; mount -o remount,rw /proc/sys 2>&1; echo x > /proc/sys/kernel/domainname || echo held",
    );
    let output = bundle.run().ok();
    assert!(output.stdout.ends_with("held\n"), "{output}");
    bundle.set("/linux/maskedPaths", json!([]));
    bundle.run().ok();
}
