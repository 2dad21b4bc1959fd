//! Mounts that depend on the host, the runtime or the namespaces.

use super::*;

#[test]
fn cgroup_v2_is_the_filesystem_or_the_containers_own_directory() {
    let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nsdelegate"] });
    let (own, _) = one_on(mount, &["mount", "cgroup"], &v2()).unwrap();
    let nsdelegate = FsParam { key: "nsdelegate".into(), value: None };
    let source = Some("cgroup".into());
    let expected = MountKind::Filesystem { fstype: "cgroup2".into(), source, flags: vec![], params: vec![nsdelegate] };
    assert_eq!((own.kind, own.attrs), (expected, change(attr::RDONLY, 0)));

    let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["rw"] });
    let (bound, _) = one_on(mount.clone(), &["mount"], &v2()).unwrap();
    let MountKind::Bind { source, recursive: false } = &bound.kind else { panic!() };
    assert!(source.starts_with("/sys/fs/cgroup") && source.ends_with("test"));
    assert_eq!(bound.attrs, change(0, 0));

    let map = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    let linux = json!({ "namespaces": namespaces(&["mount", "user"]), "uidMappings": map, "gidMappings": map });
    let (mounts, _) = all(json!({ "mounts": [mount], "linux": linux }), &options(), &rootless()).unwrap();
    assert_eq!(mounts[0].attrs, change(attr::RDONLY, 0), "CVE-2023-25809");
}

#[test]
fn cgroup_v1_is_a_directory_for_each_hierarchy() {
    let mount = json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro"] });
    let kinds = |own: bool| {
        if own { vec!["mount", "cgroup"] } else { vec!["mount"] }
    };
    for own in [true, false] {
        let (mount, _) = one_on(mount.clone(), &kinds(own), &v1()).unwrap();
        assert!(!mount.readonly_late, "nothing is mounted in it later");
        assert_eq!(mount.attrs.set, attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC);
        let MountKind::CgroupV1 { hierarchies, links } = mount.kind else { panic!() };
        let find = |name: &str| hierarchies.iter().find(|h| h.name == name).unwrap();
        assert_eq!(find("systemd").params, [param("name", "systemd")]);
        assert_eq!(find("cpu,cpuacct").params.len(), 2);
        assert!(hierarchies.iter().all(|h| h.bind.is_none() == own && h.fstype == "cgroup"));
        let to = |name: &str| (name.to_owned(), "cpu,cpuacct".to_owned());
        assert_eq!(links, [to("cpu"), to("cpuacct")]);
    }
    let cgroup2 = json!({ "destination": "/cg", "type": "cgroup2" });
    let (mount, _) = one_on(cgroup2, &["mount"], &v1()).unwrap();
    assert!(matches!(mount.kind, MountKind::Filesystem { fstype, .. } if fstype == "cgroup2"));
}

/// Proves: linux.mountLabel
#[test]
fn a_mount_label_goes_to_filesystems_that_take_one() {
    let fs = |typ: &str| json!({ "destination": format!("/{typ}"), "type": typ });
    let mut mounts = ["tmpfs", "mqueue", "proc", "sysfs", "cgroup"].map(fs).to_vec();
    mounts.push(json!({ "destination": "/b", "type": "tmpfs", "options": ["context=own"] }));
    let linux = json!({ "namespaces": namespaces(&["mount", "cgroup"]), "mountLabel": "a:b:c:s0:c1,c2" });
    let (mounts, _) = all(json!({ "mounts": mounts, "linux": linux }), &options(), &v2()).unwrap();
    let labels = mounts.iter().map(|mount| match &mount.kind {
        MountKind::Filesystem { params, .. } => params.iter().filter_map(|p| p.value.clone()).collect::<String>(),
        other => panic!("{other:?}"),
    });
    assert_eq!(labels.collect::<Vec<_>>(), ["a:b:c:s0:c1,c2", "a:b:c:s0:c1,c2", "", "", "", "own"]);
}

#[test]
fn the_notify_socket_is_bound_last() {
    let with = Options { notify_socket: Some("/run/systemd/notify".into()), ..options() };
    let document = json!({ "linux": { "namespaces": namespaces(&["mount"]) } });
    let (mounts, _) = all(document, &with, &v2()).unwrap();
    assert_eq!(mounts[0].kind, MountKind::Bind { source: "/run/oarlock/test/notify".into(), recursive: false });
    assert!(NOTIFY_SOCKET.starts_with(mounts[0].destination.to_str().unwrap()));
    let by = Options { rootless: true, ..with };
    assert!(error(all(json!({}), &by, &v2())).starts_with("NOTIFY_SOCKET: needs a mount namespace"));
}

#[test]
fn what_shows_a_namespace_of_the_host_may_be_the_hosts_own_mount() {
    let fallback = |fstype: &str, kinds: &[&str]| {
        let mount = json!({ "destination": "/x", "type": fstype });
        one_on(mount, kinds, &v2()).unwrap().0.fallback
    };
    for (fstype, kind, path) in [("sysfs", "network", "/sys"), ("mqueue", "ipc", "/dev/mqueue"), ("tmpfs", "pid", "")] {
        assert_eq!(fallback(fstype, &["mount"]), Some(path).filter(|path| !path.is_empty()), "{fstype}");
        assert_eq!(fallback(fstype, &["mount", kind]), None, "{fstype}");
    }
}

#[test]
fn cgroups_of_a_rootless_container_without_a_namespace_are_read_only() {
    let mount = || json!({ "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"] });
    for (facts, readonly) in
        [(rootless(), true), (Facts { cgroup: v1().cgroup, ..rootless() }, true), (v2(), false), (v1(), false)]
    {
        let maps = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
        let linux = json!({ "namespaces": namespaces(&["mount", "user"]), "uidMappings": maps, "gidMappings": maps });
        let document = json!({ "mounts": [mount()], "linux": linux });
        let options = Options { rootless: facts.euid != 0, ..options() };
        let (mounts, _) = all(document, &options, &facts).unwrap();
        assert_eq!(mounts[0].attrs.set & attr::RDONLY != 0, readonly);
    }
}
