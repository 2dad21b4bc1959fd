//! The rarer limits of `linux.resources`, each by what the host's files say afterwards, or by its name where the host
//! has nothing to hold it.

use std::fs;

use crate::harness::{Bundle, Output, Value, cgroup, json};

/// Creates a container with these resources and reads a file of its v1 cgroup.
#[track_caller]
fn kept(resources: Value, controller: &str, file: &str) -> String {
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources", resources);
    let _container = bundle.create();
    cgroup::read(controller, &bundle.cgroup(), file)
}

/// A limit that this host has nothing for is refused, by its path.
#[track_caller]
fn refused(resources: Value, at: &str) {
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources", resources);
    bundle.refused().names(&format!("linux.resources.{at}"));
}

/// A container's cgroup of v1 has this file.
fn v1_has(controller: &str, file: &str) -> bool {
    cgroup::has_v1(controller) && {
        let bundle = Bundle::waiting();
        let _container = bundle.create();
        cgroup::file(controller, &bundle.cgroup(), file).exists()
    }
}

/// Proves: linux.resources.memory.{disableOOMKiller,useHierarchy}
#[test]
fn the_switches_of_memory_are_set_on_v1() {
    if cgroup::is_v2() || !cgroup::has_v1("memory") {
        skip!("about cgroup v1");
    }
    let text = kept(json!({ "memory": { "disableOOMKiller": true } }), "memory", "memory.oom_control");
    assert!(text.contains("oom_kill_disable 1"), "{text}");
    let text = kept(json!({ "memory": { "disableOOMKiller": false } }), "memory", "memory.oom_control");
    assert!(text.contains("oom_kill_disable 0"), "{text}");
    assert_eq!(kept(json!({ "memory": { "useHierarchy": true } }), "memory", "memory.use_hierarchy"), "1");
}

/// Proves: linux.resources.memory.{disableOOMKiller,swappiness}, linux.resources.network.{classID,priorities[].name},
/// linux.resources.cpu.{realtimePeriod,realtimeRuntime}, linux.resources.blockIO.leafWeight
#[test]
fn what_only_v1_has_is_refused_by_its_path_on_v2() {
    only_oarlock!("others ignore some of them");
    if !cgroup::is_v2() {
        skip!("the host is not on cgroup v2");
    }
    refused(json!({ "memory": { "disableOOMKiller": true } }), "memory.disableOOMKiller");
    refused(json!({ "memory": { "swappiness": 7 } }), "memory.swappiness");
    refused(json!({ "network": { "classID": 1 } }), "network.classID");
    refused(json!({ "network": { "priorities": [{ "name": "lo", "priority": 1 }] } }), "network.priorities[0]");
    refused(json!({ "cpu": { "realtimePeriod": 1_000_000 } }), "cpu.realtimePeriod");
    refused(json!({ "cpu": { "realtimeRuntime": 10_000 } }), "cpu.realtimeRuntime");
    refused(json!({ "blockIO": { "leafWeight": 500 } }), "blockIO.leafWeight");
}

/// Proves: linux.resources.memory.kernelTCP
#[test]
fn a_limit_for_the_buffers_of_tcp_is_set_on_v1() {
    if cgroup::is_v2() || !v1_has("memory", "memory.kmem.tcp.limit_in_bytes") {
        skip!("the kernel has no limit for the buffers of TCP");
    }
    differs!("runc", "runc ignores it");
    let kept = kept(json!({ "memory": { "kernelTCP": 16_777_216 } }), "memory", "memory.kmem.tcp.limit_in_bytes");
    assert_eq!(kept, "16777216");
}

/// Proves: linux.resources.memory.{kernel,useHierarchy}
#[test]
fn a_limit_that_no_kernel_has_any_more_is_a_warning() {
    only_oarlock!("the words are oarlock's");
    let mut bundle = Bundle::new();
    bundle.set("/linux/resources/memory", json!({ "kernel": 16_777_216, "useHierarchy": false }));
    let output = bundle.run().ok();
    for property in ["kernel: ignored", "useHierarchy: false has no effect"] {
        assert!(output.stderr.contains(&format!("linux.resources.memory.{property}")), "{output}");
    }
}

