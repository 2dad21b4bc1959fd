use serde_json::{Value as Json, json};

use super::super::tests::{hybrid, v1, v2};
use super::super::{CgroupPlan, Kind, Manager, compile};
use super::*;
use crate::cgroup::layout::Layout;
use crate::plan::testing::{on, options as cgroupfs, rootless};

fn options() -> Options {
    Options { id: "c1".into(), cgroup_manager: Manager::Systemd, ..cgroupfs() }
}

fn plan_of(document: Json, options: &Options, facts: &Facts) -> std::result::Result<CgroupPlan, String> {
    let spec = serde_json::from_value(document).unwrap();
    let mut obstacles = Vec::new();
    let plan = compile(&spec, options, facts, &mut Vec::new(), &mut obstacles).map_err(|error| error.to_string())?;
    assert_eq!(obstacles, []);
    Ok(plan)
}

fn plan(layout: Layout, linux: Json) -> std::result::Result<CgroupPlan, String> {
    plan_of(json!({ "ociVersion": "1.2.0", "linux": linux }), &options(), &on(layout))
}

/// What a property of the plan's unit is; empty: it has none.
fn property(plan: &CgroupPlan, name: &str) -> String {
    let all = &plan.unit.as_ref().unwrap().properties;
    assert!(all.iter().filter(|property| property.name == name).count() <= 1, "{name} twice");
    all.iter().find(|property| property.name == name).map(|property| property.value.to_string()).unwrap_or_default()
}

#[test]
fn cgroups_path_names_slice_and_scope() {
    for (given, slice, unit, path) in [
        (json!({}), "system.slice", "runc-c1.scope", "system.slice/runc-c1.scope"),
        (json!({ "cgroupsPath": ":cri:x" }), "system.slice", "cri-x.scope", "system.slice/cri-x.scope"),
        (
            json!({ "cgroupsPath": "kube-pod_1-b.slice:cri:x" }),
            "kube-pod_1-b.slice",
            "cri-x.scope",
            "kube.slice/kube-pod_1.slice/kube-pod_1-b.slice/cri-x.scope",
        ),
        (json!({ "cgroupsPath": "-.slice:a:b" }), "-.slice", "a-b.scope", "a-b.scope"),
    ] {
        for layout in [v1(), v2(), hybrid()] {
            let kind = layout.kind();
            let plan = plan(layout, given.clone()).unwrap();
            let id = &plan.unit.as_ref().unwrap().id;
            assert_eq!((property(&plan, "Slice"), id.name.as_str(), id.user), (format!("'{slice}'"), unit, false));
            let dirs: Vec<_> = plan.place.v1.iter().chain(&plan.place.v2).collect();
            assert!(!dirs.is_empty() && dirs.iter().all(|dir| dir.below == Path::new(path)), "{dirs:?}");
            assert_eq!(plan.place.v1.iter().any(|dir| dir.has("name=systemd")), kind != Kind::V2);
            // Only when it exists may anybody stop it.
            assert_eq!(plan.place.unit, None);
        }
    }
}

#[test]
fn a_path_of_another_form_is_refused() {
    for (bad, why) in [
        ("/a/b", "slice:prefix:name"),
        ("a.slice:b", "slice:prefix:name"),
        ("a.slice:b:c:d", "slice:prefix:name"),
        ("a:b:c", "no slice"),
        ("a--b.slice:b:c", "no slice"),
        (".slice:b:c", "no slice"),
        ("-a.slice:b:c", "no slice"),
        ("a/b.slice:b:c", "'/'"),
        ("a.slice:b:c+d", "'+'"),
        ("a.slice:b:c.slice", "holds no processes"),
        (&format!("a.slice:b:{}", "c".repeat(250)), "255"),
    ] {
        let error = plan(v2(), json!({ "cgroupsPath": bad })).unwrap_err();
        assert!(error.starts_with("linux.cgroupsPath: ") && error.contains(why), "{bad}: {error}");
    }
}

