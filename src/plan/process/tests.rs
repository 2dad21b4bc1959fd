use super::super::testing::{error, options, spec};
use super::*;
use serde_json::{Value, json};

fn compile_with(extra: Value, options: &Options) -> Result<Process> {
    let mut process = json!({ "cwd": "/", "args": ["sh"], "user": { "uid": 0, "gid": 0 } });
    process.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let process: oci_spec::runtime::Process = serde_json::from_value(process).unwrap();
    compile(&process, options)
}

fn with(extra: Value) -> Result<Process> {
    compile_with(extra, &options())
}

#[test]
fn what_is_not_given_is_least() {
    let process = with(json!({})).unwrap();
    assert_eq!(process.capabilities, Capabilities::default());
    assert_eq!((process.umask, process.uid, process.no_new_privileges), (0o022, 0, false));
    assert!(process.env.is_empty() && process.rlimits.is_empty() && process.additional_gids.is_empty());
    assert!(process.oom_score_adj.is_none() && process.personality.is_none() && process.scheduler.is_none());
}

#[test]
fn of_a_variable_the_last_value_counts() {
    let env = json!({ "env": ["A=1", "PATH=/bin", "A=2=3", "B="] });
    assert_eq!(with(env).unwrap().env, ["PATH=/bin", "A=2=3", "B="]);
}

#[test]
fn activation_and_notification_are_told_in_the_environment() {
    let options = Options { listen_fds: 2, notify_socket: Some("/x".into()), ..options() };
    let env = json!({ "env": ["LISTEN_PID=7", "A=1"] });
    let process = compile_with(env, &options).unwrap();
    assert_eq!(process.env, ["A=1", "NOTIFY_SOCKET=/run/notify/notify.sock", "LISTEN_FDS=2", "LISTEN_PID=1"]);
}

#[test]
fn a_console_size_counts_only_with_a_terminal() {
    let size =
        |terminal: bool, width: u64| json!({ "terminal": terminal, "consoleSize": { "height": 24, "width": width } });
    assert_eq!(with(size(true, 80)).unwrap().console_size, Some((24, 80)));
    assert_eq!(with(size(false, 70_000)).unwrap().console_size, None);
    assert!(error(with(size(true, 70_000))).starts_with("process.consoleSize.width: 70000 is more than 65535"));
}

