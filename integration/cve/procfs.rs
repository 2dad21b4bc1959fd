//! `/proc` that is not what it seems: CVE-2019-16884, CVE-2019-19921 and its return as CVE-2023-27561 and CVE-2023-28642,
//! youki's CVE-2025-54867; CVE-2025-52881 (youki: CVE-2025-62596), a write that is turned aside.

use std::fs;
use std::os::unix::fs::symlink;

use super::Host;
use crate::harness::{Bundle, json};

#[test]
fn cve_2019_19921_a_proc_that_is_a_symlink_is_refused() {
    differs!("crun", "crun follows it inside the rootfs");
    for (name, target) in [("proc", "/bad-proc"), ("sys", "/bad-proc"), ("proc", "bad-proc")] {
        let bundle = Bundle::waiting();
        fs::remove_dir(bundle.rootfs(name)).unwrap();
        fs::create_dir(bundle.rootfs("bad-proc")).unwrap();
        symlink(target, bundle.rootfs(name)).unwrap();
        bundle.refused().says("must be mounted on ordinary directory");
    }
}

#[test]
fn cve_2019_16884_a_fake_proc_is_refused() {
    differs!("crun", "crun mounts whatever it is told to over /proc");
    let mut bundle = Bundle::waiting();
    let _host = Host::new(&bundle);
    let fake = bundle.host_dir("fake");
    fs::create_dir_all(fake.join("self/attr")).unwrap();
    fs::write(fake.join("self/attr/exec"), "").unwrap();
    bundle.bind(&fake, "/proc", &["rbind"]);
    bundle.refused();
}

#[test]
fn cve_2025_52881_a_write_to_proc_cannot_be_turned_aside_by_a_mount() {
    differs!("crun", "crun has no list of what may be mounted over /proc");
    for target in ["/proc/self/attr/exec", "/proc/sys/kernel/domainname", "/proc/thread-self/attr/exec"] {
        let mut bundle = Bundle::waiting();
        let _host = Host::new(&bundle);
        bundle.bind("/proc/sys/kernel/core_pattern".as_ref(), target, &[]);
        bundle.refused();
    }
}

#[test]
fn cve_2023_27561_a_proc_that_is_a_symlink_is_refused_with_masked_paths_too() {
    differs!("crun", "crun follows it inside the rootfs");
    let mut bundle = Bundle::waiting();
    let _host = Host::new(&bundle);
    fs::remove_dir(bundle.rootfs("proc")).unwrap();
    fs::create_dir_all(bundle.rootfs("x/self/attr")).unwrap();
    symlink("/x", bundle.rootfs("proc")).unwrap();
    bundle.set("/linux/maskedPaths", json!(["/proc/kcore", "/x/kcore"]));
    bundle.refused().says("must be mounted on ordinary directory");
}

#[test]
fn cve_2019_16884_a_sysctl_or_label_is_never_written_into_the_images_proc() {
    let mut bundle = Bundle::sh("cat /proc/sys/net/ipv4/ip_unprivileged_port_start");
    let _host = Host::new(&bundle);
    // A file of the volume lies where the runtime would write, had it looked the name up in the container.
    let fake = bundle.host_dir("fake").join("file");
    fs::write(&fake, "fake").unwrap();
    bundle.bind(&fake, "/proc/sys/net/ipv4/ip_unprivileged_port_start", &[]);
    bundle.set("/linux/sysctl", json!({"net.ipv4.ip_unprivileged_port_start": "77"}));
    let output = bundle.run();
    assert!(output.code != 0 || output.stdout.trim() == "77", "{output}");
    assert_eq!(fs::read_to_string(&fake).unwrap(), "fake", "{output}");
}

#[test]
fn cve_2025_52881_nor_by_a_mount_whose_target_is_a_link_into_proc() {
    differs!("crun", "crun has no list of what may be mounted over /proc");
    for target in
        ["/proc/sys/kernel/domainname", "/proc/self/attr/exec", "/proc/sysrq-trigger", "/proc/1/oom_score_adj"]
    {
        let mut bundle = Bundle::waiting();
        let _host = Host::new(&bundle);
        let (volume, fake) = (bundle.host_dir("volume"), bundle.host_dir("fake").join("file"));
        fs::write(&fake, "fake").unwrap();
        symlink(target, volume.join("link")).unwrap();
        bundle.bind(&volume, "/vol", &["rbind"]).bind(&fake, "/vol/link", &[]);
        bundle.refused();
    }
}

