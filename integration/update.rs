//! `update`: each flag and each form of the document, read back from the host's files and felt inside; that a change
//! that fails changes nothing; what is refused.

use std::process::Stdio;

use crate::harness::{Bundle, Container, Fifo, Output, Value, cgroup, is_oarlock, json};

const MIB: u64 = 1 << 20;

/// Leaves the test where a controller is missing.
macro_rules! need {
    ($($controller:literal),*) => {
        if ![$($controller),*].into_iter().all(cgroup::has) {
            skip!(concat!("the host lacks a controller of:", $(" ", $controller),*));
        }
    };
}

fn counts_swap() -> bool {
    cgroup::is_v2() || cgroup::file("memory", "/", "memory.memsw.limit_in_bytes").exists()
}

/// `update --resources - ID` with the document on standard input.
#[track_caller]
fn change(bundle: &Bundle, document: &Value) -> Output {
    let file = bundle.path("change.json");
    std::fs::write(&file, document.to_string()).expect("change.json");
    let mut command = bundle.rt.command(["update", "--resources", "-", &bundle.id]);
    command.stdin(Stdio::from(std::fs::File::open(file).expect("change.json")));
    bundle.rt.finish(command)
}

/// `update FLAG VALUE… ID`.
#[track_caller]
fn flags(bundle: &Bundle, flags: &[&str]) -> Output {
    bundle.rt.call([&["update"], flags, &[&bundle.id]].concat())
}

fn memory_and_swap(bundle: &Bundle) -> (String, String) {
    let read = |file| cgroup::limit("memory", &bundle.cgroup(), file);
    (read("memory.limit_in_bytes"), read("memory.memsw.limit_in_bytes"))
}

/// Sets each flag on a running container and reads the file back.
#[track_caller]
fn arrive(table: &[(&[&str], &str, &str, &str)]) {
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    for (given, controller, file, expected) in table {
        flags(&bundle, given).ok();
        // v2 has a weight in its place, whose numbers are others.
        if *file == "cpu.shares" && cgroup::is_v2() {
            continue;
        }
        assert_eq!(cgroup::limit(controller, &bundle.cgroup(), file), *expected, "{given:?}");
    }
}

/// Proves: linux.resources.cpu.{quota,period,shares}
#[test]
fn the_flags_for_cpu_time_arrive() {
    differs!("crun", "crun takes no negative quota");
    need!("cpu");
    arrive(&[
        (&["--cpu-share", "333"], "cpu", "cpu.shares", "333"),
        (&["--cpu-period", "50000"], "cpu", "cpu.cfs_period_us", "50000"),
        (&["--cpu-quota=20000"], "cpu", "cpu.cfs_quota_us", "20000"),
        (&["--cpu-quota", "-1"], "cpu", "cpu.cfs_quota_us", "-1"),
        (&["--cpu-period", "200000", "--cpu-quota", "150000"], "cpu", "cpu.cfs_quota_us", "150000"),
    ]);
}

/// Proves: linux.resources.cpu.{burst,idle}
#[test]
fn the_flags_for_burst_and_idle_arrive() {
    differs!("runc", "runc 1.1.5 has no such flags");
    differs!("crun", "crun has no such flags");
    need!("cpu");
    arrive(&[
        (&["--cpu-quota", "20000"], "cpu", "cpu.cfs_quota_us", "20000"),
        (&["--cpu-burst", "10000"], "cpu", "cpu.cfs_burst_us", "10000"),
        (&["--cpu-burst", "0"], "cpu", "cpu.cfs_burst_us", "0"),
        (&["--cpu-idle", "1"], "cpu", "cpu.idle", "1"),
        (&["--cpu-idle", "0"], "cpu", "cpu.idle", "0"),
    ]);
}

/// Proves: linux.resources.cpu.{cpus,mems}
#[test]
fn the_flags_for_cpus_and_nodes_arrive() {
    need!("cpuset");
    arrive(&[
        (&["--cpuset-cpus", "0"], "cpuset", "cpuset.cpus", "0"),
        (&["--cpuset-mems", "0"], "cpuset", "cpuset.mems", "0"),
    ]);
}

