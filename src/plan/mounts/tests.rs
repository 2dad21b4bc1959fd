mod host;
mod idmap;
mod mistakes;

use super::super::testing::{error, namespaces, options, rootless, spec, v1, v2};
use super::super::{cgroup as cgroups, idmap as container_maps, namespaces as ns};
use super::*;
use crate::host::Facts;
use serde_json::{Value, json};

/// Compiles one mount in a container with these namespaces.
fn one_on(mount: Value, kinds: &[&str], facts: &Facts) -> Result<(Mount, Vec<String>)> {
    let document = json!({ "mounts": [mount], "linux": { "namespaces": namespaces(kinds) } });
    let (mut mounts, warn) = all(document, &options(), facts)?;
    Ok((mounts.remove(0), warn))
}

fn all(document: Value, options: &Options, facts: &Facts) -> Result<(Vec<Mount>, Vec<String>)> {
    let spec = spec(document);
    let namespaces = ns::compile(&spec)?;
    let maps = container_maps::compile(&spec, &namespaces, facts)?;
    let mut warn = Vec::new();
    let by = Options { rootless: facts.euid != 0, ..options.clone() };
    let cgroup = cgroups::compile(&spec, &by, facts, &mut warn, &mut Vec::new())?;
    warn.clear();
    let mounts = compile(&spec, options, &namespaces, maps.as_ref(), &cgroup, &mut warn)?;
    Ok((mounts, warn))
}

fn one(mount: Value) -> Result<Mount> {
    one_on(mount, &["mount"], &v2()).map(|(mount, _)| mount)
}

fn bind(given: &[&str]) -> Mount {
    let given: Vec<_> = ["bind"].iter().chain(given).collect();
    one(json!({ "destination": "/data", "source": "/srv", "options": given })).unwrap()
}

fn tmpfs(given: &[&str]) -> Mount {
    one(json!({ "destination": "/data", "type": "tmpfs", "source": "shm", "options": given })).unwrap()
}

fn change(set: u64, clear: u64) -> AttrChange {
    AttrChange { set, clear }
}

fn param(key: &str, value: &str) -> FsParam {
    FsParam { key: key.into(), value: Some(value.into()) }
}

#[test]
fn features_lists_what_runc_lists_and_crun_adds() {
    // `acl` and `noacl` were never honoured and runc dropped them: they are the filesystem's own.
    let runc = "async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud mand noatime nodev nodiratime \
        noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind rdev \
        rdiratime relatime remount rexec ridmap rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid \
        rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared \
        silent slave strictatime suid symfollow sync tmpcopyup unbindable";
    let mut names: Vec<_> = runc.split_whitespace().chain(["copy-symlink", "dest-nofollow", "src-nofollow"]).collect();
    names.sort_unstable();
    assert_eq!(option_names(), names);
}

#[test]
fn attributes_add_up_and_the_last_of_two_counts() {
    for (given, attrs) in [
        (&["ro", "nosuid"][..], change(attr::RDONLY | attr::NOSUID, 0)),
        (&["ro", "rw"], change(0, attr::RDONLY)),
        (&["dev", "nodev", "noexec"], change(attr::NODEV | attr::NOEXEC, 0)),
        (&["noatime"], change(attr::NOATIME, attr::ATIME)),
        (&["noatime", "strictatime", "nodiratime"], change(attr::STRICTATIME | attr::NODIRATIME, attr::ATIME)),
        (&["relatime"], change(0, attr::ATIME)),
        (&["noatime", "atime"], change(0, attr::ATIME)),
        (&["strictatime", "norelatime"], change(attr::STRICTATIME, attr::ATIME)),
        (&["nosymfollow", "symfollow"], change(0, attr::NOSYMFOLLOW)),
        (&["defaults", "silent", "loud", "async", "noiversion"], change(0, 0)),
    ] {
        let mount = bind(given);
        assert_eq!((mount.attrs, mount.recursive_attrs), (attrs, change(0, 0)), "{given:?}");
    }
}

