//! The pinned mount namespace: a container that needs nothing of the host but its rootfs and its binds is made without a
//! copy of the host's mounts, and everything looks as if it had one.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Bundle, Fifo, HostMount, MountTable, json};

/// A hook that runs in the parent's namespaces while init has everything mounted and has not changed its root yet: it
/// keeps init's mount table. By its name it is Docker's, which needs only the network namespace.
fn keep_table(bundle: &mut Bundle, name: &str) -> PathBuf {
    let table = bundle.host_dir("tables").join("table");
    let script = format!(
        "#!/bin/sh\npid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/')\ncat /proc/$pid/mountinfo > {}\n",
        table.display()
    );
    let path = bundle.file("keep-table", &script, 0o755);
    bundle.push("/hooks/prestart", json!({"path": path, "args": [name]}));
    table
}

fn read(table: &PathBuf) -> MountTable {
    MountTable::parse(&fs::read_to_string(table).unwrap())
}

fn with_user_namespace(bundle: &mut Bundle, wanted: bool) {
    if wanted {
        bundle.user_namespace();
        bundle.own_rootfs(100_000);
    }
}

#[test]
fn the_mounts_of_the_host_are_not_copied() {
    only_oarlock!("a promise of oarlock's alone");
    for user_namespace in [false, true] {
        let mut bundle = Bundle::waiting();
        with_user_namespace(&mut bundle, user_namespace);
        let mounts: Vec<HostMount> =
            (0..20).map(|i| HostMount::tmpfs(&bundle.host_dir(&format!("other-{i}")))).collect();
        let source = bundle.host_dir("source");
        bundle.bind(&source, "/vol", &["rbind"]);
        let table = keep_table(&mut bundle, "libnetwork-setkey");
        bundle.started().delete_force();
        let table = read(&table);
        assert!(mounts.iter().all(|mount| !table.has(mount.0.to_str().unwrap())), "{table:#?}");
        // Its own nine or so, a few places, and what the container has.
        assert!(table.0.iter().any(|mount| mount.point.ends_with("/vol")), "{table:#?}");
    }
}

#[test]
fn a_hook_that_may_look_for_anything_finds_the_mounts_of_the_host() {
    only_oarlock!("a promise of oarlock's alone");
    let mut bundle = Bundle::waiting();
    let other = HostMount::tmpfs(&bundle.host_dir("other"));
    let table = keep_table(&mut bundle, "some-hook");
    bundle.started().delete_force();
    assert!(read(&table).has(other.0.to_str().unwrap()));
}

#[test]
fn what_is_mounted_on_the_host_later_arrives_below_a_slave_bind_alone() {
    for user_namespace in [false, true] {
        for (options, arrives) in
            [(&["rbind", "rslave"][..], true), (&["rbind", "rprivate"], false), (&["rbind"], true)]
        {
            let mut bundle = Bundle::waiting();
            with_user_namespace(&mut bundle, user_namespace);
            let source = bundle.host_dir("source");
            let _shared = HostMount::tmpfs(&source).shared();
            fs::create_dir(source.join("sub")).unwrap();
            bundle.bind(&source, "/vol", options);
            let mut said = Fifo::new(&bundle.rootfs("said"));
            let mut told = Fifo::new(&bundle.rootfs("told"));
            bundle.script("echo in > /said; read line < /told; cat /vol/sub/file 2>/dev/null || echo nothing");
            let container = bundle.started();
            assert_eq!(said.line(), "in");
            let _late = HostMount::tmpfs(&source.join("sub"));
            fs::write(source.join("sub/file"), "late\n").unwrap();
            fs::set_permissions(source.join("sub/file"), fs::Permissions::from_mode(0o644)).unwrap();
            told.tell("go");
            container.wait();
            let expected = if arrives { "late" } else { "nothing" };
            assert_eq!(container.output().stdout.trim(), expected, "{options:?} user namespace: {user_namespace}");
        }
    }
}

#[test]
fn a_shared_bind_still_reaches_the_host_where_the_root_is_shared_too() {
    let mut bundle = Bundle::sh("mount -t tmpfs inside /vol/sub && echo done");
    bundle.allow_sys_admin();
    bundle.set("/linux/rootfsPropagation", "rshared");
    let source = bundle.host_dir("source");
    let _shared = HostMount::tmpfs(&source).shared();
    fs::create_dir(source.join("sub")).unwrap();
    bundle.bind(&source, "/vol", &["rbind", "rshared"]);
    bundle.run().ok().prints("done");
    let point = source.join("sub");
    let host = MountTable::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap());
    assert!(host.has(point.to_str().unwrap()));
    drop(HostMount(point));
}

