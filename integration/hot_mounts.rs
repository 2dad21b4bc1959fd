//! `mounts add` and `mounts remove`: a container that runs sees them come and go, they stay inside of its root, and give its
//! root nothing that they should not.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::harness::{Bundle, Container, HostMount, Output, Value, cgroup, json};

/// Writes the document of the mounts.
fn document(bundle: &Bundle, mounts: &Value) -> String {
    let path = bundle.path("mounts.json");
    fs::write(&path, serde_json::to_vec(mounts).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn change(bundle: &Bundle, action: &str, mounts: &Value) -> Output {
    bundle.rt.call(["mounts", action, &bundle.id, &document(bundle, mounts)])
}

/// What a shell script prints in the container.
#[track_caller]
fn inside(bundle: &Bundle, script: &str) -> String {
    bundle.rt.call(["exec", &bundle.id, "sh", "-c", script]).stdout.trim().to_owned()
}

/// A host directory with `file` in it.
fn source(bundle: &Bundle) -> PathBuf {
    let dir = bundle.host_dir("source");
    fs::write(dir.join("file"), "content").unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

fn bind(source: &Path, destination: &str, options: &[&str]) -> Value {
    let options: Vec<&str> = ["bind"].iter().chain(options).copied().collect();
    json!({"destination": destination, "type": "bind", "source": source, "options": options})
}

/// A waiting container of the host's root, and one of a user namespace's.
fn each(test: impl Fn(&Bundle, &Container<'_>)) {
    for user_namespace in [false, true] {
        let mut bundle = Bundle::waiting();
        if user_namespace {
            bundle.user_namespace();
        }
        bundle.allow_sys_admin();
        let container = bundle.started();
        test(&bundle, &container);
    }
}

/// How many mounts the container has.
fn count(container: &Container<'_>) -> usize {
    container.proc("mountinfo").lines().count()
}

#[test]
fn mounts_come_and_go_while_the_container_runs() {
    differs!("runc", "runc has no mounts command");
    differs!("crun", "the mounts command came with crun 1.22");
    each(|bundle, container| {
        let before = count(container);
        let mounts = json!([
            bind(&source(bundle), "/foo/bar", &[]),
            bind(&source(bundle).join("file"), "/one", &["ro"]),
            {"destination": "/foo/tmpfs", "type": "tmpfs", "source": "tmpfs", "options": ["size=1m", "mode=700"]},
        ]);
        change(bundle, "add", &mounts).ok().prints("");
        assert_eq!(inside(bundle, "cat /foo/bar/file /one; stat -c %a /foo/tmpfs"), "contentcontent700");
        assert_eq!(inside(bundle, "echo new > /foo/bar/made; (echo x > /one) 2>/dev/null; echo $?"), "1");
        assert_eq!(fs::read_to_string(source(bundle).join("made")).unwrap(), "new\n");
        assert_eq!(count(container), before + 3);
        change(bundle, "remove", &mounts).ok().prints("");
        assert_eq!(inside(bundle, "ls /foo/bar; cat /one; ls /foo/tmpfs"), "");
        assert_eq!(count(container), before);
    });
}

#[test]
fn what_cannot_be_mounted_takes_the_others_back_with_it() {
    differs!("runc", "runc has no mounts command");
    differs!("crun", "the mounts command came with crun 1.22");
    each(|bundle, container| {
        let before = count(container);
        let mounts = json!([
            bind(&source(bundle), "/first", &[]),
            {"destination": "/second", "type": "tmpfs", "options": ["no-such-option"]},
        ]);
        change(bundle, "add", &mounts).names("mounts[1] (/second): fsconfig");
        assert_eq!(count(container), before);
        let mounts = json!([bind(&source(bundle), "/first", &[]), bind(Path::new("/no/such/source"), "/x", &[])]);
        change(bundle, "add", &mounts).names("mounts[1] (/x): open_tree(\"/no/such/source\")");
        assert_eq!(count(container), before);
    });
}

#[test]
fn a_read_only_mount_stays_so_for_the_root_of_a_user_namespace() {
    differs!("runc", "runc has no mounts command");
    differs!("crun", "the mounts command came with crun 1.22, and its trees are not locked");
    let mut bundle = Bundle::waiting();
    bundle.user_namespace().allow_sys_admin();
    let _container = bundle.started();
    let dir = source(&bundle);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let mounts = json!([bind(&dir, "/data", &["ro", "nosuid", "nodev"])]);
    change(&bundle, "add", &mounts).ok();
    for options in ["remount,bind,rw", "remount,bind,ro,suid", "remount,bind,ro,nosuid,dev"] {
        let script =
            format!("mount -o {options} /data 2>/dev/null; echo $?; (echo x > /data/made) 2>/dev/null; echo $?");
        let said = inside(&bundle, &script);
        assert!(!said.starts_with('0') && said.ends_with('1'), "{options}: {said}");
    }
    // Nor by a copy of it.
    let script = "mkdir /copy; mount --bind /data /copy && mount -o remount,bind,rw /copy 2>/dev/null; (echo x > /copy/made) 2>/dev/null; echo $?";
    assert_eq!(inside(&bundle, script), "1");
    assert!(!dir.join("made").exists());
}

#[test]
fn what_a_mount_of_the_host_covers_stays_covered() {
    differs!("runc", "runc has no mounts command");
    differs!("crun", "the mounts command came with crun 1.22, and its trees are not locked");
    let mut bundle = Bundle::waiting();
    bundle.user_namespace().allow_sys_admin();
    let _container = bundle.started();
    let dir = source(&bundle);
    fs::create_dir(dir.join("sub")).unwrap();
    fs::write(dir.join("sub/secret"), "secret").unwrap();
    let _over = HostMount::tmpfs(&dir.join("sub"));
    let mut mount = bind(&dir, "/data", &[]);
    mount["options"] = json!(["rbind"]);
    change(&bundle, "add", &json!([mount])).ok();
    assert_eq!(inside(&bundle, "cat /data/file; ls /data/sub"), "content");
    assert_eq!(inside(&bundle, "umount /data/sub 2>/dev/null; echo $?; ls /data/sub"), "1");
}

#[test]
fn what_is_mounted_inside_does_not_come_to_the_host() {
    differs!("runc", "runc has no mounts command");
    differs!("crun", "the mounts command came with crun 1.22");
    each(|bundle, _| {
        let dir = source(bundle);
        fs::create_dir_all(dir.join("below")).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        let _shared = HostMount::tmpfs(&dir).shared();
        fs::create_dir_all(dir.join("below")).unwrap();
        for options in [&[][..], &["shared"]] {
            change(bundle, "add", &json!([bind(&dir, "/data", options)])).ok();
            assert_eq!(inside(bundle, "mount -t tmpfs tmpfs /data/below; echo $?"), "0");
            let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(!table.contains(dir.join("below").to_str().unwrap()), "{table}");
            change(bundle, "remove", &json!([bind(&dir, "/data", &[])])).ok();
        }
    });
}

#[test]
fn destinations_stay_inside_of_the_root() {
    differs!("runc", "runc has no mounts command");
    differs!("crun", "the mounts command came with crun 1.22");
    each(|bundle, container| {
        let canary = bundle.host_dir("canary");
        symlink(&canary, bundle.rootfs("way")).unwrap();
        symlink("/../../../../etc", bundle.rootfs("up")).unwrap();
        let mounts = json!([bind(&source(bundle), "/way/in", &[]), bind(&source(bundle), "/up/in", &[])]);
        change(bundle, "add", &mounts).ok();
        assert_eq!(fs::read_dir(&canary).unwrap().count(), 0);
        assert_eq!(inside(bundle, "cat /etc/in/file /way/in/file"), "contentcontent");
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!table.contains(canary.to_str().unwrap()) && !table.contains(" /etc/in "), "{table}");
        // A link that a program inside has made could lead to what hides something from it.
        let inner = count(container);
        change(bundle, "remove", &json!([bind(&source(bundle), "/way/in", &[])])).names("without symlinks");
        change(bundle, "remove", &json!([bind(&source(bundle), "/etc/in", &[])])).ok();
        assert_eq!(count(container), inner - 1);
        fs::remove_file(bundle.rootfs("way")).unwrap();
        fs::remove_file(bundle.rootfs("up")).unwrap();
    });
}

#[test]
fn symlinks_can_be_bound_and_copied() {
    differs!("runc", "runc has no mounts command");
    differs!("crun", "the mounts command came with crun 1.22");
    each(|bundle, _| {
        let dir = source(bundle);
        let _ = fs::remove_file(dir.join("link"));
        symlink("file", dir.join("link")).unwrap();
        symlink("nowhere", bundle.rootfs("covered")).unwrap();
        let mounts = json!([
            bind(&dir.join("link"), "/covered", &["src-nofollow", "dest-nofollow"]),
            bind(&dir.join("link"), "/copied", &["copy-symlink"]),
        ]);
        change(bundle, "add", &mounts).ok();
        assert_eq!(inside(bundle, "readlink /covered; readlink /copied"), "file\nfile");
        change(bundle, "remove", &json!([mounts[0]])).ok();
        assert_eq!(inside(bundle, "readlink /covered"), "nowhere");
    });
}

#[test]
fn what_is_no_mount_is_not_removed() {
    only_oarlock!("the words are ours");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let before = count(&container);
    for destination in ["/etc", "/no/such/directory"] {
        change(&bundle, "remove", &json!([bind(Path::new("/x"), destination, &[])])).names("nothing is mounted there");
    }
    assert_eq!(count(&container), before);
}

#[test]
fn mistakes_are_named_by_their_path() {
    only_oarlock!("the words are ours");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let before = count(&container);
    for (mounts, at) in [
        (json!([{"destination": "x", "type": "tmpfs"}]), "mounts[0].destination: "),
        (json!([{"destination": "/proc/self", "type": "tmpfs"}]), "mounts[0].destination: "),
        (json!([{"destination": "/", "type": "tmpfs"}]), "mounts[0].destination: "),
        (json!([{"destination": "/x", "type": "proc"}]), "mounts[0].type: "),
        (json!([{"destination": "/x", "type": "cgroup"}]), "mounts[0].type: "),
        (json!([{"destination": "/x", "options": ["remount", "ro"]}]), "mounts[0].options: "),
        (json!([{"destination": 5}]), "mounts[0].destination: "),
        (json!({"destination": "/x"}), "mounts"),
    ] {
        change(&bundle, "add", &mounts).names(at);
    }
    bundle.rt.call(["mounts", "add", &bundle.id, "/no/such/file"]).names("/no/such/file");
    bundle.rt.call(["mounts", "move", &bundle.id, "/x"]).failed();
    assert_eq!(count(&container), before);
}

#[test]
fn only_a_container_that_lives_has_mounts_to_change() {
    differs!("runc", "runc has no mounts command");
    differs!("crun", "the mounts command came with crun 1.22");
    let mut bundle = Bundle::waiting();
    let mounts = json!([bind(&source(&bundle), "/data", &[])]);
    change(&bundle, "add", &mounts).failed().says_as_runc("container does not exist");
    let container = bundle.create();
    change(&bundle, "add", &mounts).ok();
    container.start();
    assert_eq!(inside(&bundle, "cat /data/file"), "content");
    if cgroup::is_v2() || cgroup::has_v1("freezer") {
        container.call("pause", &[]).ok();
        change(&bundle, "remove", &mounts).ok();
        container.call("resume", &[]).ok();
        assert_eq!(inside(&bundle, "ls /data"), "");
    }
    container.kill("KILL").wait();
    change(&bundle, "add", &mounts).failed().says_as_runc("container not running");
    container.delete();
    bundle.no_namespace("mount").set("/mounts", json!([])).set("/linux/maskedPaths", json!([]));
    bundle.set("/linux/readonlyPaths", json!([]));
    let _container = bundle.started();
    change(&bundle, "add", &mounts).failed().says_as_runc("no mount namespace of its own");
}