/// Proves: linux.resources.memory.{limit,reservation,swap}
#[test]
fn the_flags_for_memory_arrive_with_their_units() {
    differs!("crun", "crun knows no units");
    need!("memory");
    arrive(&[
        (&["--memory", "67108864"], "memory", "memory.limit_in_bytes", "67108864"),
        (&["--memory", "32m"], "memory", "memory.limit_in_bytes", "33554432"),
        (&["--memory-reservation", "16384k"], "memory", "memory.soft_limit_in_bytes", "16777216"),
        (&["--memory-reservation=8Mb"], "memory", "memory.soft_limit_in_bytes", "8388608"),
    ]);
    if counts_swap() {
        arrive(&[
            (&["--memory", "32M", "--memory-swap", "0.0625g"], "memory", "memory.memsw.limit_in_bytes", "67108864"),
            (&["--memory", "-1"], "memory", "memory.memsw.limit_in_bytes", "9223372036854771712"),
        ]);
    }
}

/// Proves: linux.resources.pids.limit
#[test]
fn the_flag_for_processes_arrives() {
    differs!("crun", "crun writes -1 into pids.max on v1");
    need!("pids");
    arrive(&[(&["--pids-limit", "42"], "pids", "pids.max", "42"), (&["--pids-limit=-1"], "pids", "pids.max", "max")]);
}

#[test]
fn a_document_arrives_from_standard_input_and_from_a_file() {
    need!("memory", "cpu", "pids");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let document = json!({
        "memory": {"limit": 32 * MIB, "reservation": 16 * MIB},
        "cpu": {"shares": 200, "quota": 40_000, "period": 80_000, "cpus": "0"},
        "pids": {"limit": 30},
    });
    change(&bundle, &document).ok();
    let read = |controller, file| cgroup::limit(controller, &bundle.cgroup(), file);
    assert_eq!(read("memory", "memory.limit_in_bytes"), "33554432");
    assert_eq!(read("memory", "memory.soft_limit_in_bytes"), "16777216");
    if !cgroup::is_v2() {
        assert_eq!(read("cpu", "cpu.shares"), "200");
    }
    assert_eq!((read("cpu", "cpu.cfs_quota_us"), read("cpu", "cpu.cfs_period_us")), ("40000".into(), "80000".into()));
    assert_eq!(read("cpuset", "cpuset.cpus"), "0");
    assert_eq!(read("pids", "pids.max"), "30");
    let file = bundle.path("limits.json");
    std::fs::write(&file, json!({"pids": {"limit": 31}}).to_string()).unwrap();
    for (flag, expected) in [("-r", "31"), ("--resources", "31")] {
        bundle.rt.call(["update", flag, file.to_str().unwrap(), &bundle.id]).ok();
        assert_eq!(read("pids", "pids.max"), expected);
        // What the document does not speak of stays.
        assert_eq!(read("memory", "memory.limit_in_bytes"), "33554432");
    }
}

#[test]
fn memory_and_swap_can_be_raised_and_lowered_together() {
    need!("memory");
    if !counts_swap() {
        skip!("the kernel does not account for swap");
    }
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/memory", json!({"limit": 32 * MIB, "swap": 64 * MIB}));
    let _container = bundle.started();
    for (limit, swap) in [(128, 256), (16, 24), (24, 24), (64, 64), (20, 300)] {
        let (limit, swap) = (limit * MIB, swap * MIB);
        change(&bundle, &json!({"memory": {"limit": limit, "swap": swap}})).ok();
        assert_eq!(memory_and_swap(&bundle), (limit.to_string(), swap.to_string()));
    }
}