#[test]
fn recursive_attributes_are_apart_on_a_bind_and_one_on_a_new_filesystem() {
    let mount = bind(&["rro", "rnoatime", "rsuid"]);
    assert_eq!(mount.attrs, change(0, 0));
    assert_eq!(mount.recursive_attrs, change(attr::RDONLY | attr::NOATIME, attr::ATIME | attr::NOSUID));
    let mount = tmpfs(&["nosuid", "rrw", "noatime", "rstrictatime", "rnodev"]);
    assert_eq!(mount.attrs, change(attr::NOSUID | attr::NODEV | attr::STRICTATIME, attr::ATIME));
    assert_eq!(mount.recursive_attrs, change(0, 0));
}

#[test]
fn propagation_keeps_its_order() {
    let kinds: Vec<_> = bind(&["rslave", "shared"]).propagation.iter().map(|p| (p.kind, p.recursive)).collect();
    assert_eq!(kinds, [(ms::SLAVE, true), (ms::SHARED, false)]);
}

#[test]
fn a_bind_is_told_by_its_options_or_by_its_type_and_relative_to_the_bundle() {
    let kind = |typ: &str, source: &str, options: &[&str]| {
        one(json!({ "destination": "/a/../b/.", "type": typ, "source": source, "options": options })).unwrap()
    };
    for (mount, source, recursive) in [
        (kind("tmpfs", "/srv", &["bind"]), "/srv", false),
        (kind("none", "vol", &["rbind"]), "/bundle/vol", true),
        (kind("bind", "/srv", &[]), "/srv", false),
    ] {
        assert_eq!(mount.kind, MountKind::Bind { source: source.into(), recursive });
        assert_eq!(mount.destination, Path::new("/b"));
    }
}

#[test]
fn a_filesystem_gets_flags_and_parameters() {
    let mount = one(json!({ "destination": "/x", "type": "ext4", "source": "/dev/loop0",
        "options": ["ro", "sync", "async", "dirsync", "lazytime", "data=ordered,noload", "context=\"a:b:c1,c2\""] }))
    .unwrap();
    let MountKind::Filesystem { fstype, source, flags, params } = mount.kind else { panic!() };
    assert_eq!((fstype.as_str(), source.as_deref()), ("ext4", Some("/dev/loop0")));
    assert_eq!(flags, ["ro", "dirsync", "lazytime"]);
    let noload = FsParam { key: "noload".into(), value: None };
    assert_eq!(params, [param("data", "ordered"), noload, param("context", "a:b:c1,c2")]);
    assert_eq!(mount.attrs, change(attr::RDONLY, 0));
}

#[test]
fn read_only_waits_where_something_is_still_to_be_made_inside() {
    for (typ, destination, late, flags) in [
        ("tmpfs", "/run", true, &[][..]),
        ("devtmpfs", "/dev", true, &[]),
        ("ext4", "/x", false, &["ro"]),
        // One superblock for the whole pid or network namespace.
        ("proc", "/proc", false, &[]),
        ("sysfs", "/sys", false, &[]),
    ] {
        let mount = one(json!({ "destination": destination, "type": typ, "options": ["ro"] })).unwrap();
        let MountKind::Filesystem { flags: found, .. } = &mount.kind else { panic!() };
        assert_eq!((mount.readonly_late, found.as_slice(), mount.attrs.set), (late, flags, attr::RDONLY), "{typ}");
    }
    assert!(tmpfs(&["tmpcopyup"]).copy_up);
}

#[test]
fn remount_changes_the_filesystem_and_with_bind_only_the_attributes() {
    let kind = |options: Value| one(json!({ "destination": "/x", "type": "tmpfs", "options": options })).unwrap();
    let mount = kind(json!(["remount", "ro", "async", "size=1k"]));
    assert_eq!(mount.kind, MountKind::Remount { flags: vec!["ro", "async"], params: vec![param("size", "1k")] });
    let mount = kind(json!(["bind", "remount", "nosuid", "rw"]));
    assert_eq!(mount.kind, MountKind::Remount { flags: vec![], params: vec![] });
    assert_eq!(mount.attrs, change(attr::NOSUID, attr::RDONLY));
}

#[test]
fn iversion_is_accepted_with_a_warning() {
    let mount = json!({ "destination": "/x", "type": "tmpfs", "options": ["ro", "iversion"] });
    let (_, warn) = one_on(mount, &["mount"], &v2()).unwrap();
    assert!(warn[0].starts_with("mounts[0].options[1]: iversion has no effect"), "{warn:?}");
}