/// Proves: linux.resources.memory.checkBeforeUpdate
#[test]
fn a_limit_below_what_is_used_is_refused_and_changes_nothing() {
    let v2 = cgroup::is_v2();
    if !(if v2 { cgroup::has_v2("memory") } else { cgroup::has_v1("memory") }) {
        skip!("the host has no memory controller here");
    }
    let mut bundle = Bundle::new();
    let mut said = crate::harness::Fifo::new(&bundle.rootfs("said"));
    bundle.script("dd if=/dev/zero of=/dev/shm/full bs=1M count=40 2>/dev/null; echo full > /said; exec sleep 1000");
    // With swap limited to nothing, as far as the kernel counts it: what is in a tmpfs can go nowhere then.
    let swap = v2 || cgroup::file("memory", "/", "memory.memsw.limit_in_bytes").exists();
    let limits = |bytes: u64| {
        let mut memory = json!({ "limit": bytes, "checkBeforeUpdate": true });
        if swap {
            memory["swap"] = bytes.into();
        }
        memory
    };
    bundle.set("/linux/resources/memory", limits(134_217_728));
    let container = bundle.started();
    assert_eq!(said.line(), "full");
    let change = bundle.path("change.json");
    fs::write(&change, json!({ "memory": limits(8_388_608) }).to_string()).unwrap();
    let output = bundle.rt.call(["update", "--resources", change.to_str().unwrap(), &bundle.id]);
    assert_ne!(output.code, 0, "{output}");
    let (hierarchy, file) = if v2 { ("", "memory.max") } else { ("memory", "memory.limit_in_bytes") };
    assert_eq!(cgroup::read(hierarchy, &bundle.cgroup(), file), "134217728");
    assert_eq!(container.status(), "running");
}

/// Proves: linux.resources.cpu.{realtimePeriod,realtimeRuntime}
#[test]
fn a_realtime_budget_is_set_on_v1() {
    if cgroup::is_v2() || !(cgroup::has_v1("cpu") && cgroup::file("cpu", "/", "cpu.rt_runtime_us").exists()) {
        skip!("the kernel gives cgroups no realtime budget");
    }
    let mut bundle = Bundle::waiting();
    // Directly below the root: a budget is a part of the parent's.
    let path = format!("/{}", bundle.id);
    bundle.set("/linux/cgroupsPath", path.clone());
    bundle.set("/linux/resources/cpu", json!({ "realtimePeriod": 500_000, "realtimeRuntime": 5_000 }));
    let container = bundle.create();
    assert_eq!(cgroup::read("cpu", &path, "cpu.rt_period_us"), "500000");
    assert_eq!(cgroup::read("cpu", &path, "cpu.rt_runtime_us"), "5000");
    container.delete_force();
    assert!(!cgroup::file("cpu", &path, "").exists());
}

/// Whether there is a controller for block devices where the container's cgroup is.
fn has_block_io() -> bool {
    if cgroup::is_v2() { cgroup::has_v2("io") } else { cgroup::has_v1("blkio") }
}

/// Proves: linux.resources.blockIO.weight
#[test]
fn the_weight_of_block_io_is_set_where_a_scheduler_has_one() {
    differs!("crun", "crun 1.8.1 knows blkio.weight alone");
    if !has_block_io() {
        skip!("the host has no controller for block devices");
    }
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/blockIO", json!({ "weight": 200 }));
    let files: &[(&str, &str, &str)] = if cgroup::is_v2() {
        &[("", "io.bfq.weight", "default 200"), ("", "io.weight", "default 1920")]
    } else {
        &[("blkio", "blkio.weight", "200"), ("blkio", "blkio.bfq.weight", "200")]
    };
    let bare = Bundle::waiting();
    let there = bare.create();
    let has = |(hierarchy, file, _): &&(&str, &str, &str)| cgroup::file(hierarchy, &bare.cgroup(), file).exists();
    let Some((hierarchy, file, value)) = files.iter().find(has) else {
        drop(there);
        bundle.refused().names("linux.resources.blockIO.weight");
        return;
    };
    let _container = bundle.create();
    let text = cgroup::read(hierarchy, &bundle.cgroup(), file);
    assert_eq!(text.lines().next(), Some(*value));
}

