//! Published holes of container runtimes, each as the test that would have caught it.

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::sockets::FdReceiver;
use crate::harness::terminal::Terminal;
use crate::harness::{Bundle, Fifo, HostMount, MountTable, json};

#[test]
fn cve_2024_21626_cwd_in_a_leaked_descriptor_never_shows_the_host() {
    for fd in 3..40 {
        let mut bundle = Bundle::sh("cat ../../../../../../../../../../host-marker 2>/dev/null; echo in");
        bundle.set("/process/cwd", format!("/proc/self/fd/{fd}"));
        let output = bundle.run();
        assert!(output.code != 0 || output.stdout.trim() == "in", "fd {fd}: {output}");
        let outside = output.stdout.contains("host-marker");
        assert!(!outside, "fd {fd}: {output}");
        if crate::harness::is_oarlock() {
            assert_ne!(output.code, 0, "fd {fd}: {output}");
        }
    }
}

#[test]
fn cve_2024_21626_a_cwd_link_in_the_image_to_a_descriptor_is_refused() {
    for fd in [3, 5, 7, 8, 9] {
        let mut bundle = Bundle::sh("ls -a");
        symlink(format!("/proc/self/fd/{fd}"), bundle.rootfs("work")).unwrap();
        bundle.set("/process/cwd", "/work");
        let output = bundle.run();
        assert_ne!(output.code, 0, "fd {fd}: {output}");
    }
}

/// The names that a runtime makes in /dev by itself.
const MADE: [&str; 11] = ["null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "ptmx", "core"];

#[test]
fn cve_2026_41579_a_dev_that_is_a_symlink_makes_nothing_on_the_host() {
    differs!("runc", "runc 1.1.5 is older than the fix");
    differs!("crun", "crun 1.8.1 is older than the fix");
    let mut bundle = Bundle::waiting();
    let canary = bundle.host_dir("canary");
    for destination in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.unmount(destination);
    }
    for target in [canary.to_str().unwrap().to_owned(), format!("../../../../../../..{}", canary.display())] {
        fs::remove_dir(bundle.rootfs("dev")).or_else(|_| fs::remove_file(bundle.rootfs("dev"))).unwrap();
        symlink(target, bundle.rootfs("dev")).unwrap();
        let created = bundle.rt.finish(bundle.command("create", &[]));
        bundle.rt.call(["delete", "--force", &bundle.id]);
        for name in MADE {
            assert!(fs::symlink_metadata(canary.join(name)).is_err(), "{name}: {created}");
        }
    }
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 0);
}

#[test]
fn cve_2025_31133_a_dev_null_that_is_a_symlink_is_not_what_masks() {
    let mut bundle = Bundle::sh("cat /secret; echo x > /secret; echo done");
    let canary = bundle.host_dir("canary").join("file");
    fs::write(&canary, "host text").unwrap();
    for destination in ["/dev/pts", "/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.unmount(destination);
    }
    // Inside, the link leads to a file of the image that stands for core_pattern.
    bundle.file("victim", "victim text", 0o666);
    bundle.file("secret", "secret text", 0o666);
    symlink("/victim", bundle.rootfs("dev/null")).unwrap();
    bundle.push("/linux/maskedPaths", json!("/secret"));
    let output = bundle.run();
    assert!(!output.stdout.contains("secret text"), "{output}");
    assert!(!output.stdout.contains("victim text"), "{output}");
    assert_eq!(fs::read_to_string(bundle.rootfs("secret")).unwrap(), "secret text");
    assert_eq!(fs::read_to_string(&canary).unwrap(), "host text");
}

