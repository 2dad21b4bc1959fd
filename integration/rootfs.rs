//! The root file system: what it is made of, its propagation, whether it is read-only, and how it is entered.

use std::os::unix::fs::symlink;

use crate::harness::mounts::Mount;
use crate::harness::{Bundle, Fifo, HostMount, MountTable, json};
use crate::mounts::table;

#[test]
fn the_root_is_the_bundles_rootfs_and_nothing_of_the_host_is_visible() {
    let mut bundle = Bundle::new();
    bundle.file("marker", "this one", 0o644);
    bundle.script("cat /marker; ls /; cat /proc/self/mountinfo");
    let output = bundle.run().ok();
    assert!(output.stdout.starts_with("this one"), "{output}");
    assert!(!output.stdout.contains("/oldroot"), "{output}");
    // The mount table names the root's place on its own file system, and no mount of the host.
    let inside = MountTable::parse(&output.stdout);
    assert_eq!(inside.0.iter().filter(|mount| mount.point == "/").count(), 1, "{output}");
    let host = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let host = MountTable::parse(&host);
    for mount in host.0.iter().filter(|mount| mount.kind == "devtmpfs") {
        let same = |inside: &&Mount| inside.device == mount.device && inside.root == "/";
        assert!(!inside.0.iter().any(|inside| same(&inside)), "{output}");
    }
}

/// Proves: root.path
#[test]
fn a_relative_root_path_is_below_the_bundle_and_an_absolute_one_is_itself() {
    let mut bundle = Bundle::sh("cat /marker");
    bundle.file("marker", "here", 0o644);
    bundle.set("/root/path", "./rootfs/../rootfs").run().ok().prints("here");
    let absolute = bundle.rootfs("");
    bundle.set("/root/path", absolute.to_str().unwrap()).run().ok().prints("here");
}

/// Proves: root.readonly
#[test]
fn a_read_only_root_refuses_writes_but_mounts_on_it_do_not() {
    let mut bundle = Bundle::sh("touch /new; echo code $?; touch /dev/shm/new && echo shm; touch /vol/new && echo vol");
    let volume = bundle.host_dir("volume");
    bundle.set("/root/readonly", true).bind(&volume, "/vol", &["rw"]);
    let output = bundle.run().ok();
    assert!(output.stderr.contains("Read-only file system"), "{output}");
    assert_eq!(output.lines(), ["code 1", "shm", "vol"]);
    assert!(!bundle.rootfs("new").exists());
}

/// Proves: root.readonly
#[test]
fn a_root_that_is_not_read_only_can_be_written() {
    let bundle = Bundle::sh("echo text > /new");
    bundle.run().ok();
    assert_eq!(std::fs::read_to_string(bundle.rootfs("new")).unwrap(), "text\n");
}

#[test]
fn no_pivot_gives_the_same_root() {
    let mut bundle = Bundle::new();
    bundle.file("marker", "this one", 0o644);
    bundle.script("cat /marker; ls /../..; pwd; readlink /proc/self/cwd");
    let output = bundle.run_with(&["--no-pivot"]).ok();
    assert!(output.stdout.contains("marker"), "{output}");
    assert_eq!(output.lines().last(), Some(&"/"));
}

#[test]
fn with_no_pivot_create_leaves_no_mount_of_the_hosts_proc_to_enter() {
    let mut bundle = Bundle::new();
    let output = {
        bundle.script("cat /proc/self/mountinfo");
        bundle.run_with(&["--no-pivot"]).ok()
    };
    let inside = MountTable::parse(&output.stdout);
    let procs = inside.0.iter().filter(|mount| mount.kind == "proc" && mount.root == "/").count();
    assert_eq!(procs, 1, "{output}");
}

/// What the mount table says of `/` with this `rootfsPropagation`, when the bundle is on a shared mount.
fn propagation(form: &str) -> Vec<String> {
    let mut bundle = Bundle::new();
    let root = bundle.rootfs("");
    let _shared = HostMount::itself(&root).shared();
    bundle.set("/linux/rootfsPropagation", form);
    table(&mut bundle).at("/").propagation().into_iter().map(str::to_owned).collect()
}

/// Proves: linux.rootfsPropagation
#[test]
fn a_private_root_has_no_peers() {
    for form in ["private", "rprivate"] {
        assert!(propagation(form).is_empty(), "{form}");
    }
}

/// Proves: linux.rootfsPropagation
#[test]
fn a_slave_root_tells_the_host_nothing() {
    for form in ["slave", "rslave"] {
        let words = propagation(form);
        assert!(words.iter().all(|word| word == "master"), "{form}: {words:?}");
    }
}

/// Proves: linux.rootfsPropagation
#[test]
fn a_shared_root_has_peers() {
    differs!("runc", "runc 1.1.5 leaves the root private (fixed in 1.3.1)");
    for form in ["shared", "rshared"] {
        let words = propagation(form);
        assert!(words.iter().any(|word| word == "shared"), "{form}: {words:?}");
    }
}

/// Proves: linux.rootfsPropagation
#[test]
fn an_unbindable_root_cannot_be_bound() {
    differs!("runc", "runc 1.1.5 leaves the root private (fixed in 1.3.1)");
    differs!("crun", "crun sets it before it masks paths, and fails");
    for form in ["unbindable", "runbindable"] {
        let mut bundle = Bundle::sh("mount --bind / /mnt || echo refused");
        bundle.allow_sys_admin().set("/linux/rootfsPropagation", form);
        bundle.run().ok().prints("refused");
    }
}

