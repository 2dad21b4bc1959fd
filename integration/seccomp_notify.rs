//! SCMP_ACT_NOTIFY: calls that an agent outside answers. The agent here is a thread of the test.

use std::sync::Mutex;

use crate::harness::agent::{Agent, Answer};
use crate::harness::{Bundle, Output, Value, json, sys};

const MKDIR: i64 = libc::SYS_mkdir;

/// A bundle whose agent is asked about `calls`.
fn asking(bundle: &mut Bundle, agent: &Agent, calls: &[&str]) {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "listenerPath": agent.path, "listenerMetadata": "of this test: \"1\"",
        "syscalls": [{"names": calls, "action": "SCMP_ACT_NOTIFY"}]
    });
    bundle.set("/linux/seccomp", profile);
}

/// A bundle, and an agent that answers mkdir with the errno 42 and lets all else happen.
fn with_agent(calls: &[&str]) -> (Bundle, Agent) {
    let mut bundle = Bundle::new();
    let agent = Agent::new(bundle.host_dir("").join("agent"), |call, _| match call.number {
        MKDIR => Answer::Errno(42),
        _ => Answer::Continue,
    });
    asking(&mut bundle, &agent, calls);
    (bundle, agent)
}

#[track_caller]
fn errno(output: &Output) -> &str {
    output.field("rc=").split_once("errno=").expect("errno").1
}

/// Proves: linux.seccomp.listenerPath
#[test]
fn the_agent_answers_and_the_kernel_does_what_it_says() {
    differs!("runc", "runc 1.1.5 keeps the connection open, whose end the agent waits for");
    differs!("crun", "crun 1.8.1 keeps the connection open, whose end the agent waits for");
    for no_new_privileges in [false, true] {
        let mut bundle = Bundle::new();
        let agent = Agent::new(bundle.host_dir("").join("agent"), |call, _| match call.number {
            MKDIR => Answer::Errno(42),
            libc::SYS_rmdir => Answer::Return(7),
            _ => Answer::Continue,
        });
        asking(&mut bundle, &agent, &["mkdir", "rmdir", "chmod"]);
        bundle.add_probe().set("/process/noNewPrivileges", no_new_privileges);
        // chmod with a null path reaches the kernel, which says EFAULT.
        bundle.script("/probe syscall 83 0 0; /probe syscall 84 0; /probe syscall 90 0 0");
        let output = bundle.run().ok();
        assert_eq!(output.lines(), ["rc=-1 errno=42", "rc=7 errno=0", "rc=-1 errno=14"], "{output}");
        assert_eq!(agent.calls(), [MKDIR, libc::SYS_rmdir, libc::SYS_chmod]);
    }
}

/// Proves: linux.seccomp.{listenerPath,listenerMetadata}
#[test]
fn the_agent_is_told_of_the_container_and_its_process() {
    differs!("crun", "crun 1.8.1 keeps the connection open, whose end the agent waits for");
    for no_new_privileges in [false, true] {
        let (mut bundle, agent) = with_agent(&["mkdir"]);
        bundle.set("/annotations", json!({"some.key": "some value"}));
        bundle.args(&["sleep", "1000"]).set("/process/noNewPrivileges", no_new_privileges);
        let container = bundle.create();
        // Before `create` has returned: nothing of the container runs unwatched.
        let mut told = agent.told();
        let versions = [told["ociVersion"].take(), told["state"]["ociVersion"].take()];
        if crate::harness::is_oarlock() {
            assert_eq!(versions, ["1.3.0", "1.0.2"], "the form's, and the container's");
        }
        let expected = json!({
            "ociVersion": null,
            "fds": ["seccompFd"],
            "pid": container.pid,
            "metadata": "of this test: \"1\"",
            "state": {
                "ociVersion": null,
                "id": bundle.id,
                "status": "creating",
                "pid": container.pid,
                "bundle": bundle.path(""),
                "annotations": {"some.key": "some value"}
            }
        });
        assert_eq!(told, expected);
        container.start();
        assert!(agent.told_nothing());
    }
}