#[test]
fn without_root_the_users_systemd_has_it() {
    let options = Options { rootless: true, ..options() };
    let below = |own: &str| {
        let mut facts = rootless();
        facts.cgroup.v2.as_mut().unwrap().own = Some(own.into());
        let plan = plan_of(json!({ "ociVersion": "1.2.0" }), &options, &facts).unwrap();
        assert!(plan.unit.as_ref().unwrap().id.user && property(&plan, "Slice") == "'user.slice'");
        // Its filter for devices needs what the user has not.
        assert_eq!(property(&plan, "DevicePolicy"), "");
        plan.place.v2.unwrap().below.display().to_string()
    };
    let manager = "user.slice/user-1000.slice/user@1000.service";
    assert_eq!(below("/user.slice/user-1000.slice/session-1.scope"), format!("{manager}/user.slice/runc-c1.scope"));
    assert_eq!(below("/x/user@5.service/app.slice/y"), "x/user@5.service/user.slice/runc-c1.scope");
    let v1 = Facts { euid: 1000, ..on(v1()) };
    let error = plan_of(json!({ "ociVersion": "1.2.0" }), &options, &v1).unwrap_err();
    assert!(error.starts_with("--systemd-cgroup: "), "{error}");
}

#[test]
fn every_limit_that_systemd_knows_is_a_property() {
    let resources = json!({
        "memory": { "limit": 1 << 20, "swap": 3 << 20, "reservation": 1 << 19 },
        "cpu": { "shares": 2048, "quota": 12_345, "period": 50_000, "cpus": "0-2,9", "mems": "0" },
        "pids": { "limit": 7 },
        "blockIO": { "weight": 500 },
    });
    let plan_v2 = plan(v2(), json!({ "resources": resources })).unwrap();
    for (name, value) in [
        ("MemoryMax", "uint64 1048576"),
        ("MemorySwapMax", "uint64 2097152"),
        ("MemoryLow", "uint64 524288"),
        ("CPUWeight", "uint64 174"),
        ("CPUQuotaPeriodUSec", "uint64 50000"),
        // 246.9 ms in whole percents, upwards.
        ("CPUQuotaPerSecUSec", "uint64 250000"),
        ("AllowedCPUs", "[byte 7, byte 2]"),
        ("AllowedMemoryNodes", "[byte 1]"),
        ("TasksMax", "uint64 7"),
        ("IOWeight", "uint64 4950"),
        ("Delegate", "true"),
        ("DefaultDependencies", "false"),
        ("IOAccounting", "true"),
    ] {
        assert_eq!(property(&plan_v2, name), value, "{name}");
    }
    let plan_v1 = plan(v1(), json!({ "resources": resources })).unwrap();
    for (name, value) in [
        ("MemoryLimit", "uint64 1048576"),
        ("CPUShares", "uint64 2048"),
        ("CPUQuotaPerSecUSec", "uint64 250000"),
        ("BlockIOWeight", "uint64 500"),
        ("TasksMax", "uint64 7"),
        ("BlockIOAccounting", "true"),
        ("MemoryMax", ""),
    ] {
        assert_eq!(property(&plan_v1, name), value, "{name}");
    }
}

#[test]
fn no_limit_is_infinity() {
    let resources = json!({ "memory": { "limit": -1 }, "cpu": { "quota": -1 }, "pids": { "limit": -1 } });
    let plan = plan(v2(), json!({ "resources": resources })).unwrap();
    for name in ["MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec", "TasksMax"] {
        assert_eq!(property(&plan, name), format!("uint64 {}", u64::MAX), "{name}");
    }
}

