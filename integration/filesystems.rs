//! What is mounted: binds, tmpfs, proc, sysfs, devpts, mqueue, cgroup; each seen by what it does.

use std::os::unix::fs::{MetadataExt, symlink};

use crate::harness::{Bundle, Fifo, MountTable, cgroup, json};
use crate::mounts::table;

/// Proves: mounts[].source
#[test]
fn a_directory_is_bound_and_both_sides_see_the_same_files() {
    let mut bundle = Bundle::sh("cat /vol/from-host; echo inside > /vol/from-container");
    let source = bundle.host_dir("source");
    std::fs::write(source.join("from-host"), "outside").unwrap();
    bundle.bind(&source, "/vol", &["rbind"]);
    bundle.run().ok().prints("outside");
    assert_eq!(std::fs::read_to_string(source.join("from-container")).unwrap(), "inside\n");
}

#[test]
fn a_single_file_is_bound() {
    let mut bundle = Bundle::sh("cat /etc/hosts; echo more >> /etc/hosts");
    let source = bundle.host_dir("source").join("hosts");
    std::fs::write(&source, "127.0.0.1 localhost\n").unwrap();
    bundle.bind(&source, "/etc/hosts", &["rbind", "rprivate"]);
    bundle.run().ok().prints("127.0.0.1 localhost");
    assert!(std::fs::read_to_string(&source).unwrap().ends_with("more\n"));
    assert_eq!(std::fs::read(bundle.rootfs("etc/hosts")).unwrap(), b"", "the rootfs keeps its own");
}

#[test]
fn a_read_only_bind_refuses_writes_but_leaves_its_source_writable() {
    let mut bundle = Bundle::sh("echo x > /vol/file; echo code $?");
    let source = bundle.host_dir("source");
    bundle.bind(&source, "/vol", &["rbind", "ro"]);
    let output = bundle.run().ok().prints("code 1");
    assert!(output.stderr.contains("Read-only file system"), "{output}");
    std::fs::write(source.join("file"), "the host still writes").unwrap();
}

/// Proves: mounts[].type
#[test]
fn bind_is_decided_by_the_option_not_by_the_type() {
    for kind in ["none", "bind", "", "anything"] {
        let mut bundle = Bundle::sh("cat /vol/file");
        let source = bundle.host_dir("source");
        std::fs::write(source.join("file"), "bound").unwrap();
        bundle.mount("/vol", kind, source.to_str().unwrap(), &["bind"]);
        bundle.run().ok().prints("bound");
    }
}

/// Proves: mounts[].source
#[test]
fn a_bind_source_that_does_not_exist_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.bind("/no/such/source".as_ref(), "/vol", &[]);
    bundle.refused().names("mounts[7]").says("/no/such/source");
}

#[test]
fn a_relative_bind_source_is_below_the_bundle() {
    let mut bundle = Bundle::sh("cat /vol/file");
    std::fs::create_dir(bundle.path("data")).unwrap();
    std::fs::write(bundle.path("data/file"), "relative").unwrap();
    bundle.mount("/vol", "bind", "data", &["bind"]);
    bundle.run().ok().prints("relative");
}

#[test]
fn a_bind_source_may_be_a_symlink() {
    let mut bundle = Bundle::sh("cat /vol/file");
    let source = bundle.host_dir("source");
    std::fs::write(source.join("file"), "followed").unwrap();
    let link = bundle.host_dir("links").join("link");
    symlink(&source, &link).unwrap();
    bundle.bind(&link, "/vol", &[]);
    bundle.run().ok().prints("followed");
}

#[test]
fn a_bind_source_that_only_root_can_reach_works_in_a_user_namespace() {
    use std::os::unix::fs::PermissionsExt;
    let mut bundle = Bundle::sh("cat /vol/file");
    let secret = bundle.host_dir("secret");
    let source = bundle.host_dir("secret/source");
    std::fs::write(source.join("file"), "reached").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o700)).unwrap();
    bundle.user_namespace().bind(&source, "/vol", &["rbind"]);
    bundle.run().ok().prints("reached");
}