#[test]
fn the_pin_is_for_us_alone_is_not_copied_and_is_made_anew_when_it_is_gone() {
    only_oarlock!("a promise of oarlock's alone");
    let bundle = Bundle::sh("echo in");
    let pin = bundle.rt.root.join(".pin");
    for _ in 0..2 {
        bundle.run().ok().prints("in");
        let about = fs::metadata(&pin).unwrap();
        assert_eq!((about.uid(), about.mode() & 0o7777), (0, 0o700));
        let host = MountTable::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap());
        assert_eq!(host.at(pin.to_str().unwrap()).propagation(), ["unbindable"]);
        assert_eq!(host.at(pin.join("mnt").to_str().unwrap()).kind, "nsfs");
        // As the documentation says that it is taken away.
        assert!(Command::new("umount").arg("-R").arg(&pin).status().unwrap().success());
    }
}

#[test]
fn a_state_root_that_is_shared_with_other_namespaces_has_a_pin_too() {
    only_oarlock!("a promise of oarlock's alone");
    // As on every host that systemd has booted.
    let bundle = Bundle::sh("echo in");
    fs::create_dir_all(&bundle.rt.root).unwrap();
    let _shared = HostMount::tmpfs(&bundle.rt.root).shared();
    bundle.run().ok().prints("in");
    let pin = bundle.rt.root.join(".pin");
    let host = MountTable::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap());
    assert_eq!(host.at(pin.join("mnt").to_str().unwrap()).kind, "nsfs");
    assert_eq!(host.at(pin.to_str().unwrap()).propagation(), ["unbindable"]);
    assert!(Command::new("umount").arg("-R").arg(&pin).status().unwrap().success());
}

#[test]
fn one_pin_serves_all_containers() {
    only_oarlock!("a promise of oarlock's alone");
    let bundle = Bundle::sh("echo in");
    let namespace = || fs::metadata(bundle.rt.root.join(".pin/mnt")).unwrap().ino();
    bundle.run().ok();
    let first = namespace();
    bundle.run().ok();
    assert_eq!(namespace(), first);
}

#[test]
fn something_else_in_the_place_of_the_pin_is_not_trusted() {
    only_oarlock!("a promise of oarlock's alone");
    let bundle = Bundle::sh("echo in");
    let pin = bundle.rt.root.join(".pin");
    fs::create_dir_all(&pin).unwrap();
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(pin.join("mnt"), "no namespace").unwrap();
    bundle.run().ok().prints("in");
}

#[test]
fn a_chrooted_runtime_stays_where_it_is() {
    only_oarlock!("a promise of oarlock's alone");
    let bundle = Bundle::waiting();
    bundle.write();
    let jail = bundle.host_dir("jail");
    // All of the host's mounts, and one more that tells the two roots apart.
    let script = format!(
        "mount --rbind / {jail} && mount -t tmpfs mark {jail}/mnt && cd {bundle} && \
         chroot {jail} sh -c 'cd {bundle} && {oarlock} --root {root} create --bundle . --pid-file /mnt/pid {id} && \
         {oarlock} --root {root} delete --force {id}; {oarlock} --root {root} create --pid-file pid-beside {id} && \
         {oarlock} --root {root} delete --force {id}' && test -s {jail}/mnt/pid && echo kept",
        jail = jail.display(),
        bundle = bundle.path("").display(),
        oarlock = crate::harness::runtime::binary(),
        root = bundle.rt.root.display(),
        id = bundle.id,
    );
    let output = Command::new("unshare").args(["--mount", "--propagation", "private", "sh", "-ec", &script]).output();
    let output = output.unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("kept"), "{output:?}");
    assert!(!PathBuf::from("/mnt/pid").exists());
    assert!(fs::read(bundle.path("pid-beside")).is_ok_and(|pid| !pid.is_empty()));
}

/// The lines of the host's mount table that are of a bundle.
fn on_the_host(bundle: &Bundle) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let inside =
        |line: &&str| line.split(' ').nth(4).is_some_and(|point| Path::new(point).starts_with(bundle.path("")));
    table.lines().filter(inside).map(str::to_owned).collect()
}

