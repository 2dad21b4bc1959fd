//! Where and when the program runs: scheduling policy, I/O priority, processors, memory nodes.

use crate::harness::{Bundle, Output, Value, cgroup, json};

/// Leaves the test on a runtime that is older than the properties.
macro_rules! needs_scheduling {
    () => {
        differs!("runc", "scheduling and I/O priority came with runc 1.2");
        differs!("crun", "crun 1.8.1 has neither scheduling nor I/O priority");
    };
}

/// What the program sees of its own scheduling (`probe sched`).
#[track_caller]
fn seen(scheduler: Value) -> Output {
    let mut bundle = Bundle::new();
    bundle.probe(&["sched"]).set("/process/scheduler", scheduler);
    bundle.run()
}

#[track_caller]
fn check(output: &Output, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(output.field(&format!("{key}=")), *value, "{key}: {output}");
    }
}

/// Proves: process.scheduler.{policy,nice}
#[test]
fn the_ordinary_policies_are_set_with_their_nice_value() {
    needs_scheduling!();
    // Idle threads have no nice value.
    for (name, number, nice) in [("SCHED_OTHER", "0", "7"), ("SCHED_BATCH", "3", "7"), ("SCHED_IDLE", "5", "0")] {
        let output = seen(json!({ "policy": name, "nice": 7 })).ok();
        check(&output, &[("policy", number), ("nice", nice), ("priority", "0"), ("flags", "0")]);
    }
}

/// Proves: process.scheduler.{policy,priority}, linux.resources.cpu.realtimeRuntime
#[test]
fn the_realtime_policies_are_set_with_their_priority() {
    needs_scheduling!();
    for (name, number) in [("SCHED_FIFO", "1"), ("SCHED_RR", "2")] {
        let mut bundle = Bundle::new();
        bundle.probe(&["sched"]).set("/process/scheduler", json!({ "policy": name, "priority": 42 }));
        if cgroup::has_v1("cpu") && cgroup::file("cpu", "/", "cpu.rt_runtime_us").exists() {
            // A cgroup of v1 has no realtime budget but what it is given, and no more than its parent.
            bundle.set("/linux/cgroupsPath", format!("/{}", bundle.id));
            bundle.set("/linux/resources/cpu", json!({ "realtimePeriod": 1_000_000, "realtimeRuntime": 20_000 }));
        }
        let output = bundle.run().ok();
        check(&output, &[("policy", number), ("priority", "42"), ("flags", "0")]);
    }
}

/// Proves: process.scheduler.{policy,runtime,deadline,period,flags}
#[test]
fn a_deadline_is_set_with_its_budget_and_flags() {
    needs_scheduling!();
    let flags = json!(["SCHED_FLAG_RECLAIM", "SCHED_FLAG_DL_OVERRUN"]);
    let output = seen(json!({ "policy": "SCHED_DEADLINE", "runtime": 2_000_000, "deadline": 9_000_000,
        "period": 10_000_000, "flags": flags }));
    check(
        &output.ok(),
        &[("policy", "6"), ("runtime", "2000000"), ("deadline", "9000000"), ("period", "10000000"), ("flags", "0x6")],
    );
}

/// Proves: process.scheduler.flags
#[test]
fn a_flag_keeps_the_nice_value_from_children() {
    needs_scheduling!();
    let mut bundle = Bundle::sh("/probe sched; true");
    bundle.add_probe();
    let flags = json!(["SCHED_FLAG_RESET_ON_FORK"]);
    bundle.set("/process/scheduler", json!({ "policy": "SCHED_BATCH", "nice": -5, "flags": flags }));
    // The shell has it, its child has not.
    check(&bundle.run().ok(), &[("policy", "3"), ("nice", "0"), ("flags", "0")]);
    bundle.probe(&["sched"]);
    check(&bundle.run().ok(), &[("policy", "3"), ("nice", "-5"), ("flags", "0x1")]);
}