#[test]
fn cve_2022_29162_spec_asks_for_no_inheritable_capability() {
    let bundle = Bundle::new();
    bundle.rt.call(["spec", "--bundle", bundle.path("").to_str().unwrap()]).ok();
    let text = fs::read_to_string(bundle.path("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    let inheritable = &config["process"]["capabilities"]["inheritable"];
    assert!(inheritable.as_array().is_none_or(Vec::is_empty), "{inheritable}");
}

#[test]
fn cve_2022_24769_the_program_has_no_inheritable_capability_unasked() {
    let output = Bundle::sh("grep CapInh /proc/self/status").run().ok();
    assert_eq!(output.field("CapInh:"), "0000000000000000");
}

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
    let fake = bundle.host_dir("fake");
    fs::create_dir_all(fake.join("self/attr")).unwrap();
    fs::write(fake.join("self/attr/exec"), "").unwrap();
    bundle.bind(&fake, "/proc", &["rbind"]);
    bundle.refused();
}

#[test]
fn cve_2025_52565_a_dev_console_that_is_a_symlink_is_not_followed_to_the_host() {
    let mut bundle = Bundle::sh("echo on-console > /dev/console; echo done");
    let canary = bundle.host_dir("canary").join("file");
    fs::write(&canary, "host text").unwrap();
    for destination in ["/dev/shm", "/dev/mqueue", "/dev"] {
        bundle.unmount(destination);
    }
    fs::create_dir_all(bundle.rootfs("dev/pts")).unwrap();
    bundle.file("victim", "victim text", 0o666);
    symlink("/victim", bundle.rootfs("dev/console")).unwrap();
    bundle.set("/process/terminal", true);
    let socket = FdReceiver::new(bundle.host_dir("c").join("console"));
    let flags = ["--console-socket", socket.path.to_str().unwrap()];
    let created = bundle.rt.finish(bundle.command("create", &flags));
    if created.code == 0 {
        let mut terminal = Terminal::new(socket.receive().0);
        bundle.rt.call(["start", &bundle.id]);
        terminal.read_all();
    }
    assert_eq!(fs::read_to_string(&canary).unwrap(), "host text");
}

#[test]
fn cve_2021_30465_mount_targets_never_reach_the_host_through_links() {
    let mut bundle = Bundle::waiting();
    let canary = bundle.host_dir("canary");
    let volume = bundle.host_dir("volume");
    fs::write(volume.join("file"), "").unwrap();
    for (name, target) in [
        ("absolute", canary.to_str().unwrap().to_owned()),
        ("climbing", format!("../../../../../../../../..{}", canary.display())),
        ("magic", "/proc/self/root".to_owned()),
        ("parent", "/proc/1/cwd".to_owned()),
    ] {
        symlink(target, volume.join(name)).unwrap();
        bundle.bind(&volume, "/vol", &["rbind"]);
        bundle.mount(&format!("/vol/{name}/made"), "tmpfs", "tmpfs", &[]);
        let created = bundle.rt.finish(bundle.command("create", &[]));
        bundle.rt.call(["delete", "--force", &bundle.id]);
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 0, "{name}: {created}");
        bundle.unmount(&format!("/vol/{name}/made")).unmount("/vol");
    }
}

#[test]
fn cve_2016_9962_the_waiting_init_holds_nothing_of_the_host() {
    let bundle = Bundle::waiting();
    let container = bundle.create();
    for entry in fs::read_dir(format!("/proc/{}/fd", container.pid)).unwrap() {
        let target = fs::read_link(entry.unwrap().path()).unwrap();
        assert!(!target.is_dir() || target.starts_with("/proc"), "a directory of the host: {target:?}");
    }
}

#[test]
fn cve_2016_9962_the_waiting_init_is_not_dumpable() {
    let bundle = Bundle::waiting();
    let container = bundle.create();
    // Files of a process that is not dumpable belong to root, whoever it runs as: seen with another uid.
    let mut other = Bundle::waiting();
    other.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    let waiting = other.create();
    use std::os::unix::fs::MetadataExt;
    let environ = fs::metadata(format!("/proc/{}/environ", waiting.pid)).unwrap();
    assert_eq!(environ.uid(), 0);
    assert_eq!(container.status(), "created");
}

#[test]
fn cve_2019_5736_the_runtimes_binary_cannot_be_written_from_inside() {
    let before = hash();
    let mut bundle = Bundle::new();
    // The image's program is a link to what executes it.
    symlink("/proc/self/exe", bundle.rootfs("program")).unwrap();
    bundle.args(&["/program", "--version"]);
    bundle.allow_sys_admin();
    bundle.run();
    bundle.file("script", "#!/proc/self/exe\n", 0o755);
    bundle.args(&["/script"]);
    bundle.run();
    assert_eq!(hash(), before);
}

#[test]
fn cve_2019_5736_an_open_descriptor_of_init_does_not_lead_to_a_writable_binary() {
    use std::os::unix::fs::MetadataExt;
    let mut bundle = Bundle::new();
    let mut go = Fifo::new(&bundle.rootfs("go"));
    let mut result = Fifo::new(&bundle.rootfs("result"));
    bundle.allow_sys_admin();
    // A process of the image keeps what init was executed from, waits until init has become the program (a file
    // that is being executed is busy), makes its mount writable if it can, and opens it for writing.
    bundle.file(
        "hook",
        "#!/bin/sh
        (if (true < /proc/1/exe); then exec 9< /proc/1/exe; fi; echo held > /result; read line < /go
         mount -o remount,bind,rw /proc/self/fd/9; mount -o remount,rw /proc/self/fd/9
         if (: >> /proc/self/fd/9); then stat -Lc %d:%i /proc/self/fd/9 > /result; else echo refused > /result; fi
        ) > /dev/null 2>&1 &
        ",
        0o755,
    );
    bundle.set("/hooks/startContainer", json!([{"path": "/hook"}])).args(&["sleep", "1000"]);
    let container = bundle.started();
    assert_eq!(result.line(), "held");
    // runc's and crun's start may return a moment before the program is executed.
    while container.proc("comm").trim() != "sleep" {
        std::thread::yield_now();
    }
    go.tell("go");
    let file = fs::metadata(binary()).unwrap();
    let opened = result.line();
    assert_ne!(opened, format!("{}:{}", file.dev(), file.ino()), "the host's binary could be written");
}

/// The runtime's binary on the host.
fn binary() -> std::path::PathBuf {
    let name = crate::harness::runtime::binary();
    std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| name.into())
}

