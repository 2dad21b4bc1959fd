//! Id-mapped mounts: who owns a file is one thing on the file system and another through the mount. Every map here is
//! checked both ways: what the container sees, and what a file that it makes is on the host.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use crate::harness::{Bundle, Fifo, HostMount, MountTable, Value, json};

/// One range: ids of the file system from `inside` on are shown as the host's from `outside` on.
fn map(inside: u32, outside: u32, size: u32) -> Value {
    json!([{"containerID": inside, "hostID": outside, "size": size}])
}

/// Gives the last mount both maps.
fn maps(bundle: &mut Bundle, map: &Value) {
    let last = bundle.at("/mounts").as_array().unwrap().len() - 1;
    for name in ["uidMappings", "gidMappings"] {
        bundle.set(&format!("/mounts/{last}/{name}"), map.clone());
    }
}

/// A host directory with a file of each of these owners (and groups), named by them; everybody may write to it.
fn owned(bundle: &Bundle, name: &str, ids: &[u32]) -> std::path::PathBuf {
    let dir = bundle.host_dir(name);
    open_to_all(&dir);
    for id in ids {
        let file = dir.join(id.to_string());
        fs::write(&file, "text").unwrap();
        chown(&file, Some(*id), Some(*id)).unwrap();
    }
    dir
}

fn open_to_all(dir: &Path) {
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
}

fn owner(path: &Path) -> (u32, u32) {
    let data = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (data.uid(), data.gid())
}

/// Proves: mounts[].{uidMappings,gidMappings}[].{containerID,hostID,size}
#[test]
fn without_a_user_namespace_a_mount_has_the_maps_that_it_is_given() {
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    let mut bundle = Bundle::sh("stat -c %u:%g /vol/5; touch /vol/new");
    let source = owned(&bundle, "source", &[5]);
    // In a directory whose owner is not in the map nothing could be made.
    chown(&source, Some(5), Some(5)).unwrap();
    bundle.set("/process/user", json!({"uid": 1005, "gid": 1005})).bind(&source, "/vol", &[]);
    maps(&mut bundle, &map(5, 1005, 1));
    bundle.run().ok().prints("1005:1005");
    assert_eq!(owner(&source.join("new")), (5, 5));
}

#[test]
fn idmap_alone_takes_the_maps_of_the_containers_user_namespace() {
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    let mut bundle = Bundle::sh("stat -c %u:%g /vol/0 /vol/7; touch /vol/new; grep ' /vol ' /proc/self/mountinfo");
    let source = owned(&bundle, "source", &[0, 7]);
    bundle.user_namespace().bind(&source, "/vol", &["idmap"]);
    let output = bundle.run().ok();
    assert_eq!(output.lines()[..2], ["0:0", "7:7"], "{output}");
    assert!(output.stdout.contains("idmapped"), "{output}");
    assert_eq!(owner(&source.join("new")), (0, 0));
}

/// Proves: mounts[].{uidMappings,gidMappings}[].{containerID,hostID,size}
#[test]
fn in_a_user_namespace_a_mount_can_have_other_maps_than_the_container() {
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    let mut bundle = Bundle::sh("stat -c %u:%g /vol/0; touch /vol/new");
    let source = owned(&bundle, "source", &[0]);
    // The host's 0 is the container's 3.
    bundle.user_namespace().set("/process/user", json!({"uid": 3, "gid": 3})).bind(&source, "/vol", &["idmap"]);
    maps(&mut bundle, &map(0, 100_003, 1));
    bundle.run().ok().prints("3:3");
    assert_eq!(owner(&source.join("new")), (0, 0));
}

#[test]
fn maps_without_the_option_and_equal_maps_of_several_mounts_are_taken_too() {
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    let mut bundle = Bundle::sh("stat -c %u:%g /a/0 /b/0 /c/0");
    let source = owned(&bundle, "source", &[0]);
    bundle.user_namespace();
    for (to, outside) in [("/a", 100_000), ("/b", 100_009), ("/c", 100_009)] {
        bundle.bind(&source, to, &[]);
        maps(&mut bundle, &map(0, outside, 65_536 - 9));
    }
    assert_eq!(bundle.run().ok().lines(), ["0:0", "9:9", "9:9"]);
}

#[test]
fn ridmap_reaches_the_mounts_below_and_idmap_does_not() {
    differs!("crun", "crun 1.8.1 does not know ridmap, and idmap reaches those below");
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    let mut bundle = Bundle::sh("stat -c %u /plain /plain/sub /deep /deep/sub");
    let tree = bundle.host_dir("tree");
    let sub = bundle.host_dir("tree/sub");
    let _mount = HostMount::tmpfs(&sub);
    bundle.user_namespace();
    bundle.bind(&tree, "/plain", &["rbind", "idmap"]).bind(&tree, "/deep", &["rbind", "ridmap"]);
    assert_eq!(bundle.run().ok().lines(), ["0", "65534", "0", "0"]);
}

