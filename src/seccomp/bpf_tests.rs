//! What the BPF of profiles says about calls, by the interpreter: also for machines that this one is not.

use libseccomp::{ScmpAction, ScmpFilterContext, ScmpSyscall};
use oci_spec::runtime::Arch;
use serde_json::json;

use super::interpreter::{Call, run};
use super::tests::{NOTHING, compiled, engine_like, filter};
use super::{compile, enosys, names};

const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;

/// `program` as libseccomp compiles it without our hand in it: a plain list, and nothing before it.
fn plain(program: &crate::plan::seccomp::Program) -> Vec<u8> {
    let mut context = compile::rules(program).unwrap();
    context.set_ctl_optimize(1).unwrap();
    let mut bpf = Vec::new();
    compile::export(&context, &mut bpf).unwrap();
    bpf
}

/// Arguments on both sides of everything that `engine_like` compares.
const ARGUMENTS: [u64; 7] = [0, 8, 4, 0x20000, 0xffff_ffff, 0x0002_0200, u64::MAX];

#[cfg(target_arch = "x86_64")]
#[test]
fn the_tree_and_the_stub_change_nothing_but_the_answer_to_newer_calls() {
    let (x86_64, x86) = (0xc000_003e, 0x4000_0003);
    let lists = [
        json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
        json!(["SCMP_ARCH_X86"]),
        json!(["SCMP_ARCH_X32"]),
        json!([]),
    ];
    for archs in lists {
        let (filter, bpf) = compiled(engine_like(archs.clone()));
        let plain = plain(&filter.program);
        let x32_listed = filter.program.architectures.contains(&Arch::ScmpArchX32);
        let x86_listed = filter.program.architectures.contains(&Arch::ScmpArchX86);
        let mut newer = 0;
        for (arch, base) in [(x86_64, 0), (x86_64, 0x4000_0000), (x86, 0), (0xc000_00b7, 0)] {
            for number in (base..base + 600).chain([base + 0x3fff_ffff]) {
                for arg in ARGUMENTS {
                    let call = Call { number, arch, args: [arg; 6] };
                    let (ours, theirs) = (run(&bpf, &call), run(&plain, &call));
                    let listed = match (arch, base) {
                        (_, 0x4000_0000) => x32_listed,
                        (arch, _) if arch == x86 => x86_listed,
                        (arch, _) => arch == x86_64,
                    };
                    // The newest that the profile names is 450 here, or 547 where x32 has numbers of its own.
                    if listed && ours == ENOSYS && theirs == EPERM {
                        newer += 1;
                        assert!(number - base > 450, "{archs} {call:?}");
                    } else {
                        assert_eq!(ours, theirs, "{archs} {call:?}");
                        assert!(!listed || number - base < 600, "{archs} {call:?}");
                    }
                }
            }
        }
        assert!(newer > 0, "{archs}");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_stub_serves_each_architecture_by_its_own_newest_call() {
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO",
                         "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
                         "syscalls": [{"names": ["read", "statx"], "action": "SCMP_ACT_ALLOW"}]});
    let (_, bpf) = compiled(profile);
    let answer = |arch, number| run(&bpf, &Call { number, arch, args: NOTHING });
    for (arch, statx) in [(0xc000_003e, 332), (0x4000_0003, 383), (0xc000_003e, 0x4000_0000 | 332), (0xc000_00b7, 291)]
    {
        let answers = [statx - 1, statx, statx + 1].map(|number| answer(arch, number));
        assert_eq!(answers, [EPERM, libc::SECCOMP_RET_ALLOW, ENOSYS], "{arch:#x}");
    }
}

#[test]
fn permissive_defaults_and_enosys_itself_need_no_stub_and_neither_does_a_profile_without_rules() {
    let rules = json!([{"names": ["write"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]);
    for default in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"] {
        let filter = filter(json!({"defaultAction": default, "syscalls": rules}));
        assert_eq!(enosys::stub(&filter.program), [0; 0], "{default}");
    }
    let enosys = filter(json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": rules}));
    assert_eq!(enosys::stub(&enosys.program), [0; 0]);
    for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_TRAP", "SCMP_ACT_KILL"] {
        assert_eq!(enosys::stub(&filter(json!({"defaultAction": default})).program), [0; 0], "{default}");
        assert!(!enosys::stub(&filter(json!({"defaultAction": default, "syscalls": rules})).program).is_empty());
    }
}

#[test]
fn a_profile_without_rules_compiles_to_its_default() {
    let (_, bpf) = compiled(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"]}));
    for number in [0, 1, 59, 334, 100_000] {
        assert_eq!(run(&bpf, &Call { number, arch: 0x4000_0003, args: NOTHING }), EPERM, "{number}");
    }
}

#[test]
fn a_rule_that_says_what_happens_anyway_changes_nothing() {
    let rule = json!({"names": ["read", "write"], "action": "SCMP_ACT_KILL_THREAD"});
    let (filter, bpf) = compiled(json!({"defaultAction": "SCMP_ACT_KILL", "syscalls": [rule]}));
    assert_eq!(filter.program.rules.len(), 1, "it still tells how new the profile is");
    let arch = names::arch(Arch::ScmpArchNative).audit;
    let answer = run(&bpf, &Call { number: libc::SYS_read as u32, arch, args: NOTHING });
    assert_eq!(answer, libc::SECCOMP_RET_KILL_THREAD);
}

#[test]
fn the_largest_errno_that_a_profile_may_ask_for_is_the_largest_that_libseccomp_takes() {
    let takes = |errno| {
        let mut context = ScmpFilterContext::new(ScmpAction::Allow).unwrap();
        context.add_rule(ScmpAction::Errno(errno), ScmpSyscall::from_name("read").unwrap()).is_ok()
    };
    assert_eq!((takes(4094), takes(4095)), (true, false));
}
