//! Seccomp profiles: what a system call answers, or what becomes of who makes it.

use crate::harness::{Bundle, Output, Value, json};

/// mkdir, which nothing on the way to a program needs.
const MKDIR: &str = "83";
const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

/// A bundle whose program makes one raw system call under a profile that allows what is not named.
fn calling(rules: Value, call: &[&str]) -> Bundle {
    let mut bundle = Bundle::new();
    let args: Vec<&str> = std::iter::once("syscall").chain(call.iter().copied()).collect();
    bundle.probe(&args);
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules});
    bundle.set("/linux/seccomp", profile);
    bundle
}

#[track_caller]
fn errno(output: &Output) -> i32 {
    let (_, errno) = output.field("rc=").split_once("errno=").expect("errno");
    errno.parse().unwrap()
}

#[track_caller]
fn answers(rules: Value, call: &[&str], expected: i32) {
    let output = calling(rules, call).run().ok();
    assert_eq!(errno(&output), expected, "{call:?}: {output}");
}

#[test]
fn a_filter_is_loaded_and_without_a_profile_there_is_none() {
    let mut bundle = Bundle::sh("grep Seccomp: /proc/self/status");
    assert_eq!(bundle.run().ok().field("Seccomp:"), "0");
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]}),
    );
    assert_eq!(bundle.run().ok().field("Seccomp:"), "2");
}

/// Proves: linux.seccomp.syscalls[].{names,action,errnoRet}
#[test]
fn errno_answers_eperm_unless_another_is_given() {
    answers(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]), &[MKDIR], EPERM);
    answers(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]), &[MKDIR], 77);
}

#[test]
fn an_errno_of_zero_is_given_as_asked() {
    let output = calling(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}]), &[MKDIR]).run().ok();
    assert!(output.field("rc=").starts_with("0 "), "{output}");
}

/// Proves: linux.seccomp.defaultAction
#[test]
fn what_is_not_named_is_allowed_by_the_default() {
    // getpid: pid 1 inside.
    let output = calling(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]), &["39"]).run().ok();
    assert!(output.field("rc=").starts_with("1 "), "{output}");
}

/// Proves: linux.seccomp.syscalls[].action
#[test]
fn kill_process_ends_the_program_with_sigsys() {
    for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"] {
        let bundle = calling(json!([{"names": ["mkdir"], "action": action}]), &[MKDIR]);
        bundle.run().code_is(128 + 31);
    }
}

/// Proves: linux.seccomp.syscalls[].action
#[test]
fn trap_sends_sigsys() {
    calling(json!([{"names": ["mkdir"], "action": "SCMP_ACT_TRAP"}]), &[MKDIR]).run().code_is(128 + 31);
}

/// Proves: linux.seccomp.syscalls[].action
#[test]
fn log_lets_the_call_through() {
    // EFAULT: mkdir with a null path reached the kernel.
    answers(json!([{"names": ["mkdir"], "action": "SCMP_ACT_LOG"}]), &[MKDIR], 14);
}

/// Proves: linux.seccomp.syscalls[].action
#[test]
fn trace_without_a_tracer_answers_enosys() {
    answers(json!([{"names": ["mkdir"], "action": "SCMP_ACT_TRACE", "errnoRet": 5}]), &[MKDIR], ENOSYS);
}

/// Proves: linux.seccomp.syscalls[].args[].{index,value}
#[test]
fn a_rule_with_an_argument_holds_for_that_value_alone() {
    let rules = json!([{
        "names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99,
        "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]
    }]);
    answers(rules.clone(), &["135", "8"], 99);
    answers(rules, &["135", "0xffffffff"], 0);
}

/// Proves: linux.seccomp.syscalls[].args[].op
#[test]
fn every_comparison_does_what_its_name_says() {
    // getpriority(which, who): the second argument is compared; the first, 99, makes the kernel say EINVAL.
    let cases = [
        ("SCMP_CMP_NE", 5, &[4, 6][..], &[5][..]),
        ("SCMP_CMP_LT", 5, &[4], &[5, 6]),
        ("SCMP_CMP_LE", 5, &[4, 5], &[6]),
        ("SCMP_CMP_EQ", 5, &[5], &[4, 6]),
        ("SCMP_CMP_GE", 5, &[5, 6], &[4]),
        ("SCMP_CMP_GT", 5, &[6], &[5, 4]),
    ];
    for (op, value, hit, missed) in cases {
        let rules = json!([{
            "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99,
            "args": [{"index": 1, "value": value, "op": op}]
        }]);
        let mut bundle = calling(rules, &[]);
        let calls = |numbers: &[i32]| numbers.iter().map(|n| format!("/probe syscall 140 99 {n};")).collect::<String>();
        bundle.script(&format!("{}{}", calls(hit), calls(missed)));
        let output = bundle.run().ok();
        let codes: Vec<&str> =
            output.lines().iter().filter_map(|line| line.split_once("errno=").map(|x| x.1)).collect();
        let expected: Vec<&str> = hit.iter().map(|_| "99").chain(missed.iter().map(|_| "22")).collect();
        assert_eq!(codes, expected, "{op} {value}: {output}");
    }
}