#[test]
fn a_process_that_joins_is_told_of_and_answered_too() {
    differs!("runc", "runc 1.1.5 keeps the connection open, whose end the agent waits for");
    differs!("crun", "crun 1.8.1 keeps the connection open, whose end the agent waits for");
    let (mut bundle, agent) = with_agent(&["mkdir", "prctl", "close", "execve"]);
    bundle.add_probe().args(&["sleep", "1000"]);
    let container = bundle.started();
    agent.told();
    for flags in [&[][..], &["--no-new-privs"]] {
        let pid_file = bundle.path("exec.pid");
        let pid_flag = format!("--pid-file={}", pid_file.display());
        let all = [&["exec", &pid_flag], flags, &[&bundle.id, "/probe", "syscall", "83", "0", "0"]].concat();
        let output = bundle.rt.call(all).ok();
        assert_eq!(errno(&output), "42", "{output}");
        let told = agent.told();
        assert_eq!(told["pid"].to_string(), std::fs::read_to_string(&pid_file).unwrap());
        assert_eq!(told["state"]["pid"], container.pid);
        assert_eq!((&told["state"]["status"], &told["state"]["id"]), (&json!("running"), &json!(bundle.id)));
        assert_eq!(told["metadata"], "of this test: \"1\"");
    }
}

/// Calls that the runtime itself makes between loading the filter and the program, or could make. runc hangs on some of
/// them (#4328) and refuses `write`.
const OWN: &[&str] = &[
    "write",
    "sendmsg",
    "close",
    "fcntl",
    "execve",
    "sendto",
    "read",
    "recvmsg",
    "recvfrom",
    "close_range",
    "openat",
    "openat2",
    "prctl",
    "capset",
    "capget",
    "setuid",
    "setgid",
    "setgroups",
    "setresuid",
    "setresgid",
    "chdir",
    "getcwd",
    "faccessat",
    "faccessat2",
    "access",
    "newfstatat",
    "stat",
    "fstat",
    "rt_sigaction",
    "rt_sigprocmask",
    "prlimit64",
    "mmap",
    "munmap",
    "mprotect",
    "brk",
    "futex",
    "poll",
    "ppoll",
    "getpid",
    "gettid",
    "ioctl",
    "seccomp",
    "exit_group",
    "connect",
    "socket",
    "dup",
    "pidfd_getfd",
];

#[test]
fn the_runtimes_own_calls_can_be_asked_about() {
    differs!("runc", "runc refuses write");
    differs!("crun", "crun 1.8.1 keeps the connection open, whose end the agent waits for");
    let (alone, all) = (OWN[..5].iter().map(std::slice::from_ref), [OWN]);
    for calls in alone.chain(all) {
        for no_new_privileges in [false, true] {
            let (mut bundle, agent) = with_agent(calls);
            bundle.add_probe().args(&["/probe", "self"]).set("/process/noNewPrivileges", no_new_privileges);
            bundle.run().ok();
            agent.told();
        }
    }
}

#[test]
fn everything_can_be_asked_about_in_a_user_namespace_too() {
    differs!("runc", "runc refuses it as the default action");
    differs!("crun", "crun 1.8.1 keeps the connection open, whose end the agent waits for");
    for user_namespace in [false, true] {
        let (mut bundle, agent) = with_agent(&["mkdir"]);
        bundle.set("/linux/seccomp/defaultAction", "SCMP_ACT_NOTIFY").remove("/linux/seccomp/syscalls");
        if user_namespace {
            bundle.user_namespace();
        }
        bundle.add_probe().args(&["/probe", "syscall", "83", "0", "0"]);
        let container = bundle.create();
        container.start();
        let output = container.output().ok();
        assert_eq!(errno(&output), "42", "{output}");
        assert!(agent.calls().contains(&libc::SYS_execve));
    }
}

#[test]
fn the_program_has_no_descriptor_of_the_agents() {
    let (mut bundle, agent) = with_agent(&["mkdir"]);
    bundle.probe(&["fds"]);
    let output = bundle.run().ok();
    let numbers: Vec<&str> = output.lines().iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(numbers, ["0", "1", "2"], "{output}");
    drop(agent);
}

/// The kernel answers so when the last copy of the listener is closed: neither the runtime nor the program has one left
/// (runc #4796).
#[test]
fn when_the_agent_goes_calls_fail_at_once() {
    differs!("runc", "runc 1.1.5 keeps the connection open, whose end the agent waits for");
    differs!("crun", "crun 1.8.1 keeps the connection open, whose end the agent waits for");
    let mut bundle = Bundle::new();
    let agent = Agent::new(bundle.host_dir("").join("agent"), |call, _| match call.number {
        MKDIR => Answer::HangUp,
        _ => Answer::Continue,
    });
    asking(&mut bundle, &agent, &["mkdir"]);
    bundle.add_probe().script("/probe syscall 83 0 0; /probe syscall 83 0 0");
    let output = bundle.run().ok();
    assert_eq!(output.lines(), ["rc=-1 errno=38"; 2], "{output}");
}