#[test]
fn the_option_can_carry_maps_absolute_and_relative_to_the_containers() {
    differs!("crun", "crun 1.8.1 leaves the gids out, and looks up the wrong number of a relative range");
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    let mut bundle = Bundle::sh("stat -c %u:%g /a/5 /b/5; stat -c %u:%g /c/5 /c/6 /c/7");
    let source = owned(&bundle, "source", &[5, 6, 7]);
    bundle.user_namespace();
    // Ids 0 and 1 of the container are two ranges, which a relative map may span.
    let split =
        json!([{"containerID": 0, "hostID": 100_000, "size": 1}, {"containerID": 1, "hostID": 200_000, "size": 9}]);
    bundle.set("/linux/uidMappings", split.clone()).set("/linux/gidMappings", split);
    bundle.bind(&source, "/a", &["idmap=uids=5-200003-1;gids=0-0-1#5-200000-1"]);
    bundle.bind(&source, "/b", &["idmap=uids=@5-4-1;gids=@5-0-1"]);
    bundle.bind(&source, "/c", &["ridmap=uids=@5-0-3;gids=@5-0-2#7-200008-1"]);
    assert_eq!(bundle.run().ok().lines(), ["4:1", "4:0", "0:0", "1:1", "2:9"]);
}

#[test]
fn a_new_file_system_can_have_maps_with_and_without_a_user_namespace() {
    differs!("crun", "crun 1.8.1 maps the ids of binds only");
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    for (user_namespace, outside) in [(false, 1005), (true, 101_005)] {
        let mut bundle = Bundle::sh("stat -c %u:%g /vol; touch /vol/new && stat -c %u:%g /vol/new");
        if user_namespace {
            bundle.user_namespace();
        }
        bundle.set("/process/user", json!({"uid": 1005, "gid": 1005}));
        bundle.mount("/vol", "tmpfs", "tmpfs", &["mode=755"]);
        maps(&mut bundle, &map(0, outside, 1));
        assert_eq!(bundle.run().ok().lines(), ["1005:1005", "1005:1005"], "user namespace: {user_namespace}");
    }
}

#[test]
fn a_new_file_system_in_a_user_namespace_has_that_ones_maps_by_itself() {
    differs!("crun", "crun 1.8.1 maps the ids of binds only");
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    let mut bundle = Bundle::sh("stat -c %u:%g /vol; touch /vol/new && stat -c %u:%g /vol/new");
    bundle.user_namespace().mount("/vol", "tmpfs", "tmpfs", &["idmap"]);
    assert_eq!(bundle.run().ok().lines(), ["0:0", "0:0"]);
}

#[test]
fn a_joined_user_namespace_lends_its_maps() {
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    let mut first = Bundle::waiting();
    first.user_namespace();
    let first = first.started();
    let mut bundle = Bundle::sh("stat -c %u:%g /vol/7; touch /vol/new");
    let source = owned(&bundle, "source", &[7]);
    let path = format!("/proc/{}/ns/user", first.pid);
    bundle.own_rootfs(100_000).namespace("user", Some(Path::new(&path))).bind(&source, "/vol", &["idmap"]);
    bundle.run().ok().prints("7:7");
    assert_eq!(owner(&source.join("new")), (0, 0));
}

#[test]
fn other_options_hold_on_an_id_mapped_mount() {
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    let mut bundle = Bundle::sh("touch /vol/new; cat /proc/self/mountinfo");
    let source = owned(&bundle, "source", &[]);
    bundle.user_namespace().bind(&source, "/vol", &["ro", "nosuid", "noexec", "idmap", "rprivate"]);
    let output = bundle.run().ok();
    let table = MountTable::parse(&output.stdout);
    for word in ["ro", "nosuid", "noexec", "idmapped"] {
        assert!(table.at("/vol").has(word), "{word}: {output}");
    }
    assert!(output.stderr.contains("Read-only"), "{output}");
}

/// What SECURITY.md's last row asks of every tree that is brought into a user namespace, for id-mapped ones.
#[test]
fn root_of_a_user_namespace_can_neither_change_nor_lift_an_id_mapped_mount_of_the_host() {
    differs!(
        "crun",
        "crun 1.8.1 moves detached trees into the namespace of the container's root, which are not locked"
    );
    let mut bundle = Bundle::new();
    let source = owned(&bundle, "source", &[]);
    let _readonly = HostMount::itself(&source).restricted();
    let shared = bundle.host_dir("shared");
    let _shared = HostMount::tmpfs(&shared).shared();
    let sub = bundle.host_dir("shared/sub");
    fs::write(sub.join("secret"), "covered").unwrap();
    let _cover = HostMount::tmpfs(&sub);
    fs::create_dir(shared.join("point")).unwrap();
    open_to_all(&shared);
    let (mut said, mut told) = (Fifo::new(&bundle.rootfs("said")), Fifo::new(&bundle.rootfs("told")));
    bundle.user_namespace().allow_sys_admin();
    bundle.bind(&source, "/vol", &["rbind", "idmap"]).bind(&shared, "/shared", &["rbind", "ridmap", "rshared"]);
    bundle.script(
        "exec 2>/dev/null; mount -o remount,bind,rw /vol; mount -o remount,rw /vol; touch /vol/x && echo wrote
         umount /shared/sub; umount -l /shared/sub; cat /shared/sub/secret
         mount -t tmpfs own /shared/point; echo done > /said; read end < /told",
    );
    let container = bundle.started();
    assert_eq!(said.line(), "done");
    let host = MountTable::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap());
    assert!(!host.has(shared.join("point").to_str().unwrap()), "mounted on the host");
    told.tell("end");
    container.output().ok().prints("");
}

