//! Mount options, seen in the container's own mount table: flags, recursive attributes, propagation.

use crate::harness::{Bundle, HostMount, MountTable};

/// The container's mount table.
#[track_caller]
pub fn table(bundle: &mut Bundle) -> MountTable {
    bundle.script("cat /proc/self/mountinfo");
    MountTable::parse(&bundle.run().ok().stdout)
}

/// Options of a tmpfs, what its mount must then show, and what not (`super:` is a file system's option).
const FLAGS: &[(&[&str], &[&str], &[&str])] = &[
    (&[], &["rw", "relatime"], &["ro", "nosuid", "nodev", "noexec"]),
    (&["ro"], &["ro"], &["rw"]),
    (&["rw"], &["rw"], &["ro"]),
    (&["nosuid"], &["nosuid"], &[]),
    (&["nodev"], &["nodev"], &[]),
    (&["noexec"], &["noexec"], &[]),
    (&["noatime"], &["noatime"], &["relatime"]),
    (&["strictatime"], &[], &["relatime", "noatime"]),
    (&["relatime"], &["relatime"], &["noatime"]),
    (&["nodiratime"], &["nodiratime"], &[]),
    (&["sync"], &["super:sync"], &[]),
    (&["dirsync"], &["super:dirsync"], &[]),
    (&["nosuid", "nodev", "noexec", "ro", "noatime"], &["nosuid", "nodev", "noexec", "ro", "noatime"], &[]),
];

/// The same with options that contradict each other.
const LAST: &[(&[&str], &[&str], &[&str])] = &[
    (&["ro", "rw"], &["rw"], &["ro"]),
    (&["rw", "ro"], &["ro"], &["rw"]),
    (&["nosuid", "suid"], &[], &["nosuid"]),
    (&["suid", "nosuid"], &["nosuid"], &[]),
    (&["nodev", "dev"], &[], &["nodev"]),
    (&["noexec", "exec"], &[], &["noexec"]),
    (&["noatime", "atime"], &["relatime"], &["noatime"]),
    (&["nodiratime", "diratime"], &[], &["nodiratime"]),
    (&["sync", "async"], &[], &["super:sync"]),
];

/// Options that not every runtime knows.
const MORE_FLAGS: &[(&[&str], &[&str], &[&str])] = &[
    (&["defaults"], &["rw"], &["ro", "nosuid", "nodev", "noexec"]),
    (&["lazytime"], &["super:lazytime"], &[]),
    (&["lazytime", "nolazytime"], &[], &["super:lazytime"]),
    (&["nosymfollow"], &["nosymfollow"], &[]),
    (&["nosymfollow", "symfollow"], &[], &["nosymfollow"]),
    (&["silent", "loud", "iversion", "noiversion", "nomand"], &["rw"], &[]),
];

fn check_flags(cases: &[(&[&str], &[&str], &[&str])]) {
    let mut bundle = Bundle::new();
    for (index, (options, ..)) in cases.iter().enumerate() {
        bundle.mount(&format!("/m/{index}"), "tmpfs", "tmpfs", options);
    }
    let table = table(&mut bundle);
    for (index, (options, present, absent)) in cases.iter().enumerate() {
        let mount = table.at(&format!("/m/{index}"));
        let has = |word: &str| match word.strip_prefix("super:") {
            Some(word) => mount.super_has(word),
            None => mount.has(word),
        };
        for word in *present {
            assert!(has(word), "{options:?} should give {word}: {mount:?}");
        }
        for word in *absent {
            assert!(!has(word), "{options:?} should not give {word}: {mount:?}");
        }
    }
}

#[test]
fn an_empty_option_is_none() {
    let mut bundle = Bundle::sh("echo x >/vol/file");
    let source = bundle.host_dir("source");
    bundle.bind(&source, "/vol", &["", "rbind"]);
    bundle.mount("/t", "tmpfs", "tmpfs", &["", "nosuid"]);
    bundle.run().ok();
    assert_eq!(std::fs::read_to_string(source.join("file")).unwrap(), "x\n");
}

/// Proves: mounts[].options
#[test]
fn the_classic_flags_arrive() {
    check_flags(FLAGS);
}

#[test]
fn of_flags_that_contradict_each_other_the_last_wins() {
    differs!("crun", "crun's `rw` does not undo `ro`");
    check_flags(LAST);
}

/// Proves: mounts[].options
#[test]
fn the_rarer_flags_arrive() {
    differs!("runc", "runc 1.1.5 has no symfollow and hands `defaults` to the file system");
    differs!("crun", "crun's table lacks lazytime, iversion, silent and nosymfollow");
    check_flags(MORE_FLAGS);
}

