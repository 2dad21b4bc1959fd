use super::super::*;
use super::*;

fn everything() -> Value {
    json!({
        "memory": { "limit": 1000, "reservation": 500, "swap": 3000 },
        "cpu": { "shares": 1024, "quota": 50000, "period": 20000, "burst": 100, "cpus": "0-1", "mems": "0", "idle": 0 },
        "pids": { "limit": 7 },
        "blockIO": {
            "weight": 500,
            "weightDevice": [{ "major": 8, "minor": 0, "weight": 10 }],
            "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 600 }],
            "throttleWriteBpsDevice": [{ "major": 8, "minor": 0, "rate": 0 }],
            "throttleReadIOPSDevice": [{ "major": 8, "minor": 1, "rate": 300 }],
            "throttleWriteIOPSDevice": [{ "major": 8, "minor": 1, "rate": 301 }]
        },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 9 }],
        "rdma": { "mlx5_1": { "hcaHandles": 3, "hcaObjects": 100 } }
    })
}

/// Proves: linux.resources.blockIO.leafWeight, linux.resources.blockIO.weightDevice[].{weight,leafWeight},
/// linux.resources.network.classID, linux.resources.network.priorities[].{name,priority},
/// linux.resources.rdma.*.{hcaHandles,hcaObjects}, linux.resources.hugepageLimits[].{pageSize,limit}
#[test]
fn every_resource_becomes_its_v1_file_in_order() {
    let mut resources = everything();
    resources["memory"]["swappiness"] = json!(60);
    resources["memory"]["disableOOMKiller"] = json!(true);
    resources["memory"]["useHierarchy"] = json!(true);
    resources["memory"]["kernelTCP"] = json!(4096);
    resources["cpu"]["realtimePeriod"] = json!(1000000);
    resources["cpu"]["realtimeRuntime"] = json!(950000);
    resources["blockIO"]["leafWeight"] = json!(300);
    resources["blockIO"]["weightDevice"][0]["leafWeight"] = json!(11);
    resources["network"] = json!({ "classID": 1048577, "priorities": [{ "name": "eth0", "priority": 5 }] });
    let expect = [
        "cpuset.cpus = 0-1  (cpu.cpus) or cpus = 0-1",
        "cpuset.mems = 0  (cpu.mems) or mems = 0",
        "memory.limit_in_bytes = 1000  (memory.limit) RetryLast",
        "memory.memsw.limit_in_bytes = 3000  (memory.swap)",
        "memory.soft_limit_in_bytes = 500  (memory.reservation)",
        "memory.swappiness = 60  (memory.swappiness)",
        "memory.oom_control = 1  (memory.disableOOMKiller)",
        "memory.use_hierarchy = 1  (memory.useHierarchy) IgnoreMissing",
        "memory.kmem.tcp.limit_in_bytes = 4096  (memory.kernelTCP) IgnoreMissing",
        "cpu.idle = 0  (cpu.idle)",
        "cpu.shares = 1024  (cpu.shares)",
        "cpu.cfs_period_us = 20000  (cpu.period) RetryLast",
        "cpu.cfs_burst_us = 100  (cpu.burst) RetryLast",
        "cpu.cfs_quota_us = 50000  (cpu.quota)",
        "cpu.rt_period_us = 1000000  (cpu.realtimePeriod)",
        "cpu.rt_runtime_us = 950000  (cpu.realtimeRuntime)",
        "pids.max = 7  (pids.limit)",
        "blkio.weight = 500  (blockIO.weight) or blkio.bfq.weight = 500",
        "blkio.leaf_weight = 300  (blockIO.leafWeight)",
        "blkio.weight_device = 8:0 10  (blockIO.weightDevice[0].weight) or blkio.bfq.weight_device = 8:0 10",
        "blkio.leaf_weight_device = 8:0 11  (blockIO.weightDevice[0].leafWeight)",
        "blkio.throttle.read_bps_device = 8:0 600  (blockIO.throttleReadBpsDevice[0])",
        "blkio.throttle.write_bps_device = 8:0 0  (blockIO.throttleWriteBpsDevice[0])",
        "blkio.throttle.read_iops_device = 8:1 300  (blockIO.throttleReadIOPSDevice[0])",
        "blkio.throttle.write_iops_device = 8:1 301  (blockIO.throttleWriteIOPSDevice[0])",
        "hugetlb.2MB.limit_in_bytes = 9  (hugepageLimits[0].limit)",
        "hugetlb.2MB.rsvd.limit_in_bytes = 9  (hugepageLimits[0].limit) IgnoreMissing",
        "net_cls.classid = 1048577  (network.classID)",
        "net_prio.ifpriomap = eth0 5  (network.priorities[0])",
        "rdma.max = mlx5_1 hca_handle=3 hca_object=100  (rdma[\"mlx5_1\"])",
    ];
    assert_eq!(writes(&v1(), resources), expect);
}