#[test]
fn a_read_only_bind_of_a_restricted_source_works_in_a_user_namespace() {
    differs!("runc", "runc 1.1.5 does not keep the locked flags");
    let mut bundle = Bundle::sh("cat /vol/file; touch /vol/new || echo refused");
    let source = bundle.host_dir("source");
    let mount = crate::harness::HostMount::tmpfs(&source);
    std::fs::write(source.join("file"), "kept\n").unwrap();
    let _mount = mount.restricted();
    bundle.user_namespace().bind(&source, "/vol", &["rbind", "ro"]);
    assert_eq!(bundle.run().ok().lines(), ["kept", "refused"]);
}

#[test]
fn a_missing_destination_is_made_as_what_the_source_is() {
    let mut bundle = Bundle::sh("test -d /new/directory && test -f /new/file && test -c /new/device && echo right");
    let source = bundle.host_dir("source");
    let file = source.join("file");
    std::fs::write(&file, "").unwrap();
    bundle.bind(&source, "/new/directory", &[]).bind(&file, "/new/file", &[]);
    bundle.bind("/dev/null".as_ref(), "/new/device", &[]);
    bundle.run().ok().prints("right");
}

/// Proves: mounts[].{type,options}
#[test]
fn a_tmpfs_has_the_size_mode_and_owner_asked_for() {
    let mut bundle = Bundle::sh(
        "stat -c '%a %u %g' /t; dd if=/dev/zero of=/t/file bs=1k count=2048 2>/dev/null; stat -c %s /t/file; df -i /t | tail -1 | awk '{print $2}'",
    );
    bundle.mount("/t", "tmpfs", "tmpfs", &["size=1m", "mode=1750", "uid=5", "gid=6", "nr_inodes=100"]);
    let output = bundle.run();
    assert_eq!(output.lines(), ["1750 5 6", "1048576", "100"], "{output}");
}

#[test]
fn a_tmpfs_takes_the_mode_of_the_directory_beneath_it() {
    use std::os::unix::fs::PermissionsExt;
    differs!("crun", "crun leaves the file system's 1777");
    let mut bundle = Bundle::sh("stat -c %a /under");
    std::fs::create_dir(bundle.rootfs("under")).unwrap();
    std::fs::set_permissions(bundle.rootfs("under"), std::fs::Permissions::from_mode(0o710)).unwrap();
    bundle.mount("/under", "tmpfs", "tmpfs", &[]);
    bundle.run().ok().prints("710");
}

#[test]
fn tmpcopyup_fills_a_tmpfs_with_what_it_covers() {
    let mut bundle =
        Bundle::sh("cat /data/sub/file; readlink /data/link; stat -c %a /data/sub; rm -r /data/sub; ls /data");
    bundle.file("data/sub/file", "copied\n", 0o640);
    symlink("sub/file", bundle.rootfs("data/link")).unwrap();
    bundle.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup"]);
    assert_eq!(bundle.run().ok().lines(), ["copied", "sub/file", "755", "link"]);
    assert!(bundle.rootfs("data/sub/file").exists(), "the rootfs keeps its own");
}

#[test]
fn a_filled_tmpfs_has_the_mode_and_owner_that_were_asked_for() {
    differs!("runc", "runc 1.1.5 sets the mode of the directory beneath it");
    let mut bundle = Bundle::sh("stat -c '%a %u:%g' /data /data/sub");
    bundle.file("data/sub/file", "copied\n", 0o640);
    bundle.mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "mode=710", "uid=7", "gid=8"]);
    assert_eq!(bundle.run().ok().lines(), ["710 7:8", "755 0:0"]);
}

#[test]
fn proc_shows_the_containers_own_processes() {
    let output = Bundle::sh("ls -d /proc/[0-9]* | wc -l; read name < /proc/1/comm; echo $name").run().ok();
    let count: u32 = output.lines()[0].parse().unwrap();
    assert!(count <= 4, "{output}");
    assert_eq!(output.lines()[1], "sh");
}

#[test]
fn proc_takes_hidepid_and_subset() {
    let mut bundle = Bundle::new();
    bundle.set("/mounts/0/options", json!(["nosuid", "noexec", "nodev", "hidepid=2"]));
    let mount = table(&mut bundle);
    let mount = mount.at("/proc");
    assert!(mount.super_has("hidepid=2") || mount.super_has("hidepid=invisible"), "{mount:?}");
}

#[test]
fn sysfs_is_read_only_and_shows_the_containers_devices() {
    let output = Bundle::sh("ls /sys/class/net; touch /sys/x 2>/dev/null || echo refused").run().ok();
    assert_eq!(output.lines(), ["lo", "refused"]);
}