/// Flags of a bind mount are set by a second call: a runtime that forgets it gives the source's flags.
#[test]
fn flags_of_a_bind_mount_arrive() {
    let mut bundle = Bundle::new();
    let source = bundle.host_dir("source");
    let cases: &[(&str, &[&str])] = &[
        ("/m/ro", &["ro"]),
        ("/m/three", &["nosuid", "nodev", "noexec"]),
        ("/m/noatime", &["noatime"]),
        ("/m/all", &["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"]),
    ];
    for (to, options) in cases {
        bundle.bind(&source, to, options);
    }
    let table = table(&mut bundle);
    for (to, options) in cases {
        for option in *options {
            assert!(table.at(to).has(option), "{option}: {:?}", table.at(to));
        }
    }
}

/// Recursive attributes: the option, and the word that it puts on a mount and on those below it.
const RECURSIVE: &[(&str, &str)] = &[("rro", "ro"), ("rnosuid", "nosuid"), ("rnodev", "nodev"), ("rnoexec", "noexec")];

/// Proves: mounts[].options
#[test]
fn recursive_attributes_reach_the_mounts_below() {
    let mut bundle = Bundle::new();
    let tree = bundle.host_dir("tree");
    let sub = bundle.host_dir("tree/sub");
    let _mount = HostMount::tmpfs(&sub);
    for (option, _) in RECURSIVE {
        bundle.bind(&tree, &format!("/m/{option}"), &["rbind", option]);
    }
    let table = table(&mut bundle);
    for (option, word) in RECURSIVE {
        for point in [format!("/m/{option}"), format!("/m/{option}/sub")] {
            assert!(table.at(&point).has(word), "{option} on {point}: {:?}", table.at(&point));
        }
    }
}

#[test]
fn a_plain_attribute_does_not_reach_the_mounts_below() {
    let mut bundle = Bundle::new();
    let tree = bundle.host_dir("tree");
    let sub = bundle.host_dir("tree/sub");
    let _mount = HostMount::tmpfs(&sub);
    bundle.bind(&tree, "/m", &["rbind", "ro"]);
    let table = table(&mut bundle);
    assert!(table.at("/m").has("ro"));
    assert!(!table.at("/m/sub").has("ro"));
}

#[test]
fn recursive_attributes_can_be_cleared() {
    let mut bundle = Bundle::new();
    let tree = bundle.host_dir("tree");
    let sub = bundle.host_dir("tree/sub");
    let _mount = HostMount::tmpfs(&sub).restricted();
    bundle.bind(&tree, "/m", &["rbind", "rrw", "rexec", "rsuid", "rdev"]);
    let table = table(&mut bundle);
    for point in ["/m", "/m/sub"] {
        for word in ["ro", "noexec", "nosuid", "nodev"] {
            assert!(!table.at(point).has(word), "{word}: {:?}", table.at(point));
        }
    }
}

#[test]
fn of_recursive_attributes_that_contradict_each_other_the_last_wins() {
    differs!("runc", "runc hands both to the kernel, which clears first and sets then");
    differs!("crun", "crun hands both to the kernel, which clears first and sets then");
    let mut bundle = Bundle::new();
    let tree = bundle.host_dir("tree");
    bundle.bind(&tree, "/m", &["rbind", "rro", "rrw"]).bind(&tree, "/n", &["rbind", "rrw", "rro"]);
    let table = table(&mut bundle);
    assert!(!table.at("/m").has("ro") && table.at("/n").has("ro"), "{table:#?}");
}

#[test]
fn access_times_can_be_switched_off_for_a_whole_tree() {
    differs!("crun", "crun 1.8.1 passes MS_ values to mount_setattr: EINVAL");
    let mut bundle = Bundle::new();
    let tree = bundle.host_dir("tree");
    let sub = bundle.host_dir("tree/sub");
    let _mount = HostMount::tmpfs(&sub);
    bundle.bind(&tree, "/m", &["rbind", "rnodiratime"]).bind(&tree, "/n", &["rbind", "rnoatime"]);
    let table = table(&mut bundle);
    assert!(table.at("/m").has("nodiratime") && table.at("/m/sub").has("nodiratime"));
    assert!(table.at("/n").has("noatime") && table.at("/n/sub").has("noatime"));
}

#[test]
fn recursive_symlink_following_can_be_switched_off() {
    differs!("crun", "crun has no rnosymfollow");
    let mut bundle = Bundle::new();
    let tree = bundle.host_dir("tree");
    let sub = bundle.host_dir("tree/sub");
    let _mount = HostMount::tmpfs(&sub);
    bundle.bind(&tree, "/m", &["rbind", "rnosymfollow"]);
    let table = table(&mut bundle);
    assert!(table.at("/m").has("nosymfollow") && table.at("/m/sub").has("nosymfollow"));
}

