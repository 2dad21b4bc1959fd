use super::super::*;
use super::*;

fn refused(layout: &Layout, resources: Value) -> String {
    plan(layout, json!({ "resources": resources })).expect_err("must be refused")
}

#[test]
fn a_mistake_is_named_by_its_json_path() {
    let both = [v1(), v2()];
    for (at, resources) in [
        ("memory.limit", json!({ "memory": { "limit": -2 } })),
        ("memory.reservation", json!({ "memory": { "reservation": -5 } })),
        ("memory.swap", json!({ "memory": { "limit": 10, "swap": 9 } })),
        ("memory.swap", json!({ "memory": { "swap": 9 } })),
        ("memory.swappiness", json!({ "memory": { "swappiness": 101 } })),
        ("memory.kernel", json!({ "memory": { "kernel": -7 } })),
        ("cpu.quota", json!({ "cpu": { "quota": -2 } })),
        ("cpu.quota", json!({ "cpu": { "quota": 999 } })),
        ("cpu.period", json!({ "cpu": { "period": 1000001 } })),
        ("cpu.burst", json!({ "cpu": { "quota": 5000, "burst": 5001 } })),
        ("cpu.idle", json!({ "cpu": { "idle": 2 } })),
        ("cpu.cpus", json!({ "cpu": { "cpus": "0-" } })),
        ("cpu.mems", json!({ "cpu": { "mems": "x" } })),
        ("pids.limit", json!({ "pids": { "limit": -2 } })),
        ("blockIO.weight", json!({ "blockIO": { "weight": 9 } })),
        (
            "blockIO.weightDevice[0].weight",
            json!({ "blockIO": { "weightDevice": [{ "major": 8, "minor": 0, "weight": 1001 }] } }),
        ),
        (
            "blockIO.throttleReadBpsDevice[0]",
            json!({ "blockIO": { "throttleReadBpsDevice": [{ "major": -8, "minor": 0, "rate": 1 }] } }),
        ),
        ("hugepageLimits[0].pageSize", json!({ "hugepageLimits": [{ "pageSize": "2M", "limit": 1 }] })),
        ("hugepageLimits[0].pageSize", json!({ "hugepageLimits": [{ "pageSize": "02MB", "limit": 1 }] })),
        ("hugepageLimits[0].pageSize", json!({ "hugepageLimits": [{ "pageSize": "../2MB", "limit": 1 }] })),
        ("hugepageLimits[0].limit", json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": -1 }] })),
        ("rdma[\"a\"]", json!({ "rdma": { "a": {} } })),
        ("unified[\"a/b.c\"]", json!({ "unified": { "a/b.c": "1" } })),
        ("rdma[\"a\\0\"]", json!({ "rdma": { "a\0": { "hcaHandles": 1 } } })),
        ("unified[\"memory.high\\0\"]", json!({ "unified": { "memory.high\0": "1" } })),
        ("unified[\"memory.high\"]", json!({ "unified": { "memory.high": "1\0" } })),
        ("network.priorities[0].name", json!({ "network": { "priorities": [{ "name": "a\0", "priority": 1 }] } })),
        ("unified[\"memory\"]", json!({ "unified": { "memory": "1" } })),
        ("devices[0].type", json!({ "devices": [{ "allow": true, "type": "p", "access": "r" }] })),
        ("devices[0].access", json!({ "devices": [{ "allow": true, "type": "c", "access": "rx" }] })),
        ("devices[0].access", json!({ "devices": [{ "allow": true, "type": "c" }] })),
        (
            "devices[1].major",
            json!({ "devices": [{ "allow": true, "access": "r" }, { "allow": true, "type": "c", "major": -2, "access": "r" }] }),
        ),
    ] {
        for layout in &both {
            let error = refused(layout, resources.clone());
            assert!(error.starts_with(&format!("linux.resources.{at}: ")), "{at}: {error}");
        }
    }
}

#[test]
fn what_v2_lacks_is_refused_there() {
    for (at, resources) in [
        ("memory.swappiness", json!({ "memory": { "swappiness": 10 } })),
        ("memory.disableOOMKiller", json!({ "memory": { "disableOOMKiller": true } })),
        ("cpu.realtimeRuntime", json!({ "cpu": { "realtimeRuntime": 10 } })),
        ("blockIO.leafWeight", json!({ "blockIO": { "leafWeight": 10 } })),
        ("network.classID", json!({ "network": { "classID": 1 } })),
        ("network.priorities[0]", json!({ "network": { "priorities": [{ "name": "a", "priority": 1 }] } })),
    ] {
        let error = refused(&v2(), resources.clone());
        assert!(error.starts_with(&format!("linux.resources.{at}: cgroup v2 ")), "{at}: {error}");
        plan(&v1(), json!({ "resources": resources })).unwrap();
    }
    assert_eq!(
        refused(&v1(), json!({ "unified": { "memory.high": "1" } })),
        "linux.resources.unified[\"memory.high\"]: cannot use unified on cgroup v1"
    );
    assert!(refused(&v1(), json!({ "cpu": { "shares": 1 } })).ends_with("the minimum allowed cpu-shares is 2"));
}

#[test]
fn a_missing_controller_is_an_error_unless_nothing_is_limited() {
    let bare = Layout { v1: Vec::new(), v2: Some(unified("/sys/fs/cgroup", "cpu")) };
    for (field, v, resources) in [
        ("memory.limit", "memory", json!({ "memory": { "limit": 5 } })),
        ("memory.useHierarchy", "memory", json!({ "memory": { "useHierarchy": true } })),
        ("pids.limit", "pids", json!({ "pids": { "limit": 5 } })),
        ("cpu.cpus", "cpuset", json!({ "cpu": { "cpus": "0" } })),
        ("blockIO.weight", "io", json!({ "blockIO": { "weight": 50 } })),
        ("hugepageLimits[0]", "hugetlb", json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 1 }] })),
        ("rdma[\"a\"]", "rdma", json!({ "rdma": { "a": { "hcaHandles": 1 } } })),
    ] {
        let error = refused(&bare, resources);
        let expect = format!("linux.resources.{field}: this host has no {v:?} cgroup controller (hint: ");
        assert!(error.starts_with(&expect), "{error}");
    }
    let error = refused(&bare, json!({ "unified": { "memory.max": "5" } }));
    assert!(error.contains("controller \"memory\" not available (hint: this host's v2 controllers: cpu)"), "{error}");
    let unlimited = json!({ "memory": { "limit": -1, "swap": -1 }, "pids": { "limit": -1 } });
    assert_eq!(writes(&bare, unlimited), [] as [&str; 0]);
}