#[test]
fn every_rlimit_has_the_kernels_number() {
    let names = "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME";
    let limits: Value =
        names.split(' ').map(|name| json!({ "type": format!("RLIMIT_{name}"), "soft": 1, "hard": u64::MAX })).collect();
    let limits = with(json!({ "rlimits": limits })).unwrap().rlimits;
    // asm-generic/resource.h
    assert_eq!(limits.iter().map(|limit| limit.resource).collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
    assert_eq!((limits[7].name.as_str(), limits[7].at.as_str()), ("RLIMIT_NOFILE", "process.rlimits[7]"));
}

#[test]
fn every_capability_has_the_kernels_bit() {
    let all: Vec<_> = ::caps::all().iter().map(ToString::to_string).collect();
    let process = with(json!({ "capabilities": { "bounding": all } })).unwrap();
    assert_eq!(process.capabilities, Capabilities { bounding: (1 << 41) - 1, ..Capabilities::default() });
    let some = json!(["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_CHECKPOINT_RESTORE"]);
    let process = with(json!({ "capabilities": { "permitted": some } })).unwrap();
    assert_eq!(process.capabilities.permitted, 1 | 1 << 10 | 1 << 40);
}

#[test]
fn an_ambient_capability_that_the_kernel_would_refuse_is_left_out() {
    let caps = json!({ "capabilities": {
        "permitted": ["CAP_KILL", "CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL", "CAP_CHOWN"],
    } });
    let process = with(caps).unwrap();
    assert_eq!(process.capabilities.ambient, 1 << 5);
    let text = error(with(json!({ "capabilities": { "effective": ["CAP_KILL"] } })));
    assert!(text.starts_with("process.capabilities.effective: CAP_KILL not permitted"), "{text}");
}

#[test]
fn schedulers_and_priorities_become_numbers() {
    let scheduler = |value: Value| with(json!({ "scheduler": value })).map(|process| process.scheduler.unwrap());
    let zero = Scheduler { policy: 0, flags: 0, nice: 0, priority: 0, runtime: 0, deadline: 0, period: 0 };
    for (value, expected) in [
        (json!({ "policy": "SCHED_BATCH", "nice": -5 }), Scheduler { policy: 3, nice: -5, ..zero }),
        (
            json!({ "policy": "SCHED_FIFO", "priority": 99, "flags": ["SCHED_RESET_ON_FORK"] }),
            Scheduler { policy: 1, priority: 99, flags: 1, ..zero },
        ),
        (
            json!({ "policy": "SCHED_DEADLINE", "runtime": 10, "deadline": 20, "period": 30 }),
            Scheduler { policy: 6, runtime: 10, deadline: 20, period: 30, ..zero },
        ),
    ] {
        assert_eq!(scheduler(value).unwrap(), expected);
    }
    for (value, field) in [
        (json!({ "policy": "SCHED_ISO" }), "policy"),
        (json!({ "policy": "SCHED_OTHER", "nice": 20 }), "nice"),
        (json!({ "policy": "SCHED_OTHER", "priority": 1 }), "priority"),
        (json!({ "policy": "SCHED_RR" }), "priority"),
        (json!({ "policy": "SCHED_OTHER", "deadline": 1 }), "deadline"),
        (json!({ "policy": "SCHED_DEADLINE", "runtime": 2, "deadline": 1 }), "runtime"),
    ] {
        let text = error(scheduler(value));
        assert!(text.starts_with(&format!("process.scheduler.{field}: ")), "{text}");
    }
    let io = |class: &str, priority: i64| with(json!({ "ioPriority": { "class": class, "priority": priority } }));
    assert_eq!(io("IOPRIO_CLASS_BE", 4).unwrap().io_priority, Some(2 << 13 | 4));
    assert!(error(io("IOPRIO_CLASS_RT", 8)).starts_with("process.ioPriority.priority: 8 is not from 0 to 7"));
}

#[test]
fn the_personality_is_read_from_linux() {
    for (domain, value) in [("LINUX", 0), ("LINUX32", 8)] {
        let spec = spec(json!({ "linux": { "personality": { "domain": domain } } }));
        assert_eq!(personality(&spec), Some(value));
    }
    assert_eq!(personality(&spec(json!({}))), None);
}

#[test]
fn mistakes_are_named_by_their_path() {
    let user = |extra: Value| {
        let mut user = json!({ "uid": 0, "gid": 0 });
        user.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({ "user": user })
    };
    let limit = |soft: u64, hard: u64| json!({ "type": "RLIMIT_CORE", "soft": soft, "hard": hard });
    for (extra, expected) in [
        (json!({ "args": [] }), "process.args: args must not be empty"),
        (json!({ "args": null }), "process.args: args must not be empty"),
        (json!({ "args": ["a", "b\0"] }), "process.args[1]: has a NUL byte"),
        (json!({ "cwd": "" }), "process.cwd: Cwd must be an absolute path"),
        (json!({ "cwd": "tmp" }), "process.cwd: Cwd must be an absolute path"),
        (json!({ "env": ["A=b", "C"] }), "process.env[1]: invalid environment variable: missing '='"),
        (json!({ "env": ["=b"] }), "process.env[0]: invalid environment variable: name cannot be empty"),
        (user(json!({ "uid": u32::MAX })), "process.user.uid: 4294967295 is no id"),
        (user(json!({ "additionalGids": [1, u32::MAX] })), "process.user.additionalGids[1]: 4294967295"),
        (user(json!({ "umask": 0o1000 })), "process.user.umask: 512 (01000)"),
        (json!({ "oomScoreAdj": 1001 }), "process.oomScoreAdj: 1001 is not from -1000 to 1000"),
        (json!({ "rlimits": [limit(1, 2), limit(1, 2)] }), "process.rlimits[1].type: duplicate RLIMIT_CORE"),
        (json!({ "rlimits": [limit(2, 1)] }), "process.rlimits[0].soft: 2 is more than the hard limit, 1"),
        (json!({ "apparmorProfile": "a\nb" }), "process.apparmorProfile: has a line break"),
    ] {
        let text = error(with(extra));
        assert!(text.starts_with(expected), "{text}");
    }
}