/// Proves: linux.resources.blockIO.weightDevice[].weight, linux.resources.rdma.*.{hcaHandles,hcaObjects},
/// linux.resources.hugepageLimits[].{pageSize,limit}
#[test]
fn every_resource_becomes_its_v2_file_in_order() {
    let mut resources = everything();
    resources["unified"] = json!({ "memory.high": "900", "io.max": "8:0 rbps=1\n8:1 wbps=2", "cgroup.max.depth": "3" });
    let expect = [
        "cpuset.cpus = 0-1  (cpu.cpus)",
        "cpuset.mems = 0  (cpu.mems)",
        "memory.swap.max = 2000  (memory.swap)",
        "memory.max = 1000  (memory.limit)",
        "memory.low = 500  (memory.reservation)",
        "cpu.idle = 0  (cpu.idle)",
        "cpu.weight = 100  (cpu.shares)",
        "cpu.max.burst = 100  (cpu.burst) RetryLast",
        "cpu.max = 50000 20000  (cpu.quota)",
        "pids.max = 7  (pids.limit)",
        "io.bfq.weight = 500  (blockIO.weight) or io.weight = 4950",
        "io.bfq.weight = 8:0 10  (blockIO.weightDevice[0].weight) or io.weight = 8:0 1",
        "io.max = 8:0 rbps=600  (blockIO.throttleReadBpsDevice[0])",
        "io.max = 8:0 wbps=max  (blockIO.throttleWriteBpsDevice[0])",
        "io.max = 8:1 riops=300  (blockIO.throttleReadIOPSDevice[0])",
        "io.max = 8:1 wiops=301  (blockIO.throttleWriteIOPSDevice[0])",
        "hugetlb.2MB.max = 9  (hugepageLimits[0].limit)",
        "hugetlb.2MB.rsvd.max = 9  (hugepageLimits[0].limit) IgnoreMissing",
        "rdma.max = mlx5_1 hca_handle=3 hca_object=100  (rdma[\"mlx5_1\"])",
        "cgroup.max.depth = 3  (unified[\"cgroup.max.depth\"])",
        "io.max = 8:0 rbps=1  (unified[\"io.max\"])",
        "io.max = 8:1 wbps=2  (unified[\"io.max\"])",
        "memory.high = 900  (unified[\"memory.high\"])",
    ];
    assert_eq!(writes(&v2(), resources), expect);
}

#[test]
fn memory_and_swap_keep_their_old_meanings() {
    let v2_writes = |memory| writes(&v2(), json!({ "memory": memory }));
    assert_eq!(v2_writes(json!({ "limit": 0, "swap": 0, "reservation": 0 })), [] as [&str; 0]);
    assert_eq!(
        v2_writes(json!({ "limit": 10, "swap": 10 })),
        ["memory.swap.max = 0  (memory.swap) IgnoreMissing", "memory.max = 10  (memory.limit)"]
    );
    assert_eq!(
        v2_writes(json!({ "limit": -1 })),
        ["memory.swap.max = max  (memory.swap) IgnoreMissing", "memory.max = max  (memory.limit)"]
    );
    assert_eq!(
        v2_writes(json!({ "limit": -1, "swap": 20 })),
        ["memory.swap.max = 20  (memory.swap)", "memory.max = max  (memory.limit)"]
    );
    assert_eq!(
        writes(&v1(), json!({ "memory": { "limit": -1 } })),
        [
            "memory.limit_in_bytes = -1  (memory.limit) RetryLast",
            "memory.memsw.limit_in_bytes = -1  (memory.swap) IgnoreMissing"
        ]
    );
    // What Docker sends for "not set".
    let docker = json!({ "memory": { "disableOOMKiller": false, "swappiness": u64::MAX }, "blockIO": { "weight": 0 },
                         "cpu": { "shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": "" } });
    assert_eq!(writes(&v2(), docker.clone()), [] as [&str; 0]);
    assert_eq!(writes(&v1(), docker), [] as [&str; 0]);
}

#[test]
fn an_idle_cgroup_takes_no_shares_so_idle_goes_first_off_and_last_on() {
    assert_eq!(
        writes(&v2(), json!({ "cpu": { "shares": 2, "idle": 1 } })),
        ["cpu.weight = 1  (cpu.shares) IgnoreInvalid", "cpu.idle = 1  (cpu.idle)"]
    );
}

#[test]
fn a_pids_limit_of_zero_waits_for_init_on_v2_only() {
    let pids =
        |layout: &Layout, n: i64| plan(layout, json!({ "resources": { "pids": { "limit": n } } })).unwrap().limits;
    let names = |writes: &[Write]| -> Vec<String> {
        writes.iter().filter(|w| w.controller == "pids").map(|w| w.value.clone()).collect()
    };
    assert_eq!(names(&pids(&v1(), 0).writes), ["0"]);
    assert_eq!(names(&pids(&v2(), 0).writes), [] as [&str; 0]);
    assert_eq!(names(&pids(&v2(), 0).late), ["0"]);
    assert_eq!(names(&pids(&v2(), -1).writes), ["max"]);
    let update = serde_json::from_value(json!({ "pids": { "limit": 0 } })).unwrap();
    let update = compile_update(&update, "", &v2(), &mut Vec::new()).unwrap();
    assert_eq!((names(&update.writes), update.late.len()), (vec!["0".to_owned()], 0));
    assert_eq!(update.writes[0].json, "pids.limit");
}

#[test]
fn check_before_update_becomes_checks_on_v2() {
    let memory = json!({ "memory": { "limit": 10, "swap": 30, "checkBeforeUpdate": true } });
    let limits = plan(&v2(), json!({ "resources": memory })).unwrap().limits;
    let checks: Vec<_> = limits.checks.iter().map(|c| (c.file.as_str(), c.value, c.json.as_str())).collect();
    assert_eq!(
        checks,
        [("memory.current", 30, "linux.resources.memory.swap"), ("memory.current", 10, "linux.resources.memory.limit")]
    );
}

#[test]
fn what_has_no_effect_is_told() {
    let mut warn = Vec::new();
    let spec = spec(json!({ "resources": { "memory": { "kernel": 5, "kernelTCP": 6, "useHierarchy": false } } }));
    compile(&spec, &options(), &on(v2()), &mut warn, &mut Vec::new()).unwrap();
    assert_eq!(warn.len(), 3, "{warn:?}");
    assert!(warn.iter().all(|w| w.starts_with("linux.resources.memory.")));
}
