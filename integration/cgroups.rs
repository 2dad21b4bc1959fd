//! Control groups: where the container is put, every limit read back from the host's files, what is refused,
//! and that nothing stays.

use crate::harness::{Bundle, Fifo, Value, cgroup, json};

/// A resource as config.json spells it, and the file and value that must be there then on v1 and on v2.
struct Limit {
    pointer: &'static str,
    value: Value,
    /// v1's controller, file and value; v2's file and value. Empty: it has no such file.
    v1: (&'static str, &'static str, &'static str),
    v2: (&'static str, &'static str),
}

impl Limit {
    /// Creates a container with it and reads it back; `false` when the host lacks the controller.
    #[track_caller]
    fn check(&self) -> bool {
        let Self { pointer, value, v1: (controller, v1_file, v1_value), v2: (v2_file, v2_value) } = self;
        let (hierarchy, file, expected) =
            if cgroup::is_v2() { ("", v2_file, v2_value) } else { (*controller, v1_file, v1_value) };
        let usable = if cgroup::is_v2() { cgroup::has_v2(controller) } else { cgroup::has_v1(controller) };
        if file.is_empty() || !usable {
            return false;
        }
        let mut bundle = Bundle::waiting();
        bundle.set(&format!("/linux/resources/{pointer}"), value.clone());
        let _container = bundle.create();
        assert_eq!(cgroup::read(hierarchy, &bundle.cgroup(), file), **expected, "{pointer} {value}");
        true
    }
}

/// Checks each limit; leaves the test when the host can hold none of them.
macro_rules! check {
    ($(($pointer:literal, $value:tt, $v1:tt, $v2:tt)),* $(,)?) => {
        let checked = [$(Limit { pointer: $pointer, value: json!($value), v1: $v1, v2: $v2 }.check()),*];
        if !checked.contains(&true) {
            skip!("the host has no such controller");
        }
    };
}

/// Proves: linux.resources.memory.{limit,reservation,swappiness}
#[test]
fn memory_limits_arrive() {
    check![
        ("memory", {"limit": 33_554_432}, ("memory", "memory.limit_in_bytes", "33554432"), ("memory.max", "33554432")),
        ("memory", {"reservation": 16_777_216}, ("memory", "memory.soft_limit_in_bytes", "16777216"), ("memory.low", "16777216")),
        ("memory", {"swappiness": 7}, ("memory", "memory.swappiness", "7"), ("", "")),
        ("memory", {"limit": -1}, ("memory", "memory.limit_in_bytes", "9223372036854771712"), ("memory.max", "max")),
    ];
}

/// Proves: linux.resources.memory.swap
#[test]
fn a_memory_and_swap_limit_arrives() {
    // v1 counts memory and swap together, v2 swap alone.
    if cgroup::has_v1("memory") && !cgroup::file("memory", "/", "memory.memsw.limit_in_bytes").exists() {
        skip!("the kernel does not account for swap");
    }
    check![(
        "memory", {"limit": 33_554_432, "swap": 50_331_648},
        ("memory", "memory.memsw.limit_in_bytes", "50331648"), ("memory.swap.max", "16777216")
    )];
}

/// Proves: linux.resources.cpu.{shares,quota,period}
#[test]
fn cpu_limits_arrive() {
    check![
        ("cpu", {"shares": 512}, ("cpu", "cpu.shares", "512"), ("", "")),
        ("cpu", {"quota": 50_000, "period": 100_000}, ("cpu", "cpu.cfs_quota_us", "50000"), ("cpu.max", "50000 100000")),
        ("cpu", {"quota": 50_000, "period": 200_000}, ("cpu", "cpu.cfs_period_us", "200000"), ("cpu.max", "50000 200000")),
    ];
}

/// Proves: linux.resources.cpu.{cpus,mems}
#[test]
fn the_processors_and_memory_nodes_arrive() {
    check![
        ("cpu", {"cpus": "0"}, ("cpuset", "cpuset.cpus", "0"), ("cpuset.cpus", "0")),
        ("cpu", {"mems": "0"}, ("cpuset", "cpuset.mems", "0"), ("cpuset.mems", "0")),
    ];
}

/// Proves: linux.resources.cpu.shares
#[test]
fn cpu_shares_become_a_weight_on_v2() {
    if !(cgroup::is_v2() && cgroup::has_v2("cpu")) {
        skip!("the host has no v2 cpu controller");
    }
    differs!("runc", "runc 1.1.5 has the linear formula");
    differs!("crun", "crun 1.8.1 has the linear formula");
    // The formula under which the default of 1024 shares becomes the default weight, 100.
    check![
        ("cpu", {"shares": 1024}, ("cpu", "", ""), ("cpu.weight", "100")),
        ("cpu", {"shares": 2}, ("cpu", "", ""), ("cpu.weight", "1")),
        ("cpu", {"shares": 262_144}, ("cpu", "", ""), ("cpu.weight", "10000")),
    ];
}

/// Proves: linux.resources.cpu.{burst,idle}
#[test]
fn cpu_burst_and_idle_arrive() {
    differs!("runc", "cpu burst and idle came with runc 1.2");
    differs!("crun", "crun 1.8.1 does not know burst on v1");
    check![
        ("cpu", {"quota": 50_000, "period": 100_000, "burst": 10_000}, ("cpu", "cpu.cfs_burst_us", "10000"), ("cpu.max.burst", "10000")),
        ("cpu", {"idle": 1}, ("cpu", "cpu.idle", "1"), ("cpu.idle", "1")),
    ];
}

/// Proves: linux.resources.pids.limit
#[test]
fn the_pids_limit_arrives() {
    check![("pids", {"limit": 42}, ("pids", "pids.max", "42"), ("pids.max", "42"))];
}

#[test]
fn a_pids_limit_of_minus_one_is_none() {
    differs!("crun", "crun writes -1 into pids.max on v1");
    check![("pids", {"limit": -1}, ("pids", "pids.max", "max"), ("pids.max", "max"))];
}

/// Proves: linux.resources.pids.limit
#[test]
fn the_pids_limit_holds() {
    if !cgroup::has_v1("pids") && !cgroup::has_v2("pids") {
        skip!("the host has no pids controller");
    }
    let mut bundle = Bundle::sh("for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & done; echo all");
    bundle.set("/linux/resources/pids", json!({"limit": 5}));
    let output = bundle.run();
    assert!(output.stderr.contains("fork"), "{output}");
}

/// Proves: linux.resources.blockIO.{throttleReadBpsDevice,throttleWriteBpsDevice,throttleReadIOPSDevice,throttleWriteIOPSDevice}[].{major,minor,rate}
#[test]
fn block_io_limits_arrive() {
    // Throttling needs a whole disk of the host.
    let disk = std::fs::read_dir("/sys/block")
        .unwrap()
        .flatten()
        .find(|entry| !entry.file_name().to_string_lossy().starts_with("loop"));
    let Some(disk) = disk else { skip!("the host has no disk to throttle") };
    let usable = cgroup::has_v1("blkio") || cgroup::is_v2() && cgroup::has_v2("io");
    if !usable {
        skip!("the host has no controller for block devices");
    }
    let numbers = std::fs::read_to_string(disk.path().join("dev")).unwrap().trim().to_owned();
    let (major, minor) = numbers.split_once(':').unwrap();
    let (major, minor): (u32, u32) = (major.parse().unwrap(), minor.parse().unwrap());
    for (key, file, word) in [
        ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"),
        ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"),
        ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"),
        ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"),
    ] {
        let mut bundle = Bundle::waiting();
        let limit = json!([{"major": major, "minor": minor, "rate": 1_048_576}]);
        bundle.set(&format!("/linux/resources/blockIO/{key}"), limit);
        let _container = bundle.create();
        if cgroup::is_v2() {
            let text = cgroup::read("", &bundle.cgroup(), "io.max");
            assert!(text.starts_with(&numbers) && text.contains(&format!("{word}=1048576")), "{key}: {text}");
        } else {
            assert_eq!(cgroup::read("blkio", &bundle.cgroup(), file), format!("{numbers} 1048576"), "{key}");
        }
    }
}

#[test]
fn unset_limits_are_left_as_the_kernel_made_them() {
    if !["memory", "pids", "cpu"].into_iter().all(cgroup::has) {
        skip!("the host lacks the memory, pids or cpu controller");
    }
    let bundle = Bundle::waiting();
    let _container = bundle.create();
    let path = bundle.cgroup();
    assert_eq!(cgroup::limit("memory", &path, "memory.limit_in_bytes"), "9223372036854771712");
    assert_eq!(cgroup::limit("pids", &path, "pids.max"), "max");
    let (share, default) = if cgroup::is_v2() { ("cpu.weight", "100") } else { ("cpu.shares", "1024") };
    assert_eq!(cgroup::limit("cpu", &path, share), default);
}

/// Proves: linux.resources.hugepageLimits[].{pageSize,limit}
#[test]
fn huge_page_limits_arrive_where_the_controller_is() {
    let pages = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().count();
    if pages == 0 || !(cgroup::has_v1("hugetlb") || cgroup::is_v2() && cgroup::has_v2("hugetlb")) {
        skip!("hugetlb is not usable where the container's cgroup is");
    }
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4_194_304}]));
    let _container = bundle.create();
    let (controller, file) =
        if cgroup::is_v2() { ("", "hugetlb.2MB.max") } else { ("hugetlb", "hugetlb.2MB.limit_in_bytes") };
    assert_eq!(cgroup::read(controller, &bundle.cgroup(), file), "4194304");
}