#[test]
fn a_file_system_that_cannot_is_named_with_the_mount() {
    differs!("crun", "crun may leave a process, not yet reaped (a race)");
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    for (kind, source) in [("proc", "/proc"), ("sysfs", "/sys/devices")] {
        let mut bundle = Bundle::waiting();
        bundle.user_namespace().bind(Path::new(source), "/vol", &["idmap"]);
        bundle.refused().names("mounts[7] (/vol)").names(kind).names("cannot have its ids mapped");
    }
    let mut bundle = Bundle::waiting();
    let dirs = ["lower", "upper", "work", "merged"].map(|name| bundle.host_dir(name));
    let data = format!("lowerdir={},upperdir={},workdir={}", dirs[0].display(), dirs[1].display(), dirs[2].display());
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("overlay"), &dirs[3], Some("overlay"), flags, Some(data.as_str())).unwrap();
    let merged = HostMount(dirs[3].clone());
    bundle.user_namespace().bind(&merged.0, "/vol", &["idmap"]);
    bundle.refused().names("mounts[7] (/vol)").names("overlay").names("cannot have its ids mapped");
}

#[test]
fn below_a_ridmap_such_a_file_system_is_told_of() {
    differs!("crun", "crun 1.8.1 does not know ridmap");
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    let mut bundle = Bundle::waiting();
    let tree = bundle.host_dir("tree");
    let sub = bundle.host_dir("tree/sub");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("proc"), &sub, Some("proc"), flags, None::<&str>).unwrap();
    let _mount = HostMount(sub);
    bundle.user_namespace().bind(&tree, "/vol", &["rbind", "ridmap"]);
    bundle.refused().names("mounts[7] (/vol)").names("mounted below").names("hint: idmap");
}

/// Proves: mounts[].{uidMappings,gidMappings}[].{containerID,hostID,size}
#[test]
fn a_map_that_is_wrong_is_refused_by_its_path() {
    differs!("crun", "crun 1.8.1 takes a part of a map");
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    let plain = |options: &[&str]| {
        let mut bundle = Bundle::waiting();
        let source = bundle.host_dir("source");
        bundle.bind(&source, "/vol", options);
        bundle
    };
    plain(&["idmap"]).refused().names("mounts[7].options[1]").names("no user namespace");
    let mut bundle = plain(&[]);
    bundle.set("/mounts/7/uidMappings", map(0, 1000, 1));
    bundle.refused().names("mounts[7].gidMappings").names("is missing");
    let mut bundle = plain(&[]);
    maps(&mut bundle, &map(0, 1000, 0));
    bundle.refused().names("mounts[7].uidMappings[0].size");
    let mut bundle = plain(&["idmap=uids=0-1-1;gids=0-1-1"]);
    maps(&mut bundle, &map(0, 1000, 1));
    bundle.refused().names("mounts[7].options[1]").names("mounts[7].uidMappings");
    for (option, text) in [
        ("idmap=uids=0-1-1", "has no gids="),
        ("idmap=uids=0-1;gids=0-1-1", "\"0-1\" is not three numbers"),
        ("idmap=users=0-1-1", "neither uids"),
        ("idmap=uids=@0-1-1;gids=0-1-1", "relative to the container's maps"),
        ("idmap=uids=0-1-5#3-9-1;gids=0-1-1", "overlaps"),
        ("idmap=uids=0-1-1;uids=0-1-1;gids=0-1-1", "twice"),
    ] {
        plain(&[option]).refused().names("mounts[7].options[1]").names(text);
    }
    let mut bundle = plain(&["idmap=uids=@0-65530-10;gids=0-1-1"]);
    bundle.user_namespace().refused().names("mounts[7].options[1]").names("65536 is not mapped");
}

#[test]
fn features_say_so() {
    differs!("runc", "runc 1.1.5 knows no id-mapped mounts");
    differs!("crun", "`features` came with crun 1.8.4");
    let bundle = Bundle::new();
    let features = bundle.rt.call(["features"]).ok().json();
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    for option in ["idmap", "ridmap"] {
        assert!(features["mountOptions"].as_array().unwrap().contains(&json!(option)), "{option}");
    }
}