/// A whole disk of the host: its numbers, as `major:minor` and each.
fn disk() -> Option<(String, u32, u32)> {
    let disks = fs::read_dir("/sys/block").unwrap().flatten();
    let disk = disks.into_iter().find(|disk| !disk.file_name().to_string_lossy().starts_with("loop"))?;
    let text = fs::read_to_string(disk.path().join("dev")).unwrap().trim().to_owned();
    let (major, minor) = text.split_once(':').unwrap();
    let (major, minor) = (major.parse().unwrap(), minor.parse().unwrap());
    Some((text, major, minor))
}

/// Proves: linux.resources.blockIO.leafWeight, linux.resources.blockIO.weightDevice[].{major,minor,weight,leafWeight}
#[test]
fn weights_that_the_kernel_has_no_file_for_are_refused_by_their_path() {
    only_oarlock!("others ignore some of them");
    let Some((numbers, major, minor)) = disk().filter(|_| has_block_io()) else {
        skip!("the host has no disk, or no controller for it");
    };
    let device = |key: &str| json!([{ "major": major, "minor": minor, key: 300 }]);
    for (property, value, at, file) in [
        ("leafWeight", json!(300), "leafWeight", "blkio.leaf_weight"),
        ("weightDevice", device("leafWeight"), "weightDevice[0].leafWeight", "blkio.leaf_weight_device"),
        ("weightDevice", device("weight"), "weightDevice[0].weight", "blkio.bfq.weight_device"),
    ] {
        let mut bundle = Bundle::waiting();
        bundle.set(&format!("/linux/resources/blockIO/{property}"), value);
        let output = bundle.rt.finish(bundle.command("create", &[]));
        if output.code != 0 {
            // No such file, or no such scheduler at the disk.
            bundle.nothing_left(output).names(&format!("linux.resources.blockIO.{at}"));
            continue;
        }
        let text = if cgroup::is_v2() {
            let file = cgroup::file("", &bundle.cgroup(), "io.bfq.weight");
            fs::read_to_string(file).or_else(|_| fs::read_to_string(cgroup::file("", &bundle.cgroup(), "io.weight")))
        } else {
            fs::read_to_string(cgroup::file("blkio", &bundle.cgroup(), file))
        };
        assert!(text.unwrap().contains(&numbers), "{property}");
        bundle.rt.call(["delete", "--force", &bundle.id]).ok();
    }
    // Numbers of no device.
    refused(
        json!({ "blockIO": { "weightDevice": [{ "major": -1, "minor": 0, "weight": 10 }] } }),
        "blockIO.weightDevice[0]",
    );
}

/// Proves: linux.resources.hugepageLimits[].{pageSize,limit}
#[test]
fn a_limit_for_huge_pages_holds_for_reservations_too_or_is_refused() {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().count();
    if sizes == 0 {
        skip!("the kernel has no huge pages");
    }
    let limits = json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 4_194_304 }] });
    let (hierarchy, files) = if cgroup::is_v2() || !cgroup::has_v1("hugetlb") {
        ("", ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"])
    } else {
        ("hugetlb", ["hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.rsvd.limit_in_bytes"])
    };
    if hierarchy.is_empty() && !cgroup::has_v2("hugetlb") {
        only_oarlock!("others ignore it");
        refused(limits, "hugepageLimits[0]");
        return;
    }
    if hierarchy.is_empty() && !cgroup::is_v2() {
        only_oarlock!("others use v1's hierarchies alone on a hybrid host");
    }
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources", limits);
    let _container = bundle.create();
    for file in files {
        assert_eq!(cgroup::read(hierarchy, &bundle.cgroup(), file), "4194304", "{file}");
    }
}

/// Proves: linux.resources.network.classID, linux.resources.network.priorities[].{name,priority}
#[test]
fn marks_and_priorities_of_traffic_are_set_on_v1_or_refused() {
    for (resources, at, controller, file, value) in [
        (json!({ "network": { "classID": 1_048_577 } }), "classID", "net_cls", "net_cls.classid", "1048577"),
        (
            json!({ "network": { "priorities": [{ "name": "lo", "priority": 5 }] } }),
            "priorities[0]",
            "net_prio",
            "net_prio.ifpriomap",
            "lo 5",
        ),
    ] {
        if cgroup::has_v1(controller) {
            let text = kept(resources, controller, file);
            assert!(text.lines().any(|line| line == value), "{text}");
        } else {
            only_oarlock!("others ignore some of them");
            refused(resources, &format!("network.{at}"));
        }
    }
}