/// Proves: linux.resources.hugepageLimits[].pageSize
#[test]
fn a_huge_page_size_that_is_no_size_is_refused() {
    differs!("crun", "crun ignores huge page limits without the controller");
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/hugepageLimits", json!([{"pageSize": "../../x", "limit": 1}]));
    bundle.refused().names("linux.resources.hugepageLimits[0].pageSize");
}

/// Proves: linux.cgroupsPath
#[test]
fn init_is_in_the_containers_cgroup_in_every_hierarchy() {
    let bundle = Bundle::waiting();
    let container = bundle.create();
    let pid = container.pid.to_string();
    if cgroup::is_v2() {
        let procs = cgroup::read("", &bundle.cgroup(), "cgroup.procs");
        assert!(procs.lines().any(|line| line == pid), "{procs}");
        return;
    }
    let table = container.proc("cgroup");
    for controller in cgroup::v1_controllers() {
        // Several may share a hierarchy: cpu,cpuacct.
        let of =
            |line: &&str| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == controller));
        let line = table.lines().find(of);
        let line = line.unwrap_or_else(|| panic!("{controller}: {table}"));
        assert!(line.ends_with(&bundle.cgroup()), "{line}");
    }
}

/// Proves: linux.cgroupsPath
#[test]
fn without_a_path_the_cgroup_has_the_containers_name() {
    let mut bundle = Bundle::waiting();
    bundle.remove("/linux/cgroupsPath");
    let container = bundle.create();
    let table = container.proc("cgroup");
    assert!(table.contains(&format!("/{}\n", bundle.id)), "{table}");
}

