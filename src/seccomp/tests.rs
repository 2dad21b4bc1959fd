//! What compiled profiles do, in the kernel.

use libseccomp::ScmpSyscall;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;
use serde_json::{Value, json};

use super::*;
use crate::sys::seccomp::trial::{errno_of, in_child};

pub(super) const NOTHING: [u64; 6] = [0; 6];

pub(super) fn filter(profile: Value) -> Filter {
    let profile = serde_json::from_value(profile).expect("a profile");
    let around = crate::plan::seccomp::Surroundings {
        no_new_privs: true,
        bundle: std::path::Path::new("/bundle"),
        receiver: None,
    };
    crate::plan::seccomp::compile(&profile, "linux.seccomp", around, &mut Vec::new()).expect("a good profile")
}

pub(super) fn compiled(profile: Value) -> (Filter, Vec<u8>) {
    let filter = filter(profile);
    let bpf = compile::compile(&filter.program).expect("libseccomp");
    (filter, bpf)
}

/// The code that `body` returns in a child under `profile`.
fn code_under(profile: Value, body: impl FnOnce() -> u8) -> i32 {
    match end_under(profile, body) {
        WaitStatus::Exited(_, code) => code,
        other => panic!("{other:?}"),
    }
}

fn end_under(profile: Value, body: impl FnOnce() -> u8) -> WaitStatus {
    let (filter, bpf) = compiled(profile);
    in_child(&bpf, filter.flags, body)
}

/// A profile of the kind that container engines have: everything is refused, but for most of what there is.
pub(super) fn engine_like(archs: Value) -> Value {
    const REFUSED: &[&str] = &[
        "mount",
        "umount2",
        "pivot_root",
        "swapon",
        "swapoff",
        "reboot",
        "init_module",
        "finit_module",
        "delete_module",
        "kexec_load",
        "kexec_file_load",
        "bpf",
        "perf_event_open",
        "ptrace",
        "keyctl",
        "add_key",
        "request_key",
        "userfaultfd",
        "open_by_handle_at",
        "setns",
        "unshare",
        "personality",
        "clone",
        "clone3",
        "acct",
        "quotactl",
        "iopl",
        "ioperm",
        "sethostname",
        "setdomainname",
        "settimeofday",
        "clock_settime",
        "lookup_dcookie",
    ];
    let known = (0..=450).filter_map(|number| ScmpSyscall::from(number).get_name().ok());
    let allowed: Vec<String> = known.filter(|name| !REFUSED.contains(&name.as_str())).collect();
    let old = ["socketcall", "chown32", "mmap2", "_llseek", "waitpid", "no_such_call_at_all"];
    let personality = |value: u32| {
        json!({"names": ["personality"], "action": "SCMP_ACT_ALLOW",
               "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]})
    };
    json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": archs,
        "syscalls": [
            {"names": allowed, "action": "SCMP_ACT_ALLOW"},
            {"names": old, "action": "SCMP_ACT_ALLOW"},
            personality(0), personality(8), personality(0x20000), personality(0xffff_ffff),
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 0x7e02_0000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
        ]
    })
}

#[test]
fn conditions_on_arguments_decide() {
    let arg = |index, op, value, second| json!({"index": index, "op": op, "value": value, "valueTwo": second});
    // getpriority fails with EINVAL for every one of these where the filter lets it through.
    let tried = [100u64, 101, 0x1_0000_0064, u64::MAX];
    let cases = [
        ("SCMP_CMP_EQ", 100u64, 0u64, [true, false, false, false]),
        ("SCMP_CMP_NE", 100, 0, [false, true, true, true]),
        ("SCMP_CMP_GT", 100, 0, [false, true, true, true]),
        ("SCMP_CMP_GE", 101, 0, [false, true, true, true]),
        ("SCMP_CMP_LT", 101, 0, [true, false, false, false]),
        ("SCMP_CMP_LE", 101, 0, [true, true, false, false]),
        ("SCMP_CMP_MASKED_EQ", 0x1_0000_0001, 0x1_0000_0000, [false, false, true, false]),
    ];
    for (op, value, second, refused) in cases {
        let rule = json!({"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77,
                          "args": [arg(0, op, value, second)]});
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        let bits = code_under(profile, || {
            let hits = tried.iter().enumerate();
            hits.map(|(i, arg)| u8::from(errno_of(libc::SYS_getpriority, [*arg, 0, 0, 0, 0, 0]) == 77) << i).sum()
        });
        let expected: i32 = refused.iter().enumerate().map(|(i, refused)| i32::from(*refused) << i).sum();
        assert_eq!(bits, expected, "{op}");
    }
}