/// A container that shows a file, or tries something, each time it is told to.
fn told(script: &str) -> (Bundle, Fifo, Fifo) {
    let mut bundle = Bundle::new();
    let (ask, said) = (Fifo::new(&bundle.rootfs("ask")), Fifo::new(&bundle.rootfs("said")));
    bundle.script(&format!("exec 3<>/ask 4<>/said; while read line <&3; do {script}; done"));
    (bundle, ask, said)
}

#[test]
fn the_program_sees_its_new_limit() {
    need!("memory");
    let (bundle, mut ask, mut said) =
        told("cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null >&4");
    let _container = bundle.started();
    ask.tell("go");
    assert_eq!(said.line(), if cgroup::is_v2() { "max" } else { "9223372036854771712" });
    flags(&bundle, &["--memory", "67108864"]).ok();
    ask.tell("go");
    assert_eq!(said.line(), "67108864");
}

#[test]
fn a_limit_on_processes_holds_as_soon_as_it_is_set() {
    need!("pids");
    let (mut bundle, mut ask, mut said) = told("true");
    bundle.script("exec 3<>/ask 4<>/said 2>&4; echo ready >&4; read line <&3; (true); echo went on >&4");
    let container = bundle.started();
    assert_eq!(said.line(), "ready");
    flags(&bundle, &["--pids-limit", "1"]).ok();
    ask.tell("go");
    assert!(said.line().contains("fork"));
    container.wait();
}

#[test]
fn a_created_and_a_paused_container_can_be_changed() {
    need!("pids");
    let bundle = Bundle::waiting();
    let container = bundle.create();
    flags(&bundle, &["--pids-limit", "20"]).ok();
    assert_eq!(cgroup::limit("pids", &bundle.cgroup(), "pids.max"), "20");
    container.start();
    container.call("pause", &[]).ok();
    flags(&bundle, &["--pids-limit", "21"]).ok();
    assert_eq!(cgroup::limit("pids", &bundle.cgroup(), "pids.max"), "21");
    assert_eq!(container.status(), "paused");
}

#[test]
fn the_rules_for_devices_stay() {
    need!("pids");
    let (bundle, mut ask, mut said) = told("echo x > /dev/null && echo written >&4");
    let _container = bundle.started();
    // On v2 they are a program: what it allows is what can be told.
    let list = || cgroup::has_v1("devices").then(|| cgroup::read("devices", &bundle.cgroup(), "devices.list"));
    let before = list();
    let document = json!({"pids": {"limit": 40}, "devices": [{"allow": false, "access": "rwm"}]});
    change(&bundle, &document).ok();
    assert_eq!(list(), before);
    ask.tell("go");
    assert_eq!(said.line(), "written");
}

#[test]
fn a_change_that_fails_leaves_every_limit_as_it_was() {
    differs!("runc", "runc sets back only what its state knows of");
    differs!("crun", "crun sets nothing back");
    need!("memory", "cpu", "cpuset", "pids");
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/memory", json!({"limit": 32 * MIB})).set("/linux/resources/pids", json!({"limit": 9}));
    let _container = bundle.started();
    let files = [
        ("memory", "memory.limit_in_bytes"),
        ("memory", "memory.soft_limit_in_bytes"),
        ("cpu", if cgroup::is_v2() { "cpu.weight" } else { "cpu.shares" }),
        ("cpu", "cpu.cfs_quota_us"),
        ("cpuset", "cpuset.cpus"),
        ("pids", "pids.max"),
    ];
    let now = || files.map(|(controller, file)| cgroup::limit(controller, &bundle.cgroup(), file));
    let before = now();
    let limits =
        ["--memory=67108864", "--memory-reservation=8388608", "--cpu-share=99", "--cpu-quota=5000", "--pids-limit=3"];
    // The kernel refuses more real-time than the parent has been given, after all the others are in force.
    let refused = [limits.as_slice(), &["--cpu-rt-runtime", "999999999"]].concat();
    flags(&bundle, &refused).names("--cpu-rt-runtime");
    assert_eq!(now(), before);
    flags(&bundle, &[limits.as_slice(), &["--cpuset-cpus", "4095"]].concat()).names("--cpuset-cpus");
    assert_eq!(now(), before);
    // Nor does a later change know of them.
    flags(&bundle, &["--pids-limit", "10"]).ok();
    let mut after = before.clone();
    after[5] = "10".into();
    assert_eq!(now(), after);
}