/// Proves: process.scheduler.flags
#[test]
fn flags_keep_what_the_caller_had() {
    needs_scheduling!();
    let mut bundle = Bundle::new();
    bundle.probe(&["sched"]);
    for (flags, expected) in [
        (json!(["SCHED_FLAG_KEEP_POLICY"]), [("policy", "3"), ("nice", "2")]),
        (json!(["SCHED_FLAG_KEEP_POLICY", "SCHED_FLAG_KEEP_PARAMS"]), [("policy", "3"), ("nice", "4")]),
    ] {
        bundle.set("/process/scheduler", json!({ "policy": "SCHED_OTHER", "nice": 2, "flags": flags }));
        let batch =
            bundle.rt.after("chrt --batch --pid 0 $$; renice -n 4 -p $$ >/dev/null", &bundle.command("run", &[]));
        check(&bundle.rt.finish(batch).ok(), &expected);
    }
}

/// Proves: process.scheduler.flags
#[test]
fn utilisation_can_be_clamped() {
    needs_scheduling!();
    if !std::path::Path::new("/proc/sys/kernel/sched_util_clamp_min").exists() {
        skip!("the kernel has no utilisation clamping");
    }
    let flags = json!(["SCHED_FLAG_UTIL_CLAMP_MIN", "SCHED_FLAG_UTIL_CLAMP_MAX"]);
    let output = seen(json!({ "policy": "SCHED_OTHER", "flags": flags })).ok();
    check(&output, &[("policy", "0"), ("util", "0-0")]);
}

/// Proves: process.scheduler.{policy,nice,priority,flags,runtime,deadline,period}
#[test]
fn a_policy_that_cannot_be_is_refused_by_its_path() {
    needs_scheduling!();
    for (scheduler, at) in [
        (json!({ "policy": "SCHED_NONE" }), "process.scheduler.policy"),
        (json!({ "policy": "SCHED_ISO" }), "process.scheduler.policy"),
        (json!({ "policy": "SCHED_OTHER", "nice": 20 }), "process.scheduler.nice"),
        (json!({ "policy": "SCHED_FIFO", "priority": 100 }), "process.scheduler.priority"),
        (json!({ "policy": "SCHED_OTHER", "flags": ["SCHED_FLAG_NONE"] }), "process.scheduler.flags"),
        (json!({ "policy": "SCHED_OTHER", "runtime": 1 }), "process.scheduler.runtime"),
        (json!({ "policy": "SCHED_OTHER", "deadline": 1 }), "process.scheduler.deadline"),
        (json!({ "policy": "SCHED_OTHER", "period": 1 }), "process.scheduler.period"),
    ] {
        let mut bundle = Bundle::waiting();
        bundle.set("/process/scheduler", scheduler);
        bundle.refused().names(at);
    }
}

/// Proves: process.ioPriority.{class,priority}
#[test]
fn the_io_priority_is_set_with_its_class() {
    needs_scheduling!();
    for (class, number) in [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)] {
        let mut bundle = Bundle::new();
        bundle.probe(&["sched"]).set("/process/ioPriority", json!({ "class": class, "priority": 5 }));
        check(&bundle.run().ok(), &[("ioprio", &(number << 13 | 5).to_string())]);
    }
    let mut bundle = Bundle::waiting();
    bundle.set("/process/ioPriority", json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }));
    bundle.refused().names("process.ioPriority.priority");
}

/// The processors that a process runs on, as `/proc/self/status` has them.
const PROCESSORS: [&str; 3] = ["grep", "Cpus_allowed_list:", "/proc/self/status"];

/// Two processors of this machine that we may use.
fn two_processors() -> Option<(String, String)> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    let mut all = list.split(',').flat_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<usize>().unwrap()..=last.parse().unwrap()
    });
    Some((all.next()?.to_string(), all.next()?.to_string()))
}

