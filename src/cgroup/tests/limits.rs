//! Limits: what the files hold afterwards, and what a refusal says.

use super::*;

#[test]
fn limits_are_in_the_files_after_create() {
    need!(root(), "needs root");
    let mut resources = json!({});
    let mut expect = Vec::new();
    if has("memory") {
        resources["memory"] = json!({ "limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20 });
        expect.push(match layout().kind() {
            Kind::V2 => ("memory", "memory.max", "67108864"),
            _ => ("memory", "memory.memsw.limit_in_bytes", "100663296"),
        });
    }
    if has("pids") {
        resources["pids"] = json!({ "limit": 9 });
        expect.push(("pids", "pids.max", "9"));
    }
    if has("cpu") {
        resources["cpu"] = json!({ "shares": 512, "quota": 20000, "period": 50000, "cpus": "0", "mems": "0" });
        expect.extend(match layout().kind() {
            Kind::V2 => [("cpu", "cpu.weight", "59"), ("cpu", "cpu.max", "20000 50000")],
            _ => [("cpu", "cpu.shares", "512"), ("cpuset", "cpuset.cpus", "0")],
        });
    }
    if has("hugetlb") {
        resources["hugepageLimits"] = json!([{ "pageSize": "2MB", "limit": 4 << 20 }]);
        expect.push(("hugetlb", "hugetlb.2MB.max", "4194304"));
    }
    let cgroup = create(resources);
    for (controller, file, value) in expect {
        assert_eq!(cgroup.read(controller, file), value, "{file}");
    }
}

#[test]
fn memory_limits_can_be_raised_and_lowered_together() {
    need!(root(), "needs root");
    need!(layout().v1("memory").is_some(), "no v1 memory controller");
    let cgroup = create(json!({ "memory": { "limit": 40 << 20, "swap": 50 << 20 } }));
    for (limit, swap) in [(80 << 20, 90 << 20), (20 << 20, 20 << 20), (60 << 20, 60 << 20), (30 << 20, 100 << 20)] {
        cgroup.0.apply(&update(json!({ "memory": { "limit": limit, "swap": swap } }))).unwrap();
        assert_eq!(cgroup.read("memory", "memory.limit_in_bytes"), limit.to_string());
        assert_eq!(cgroup.read("memory", "memory.memsw.limit_in_bytes"), swap.to_string());
    }
    cgroup.0.apply(&update(json!({ "memory": { "limit": -1 } }))).unwrap();
    assert!(cgroup.read("memory", "memory.memsw.limit_in_bytes").len() > 15);
}

#[test]
fn bandwidth_can_be_changed_in_any_direction() {
    need!(root(), "needs root");
    need!(has("cpu"), "no cpu controller");
    let cgroup = create(json!({ "cpu": { "quota": 50000, "period": 100000 } }));
    for (quota, period, burst) in
        [(5000, 10000, 5000), (900_000, 1_000_000, 100_000), (1000, 2000, 0), (-1, 100_000, 0)]
    {
        let cpu = json!({ "cpu": { "quota": quota, "period": period, "burst": burst } });
        cgroup.0.apply(&update(cpu)).unwrap();
    }
}

#[test]
fn a_limit_below_the_usage_is_refused_with_both_numbers() {
    need!(root(), "needs root");
    need!(layout().v1("memory").is_some(), "no v1 memory controller");
    let cgroup = create(json!({}));
    // Anonymous memory: without swap it cannot be reclaimed.
    let (_child, _) = cgroup.run("x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo '> on'; read wait");
    let limits = json!({ "memory": { "limit": 4096 } });
    match cgroup.0.apply(&update(limits)) {
        Err(error) => {
            let error = format!("{error:#}");
            assert!(error.starts_with("memory.limit: write \"4096\" to memory.limit_in_bytes: "), "{error}");
            assert!(error.contains("(hint: unable to set memory limit to 4096 (current usage: "), "{error}");
        }
        Ok(_) => println!("SKIP: this host reclaimed 30 MB"),
    }
}

#[test]
fn a_refused_value_is_named_and_nothing_is_left() {
    need!(root(), "needs root");
    let path = name();
    let (resources, expect) = if has("cpuset") {
        (json!({ "cpu": { "cpus": "4000" } }), "linux.resources.cpu.cpus: write \"4000\" to cpuset.cpus: ")
    } else {
        let limit = json!([{ "pageSize": "3MB", "limit": 1 }]);
        (
            json!({ "hugepageLimits": limit }),
            "linux.resources.hugepageLimits[0].limit: write \"1\" to hugetlb.3MB.max: ",
        )
    };
    let plan = plan(&path, resources);
    let error = format!("{:#}", Cgroup::create(&plan).unwrap_err());
    assert!(error.starts_with(expect) && error.contains("(hint: "), "{error}");
    assert!(plan.place.v1.iter().chain(&plan.place.v2).all(|d| !d.path().exists()));
}

#[test]
fn v2_takes_swap_burst_and_unified() {
    need!(root(), "needs root");
    need!(layout().kind() == Kind::V2 && has("memory") && has("cpu"), "no memory and cpu controllers on v2");
    let cgroup = create(json!({
        "memory": { "limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20 },
        "cpu": { "quota": 20000, "period": 50000, "burst": 10000, "shares": 3, "idle": 1 },
        "unified": { "memory.high": "50331648\n", "cgroup.max.depth": "3" }
    }));
    for (file, value) in [
        ("memory.swap.max", "33554432"),
        ("memory.low", "33554432"),
        ("memory.high", "50331648"),
        ("cpu.max.burst", "10000"),
        ("cpu.idle", "1"),
        ("cgroup.max.depth", "3"),
    ] {
        assert_eq!(cgroup.read("memory", file), value, "{file}");
    }
}

#[test]
fn a_pids_limit_of_zero_is_set_after_init_has_joined() {
    need!(root(), "needs root");
    need!(has("pids"), "no pids controller");
    let plan = plan(&name(), json!({ "pids": { "limit": 0 } }));
    let cgroup = Temp(Cgroup::create(&plan).unwrap());
    let (mut child, _) = cgroup.run("echo '> in'; read go; /bin/true 2>/dev/null; echo done");
    cgroup.0.apply_late(&plan.limits).unwrap();
    assert_eq!(cgroup.read("pids", "pids.max"), "0");
    drop(child.stdin.take());
    assert!(!child.wait().unwrap().success());
}

#[test]
fn check_before_update_refuses_what_is_in_use() {
    need!(root(), "needs root");
    need!(layout().kind() == Kind::V2 && has("memory"), "no memory controller on v2");
    let cgroup = create(json!({}));
    let (_child, _) = cgroup.run("x=$(head -c 3000000 /dev/zero | tr '\\0' x); echo '> on'; read wait");
    let limits = update(json!({ "memory": { "limit": 4096, "checkBeforeUpdate": true } }));
    let error = format!("{:#}", cgroup.0.apply(&limits).unwrap_err());
    assert!(error.starts_with("memory.limit: rejecting limit 4096 <= usage "), "{error}");
    assert_eq!(cgroup.read("memory", "memory.max"), "max");
}

#[test]
fn io_limits_reach_the_device() {
    need!(root(), "needs root");
    need!(has("blkio") || has("io"), "no I/O controller");
    let devices = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    // Zero-sized and memory-backed ones take no limits.
    let device = devices.map(|d| d.path()).find(|d| d.join("device").exists());
    let Some(device) = device.and_then(|d| std::fs::read_to_string(d.join("dev")).ok()) else {
        println!("SKIP: no block device");
        return;
    };
    let (major, minor) = device.trim().split_once(':').unwrap();
    let (major, minor): (i64, i64) = (major.parse().unwrap(), minor.parse().unwrap());
    let throttle = json!([{ "major": major, "minor": minor, "rate": 1 << 20 }]);
    let v2 = layout().kind() == Kind::V2;
    let cgroup =
        create(json!({ "blockIO": { "throttleReadBpsDevice": throttle, "throttleWriteIOPSDevice": throttle } }));
    if v2 {
        assert_eq!(
            cgroup.read("io", "io.max"),
            format!("{major}:{minor} rbps=1048576 wbps=max riops=max wiops=1048576")
        );
    } else {
        let file = "blkio.throttle.write_iops_device";
        assert_eq!(cgroup.read("blkio", file), format!("{major}:{minor} 1048576"));
    }
    let bfq = cgroup.dir("io").join("io.bfq.weight").exists();
    match cgroup.0.apply(&update(json!({ "blockIO": { "weight": 500 } }))) {
        Ok(_) if v2 && !bfq => assert_eq!(cgroup.read("io", "io.weight"), "default 4950"),
        Ok(_) => {}
        Err(e) => assert!(format!("{e:#}").contains("blockIO.weight: write \"500\" to "), "{e:#}"),
    }
}