/// Proves: linux.cgroupsPath
#[test]
fn a_relative_path_is_accepted() {
    let mut bundle = Bundle::waiting();
    let relative = format!("{}/{}", crate::harness::base::cgroup().trim_start_matches('/'), bundle.id);
    bundle.set("/linux/cgroupsPath", relative.clone());
    let container = bundle.create();
    let table = container.proc("cgroup");
    assert!(table.contains(&format!("/{relative}\n")), "{table}");
    drop(container);
    for controller in cgroup::v1_controllers() {
        let path = crate::harness::base::cgroup();
        std::fs::remove_dir(cgroup::file(controller, &path, "")).ok();
    }
}

#[test]
fn a_path_that_climbs_is_refused_or_kept_below_the_root() {
    differs!("crun", "crun refuses it, when there is no such directory");
    let mut bundle = Bundle::waiting();
    let climbing = format!("/../../..{}", bundle.cgroup());
    bundle.set("/linux/cgroupsPath", climbing);
    if crate::harness::is_oarlock() {
        bundle.refused().names("linux.cgroupsPath");
        return;
    }
    let container = bundle.create();
    let table = container.proc("cgroup");
    assert!(!table.contains(".."), "{table}");
}

#[test]
fn a_limit_that_the_kernel_refuses_leaves_nothing_behind() {
    differs!("crun", "crun 1.8.1 leaves the cgroups");
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/cpu", json!({"cpus": "9999"}));
    bundle.refused().names("linux.resources.cpu.cpus");
}

#[test]
fn a_memory_limit_too_small_for_anything_leaves_nothing_behind() {
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/memory", json!({"limit": 4096}));
    let output = bundle.run();
    assert_ne!(output.code, 0, "{output}");
    let output = bundle.rt.call(["delete", "--force", &bundle.id]);
    assert_eq!(output.code, 0, "{output}");
}

/// Proves: linux.resources.memory.swap
#[test]
fn a_swap_limit_below_the_memory_limit_is_refused() {
    differs!("crun", "crun 1.8.1 leaves the cgroups");
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/memory", json!({"limit": 33_554_432, "swap": 1_048_576}));
    bundle.refused().names("linux.resources.memory");
}

#[test]
fn a_cgroup_that_holds_processes_is_refused() {
    differs!("crun", "crun adds the container to whatever is there");
    let first = Bundle::waiting();
    let _one = first.started();
    let mut second = Bundle::waiting();
    second.set("/linux/cgroupsPath", first.cgroup());
    differs!("runc", "runc 1.1.5 warns only");
    second.refused().names("container's cgroup is not empty");
}

#[test]
fn cgroups_that_the_container_made_below_its_own_are_removed() {
    let mut bundle = Bundle::new();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.unmount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &[]);
    let place = if cgroup::is_v2() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/pids" };
    bundle.script(&format!(
        "mkdir -p {place}/a/b {place}/c && echo $$ > {place}/a/b/cgroup.procs; echo made > /said; exec sleep 1000"
    ));
    let container = bundle.started();
    assert_eq!(said.line(), "made");
    let controller = if cgroup::is_v2() { "" } else { "pids" };
    assert!(cgroup::file(controller, &bundle.cgroup(), "a/b").exists());
    container.kill("KILL");
    container.wait();
    container.delete();
    assert!(!cgroup::file(controller, &bundle.cgroup(), "").exists());
}