fn processors(output: &Output) -> Vec<usize> {
    let list = output.field("Cpus_allowed_list:");
    let ranges = list.split(',').map(|range| range.split_once('-').unwrap_or((range, range)));
    ranges.flat_map(|(first, last)| first.parse::<usize>().unwrap()..=last.parse().unwrap()).collect()
}

#[test]
fn the_callers_processors_are_not_the_containers() {
    differs!("runc", "runc resets the affinity since 1.3");
    differs!("crun", "crun resets the affinity since 1.9.2");
    let Some((first, second)) = two_processors() else { skip!("the host has one processor") };
    let mut bundle = Bundle::new();
    bundle.args(&PROCESSORS);
    let narrow = |command| bundle.rt.after(&format!("taskset -pc {first} $$ >/dev/null"), &command);
    let output = bundle.rt.finish(narrow(bundle.command("run", &[]))).ok();
    assert!(processors(&output).contains(&second.parse().unwrap()), "{output}");
    let waiting = Bundle::waiting();
    let _container = waiting.started();
    let mut exec = waiting.rt.command(["exec", &waiting.id]);
    exec.args(PROCESSORS);
    let output = waiting.rt.finish(waiting.rt.after(&format!("taskset -pc {first} $$ >/dev/null"), &exec)).ok();
    assert!(processors(&output).contains(&second.parse().unwrap()), "{output}");
}

/// Proves: linux.resources.cpu.cpus
#[test]
fn the_cpuset_bounds_the_processors_whatever_the_callers_are() {
    let Some((first, second)) = two_processors() else { skip!("the host has one processor") };
    if !cgroup::has_v1("cpuset") && !cgroup::has_v2("cpuset") {
        skip!("the host has no cpuset controller");
    }
    let mut bundle = Bundle::new();
    bundle.args(&PROCESSORS).set("/linux/resources/cpu", json!({ "cpus": second }));
    let narrow = bundle.rt.after(&format!("taskset -pc {first} $$ >/dev/null"), &bundle.command("run", &[]));
    assert_eq!(bundle.rt.finish(narrow).ok().field("Cpus_allowed_list:"), second);
}

/// Proves: process.execCPUAffinity.{initial,final}
#[test]
fn a_process_of_exec_runs_on_its_final_processors() {
    differs!("runc", "execCPUAffinity came with runc 1.3");
    differs!("crun", "execCPUAffinity came with crun 1.20");
    let Some((first, second)) = two_processors() else { skip!("the host has one processor") };
    let mut bundle = Bundle::waiting();
    bundle.set(
        "/process/execCPUAffinity",
        json!({ "initial": first, "final": format!(" {second} , {second} - {second},") }),
    );
    let container = bundle.started();
    let init = container.proc("status");
    assert!(!init.contains(&format!("Cpus_allowed_list:\t{second}\n")), "not for init: {init}");
    let mut exec = bundle.rt.command(["exec", &bundle.id]);
    exec.args(PROCESSORS);
    assert_eq!(bundle.rt.finish(exec).ok().field("Cpus_allowed_list:"), second);
    // A document of its own overrules; numbers beyond 1024 are no mistake as long as one processor is there.
    assert_eq!(
        by_document(&bundle, json!({ "final": format!("{first},1500,8191") })).ok().field("Cpus_allowed_list:"),
        first
    );
    // Without a final list the kernel keeps what it was before the container's cpuset.
    assert_eq!(by_document(&bundle, json!({ "initial": second })).ok().field("Cpus_allowed_list:"), second);
}