#[test]
fn one_rules_conditions_on_two_arguments_must_both_hold_and_on_one_argument_either() {
    let arg = |index: u32, value: u32| json!({"index": index, "op": "SCMP_CMP_EQ", "value": value});
    let hits = |args: Value| {
        let rule = json!({"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args});
        code_under(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}), || {
            let tried = [[100, 1], [100, 2], [101, 1]].into_iter().enumerate();
            tried.map(|(i, [a, b])| u8::from(errno_of(libc::SYS_getpriority, [a, b, 0, 0, 0, 0]) == 77) << i).sum()
        })
    };
    assert_eq!(hits(json!([arg(0, 100), arg(1, 1)])), 0b001);
    assert_eq!(hits(json!([arg(0, 100), arg(0, 101)])), 0b111);
    assert_eq!(hits(json!([arg(0, 102), arg(0, 101)])), 0b100);
}

#[test]
fn errno_ret_is_what_the_call_returns_and_eperm_where_it_is_not_given() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99},
        {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO"}]});
    assert_eq!(code_under(profile.clone(), || errno_of(libc::SYS_getppid, NOTHING)), 99);
    assert_eq!(code_under(profile, || errno_of(libc::SYS_getpgid, NOTHING)), libc::EPERM);
}

#[test]
fn the_default_errno_is_for_calls_that_no_rule_names() {
    let profile = |errno: u32| {
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno,
               "syscalls": [{"names": ["exit_group", "exit", "openat2"], "action": "SCMP_ACT_ALLOW"}]})
    };
    assert_eq!(code_under(profile(42), || errno_of(libc::SYS_getppid, NOTHING)), 42);
    assert_eq!(code_under(profile(0), || errno_of(libc::SYS_getppid, NOTHING)), 0);
}

#[test]
fn calls_newer_than_the_profile_fail_with_enosys_and_older_ones_as_the_profile_says() {
    let profile = |action: &str| {
        json!({"defaultAction": action,
               "syscalls": [{"names": ["exit_group", "exit", "openat2"], "action": "SCMP_ACT_ALLOW"}]})
    };
    let refused = |nr| code_under(profile("SCMP_ACT_ERRNO"), move || errno_of(nr, NOTHING));
    assert_eq!(refused(libc::SYS_close_range), libc::EPERM, "older than openat2");
    assert_eq!(refused(libc::SYS_pidfd_getfd), libc::ENOSYS, "newer than openat2");
    assert_eq!(refused(100_000), libc::ENOSYS);
    // Killing profiles too: a C library's try of a new call must not end the program.
    assert_eq!(code_under(profile("SCMP_ACT_KILL_PROCESS"), || errno_of(100_000, NOTHING)), libc::ENOSYS);
}

#[test]
fn killing_actions_kill_with_sigsys_and_trap_raises_it() {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
        let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
                             "syscalls": [{"names": ["getppid"], "action": action}]});
        let end = end_under(profile, || errno_of(libc::SYS_getppid, NOTHING));
        assert!(matches!(end, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{action}: {end:?}");
    }
}

#[test]
fn logged_calls_are_carried_out_and_traced_ones_fail_without_a_tracer() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [
        {"names": ["getpgid"], "action": "SCMP_ACT_LOG"},
        {"names": ["getppid"], "action": "SCMP_ACT_TRACE", "errnoRet": 7}]});
    assert_eq!(code_under(profile.clone(), || errno_of(libc::SYS_getpgid, NOTHING)), 0);
    assert_eq!(code_under(profile, || errno_of(libc::SYS_getppid, NOTHING)), libc::ENOSYS);
}

#[test]
fn an_engines_profile_lets_most_through_and_refuses_the_rest() {
    let profile = engine_like(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]));
    let errno = |nr, args| code_under(profile.clone(), move || errno_of(nr, args));
    assert_eq!(errno(libc::SYS_getppid, NOTHING), 0);
    assert_eq!(errno(libc::SYS_unshare, NOTHING), libc::EPERM);
    assert_eq!(errno(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]), 0);
    assert_eq!(errno(libc::SYS_personality, [4, 0, 0, 0, 0, 0]), libc::EPERM);
    // CLONE_FS with CLONE_NEWNS would be EINVAL, were it let through.
    assert_eq!(errno(libc::SYS_clone, [0x0002_0200, 0, 0, 0, 0, 0]), libc::EPERM);
    assert_eq!(errno(libc::SYS_clone3, NOTHING), libc::ENOSYS);
    assert_eq!(errno(100_000, NOTHING), libc::ENOSYS);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_of_a_listed_32_bit_architecture_are_judged_and_of_an_unlisted_one_kill() {
    use crate::sys::seccomp::trial::errno_of_32bit;
    // getppid is 64 to a 32-bit program, where a 64-bit one has semget.
    let profile = |archs: Value| {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": archs,
               "syscalls": [{"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}]})
    };
    let both = profile(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
    assert_eq!(code_under(both.clone(), || errno_of_32bit(64)), 99);
    assert_eq!(code_under(both, || errno_of_32bit(20)), 0);
    let end = end_under(profile(json!(["SCMP_ARCH_X86_64"])), || errno_of_32bit(20));
    assert!(matches!(end, WaitStatus::Signaled(_, Signal::SIGSYS, _)), "{end:?}");
}