/// Proves: linux.resources.unified
#[test]
fn resources_of_unified_are_written_on_v2() {
    if !(cgroup::is_v2() && cgroup::has_v2("hugetlb")) {
        skip!("the host is not on cgroup v2");
    }
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/unified", json!({"hugetlb.2MB.max": "4194304"}));
    let _container = bundle.create();
    assert_eq!(cgroup::read("", &bundle.cgroup(), "hugetlb.2MB.max"), "4194304");
}

/// Proves: linux.resources.unified
#[test]
fn resources_of_unified_are_refused_on_v1() {
    differs!("crun", "crun ignores them on v1");
    if cgroup::is_v2() {
        skip!("about cgroup v1");
    }
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/unified", json!({"memory.max": "4194304"}));
    bundle.refused().names("linux.resources.unified");
}

/// Such a cgroup holds threads, and a container is processes: nothing in it could be limited as a whole.
#[test]
fn a_threaded_cgroup_and_one_below_it_are_refused() {
    if !cgroup::is_v2() {
        skip!("the host is not on cgroup v2");
    }
    let mut bundle = Bundle::waiting();
    // Below one that hands nothing down: a controller of processes excludes threads.
    let above = bundle.cgroup();
    let threaded = format!("{above}/threads");
    let dir = cgroup::file("", &threaded, "");
    std::fs::create_dir_all(&dir).expect("cgroup");
    std::fs::write(dir.join("cgroup.type"), "threaded").expect("cgroup.type");
    for (path, words) in [(threaded.clone(), "threaded"), (format!("{threaded}/below"), "invalid state")] {
        bundle.set("/linux/cgroupsPath", path.clone());
        let output = bundle.rt.finish(bundle.command("create", &[])).names(words);
        assert!(dir.exists(), "what was there before is gone: {output}");
        assert_eq!(cgroup::file("", &path, "").exists(), path == threaded, "{output}");
    }
    for path in [&threaded, &above] {
        std::fs::remove_dir(cgroup::file("", path, "")).expect("it is empty");
    }
}

#[test]
fn the_program_cannot_leave_its_limits() {
    if !cgroup::has("memory") {
        skip!("the host has no memory controller here");
    }
    let file = if cgroup::is_v2() { "memory.max" } else { "memory/memory.limit_in_bytes" };
    let mut bundle =
        Bundle::sh(&format!("cat /sys/fs/cgroup/{file}; echo 99999999 > /sys/fs/cgroup/{file} || echo refused"));
    bundle.set("/linux/resources/memory", json!({"limit": 67_108_864}));
    assert_eq!(bundle.run().ok().lines(), ["67108864", "refused"]);
}

/// Proves: linux.resources.memory.limit
#[test]
fn a_program_that_needs_more_memory_than_allowed_is_killed() {
    let mut bundle = Bundle::sh("dd if=/dev/zero of=/dev/null bs=64M count=1; echo code $?");
    bundle.set("/linux/resources/memory", json!({"limit": 16_777_216, "swap": 16_777_216}));
    if cgroup::has_v1("memory") && !cgroup::file("memory", "/", "memory.memsw.limit_in_bytes").exists() {
        bundle.remove("/linux/resources/memory/swap");
    }
    if cgroup::is_v2() && !cgroup::has_v2("memory") {
        skip!("the host has no memory controller here");
    }
    let output = bundle.run();
    assert!(!output.stdout.contains("code 0"), "{output}");
}

#[test]
fn rootless_without_the_right_to_a_cgroup_it_runs_in_the_callers_and_sees_that() {
    if cgroup::is_v2() || !cgroup::has_v1("pids") {
        skip!("about cgroup v1");
    }
    let mut bundle = Bundle::sh("test $(wc -l </sys/fs/cgroup/pids/cgroup.procs) -ge 1 && echo sees its own");
    bundle.remove("/linux/cgroupsPath").remove("/linux/resources").no_namespace("cgroup");
    bundle.rt.global = vec!["--rootless=true".to_owned()];
    let command = bundle.command("run", &[]);
    // Nobody may make a cgroup where they are mounted read-only.
    let mut inside = std::process::Command::new("unshare");
    inside.args(["--mount", "--propagation=private", "sh", "-c"]);
    inside.arg("for d in /sys/fs/cgroup/*/; do mount -o remount,bind,ro $d; done; exec \"$@\"").arg("sh");
    inside.arg(command.get_program()).args(command.get_args()).env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
    bundle.rt.finish(inside).ok().prints("sees its own");
}