/// Proves: linux.resources.rdma.*.{hcaHandles,hcaObjects}
#[test]
fn limits_for_rdma_are_set_or_refused() {
    only_oarlock!("others ignore them");
    let limits = |device: &str| json!({ "rdma": { device: { "hcaHandles": 3, "hcaObjects": 100 } } });
    let device = fs::read_dir("/sys/class/infiniband").into_iter().flatten().flatten().next();
    let controller = cgroup::has_v1("rdma") || cgroup::has_v2("rdma");
    let Some(device) = device.filter(|_| controller) else {
        refused(limits("mlx5_1"), "rdma[\"mlx5_1\"]");
        return;
    };
    let name = device.file_name().into_string().unwrap();
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources", limits(&name));
    let _container = bundle.create();
    let hierarchy = if cgroup::has_v1("rdma") { "rdma" } else { "" };
    let text = cgroup::read(hierarchy, &bundle.cgroup(), "rdma.max");
    assert!(text.contains(&format!("{name} hca_handle=3 hca_object=100")), "{text}");
}

/// Proves: linux.resources.devices[].{type,major,minor,access,allow}
#[test]
fn a_rule_for_a_device_is_for_that_device_and_access_alone() {
    // Type, major, minor and access each make the difference once.
    let allowed = |rule: Value| -> Output {
        let mut bundle =
            Bundle::sh("mknod /node c 10 229; true < /node && echo read; true >> /node && echo write; true");
        bundle.set("/linux/resources/devices", json!([{ "allow": false, "access": "rwm" }, rule]));
        bundle.run().ok()
    };
    for (rule, expected) in [
        (json!({ "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" }), &["read", "write"][..]),
        (json!({ "allow": true, "type": "c", "major": 10, "minor": 229, "access": "r" }), &["read"]),
        (json!({ "allow": true, "type": "c", "major": 10, "access": "w" }), &["write"]),
        (json!({ "allow": true, "type": "b", "major": 10, "minor": 229, "access": "rw" }), &[]),
        (json!({ "allow": true, "type": "c", "major": 11, "minor": 229, "access": "rw" }), &[]),
        (json!({ "allow": true, "type": "c", "major": 10, "minor": 228, "access": "rw" }), &[]),
        (json!({ "allow": false, "type": "c", "major": 10, "minor": 229, "access": "rw" }), &[]),
    ] {
        assert_eq!(allowed(rule.clone()).lines(), expected, "{rule}");
    }
}

/// Proves: linux.intelRdt.{closID,schemata,l3CacheSchema,memBwSchema,enableMonitoring}
#[test]
fn a_class_of_service_is_made_and_goes_with_the_container_or_is_refused() {
    only_oarlock!("others ask for resctrl first");
    let root = std::path::Path::new("/sys/fs/resctrl");
    let mut bundle = Bundle::waiting();
    for (property, value) in [
        ("closID", json!("../elsewhere")),
        ("memBwSchema", json!("L3:0=f")),
        ("l3CacheSchema", json!("nonsense")),
        ("schemata", json!(["L3:0=f\nMB:0=10"])),
    ] {
        bundle.set("/linux/intelRdt", json!({ property: value }));
        bundle.refused().names(&format!("linux.intelRdt.{property}"));
    }
    bundle.set("/linux/intelRdt", json!({ "enableMonitoring": true }));
    if !root.join("schemata").exists() {
        bundle.refused().names("linux.intelRdt").says("resctrl");
        // It compiles all the same, and says what stands against it here.
        let plan = bundle.rt.call(["plan", bundle.path("").to_str().unwrap()]).ok();
        assert!(format!("{}{}", plan.stdout, plan.stderr).contains("resctrl"), "{plan}");
        return;
    }
    let group = root.join(&bundle.id);
    let container = bundle.started();
    for directory in [group.clone(), group.join("mon_groups").join(&bundle.id)] {
        let tasks = fs::read_to_string(directory.join("tasks")).unwrap();
        assert!(tasks.lines().any(|line| line == container.pid.to_string()), "{directory:?}: {tasks}");
    }
    container.delete_force();
    assert!(!group.exists());
}