#[test]
fn unified_files_are_properties_too_and_count_last() {
    let resources = json!({ "memory": { "limit": 5 }, "unified": {
        "memory.max": "1048576", "memory.high": "max", "memory.min": "4096", "cpu.weight": "5", "cpu.idle": "1",
        "cpu.max": "max 10000", "pids.max": "9", "memory.oom.group": "1", "cpuset.cpus": "0-N", "io.weight": "8:0 5\ndefault 7",
    } });
    let plan = plan(v2(), json!({ "resources": resources })).unwrap();
    for (name, value) in [
        ("MemoryMax", "uint64 1048576"),
        ("MemoryHigh", &format!("uint64 {}", u64::MAX)),
        ("MemoryMin", "uint64 4096"),
        ("CPUWeight", "uint64 0"),
        ("CPUQuotaPeriodUSec", "uint64 10000"),
        ("TasksMax", "uint64 9"),
        ("OOMPolicy", "'kill'"),
        ("AllowedCPUs", ""),
        ("IOWeight", "uint64 7"),
    ] {
        assert_eq!(property(&plan, name), value, "{name}");
    }
}

#[test]
fn annotations_are_properties() {
    let with = |annotations: Json| {
        plan_of(json!({ "ociVersion": "1.2.0", "annotations": annotations }), &options(), &on(v2()))
    };
    let plan = with(json!({
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.TimeoutStopSec": "uint64 5",
        "org.systemd.property.After": "['a.service']",
        "org.systemd.property.Delegate": "false",
        "other": "x",
    }))
    .unwrap();
    assert_eq!(property(&plan, "CollectMode"), "'inactive-or-failed'");
    assert_eq!(property(&plan, "TimeoutStopUSec"), "uint64 5000000");
    assert_eq!(property(&plan, "After"), "['a.service']");
    assert_eq!(property(&plan, "Delegate"), "false");
    for (name, value, why) in [
        ("CollectMode", "inactive", "not a value"),
        ("TimeoutStopSec", "'x'", "seconds"),
        ("Bad Name", "1", "not the name"),
        ("X", "1", "not the name"),
        ("PIDs", "@au [1]", "runtime's"),
    ] {
        let key = format!("org.systemd.property.{name}");
        let error = with(json!({ key.as_str(): value })).unwrap_err();
        assert!(error.starts_with(&format!("annotations[{key:?}]: ")) && error.contains(why), "{error}");
    }
}

#[test]
fn a_subgroup_is_below_the_unit() {
    let below = |name: &str| {
        let document = json!({ "ociVersion": "1.2.0", "annotations": { "run.oci.systemd.subgroup": name } });
        plan_of(document, &options(), &on(v2())).map(|plan| plan.place.v2.unwrap().below.display().to_string())
    };
    assert_eq!(below("container").unwrap(), "system.slice/runc-c1.scope/container");
    assert_eq!(below("").unwrap(), "system.slice/runc-c1.scope");
    for bad in ["a/b", "..", ".", "a\nb"] {
        assert!(below(bad).unwrap_err().starts_with("annotations["), "{bad}");
    }
}

#[test]
fn device_rules_are_told_to_systemd_where_it_can_say_them() {
    let devices = |devices: Json| {
        let plan = plan(v2(), json!({ "resources": { "devices": devices } })).unwrap();
        assert!(plan.limits.devices.is_some());
        let policy = property(&plan, "DevicePolicy");
        assert_eq!(plan.unit.as_ref().unwrap().knows_devices(), policy == "'strict'");
        (policy, property(&plan, "DeviceAllow"))
    };
    let none = json!({ "allow": false, "access": "rwm" });
    let (policy, list) =
        devices(json!([none, { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" }]));
    assert_eq!(policy, "'strict'");
    for entry in ["('/dev/char/10:229', 'rw')", "('char-pts', 'rwm')", "('block-*', 'm')", "('/dev/char/1:3', 'rwm')"] {
        assert!(list.contains(entry), "{entry} is not in {list}");
    }
    // A whole class, a major without a name, a minor of every major, a hole in a wider rule: our own program's alone.
    for beyond in [
        json!({ "allow": true, "access": "rwm" }),
        json!({ "allow": true, "type": "c", "major": 77, "access": "rw" }),
        json!({ "allow": true, "type": "b", "minor": 1, "access": "rw" }),
    ] {
        let found = devices(json!([none, beyond]));
        assert_eq!(found, ("'auto'".into(), "@a(ss) []".into()), "{beyond}");
    }
}