#[test]
fn a_change_is_seen_together_with_the_limits_in_force() {
    differs!("crun", "crun leaves it to the kernel");
    need!("memory", "cpu");
    if !counts_swap() {
        skip!("the kernel does not account for swap");
    }
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/memory", json!({"limit": 32 * MIB, "swap": 64 * MIB}));
    let _container = bundle.started();
    // By the document that the container was made with …
    flags(&bundle, &["--memory", "65m"]).names("memory+swap limit should be >= memory limit");
    // … and by an earlier update.
    flags(&bundle, &["--memory-swap", "128m"]).ok();
    flags(&bundle, &["--memory", "65m"]).ok();
    let expected = ((65 * MIB).to_string(), (128 * MIB).to_string());
    assert_eq!(memory_and_swap(&bundle), expected);
    flags(&bundle, &["--memory-swap", "64m"]).names("--memory-swap");
    assert_eq!(memory_and_swap(&bundle), expected);
    flags(&bundle, &["--cpu-quota", "20000"]).ok();
    flags(&bundle, &["--cpu-burst", "20001"]).names("--cpu-burst");
}

#[test]
fn a_mistake_in_the_document_is_named_by_its_path() {
    differs!("crun", "crun takes a string for a number");
    need!("memory");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    for (document, at) in [
        (json!({"memory": {"limit": "64m"}}), "memory.limit"),
        (json!({"memory": {"limit": -2}}), "memory.limit"),
        (json!({"cpu": {"cpus": "0-"}}), "cpu.cpus"),
        (json!({"cpu": {"shares": -1}}), "cpu.shares"),
        (json!({"pids": []}), "pids"),
        (json!([]), "(document)"),
    ] {
        if is_oarlock() {
            change(&bundle, &document).names(at);
        } else if document["memory"]["limit"] == "64m" {
            change(&bundle, &document).failed();
        }
    }
    let file = bundle.path("no.json");
    std::fs::write(&file, "{\"memory\": ").unwrap();
    bundle.rt.call(["update", "-r", file.to_str().unwrap(), &bundle.id]).names("--resources: line 1 column");
    bundle.rt.call(["update", "-r", "/no/such/file", &bundle.id]).failed().says_as_runc("no such file or directory");
    assert_eq!(cgroup::limit("memory", &bundle.cgroup(), "memory.limit_in_bytes"), "9223372036854771712");
}

#[test]
fn a_mistake_in_a_flag_is_named_by_the_flag() {
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    for (flag, value) in [
        ("--memory", "12q"),
        ("--memory-swap", "x"),
        ("--cpu-period", "-1"),
        ("--cpu-quota", "x"),
        ("--cpu-share", "1.5"),
        ("--pids-limit", "many"),
        ("--blkio-weight", "heavy"),
    ] {
        if is_oarlock() {
            flags(&bundle, &[flag, value]).names(flag);
        } else if crate::harness::runtime::name() == "runc" {
            flags(&bundle, &[flag, value]).failed();
        }
    }
}

/// Proves: linux.intelRdt.{l3CacheSchema,memBwSchema}
#[test]
fn intel_rdt_is_refused_by_name() {
    differs!("crun", "crun 1.8.1 looks for resctrl first");
    if std::path::Path::new("/sys/fs/resctrl/schemata").exists() {
        skip!("this host has resctrl");
    }
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let output = flags(&bundle, &["--l3-cache-schema", "L3:0=f"]).names("--l3-cache-schema");
    output.says("Intel RDT/CAT: l3 cache schema is not enabled");
    let output = flags(&bundle, &["--mem-bw-schema", "MB:0=20"]).names("--mem-bw-schema");
    output.says("Intel RDT/MBA: memory bandwidth schema is not enabled");
}