/// The content of the runtime's binary, as one number.
fn hash() -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    fs::read(binary()).unwrap().hash(&mut hasher);
    hasher.finish()
}

#[test]
fn cve_2023_25809_the_hosts_cgroups_are_not_writable_without_a_cgroup_namespace() {
    let mut bundle = Bundle::sh(
        "for f in $(find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs); do echo 1 2>/dev/null > $f && echo wrote; done; echo end",
    );
    bundle.no_namespace("cgroup");
    let output = bundle.run().ok();
    assert_eq!(output.stdout.trim(), "end", "{output}");
}

#[test]
fn cve_2025_27612_capabilities_that_are_not_asked_for_are_not_invented() {
    let mut bundle = Bundle::sh("grep Cap /proc/self/status");
    bundle.remove("/process/capabilities");
    let output = bundle.run().ok();
    for set in ["CapInh:", "CapAmb:", "CapEff:", "CapPrm:"] {
        assert_eq!(output.field(set), "0000000000000000", "{set} {output}");
    }
}

#[test]
fn cve_2025_52881_a_write_to_proc_cannot_be_turned_aside_by_a_mount() {
    differs!("crun", "crun has no list of what may be mounted over /proc");
    let core = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    for target in ["/proc/self/attr/exec", "/proc/sys/kernel/domainname", "/proc/thread-self/attr/exec"] {
        let mut bundle = Bundle::waiting();
        bundle.bind("/proc/sys/kernel/core_pattern".as_ref(), target, &[]);
        bundle.refused();
    }
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), core);
}

#[test]
fn cve_2024_45310_directories_for_mounts_are_not_made_on_the_host() {
    let mut bundle = Bundle::waiting();
    let canary = bundle.host_dir("canary");
    symlink(&canary, bundle.rootfs("link")).unwrap();
    bundle.mount("/link/one/two", "tmpfs", "tmpfs", &[]);
    bundle.bind("/dev/null".as_ref(), "/link/file/null", &[]);
    bundle.rt.finish(bundle.command("create", &[]));
    bundle.rt.call(["delete", "--force", &bundle.id]);
    assert_eq!(fs::read_dir(&canary).unwrap().count(), 0);
}

/// A bundle whose root, of a user namespace, has every capability in it and tries `script`.
fn as_userns_root(script: &str) -> Bundle {
    let mut bundle = Bundle::sh(script);
    bundle.user_namespace().allow_sys_admin();
    bundle
}

#[test]
fn root_of_a_user_namespace_cannot_make_a_read_only_mount_of_the_host_writable() {
    differs!(
        "crun",
        "crun 1.8.1 moves detached trees into the namespace of the container's root, which are not locked"
    );
    let mut bundle = as_userns_root(
        "mount -o remount,bind,rw /vol 2>/dev/null; mount -o remount,rw /vol 2>/dev/null; touch /vol/x 2>/dev/null && echo wrote; echo end",
    );
    let source = bundle.host_dir("source");
    std::os::unix::fs::chown(&source, Some(100_000), Some(100_000)).unwrap();
    let _mount = HostMount::itself(&source).restricted();
    bundle.bind(&source, "/vol", &["rbind", "ro"]);
    if crate::harness::runtime::name() == "runc" {
        bundle.set("/mounts/7/options", json!(["rbind", "ro", "nosuid", "nodev", "noexec"]));
    }
    bundle.run().ok().prints("end");
}

#[test]
fn root_of_a_user_namespace_cannot_uncover_what_a_mount_of_the_host_covers() {
    differs!(
        "crun",
        "crun 1.8.1 moves detached trees into the namespace of the container's root, which are not locked"
    );
    let mut bundle = as_userns_root(
        "umount /vol/sub 2>/dev/null; umount -l /vol/sub 2>/dev/null; cat /vol/sub/secret 2>/dev/null; echo end",
    );
    let source = bundle.host_dir("source");
    let sub = bundle.host_dir("source/sub");
    fs::write(sub.join("secret"), "covered").unwrap();
    let _cover = HostMount::tmpfs(&sub);
    bundle.bind(&source, "/vol", &["rbind"]);
    bundle.run().ok().prints("end");
}

#[test]
fn root_of_a_user_namespace_cannot_mount_on_the_host_through_a_shared_source() {
    let mut bundle = as_userns_root("true");
    let source = bundle.host_dir("source");
    let _shared = HostMount::tmpfs(&source).shared();
    fs::create_dir(source.join("sub")).unwrap();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.script("mount -t tmpfs t /vol/sub; echo done > /said; sleep 1000");
    for propagation in ["rprivate", "rslave", "rshared"] {
        bundle.set(
            "/mounts/7",
            json!({"destination": "/vol", "type": "bind", "source": source, "options": ["rbind", propagation]}),
        );
        let container = bundle.started();
        assert_eq!(said.line(), "done");
        let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!MountTable::parse(&host).has(source.join("sub").to_str().unwrap()), "{propagation}");
        drop(container);
    }
}