/// Proves: linux.seccomp.syscalls[].args[].{op,value,valueTwo}
#[test]
fn a_masked_comparison_looks_at_the_masked_bits() {
    // Docker's rule for clone: no new namespaces.
    let rules = json!([{
        "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99,
        "args": [{"index": 1, "value": 0xf0, "valueTwo": 0x50, "op": "SCMP_CMP_MASKED_EQ"}]
    }]);
    answers(rules.clone(), &["140", "99", "0x5a"], 99);
    answers(rules.clone(), &["140", "99", "0x50"], 99);
    answers(rules, &["140", "99", "0x60"], 22);
}

#[test]
fn all_arguments_of_a_rule_must_match() {
    let rules = json!([{
        "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99,
        "args": [{"index": 0, "value": 98, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 5, "op": "SCMP_CMP_EQ"}]
    }]);
    answers(rules.clone(), &["140", "98", "5"], 99);
    answers(rules.clone(), &["140", "98", "6"], 22);
    answers(rules, &["140", "97", "5"], 22);
}

/// Proves: linux.seccomp.{defaultAction,defaultErrnoRet}
#[test]
fn the_default_errno_is_given() {
    let mut bundle = calling(json!([]), &["83"]);
    // Everything but mkdir and rmdir: the rest of the program's life is allowed by name.
    bundle.set("/linux/seccomp", allow_list(json!({"defaultErrnoRet": 55})));
    assert_eq!(errno(&bundle.run().ok()), 55);
}

/// A profile that allows what a small static program needs, and no mkdir.
fn allow_list(more: Value) -> Value {
    let names = json!([
        "access",
        "arch_prctl",
        "brk",
        "capset",
        "capget",
        "chdir",
        "clone",
        "close",
        "close_range",
        "dup3",
        "epoll_ctl",
        "epoll_pwait",
        "execve",
        "execveat",
        "exit",
        "exit_group",
        "fchdir",
        "fcntl",
        "fstat",
        "futex",
        "getcwd",
        "getdents64",
        "getpid",
        "getppid",
        "getrandom",
        "gettid",
        "getuid",
        "ioctl",
        "keyctl",
        "lseek",
        "mmap",
        "mprotect",
        "munmap",
        "nanosleep",
        "newfstatat",
        "open",
        "openat",
        "openat2",
        "poll",
        "prctl",
        "pread64",
        "prlimit64",
        "read",
        "readlink",
        "readlinkat",
        "rseq",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "sendmsg",
        "sendto",
        "recvmsg",
        "recvfrom",
        "set_robust_list",
        "set_tid_address",
        "setgid",
        "setgroups",
        "setresgid",
        "setresuid",
        "setsid",
        "setuid",
        "sigaltstack",
        "statfs",
        "fstatfs",
        "statx",
        "tgkill",
        "umask",
        "uname",
        "wait4",
        "write",
        "writev",
        "madvise",
        "sched_yield",
        "faccessat",
        "faccessat2",
        "stat",
        "lstat",
        "fchown",
        "fchmod",
        "mremap",
        "getgid",
        "getegid",
        "geteuid",
        "kill",
        "pipe2",
        "socket",
        "personality",
        "sched_getaffinity",
        "eventfd2",
        "ppoll",
        "restart_syscall",
        "shutdown"
    ]);
    let mut profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]
    });
    for (key, value) in more.as_object().unwrap() {
        profile[key] = value.clone();
    }
    profile
}

#[test]
fn a_call_newer_than_the_profile_answers_enosys_not_eperm() {
    differs!("crun", "crun answers with the default action");
    let mut bundle = calling(json!([]), &["999"]);
    bundle.set("/linux/seccomp", allow_list(json!({})));
    assert_eq!(errno(&bundle.run().ok()), ENOSYS);
    // A known call that the profile leaves out is refused as the profile says.
    bundle.probe(&["syscall", MKDIR]);
    assert_eq!(errno(&bundle.run().ok()), EPERM);
}

/// Proves: linux.seccomp.architectures
#[test]
fn architectures_that_are_not_listed_are_not_let_in() {
    let mut bundle = calling(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]), &[]);
    // getpid by the 32-bit table, which this profile does not name: the call kills.
    bundle.probe(&["int80", "20"]);
    let output = bundle.run();
    assert_ne!(output.code, 0, "{output}");
}