#[test]
fn a_document_and_flags_together_are_refused() {
    only_oarlock!("others ignore the flags");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let output = flags(&bundle, &["--resources", "-", "--memory", "64m"]);
    output.names("Incorrect Usage").says("--memory");
}

#[test]
fn a_stopped_or_missing_container_is_refused_in_runcs_words() {
    differs!("crun", "crun writes into the empty cgroup");
    let bundle = Bundle::sh("true");
    let container: Container<'_> = bundle.started();
    container.wait();
    flags(&bundle, &["--pids-limit", "5"]).failed().says("container not running");
    bundle.rt.call(["update", "--pids-limit", "5", "missing"]).failed().says("container does not exist");
}

#[test]
fn huge_page_limits_can_be_changed_on_v2() {
    only_oarlock!("others update no huge page limits");
    if !(cgroup::is_v2() && cgroup::has_v2("hugetlb")) {
        skip!("the host is not on cgroup v2 with hugetlb");
    }
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/hugepageLimits", json!([{"pageSize": "2MB", "limit": 4 * MIB}]));
    let _container = bundle.started();
    change(&bundle, &json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 8 * MIB}]})).ok();
    assert_eq!(cgroup::read("", &bundle.cgroup(), "hugetlb.2MB.max"), "8388608");
    change(&bundle, &json!({"unified": {"hugetlb.2MB.max": "2097152"}})).ok();
    assert_eq!(cgroup::read("", &bundle.cgroup(), "hugetlb.2MB.max"), "2097152");
    // The second of the two is refused: the first is set back.
    let document = json!({
        "hugepageLimits": [{"pageSize": "2MB", "limit": 6 * MIB}],
        "unified": {"hugetlb.2MB.rsvd.max": "no number"},
    });
    change(&bundle, &document).names("unified[\"hugetlb.2MB.rsvd.max\"]");
    assert_eq!(cgroup::read("", &bundle.cgroup(), "hugetlb.2MB.max"), "2097152");
}

/// Proves: linux.resources.memory.{limit,swap,checkBeforeUpdate}, linux.resources.cpu.{quota,period,shares},
/// linux.resources.pids.limit
#[test]
fn every_limit_can_be_changed_on_v2() {
    if !cgroup::is_v2() || ["memory", "cpu", "pids"].iter().any(|name| !cgroup::has_v2(name)) {
        skip!("the host is not on cgroup v2 with memory, cpu and pids");
    }
    let mut bundle = Bundle::waiting();
    bundle.set("/linux/resources/cpu", json!({"quota": 20_000, "period": 50_000}));
    bundle.set("/linux/resources/memory", json!({"limit": 32 * MIB, "swap": 64 * MIB}));
    let _container = bundle.started();
    let read = |file| cgroup::read("", &bundle.cgroup(), file);
    for (given, file, expected) in [
        // v2 has one file for the two: the period stays.
        (&["--cpu-quota", "30000"][..], "cpu.max", "30000 50000"),
        (&["--cpu-share", "1024"], "cpu.weight", "100"),
        (&["--memory", "48m"], "memory.max", "50331648"),
        // And swap by itself: what is left of the sum.
        (&["--memory", "40m"], "memory.swap.max", "25165824"),
        (&["--memory-swap", "40m"], "memory.swap.max", "0"),
        (&["--memory", "-1"], "memory.max", "max"),
        (&["--pids-limit", "17"], "pids.max", "17"),
    ] {
        if !is_oarlock() && file == "cpu.weight" {
            continue;
        }
        flags(&bundle, given).ok();
        assert_eq!(read(file), expected, "{given:?}");
    }
    if is_oarlock() {
        let tiny = json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}});
        change(&bundle, &tiny).names("memory.limit").says("rejecting limit 4096 <= usage");
        assert_eq!(read("memory.max"), "max");
    }
}