#[test]
fn bind_leaves_out_the_mounts_below_and_rbind_brings_them() {
    let mut bundle = Bundle::new();
    let tree = bundle.host_dir("tree");
    let sub = bundle.host_dir("tree/sub");
    let _mount = HostMount::tmpfs(&sub);
    bundle.bind(&tree, "/plain", &[]).bind(&tree, "/deep", &["rbind"]);
    let table = table(&mut bundle);
    assert!(!table.has("/plain/sub"));
    assert!(table.has("/deep/sub"));
}

/// A propagation option and what the mount table then says.
const PROPAGATION: &[(&str, &[&str])] = &[
    ("private", &[]),
    ("rprivate", &[]),
    ("shared", &["shared"]),
    ("rshared", &["shared"]),
    ("slave", &["master"]),
    ("rslave", &["master"]),
    ("unbindable", &["unbindable"]),
    ("runbindable", &["unbindable"]),
];

/// Proves: mounts[].options
#[test]
fn propagation_options_arrive() {
    differs!("crun", "crun 1.8.1 leaves a plain `shared` a slave");
    let mut bundle = Bundle::new();
    let source = bundle.host_dir("source");
    let _mount = HostMount::tmpfs(&source).shared();
    // As Docker asks for with such volumes: or the copies would be cut off from the host's.
    bundle.set("/linux/rootfsPropagation", "rslave");
    for (option, _) in PROPAGATION {
        bundle.bind(&source, &format!("/m/{option}"), &["rbind", option]);
    }
    let table = table(&mut bundle);
    for (option, expected) in PROPAGATION {
        let mount = table.at(&format!("/m/{option}"));
        let words = mount.propagation();
        // With the container's root a slave, a shared mount of it may be both.
        let right = expected.iter().all(|word| words.contains(word)) && (words.is_empty() == expected.is_empty());
        assert!(right, "{option}: {mount:?}");
    }
}

#[test]
fn a_slave_mount_sees_what_the_host_mounts_later_and_keeps_its_own() {
    let mut bundle = Bundle::new();
    let source = bundle.host_dir("source");
    let _shared = HostMount::tmpfs(&source).shared();
    for name in ["host", "own"] {
        std::fs::create_dir(source.join(name)).unwrap();
    }
    let mut said = crate::harness::Fifo::new(&bundle.rootfs("said"));
    let mut told = crate::harness::Fifo::new(&bundle.rootfs("told"));
    bundle.allow_sys_admin().set("/linux/rootfsPropagation", "rslave");
    bundle
        .bind(&source, "/vol", &["rbind", "rslave"])
        .script("mount -t tmpfs own /vol/own; echo mounted > /said; read line < /told; cat /proc/self/mountinfo");
    let container = bundle.started();
    assert_eq!(said.line(), "mounted");
    let later = HostMount::tmpfs(&source.join("host"));
    let host = MountTable::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap());
    assert!(!host.has(source.join("own").to_str().unwrap()), "the host sees the container's mount");
    told.tell("go");
    let inside = MountTable::parse(&container.output().ok().stdout);
    drop(later);
    assert!(inside.has("/vol/own") && inside.has("/vol/host"), "{inside:#?}");
}

#[test]
fn a_shared_mount_shows_the_host_what_the_container_mounts() {
    let mut bundle = Bundle::new();
    let source = bundle.host_dir("source");
    let _shared = HostMount::tmpfs(&source).shared();
    std::fs::create_dir(source.join("own")).unwrap();
    let mut said = crate::harness::Fifo::new(&bundle.rootfs("said"));
    bundle.allow_sys_admin().set("/linux/rootfsPropagation", "rshared");
    bundle.bind(&source, "/vol", &["rbind", "rshared"]);
    bundle.script("mount -t tmpfs own /vol/own; echo mounted > /said; sleep 1000");
    let _container = bundle.started();
    assert_eq!(said.line(), "mounted");
    let host = MountTable::parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap());
    let _own = HostMount(source.join("own"));
    assert!(host.has(source.join("own").to_str().unwrap()));
}

/// Proves: mounts[].options
#[test]
fn an_unknown_option_is_data_for_the_file_system_which_refuses_it() {
    let mut bundle = Bundle::waiting();
    bundle.mount("/m", "tmpfs", "tmpfs", &["nosuid", "no-such-option=1"]);
    bundle.refused().names("mounts[7]");
}