/// Proves: process.execCPUAffinity.{initial,final}
#[test]
fn processors_of_exec_that_cannot_be_are_refused_by_their_path() {
    only_oarlock!("the words are oarlock's");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    for (affinity, at) in [
        (json!({ "initial": "3-1" }), "process.execCPUAffinity.initial"),
        (json!({ "final": "1 2" }), "process.execCPUAffinity.final"),
        (json!({ "final": "8000" }), "process.execCPUAffinity.final"),
        (json!({ "initial": "8000" }), "process.execCPUAffinity.initial"),
    ] {
        let output = by_document(&bundle, affinity);
        assert!(output.stderr.contains(at), "{output}");
        output.code_is(255);
    }
    let mut bundle = Bundle::waiting();
    bundle.set("/process/execCPUAffinity", json!({ "initial": "65536" }));
    bundle.refused().names("process.execCPUAffinity.initial");
}

/// `exec --process` with these processors; the program tells what it runs on.
#[track_caller]
fn by_document(bundle: &Bundle, affinity: Value) -> Output {
    let document = json!({ "cwd": "/", "args": PROCESSORS, "env": ["PATH=/bin"], "execCPUAffinity": affinity });
    let path = bundle.path("process.json");
    std::fs::write(&path, document.to_string()).unwrap();
    bundle.rt.call(["exec", "--process", path.to_str().unwrap(), &bundle.id])
}

/// Proves: linux.memoryPolicy.{mode,nodes,flags}
#[test]
fn the_memory_policy_is_that_of_every_page() {
    differs!("runc", "memory policies came with runc 1.4");
    differs!("crun", "memory policies came with crun 1.24");
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        skip!("the kernel has no memory policies");
    }
    // As the kernel writes it: mempolicy_to_str.
    for (policy, written) in [
        (json!({ "mode": "MPOL_DEFAULT" }), "default"),
        (json!({ "mode": "MPOL_LOCAL" }), "local"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0" }), "bind:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"] }), "bind=static:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": " 0 ,", "flags": ["MPOL_F_RELATIVE_NODES"] }), "bind=relative:0"),
        (json!({ "mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_NUMA_BALANCING"] }), "bind=balancing:0"),
        (json!({ "mode": "MPOL_INTERLEAVE", "nodes": "0-0" }), "interleave:0"),
        (json!({ "mode": "MPOL_WEIGHTED_INTERLEAVE", "nodes": "0" }), "weighted interleave:0"),
        (json!({ "mode": "MPOL_PREFERRED", "nodes": "0" }), "prefer:0"),
        (json!({ "mode": "MPOL_PREFERRED_MANY", "nodes": "0" }), "prefer (many):0"),
    ] {
        let mut bundle = Bundle::waiting();
        bundle.set("/linux/memoryPolicy", policy.clone());
        let container = bundle.started();
        let maps = container.proc("numa_maps");
        let stack = maps.lines().find(|line| line.contains(" stack ")).unwrap_or_else(|| panic!("{maps}"));
        assert!(stack.contains(&format!(" {written} ")), "{policy}: {stack}");
        let output = bundle.rt.call(["exec", &bundle.id, "grep", " stack ", "/proc/self/numa_maps"]).ok();
        assert!(output.stdout.contains(&format!(" {written} ")), "{policy}, in exec: {output}");
    }
}

/// Proves: linux.memoryPolicy.{mode,nodes,flags}
#[test]
fn a_memory_policy_that_cannot_be_is_refused_by_its_path() {
    only_oarlock!("the words are oarlock's");
    for (policy, at) in [
        (json!({ "mode": "MPOL_NONE" }), "linux.memoryPolicy.mode"),
        (json!({ "mode": "MPOL_BIND" }), "linux.memoryPolicy.nodes"),
        (json!({ "mode": "MPOL_BIND", "nodes": "x" }), "linux.memoryPolicy.nodes"),
        (json!({ "mode": "MPOL_BIND", "nodes": "1100" }), "linux.memoryPolicy"),
        (json!({ "mode": "MPOL_LOCAL", "flags": ["MPOL_F_STATIC_NODES"] }), "linux.memoryPolicy.flags"),
    ] {
        let mut bundle = Bundle::waiting();
        bundle.set("/linux/memoryPolicy", policy);
        bundle.refused().names(at);
    }
}
