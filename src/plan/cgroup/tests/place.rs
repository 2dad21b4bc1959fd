use super::super::*;
use super::*;

#[test]
fn a_hybrid_host_uses_v2_for_what_v1_lacks() {
    let plan = plan(
        &hybrid(),
        json!({ "cgroupsPath": "/a", "resources": {
        "memory": { "limit": 5 }, "hugepageLimits": [{ "pageSize": "2MB", "limit": 1 }] } }),
    )
    .unwrap();
    assert_eq!(plan.place.kind, Kind::Hybrid);
    assert_eq!(plan.limits.enable, ["hugetlb"]);
    let files: Vec<_> = plan.limits.writes.iter().filter(|w| w.controller != "devices").map(|w| &w.file[..]).collect();
    assert_eq!(files, ["memory.limit_in_bytes", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"]);
    assert!(plan.limits.devices.is_none() && plan.limits.writes.iter().any(|w| w.file == "devices.deny"));
    assert_eq!(plan.place.v2.unwrap().path(), PathBuf::from("/sys/fs/cgroup/unified/a"));
}

#[test]
fn cgroups_path_is_absolute_relative_or_the_id() {
    let path = |layout: &Layout, linux: Value| {
        let place = plan(layout, linux).unwrap().place;
        place.v1.iter().find(|d| d.has("memory")).or(place.v2.as_ref()).unwrap().path()
    };
    let (v1, v2) = (v1(), v2());
    for (given, on_v1, on_v2) in [
        (json!({ "cgroupsPath": "/a//b/./c/" }), "/sys/fs/cgroup/memory/a/b/c", "/sys/fs/cgroup/a/b/c"),
        (json!({ "cgroupsPath": "a/b" }), "/sys/fs/cgroup/memory/own/here/a/b", "/sys/fs/cgroup/user.slice/a/b"),
        (json!({ "cgroupsPath": "" }), "/sys/fs/cgroup/memory/own/here/c1", "/sys/fs/cgroup/user.slice/c1"),
        (json!({}), "/sys/fs/cgroup/memory/own/here/c1", "/sys/fs/cgroup/user.slice/c1"),
        (json!({ "cgroupsPath": "/a:b:c" }), "/sys/fs/cgroup/memory/a:b:c", "/sys/fs/cgroup/a:b:c"),
    ] {
        assert_eq!(path(&v1, given.clone()), PathBuf::from(on_v1), "{given}");
        assert_eq!(path(&v2, given.clone()), PathBuf::from(on_v2), "{given}");
    }
    let place = plan(&v1, json!({})).unwrap().place;
    assert!(place.v1.iter().any(|d| d.has("name=systemd")) && !place.v1.iter().any(|d| d.has("name=other")));

    for bad in ["/a/../b", "..", "/", ".", "system.slice:runc:c1", ":runc:c1", "/a\nb"] {
        let error = plan(&v1, json!({ "cgroupsPath": bad })).unwrap_err();
        assert!(error.starts_with("linux.cgroupsPath: "), "{bad}: {error}");
    }
    let systemd = plan(&v1, json!({ "cgroupsPath": "system.slice:runc:c1" })).unwrap_err();
    assert!(systemd.contains("--systemd-cgroup"), "{systemd}");

    let mut outside = v2.clone();
    outside.v2.as_mut().unwrap().own = None;
    assert!(plan(&outside, json!({ "cgroupsPath": "a" })).unwrap_err().contains("relative"));
    plan(&outside, json!({ "cgroupsPath": "/a" })).unwrap();
}

#[test]
fn without_cgroups_only_rootless_goes_on() {
    let none = Layout::default();
    assert!(plan(&none, json!({})).unwrap_err().contains("no cgroup hierarchy"));
    let mut warn = Vec::new();
    let rootless = Options { rootless: true, ..options() };
    let plan = compile(&spec(json!({})), &rootless, &on(none), &mut warn, &mut Vec::new()).unwrap();
    assert!(plan.place.v1.is_empty() && plan.limits.devices.is_none() && warn.len() == 1);
}

#[test]
fn a_container_that_may_manage_its_v2_cgroup_owns_it() {
    let owner = |layout: &Layout, namespaces: Value, mount: Value| {
        let spec: Spec = serde_json::from_value(json!({
            "ociVersion": "1.2.0",
            "process": { "user": { "uid": 5, "gid": 0 }, "cwd": "/" },
            "mounts": [{ "destination": "/sys/fs/cgroup", "type": "cgroup", "options": mount }],
            "linux": { "namespaces": namespaces,
                       "uidMappings": [{ "containerID": 0, "hostID": 1000, "size": 10 }] }
        }))
        .unwrap();
        compile(&spec, &options(), &on(layout.clone()), &mut Vec::new(), &mut Vec::new()).unwrap().owner
    };
    let both = json!([{ "type": "cgroup" }, { "type": "user" }]);
    assert_eq!(owner(&v2(), both.clone(), json!(["rw"])), Some(1005));
    assert_eq!(owner(&v2(), json!([{ "type": "cgroup" }]), json!([])), Some(5));
    assert_eq!(owner(&v2(), both.clone(), json!(["ro"])), None);
    assert_eq!(owner(&v2(), json!([{ "type": "user" }]), json!([])), None);
    assert_eq!(owner(&v1(), both, json!([])), None);
}

#[test]
fn the_plan_survives_being_written_down() {
    let plan = plan(&hybrid(), json!({ "resources": { "pids": { "limit": 3 } } })).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<CgroupPlan>(&text).unwrap(), plan);
}

#[test]
fn disabled_is_no_place_and_every_limit_stands_against_it() {
    let disabled = Options { cgroup_manager: Manager::Disabled, ..options() };
    let document = json!({ "cgroupsPath": "a.slice:b:c", "resources": {
        "devices": [{ "allow": false, "access": "rwm" }], "memory": { "limit": 1 << 20, "swap": 1 << 21 },
        "cpu": { "shares": 5, "cpus": "0" }, "pids": { "limit": -1 }, "hugepageLimits": [{ "pageSize": "2MB", "limit": 0 }],
    }});
    for layout in [v1(), v2(), Layout::default()] {
        let (mut warn, mut obstacles) = (Vec::new(), Vec::new());
        let plan = compile(&spec(document.clone()), &disabled, &on(layout), &mut warn, &mut obstacles).unwrap();
        assert!(plan.place.is_none() && plan.limits == Limits::default());
        assert_eq!(warn.len(), 1, "{warn:?}");
        let at: Vec<_> = obstacles.iter().map(|obstacle| obstacle.at.as_str()).collect();
        let limits = ["cpu.cpus", "memory.limit", "cpu.shares", "hugepageLimits[0]"];
        assert_eq!(at, limits.map(|limit| format!("linux.resources.{limit}")));
    }
}