#[test]
fn devpts_is_a_new_instance() {
    let output = Bundle::sh("ls /dev/pts; stat -c '%a %t %T' /dev/pts/ptmx; readlink /dev/ptmx").run().ok();
    assert_eq!(output.lines(), ["ptmx", "666 5 2", "pts/ptmx"]);
}

#[test]
fn mqueue_shows_the_queues_of_the_containers_ipc_namespace() {
    let mut bundle = Bundle::new();
    let table = table(&mut bundle);
    assert_eq!(table.at("/dev/mqueue").kind, "mqueue");
    let output = Bundle::sh("touch /dev/mqueue/one; cat /dev/mqueue/one").run().ok();
    assert!(output.stdout.contains("QSIZE:0"), "{output}");
}

#[test]
fn the_cgroup_mount_shows_the_containers_own_cgroups_read_only() {
    if cgroup::is_v2() {
        skip!("about cgroup v1");
    }
    let mut bundle = Bundle::sh(
        "cat /proc/self/mountinfo; ls /sys/fs/cgroup; cat /sys/fs/cgroup/pids/cgroup.procs; touch /sys/fs/cgroup/pids/x 2>&1",
    );
    bundle.set("/linux/resources/pids", json!({"limit": 77}));
    let output = bundle.run();
    let inside = MountTable::parse(&output.stdout);
    assert_eq!(inside.at("/sys/fs/cgroup").kind, "tmpfs");
    assert!(inside.at("/sys/fs/cgroup").has("ro") || output.stdout.contains("Read-only"), "{output}");
    for controller in cgroup::v1_controllers() {
        let mount = inside.at(&format!("/sys/fs/cgroup/{controller}"));
        assert!(mount.has("ro") && mount.kind == "cgroup", "{mount:?}");
    }
    assert!(output.stdout.lines().any(|line| line == "1"), "its own processes: {output}");
}

#[test]
fn the_cgroup_mount_is_the_v2_hierarchy_on_a_v2_host() {
    if !cgroup::is_v2() {
        skip!("the host is not on cgroup v2");
    }
    let mut bundle = Bundle::sh("cat /proc/self/mountinfo; cat /sys/fs/cgroup/cgroup.procs");
    let output = bundle.script("cat /proc/self/mountinfo; cat /sys/fs/cgroup/cgroup.procs").run().ok();
    let inside = MountTable::parse(&output.stdout);
    assert_eq!(inside.at("/sys/fs/cgroup").kind, "cgroup2");
    assert!(inside.at("/sys/fs/cgroup").has("ro"));
    assert!(output.stdout.lines().any(|line| line == "1"), "its own processes: {output}");
}

#[test]
fn a_writable_cgroup_mount_can_be_written() {
    let (dir, file) = if cgroup::is_v2() { ("nested", "cgroup.max.depth") } else { ("pids/nested", "pids.max") };
    let mut bundle =
        Bundle::sh(&format!("cd /sys/fs/cgroup && mkdir {dir} && echo 5 > {dir}/{file} && cat {dir}/{file}"));
    bundle.unmount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev"]);
    bundle.run().ok().prints("5");
}

/// Proves: mounts[].type
#[test]
fn a_file_system_that_the_kernel_does_not_know_is_refused() {
    let mut bundle = Bundle::waiting();
    bundle.mount("/m", "nosuchfs", "none", &[]);
    bundle.refused().names("mounts[7]");
}

#[test]
fn a_mount_that_fails_leaves_nothing_of_those_before_it() {
    let mut bundle = Bundle::waiting();
    let source = bundle.host_dir("source");
    bundle.bind(&source, "/one", &[]).mount("/two", "nosuchfs", "none", &[]);
    bundle.refused();
    assert_eq!(std::fs::metadata(&source).unwrap().uid(), 0);
}

#[test]
fn what_is_mounted_on_a_volume_inside_does_not_reach_the_host_volume() {
    let mut bundle = Bundle::new();
    let source = bundle.host_dir("source");
    std::fs::create_dir(source.join("sub")).unwrap();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.bind(&source, "/vol", &["rbind"]).mount("/vol/sub", "tmpfs", "tmpfs", &[]);
    bundle.script("touch /vol/sub/hidden /vol/seen; echo done > /said; sleep 1000");
    let _container = bundle.started();
    assert_eq!(said.line(), "done");
    assert!(source.join("seen").exists() && !source.join("sub/hidden").exists());
}
