//! An update that fails half way changes nothing.

use super::*;

#[test]
fn a_failed_update_sets_back_what_it_had_changed() {
    need!(root(), "needs root");
    need!(layout().v1("memory").is_some() && layout().v1("cpuset").is_some(), "no v1 memory and cpuset");
    let swap = std::path::Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists();
    need!(swap, "the kernel does not account for swap");
    let cgroup = create(json!({ "memory": { "limit": 16 << 20, "swap": 32 << 20 }, "pids": { "limit": 7 } }));
    let files = [
        ("memory", "memory.limit_in_bytes"),
        ("memory", "memory.memsw.limit_in_bytes"),
        ("memory", "memory.oom_control"),
        ("pids", "pids.max"),
        ("cpu", "cpu.shares"),
    ];
    let now = || files.map(|(controller, file)| cgroup.read(controller, file));
    let before = now();
    // Both up, both down: set back, the other one of the two has to go first.
    for (limit, swap) in [(64 << 20, 128 << 20), (8 << 20, 12 << 20)] {
        let mut limits = update(json!({
            "memory": { "limit": limit, "swap": swap, "disableOOMKiller": true },
            "cpu": { "shares": 77 },
            "pids": { "limit": 9 },
        }));
        limits.writes.extend(update(json!({ "cpu": { "cpus": "9999" } })).writes);
        let error = format!("{:#}", cgroup.0.apply(&limits).unwrap_err());
        assert!(error.starts_with("cpu.cpus: write "), "{error}");
        assert_eq!(now(), before);
    }
}

#[test]
fn a_device_that_had_no_limit_is_without_one_again() {
    need!(root(), "needs root");
    need!(layout().v1("blkio").is_some() && layout().v1("cpuset").is_some(), "no v1 blkio and cpuset");
    let devices = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let device = devices.map(|d| d.path()).find(|d| d.join("device").exists());
    let device = device.and_then(|d| std::fs::read_to_string(d.join("dev")).ok());
    need!(device.is_some(), "no block device");
    let device = device.unwrap();
    let (major, minor) = device.trim().split_once(':').unwrap();
    let (major, minor): (i64, i64) = (major.parse().unwrap(), minor.parse().unwrap());
    let throttle = |rate: u64| json!([{ "major": major, "minor": minor, "rate": rate }]);
    let cgroup = create(json!({ "blockIO": { "throttleReadBpsDevice": throttle(1 << 20) } }));
    let mut limits = update(json!({ "blockIO": {
        "throttleReadBpsDevice": throttle(2 << 20), "throttleWriteBpsDevice": throttle(2 << 20),
    } }));
    limits.writes.extend(update(json!({ "cpu": { "cpus": "9999" } })).writes);
    cgroup.0.apply(&limits).unwrap_err();
    let read = cgroup.read("blkio", "blkio.throttle.read_bps_device");
    assert_eq!(read, format!("{major}:{minor} 1048576"));
    assert_eq!(cgroup.read("blkio", "blkio.throttle.write_bps_device"), "");
}

#[test]
fn v2_limits_are_set_back_too() {
    need!(root(), "needs root");
    need!(layout().kind() == Kind::V2 && has("hugetlb"), "no hugetlb controller on v2");
    let cgroup = create(json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4 << 20 }] }));
    let mut limits = update(json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 8 << 20 }] }));
    let mut wrong = limits.writes[0].clone();
    wrong.value = "x".into();
    limits.writes.push(wrong);
    cgroup.0.apply(&limits).unwrap_err();
    assert_eq!(cgroup.read("hugetlb", "hugetlb.2MB.max"), "4194304");
}

#[test]
fn without_a_freezer_there_is_no_pausing() {
    let none = Cgroup::from(Place { kind: Kind::V1, v1: Vec::new(), v2: None, unit: None });
    for result in [none.freeze(), none.thaw()] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("cannot toggle freezer: cgroups not configured for container"), "{error}");
    }
}