#[test]
fn cve_2025_52881_nor_by_the_cgroups_where_a_link_leads_into_proc() {
    differs!("crun", "crun has no list of what may be mounted over /proc");
    for (link, leads, destination) in [
        ("sys/fs/cgroup", "/proc/sys/net", "/sys/fs/cgroup"),
        ("sys/fs/cgroup", "../../../proc/self/net", "/sys/fs/cgroup"),
        ("sys/fs/cgroup", "/proc", "/sys/fs/cgroup"),
        ("sys/fs", "/proc/sys", "/sys/fs/kernel"),
        ("groups", "proc", "/groups/1"),
    ] {
        // Filesystems, or binds of the container's own directories.
        for own in [true, false] {
            let mut bundle = Bundle::waiting();
            let _host = Host::new(&bundle);
            fs::create_dir_all(bundle.rootfs(link).parent().unwrap()).unwrap();
            symlink(leads, bundle.rootfs(link)).unwrap();
            bundle.unmount("/sys/fs/cgroup").unmount("/sys");
            bundle.mount(destination, "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro"]);
            if !own {
                bundle.no_namespace("cgroup");
            }
            bundle.refused().names(&format!("({destination}): is inside a procfs"));
        }
    }
}

#[test]
fn cve_2025_52881_nor_by_a_device_where_a_link_leads_into_proc() {
    differs!("crun", "crun puts a file in the place of the link");
    // Binds: a user namespace may not make nodes.
    for (link, leads, device) in [
        ("dev/null", "/proc/sys/kernel/domainname", "/dev/null"),
        ("dev/tty", "../proc/self/oom_score_adj", "/dev/tty"),
        ("nodes", "/proc/sys/kernel", "/nodes/domainname"),
    ] {
        let mut bundle = Bundle::waiting();
        let _host = Host::new(&bundle);
        bundle.user_namespace();
        for destination in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
            bundle.unmount(destination);
        }
        symlink(leads, bundle.rootfs(link)).unwrap();
        if device == "/nodes/domainname" {
            bundle.push("/linux/devices", json!({"path": device, "type": "c", "major": 1, "minor": 3}));
        }
        bundle.refused().names(&format!("({device}): is inside a procfs"));
    }
}

#[test]
fn cve_2025_52881_nor_by_a_proc_that_is_a_link_into_another_procfs() {
    differs!("runc", "runc 1.1.5 asks only whether the target is below /proc");
    differs!("crun", "crun mounts whatever it is told to over /proc");
    for (kind, source, options, refusal) in [
        ("bind", "/proc", &["rbind"][..], "(/proc): is inside a procfs"),
        ("tmpfs", "tmpfs", &[], "is not of type proc"),
        ("cgroup", "cgroup", &[], "is not of type proc"),
    ] {
        let mut bundle = Bundle::waiting();
        let _host = Host::new(&bundle);
        fs::remove_dir(bundle.rootfs("proc")).unwrap();
        symlink("/other/sys/kernel", bundle.rootfs("proc")).unwrap();
        bundle.unmount("/proc").mount("/other", "proc", "proc", &[]).mount("/proc", kind, source, options);
        bundle.refused().names(refusal);
    }
}

#[test]
fn nothing_but_a_procfs_is_mounted_on_proc() {
    differs!("crun", "crun mounts whatever it is told to over /proc");
    for kind in ["tmpfs", "sysfs", "mqueue", "cgroup"] {
        // Over the one that is there, or in its place.
        for there in [true, false] {
            let mut bundle = Bundle::waiting();
            let _host = Host::new(&bundle);
            if !there {
                bundle.unmount("/proc");
            }
            bundle.mount("/proc", kind, kind, &[]);
            bundle.refused().names("\"/proc\" cannot be mounted because it is not of type proc");
        }
    }
}

#[test]
fn a_procfs_may_be_bound_over_the_one_at_proc() {
    let mut bundle = Bundle::sh("grep -c ' /proc .* - proc ' /proc/self/mountinfo");
    bundle.no_namespace("pid").bind("/proc".as_ref(), "/proc", &["rbind"]);
    bundle.run().ok().prints("2");
}

#[test]
fn what_lxcfs_emulates_may_be_mounted_over_proc() {
    let mut bundle = Bundle::sh("cat /proc/meminfo");
    let emulated = bundle.host_dir("lxcfs").join("file");
    fs::write(&emulated, "emulated").unwrap();
    for target in ["/proc/meminfo", "/proc/uptime", "/proc/net/dev"] {
        bundle.bind(&emulated, target, &[]);
    }
    bundle.run().ok().prints("emulated");
}