#[test]
fn by_default_nothing_that_the_container_mounts_reaches_the_host() {
    let mut bundle = Bundle::new();
    let root = bundle.rootfs("");
    let _shared = HostMount::itself(&root).shared();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.allow_sys_admin();
    bundle.script("mount -t tmpfs own /mnt; echo mounted > /said; sleep 1000");
    let _container = bundle.started();
    assert_eq!(said.line(), "mounted");
    let host = MountTable::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap());
    assert!(!host.has(bundle.rootfs("mnt").to_str().unwrap()));
}

/// Who sees what the other mounts on the root later: the container, and the host.
fn events(form: &str) -> (bool, bool) {
    let mut bundle = Bundle::new();
    let root = bundle.rootfs("");
    let _shared = HostMount::itself(&root).shared();
    for name in ["host", "own"] {
        std::fs::create_dir(bundle.rootfs(name)).unwrap();
    }
    let (mut said, mut told) = (Fifo::new(&bundle.rootfs("said")), Fifo::new(&bundle.rootfs("told")));
    bundle.allow_sys_admin().set("/linux/rootfsPropagation", form);
    bundle.script("mount -t tmpfs own /own; echo mounted > /said; read line < /told; cat /proc/self/mountinfo");
    let container = bundle.started();
    assert_eq!(said.line(), "mounted");
    let host = MountTable::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap());
    let by_container = host.has(bundle.rootfs("own").to_str().unwrap());
    let _own = by_container.then(|| HostMount(bundle.rootfs("own")));
    let later = HostMount::tmpfs(&bundle.rootfs("host"));
    told.tell("go");
    let inside = MountTable::parse(&container.output().ok().stdout);
    drop(later);
    (inside.has("/host"), by_container)
}

/// Proves: linux.rootfsPropagation
#[test]
fn mounts_made_later_are_seen_by_whom_the_propagation_says() {
    differs!("runc", "runc 1.1.5 leaves the root private (fixed in 1.3.1)");
    differs!("crun", "crun 1.8.1 fails with an unbindable root");
    // pivot_root(2) takes no root that is shared with the host: a shared one is so with namespaces made inside.
    for (form, expected) in [
        ("shared", (true, false)),
        ("slave", (true, false)),
        ("private", (false, false)),
        ("unbindable", (false, false)),
    ] {
        for form in [form.to_owned(), format!("r{form}")] {
            assert_eq!(events(&form), expected, "{form}: seen by the container, seen by the host");
        }
    }
}

/// Proves: linux.rootfsPropagation
#[test]
fn an_unknown_propagation_is_refused() {
    differs!("crun", "crun ignores it");
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/rootfsPropagation", "sideways");
    bundle.refused().names("linux.rootfsPropagation");
}

/// Proves: mounts[].destination
#[test]
fn destinations_that_do_not_exist_are_made() {
    let mut bundle = Bundle::sh("ls -d /a/b/c; cat /f/g/file");
    let source = bundle.host_dir("source");
    std::fs::write(source.join("file"), "text").unwrap();
    bundle.bind(&source, "/a/b/c", &[]).bind(&source.join("file"), "/f/g/file", &[]);
    assert_eq!(bundle.run().ok().lines(), ["/a/b/c", "text"]);
}

#[test]
fn symlinks_in_a_destination_are_resolved_inside_the_root() {
    let mut bundle = Bundle::sh("cat /inside/target/file");
    let source = bundle.host_dir("source");
    let canary = bundle.host_dir("canary");
    std::fs::write(source.join("file"), "text").unwrap();
    std::fs::create_dir_all(bundle.rootfs("inside/target")).unwrap();
    symlink("/inside", bundle.rootfs("absolute")).unwrap();
    bundle.bind(&source, "/absolute/target", &[]).run().ok().prints("text");
    // And one that points out of it: to the host's directory it must not lead.
    symlink(&canary, bundle.rootfs("out")).unwrap();
    symlink(format!("../../../../../../../..{}", canary.display()), bundle.rootfs("up")).unwrap();
    bundle.bind(&source, "/out/new", &[]).bind(&source, "/up/other", &[]).script("ls /up /out");
    let output = bundle.run();
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0, "{output}");
}

#[test]
fn dots_in_a_destination_do_not_lead_out_of_the_root() {
    let mut bundle = Bundle::sh("cat /here/file");
    let source = bundle.host_dir("source");
    std::fs::write(source.join("file"), "text").unwrap();
    bundle.bind(&source, "/../../here", &[]);
    bundle.run().ok().prints("text");
}

#[test]
fn mounts_are_made_in_the_order_in_which_they_are_written() {
    let mut bundle = Bundle::sh("cat /m/file; echo; ls /m/sub");
    let (one, two) = (bundle.host_dir("one"), bundle.host_dir("two"));
    std::fs::write(one.join("file"), "one").unwrap();
    std::fs::write(two.join("file"), "two").unwrap();
    std::fs::create_dir(two.join("sub")).unwrap();
    bundle.bind(&one, "/m", &[]).bind(&two, "/m", &[]).bind(&one, "/m/sub", &[]);
    assert_eq!(bundle.run().ok().lines(), ["two", "file"]);
}

#[test]
fn without_any_mount_the_container_still_runs() {
    differs!("runc", "runc's init needs /proc inside");
    let mut bundle = Bundle::sh("ls /proc | wc -l");
    bundle.set("/mounts", json!([])).remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    bundle.run().ok().prints("0");
}