#[test]
fn nothing_of_a_container_reaches_the_host_through_a_shared_rootfs() {
    for propagation in ["rprivate", "rslave"] {
        let mut bundle = Bundle::waiting();
        bundle.set("/linux/rootfsPropagation", propagation);
        let _root = HostMount::itself(&bundle.rootfs("")).shared();
        let before = on_the_host(&bundle);
        let container = bundle.started();
        assert_eq!(on_the_host(&bundle), before);
        let late = HostMount::tmpfs(&bundle.rootfs("mnt"));
        fs::write(late.0.join("file"), "late").unwrap();
        let seen = bundle.rt.call(["exec", &bundle.id, "ls", "/mnt"]).ok().stdout;
        assert_eq!(seen.trim(), if propagation == "rslave" { "file" } else { "" });
        drop(late);
        container.delete_force();
        assert_eq!(on_the_host(&bundle), before);
    }
}

/// A directory with a mount of its own, and in it a file that is a mount namespace, as snapd keeps them.
fn holding_a_namespace(at: &Path, make: fn(&Path) -> HostMount) -> [HostMount; 2] {
    let around = make(at);
    // On a shared mount there can be none.
    assert!(Command::new("mount").arg("--make-private").arg(at).status().unwrap().success());
    let file = at.join("namespace");
    fs::write(&file, "").unwrap();
    let unshare = Command::new("unshare").arg(format!("--mount={}", file.display())).arg("true").status();
    assert!(unshare.unwrap().success());
    [HostMount(file), around]
}

#[test]
fn a_tree_that_holds_a_mount_namespace_can_be_bound() {
    for user_namespace in [false, true] {
        for options in [&["rbind", "ro"][..], &["rbind", "ro", "rprivate"]] {
            let mut bundle = Bundle::sh("cat /vol/file; ls /vol/sub; echo x 2>/dev/null > /vol/file || echo refused");
            with_user_namespace(&mut bundle, user_namespace);
            let source = bundle.host_dir("source");
            let _volume = holding_a_namespace(&source, HostMount::tmpfs);
            fs::write(source.join("file"), "of the host\n").unwrap();
            fs::create_dir(source.join("sub")).unwrap();
            let _below = HostMount::tmpfs(&source.join("sub"));
            fs::write(source.join("sub/beside"), "").unwrap();
            bundle.bind(&source, "/vol", options);
            bundle.run().ok().prints("of the host\nbeside\nrefused");
        }
    }
}

#[test]
fn of_a_file_that_another_covers_the_upper_one_is_bound() {
    for options in [&["rbind"][..], &["bind"]] {
        let mut bundle = Bundle::sh("cat /file");
        let dir = bundle.host_dir("source");
        fs::write(dir.join("lower"), "lower\n").unwrap();
        fs::write(dir.join("upper"), "upper\n").unwrap();
        let covered = Command::new("mount").arg("--bind").args([dir.join("upper"), dir.join("lower")]).status();
        assert!(covered.unwrap().success());
        let _cover = HostMount(dir.join("lower"));
        bundle.bind(&dir.join("lower"), "/file", options);
        bundle.run().ok().prints("upper");
    }
}

#[test]
fn a_rootfs_may_hold_a_mount_namespace() {
    for user_namespace in [false, true] {
        let mut bundle = Bundle::sh("test -e /namespace && echo in");
        with_user_namespace(&mut bundle, user_namespace);
        let _held = holding_a_namespace(&bundle.rootfs(""), HostMount::itself);
        bundle.run().ok().prints("in");
    }
}

#[test]
fn what_is_around_the_pin_can_be_bound() {
    for user_namespace in [false, true] {
        let mut bundle = Bundle::sh("grep -c ' /vol/.pin' /proc/self/mountinfo");
        with_user_namespace(&mut bundle, user_namespace);
        let around = bundle.rt.root.clone();
        fs::create_dir_all(&around).unwrap();
        bundle.bind(&around, "/vol", &["rbind"]);
        for _ in 0..2 {
            let output = bundle.run();
            assert_eq!(output.stdout.trim(), "0", "{output:?}");
        }
    }
}

#[test]
fn more_binds_than_there_are_descriptors_are_all_made() {
    let mut bundle = Bundle::sh("grep -c ' /mnt/b' /proc/self/mountinfo");
    let source = bundle.host_dir("source");
    for i in 0..300 {
        bundle.bind(&source, &format!("/mnt/b{i}"), &["rbind"]);
    }
    bundle.rt.finish(bundle.rt.after("ulimit -Sn 256", &bundle.command("run", &[]))).ok().prints("300");
}