#[test]
fn without_an_agent_the_container_is_refused_and_nothing_is_left() {
    let mut bundle = Bundle::waiting();
    let path = bundle.path("nobody-listens");
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path,
               "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}),
    );
    bundle.refused().names("linux.seccomp.listenerPath").names("connect");
}

#[test]
fn an_agent_is_needed_where_it_would_be_asked_and_only_there() {
    differs!("crun", "crun makes a container whose calls nobody answers");
    let (mut bundle, agent) = with_agent(&["mkdir"]);
    bundle.args(&["true"]).remove("/linux/seccomp/listenerMetadata").remove("/linux/seccomp/listenerPath");
    bundle.refused().names("linux.seccomp.listenerPath").names("SCMP_ACT_NOTIFY");
    bundle.set("/linux/seccomp/listenerPath", json!(agent.path)).set("/linux/seccomp/syscalls", json!([]));
    bundle.run().ok();
    assert!(agent.told_nothing());
}

/// Proves: linux.seccomp.listenerMetadata
#[test]
fn metadata_without_an_agent_is_refused() {
    differs!("runc", "runc ignores it");
    differs!("crun", "crun ignores it");
    let (mut bundle, _agent) = with_agent(&["mkdir"]);
    bundle.remove("/linux/seccomp/listenerPath").set("/linux/seccomp/syscalls", json!([]));
    bundle.refused().names("linux.seccomp.listenerMetadata");
}

#[test]
fn the_agent_can_be_named_by_cruns_annotation() {
    differs!("runc", "the annotation is crun's");
    differs!("crun", "crun 1.8.1 keeps the connection open, whose end the agent waits for");
    let (mut bundle, agent) = with_agent(&["mkdir"]);
    bundle.remove("/linux/seccomp/listenerPath").set("/annotations", json!({"run.oci.seccomp.receiver": agent.path}));
    bundle.add_probe().args(&["/probe", "syscall", "83", "0", "0"]);
    let output = bundle.run().ok();
    assert_eq!(errno(&output), "42", "{output}");
    assert_eq!(agent.told()["state"]["id"], json!(bundle.id));
}

/// With the flag a signal that does not kill waits until a call that the agent has seen is answered; without it the call
/// is broken off, and the agent is asked again.
/// Proves: linux.seccomp.flags
#[test]
fn wait_killable_recv_keeps_a_signal_from_breaking_off_a_call() {
    differs!("runc", "runc 1.1.5 knows no flags");
    differs!("crun", "crun 1.8.1 does not know the flag");
    let bundle = Bundle::new();
    let known = bundle.rt.call(["features"]).ok().json();
    let flag = json!("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
    assert!(known["linux"]["seccomp"]["knownFlags"].as_array().unwrap().contains(&flag));
    if !known["linux"]["seccomp"]["supportedFlags"].as_array().unwrap().contains(&flag) {
        skip!("this kernel has no SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
    }
    for (flags, asked) in [(json!([flag]), 1), (json!([]), 2)] {
        let mut bundle = Bundle::new();
        let first = Mutex::new(true);
        let agent = Agent::new(bundle.host_dir("").join("agent"), move |call, listener| {
            if std::mem::replace(&mut *first.lock().unwrap(), false) {
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(call.pid), nix::sys::signal::SIGUSR1).unwrap();
                if asked == 2 {
                    use std::os::fd::AsFd;
                    assert!(sys::wait_readable(listener.as_fd(), sys::DEADLINE), "the call is not made again");
                }
            }
            Answer::Errno(42)
        });
        asking(&mut bundle, &agent, &["mkdir"]);
        bundle.set("/linux/seccomp/flags", flags).probe(&["signalled-syscall", "83", "0", "0"]);
        let output = bundle.run().ok();
        assert_eq!(errno(&output), "42", "{output}");
        assert_eq!(agent.calls(), vec![MKDIR; asked]);
    }
}

#[test]
fn features_name_the_action() {
    differs!("crun", "`features` came with crun 1.8.4");
    let features: Value = Bundle::new().rt.call(["features"]).ok().json();
    assert!(features["linux"]["seccomp"]["actions"].as_array().unwrap().contains(&json!("SCMP_ACT_NOTIFY")));
}