/// Proves: linux.seccomp.architectures
#[test]
fn rules_hold_for_every_architecture_listed() {
    let profile = |names: Value| {
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 66}]
        })
    };
    let mut bundle = Bundle::new();
    // mkdir is 39 in the 32-bit table, getpid is 20.
    bundle.probe(&["int80", "39"]).set("/linux/seccomp", profile(json!(["mkdir"])));
    let output = bundle.run();
    if output.code == 128 + 11 {
        skip!("the kernel has no 32-bit system calls");
    }
    assert_eq!(errno(&output.ok()), 66);
    bundle.probe(&["syscall", MKDIR]);
    assert_eq!(errno(&bundle.run().ok()), 66);
    bundle.probe(&["int80", "20"]);
    assert!(bundle.run().ok().field("rc=").starts_with("1 "));
}

#[test]
fn names_that_this_kernel_does_not_have_are_passed_over() {
    let rules = json!([{"names": ["no_such_call_yet", "mkdir"], "action": "SCMP_ACT_ERRNO"}]);
    answers(rules, &[MKDIR], EPERM);
}

/// Proves: linux.seccomp.{architectures,syscalls[].action,syscalls[].args[].op}
#[test]
fn an_unknown_action_operator_or_architecture_is_refused() {
    let cases = [
        ("/linux/seccomp/defaultAction", json!("SCMP_ACT_SMILE"), "linux.seccomp.defaultAction"),
        ("/linux/seccomp/syscalls/0/action", json!("SCMP_ACT_SMILE"), "linux.seccomp.syscalls[0].action"),
        ("/linux/seccomp/architectures", json!(["SCMP_ARCH_PDP11"]), "linux.seccomp.architectures[0]"),
        (
            "/linux/seccomp/syscalls/0/args",
            json!([{"index": 0, "value": 1, "op": "SCMP_CMP_NEARLY"}]),
            "linux.seccomp.syscalls[0].args[0].op",
        ),
    ];
    for (pointer, value, at) in cases {
        let mut bundle = calling(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]), &[MKDIR]);
        bundle.set(pointer, value);
        bundle.refused().names(at);
    }
}

#[test]
fn a_filter_works_with_and_without_no_new_privileges_and_as_a_user() {
    for (privileges, uid) in [(true, 0), (false, 0), (true, 1000), (false, 1000)] {
        let mut bundle = calling(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]), &[MKDIR]);
        bundle.set("/process/noNewPrivileges", privileges).set("/process/user/uid", uid);
        assert_eq!(errno(&bundle.run().ok()), EPERM, "noNewPrivileges {privileges}, uid {uid}");
    }
}

#[test]
fn a_profile_that_was_used_before_gives_the_same_filter() {
    let mut bundle = calling(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 44}]), &[MKDIR]);
    for _ in 0..3 {
        assert_eq!(errno(&bundle.run().ok()), 44);
    }
    bundle.set("/linux/seccomp/syscalls/0/errnoRet", 45);
    assert_eq!(errno(&bundle.run().ok()), 45, "another profile is not taken for it");
}

/// Proves: linux.seccomp.flags
#[test]
fn flags_are_accepted() {
    differs!("runc", "runc 1.1.5 knows no flags");
    for flags in [json!([]), json!(["SECCOMP_FILTER_FLAG_LOG"]), json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"])] {
        let mut bundle = calling(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]), &[MKDIR]);
        bundle.set("/linux/seccomp/flags", flags);
        assert_eq!(errno(&bundle.run().ok()), EPERM);
    }
}

/// Adding the second of these rules, libseccomp 2.5.4 releases a tree of its own for ever.
#[test]
fn a_profile_over_which_libseccomp_comes_to_no_end_is_refused() {
    only_oarlock!("others wait for libseccomp");
    let rule = |conditions: Value| json!({"names": ["mmap"], "action": "SCMP_ACT_ERRNO", "args": conditions});
    let mut bundle = Bundle::sh("true");
    let syscalls = json!([
        rule(json!([
            {"index": 0, "op": "SCMP_CMP_GE", "value": u64::MAX},
            {"index": 1, "op": "SCMP_CMP_NE", "value": 174_354_319_074_834_190_u64},
            {"index": 2, "op": "SCMP_CMP_NE", "value": 4_294_967_295_u64}
        ])),
        rule(json!([
            {"index": 0, "op": "SCMP_CMP_GE", "value": u64::MAX},
            {"index": 4, "op": "SCMP_CMP_EQ", "value": 2_147_483_648_u64},
            {"index": 5, "op": "SCMP_CMP_MASKED_EQ", "value": u64::MAX, "valueTwo": 0}
        ])),
    ]);
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": syscalls}));
    bundle.refused().names("linux.seccomp").says("libseccomp is not done with the profile");
}

/// Proves: linux.seccomp.flags
#[test]
fn an_unknown_flag_is_refused() {
    let mut bundle = calling(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]), &[MKDIR]);
    bundle.set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_MAGIC"]));
    bundle.refused().names("linux.seccomp.flags[0]");
}
