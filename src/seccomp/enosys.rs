//! `ENOSYS` for calls that are newer than the profile, as BPF to run before the profile's own. A C library that tries
//! a new call and falls back to an old one does so on `ENOSYS` only; the profile's author, who did not know the call,
//! could not answer it so. Not for calls that the profile names.

use libseccomp::{ScmpArch, ScmpSyscall};
use oci_spec::runtime::Arch;

use super::names::{self, ArchRow};
use crate::plan::seccomp::{Action, Program};

/// Set in the number of every x32 call (`__X32_SYSCALL_BIT`).
const X32_BIT: u32 = 0x4000_0000;

/// The call by which s390 enters all calls with a number above 255; the kernel leaves it in place of numbers that it
/// does not know. As a call of its own (`setup`) it has long been gone.
const S390_MULTIPLEX: u32 = 0;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;

/// Opcodes of classic BPF (linux/bpf_common.h).
mod op {
    pub const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    pub const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
    pub const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    pub const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    pub const IF_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    pub const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
}

/// One `struct sock_filter`: `jt` and `jf` instructions are skipped when the comparison is true and false.
#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

impl Instruction {
    const fn plain(code: u16, k: u32) -> Self {
        Self { code, jt: 0, jf: 0, k }
    }

    const fn branch(code: u16, k: u32, jt: u8, jf: u8) -> Self {
        Self { code, jt, jf, k }
    }

    fn bytes(self) -> [u8; 8] {
        let ([a, b], [c, d, e, f]) = (self.code.to_ne_bytes(), self.k.to_ne_bytes());
        [a, b, self.jt, self.jf, c, d, e, f]
    }
}

/// The newest call that the profile names, for one of the kernel's architectures.
#[derive(Debug, PartialEq, Eq)]
struct Newest {
    audit: u32,
    native: Option<u32>,
    /// Of x32, which shares its architecture with x86_64. Has [`X32_BIT`].
    x32: Option<u32>,
}

/// Instructions to put before the BPF of `program`: they end in it, or return `ENOSYS` for calls with a higher number
/// than any that the program names. Empty where the default lets unknown calls through (with a tracer or without: it
/// can answer `ENOSYS` itself), or says `ENOSYS` anyway.
pub(super) fn stub(program: &Program) -> Vec<u8> {
    if program.default.permits() || program.default == Action::Errno(libc::ENOSYS as u16) {
        return Vec::new();
    }
    let sections: Vec<Vec<Instruction>> = newest(program).iter().map(section).collect();
    let mut instructions = vec![Instruction::plain(op::LOAD, ARCHITECTURE)];
    let mut left: usize = sections.iter().map(Vec::len).sum();
    for section in sections {
        left -= section.len();
        instructions.extend(section);
        // Every section ends in a jump over those that follow; only here is it known how far.
        let jump = instructions.last_mut().expect("a section is not empty");
        *jump = Instruction::plain(op::JUMP, left as u32);
    }
    if instructions.len() == 1 {
        return Vec::new();
    }
    instructions.into_iter().flat_map(Instruction::bytes).collect()
}

/// Architectures of which the profile names no call are left out: nothing tells how old the profile is there.
fn newest(program: &Program) -> Vec<Newest> {
    let mut all: Vec<Newest> = Vec::new();
    for arch in &program.architectures {
        let ArchRow { scmp, audit, .. } = *names::arch(*arch);
        let Some(number) = newest_on(program, scmp) else {
            continue;
        };
        let entry = match all.iter().position(|newest| newest.audit == audit) {
            Some(i) => &mut all[i],
            None => all.push_mut(Newest { audit, native: None, x32: None }),
        };
        match arch {
            Arch::ScmpArchX32 => entry.x32 = Some(number),
            _ => entry.native = Some(number),
        }
    }
    all
}

fn newest_on(program: &Program, arch: ScmpArch) -> Option<u32> {
    let names = program.rules.iter().flat_map(|rule| &rule.names);
    // Calls that an architecture lacks have negative numbers in libseccomp. A profile that names no call but number 0
    // counts as one that names none, as in runc.
    names
        .filter_map(|name| ScmpSyscall::from_name_by_arch(name, arch).ok())
        .filter_map(|call| u32::try_from(call.as_raw_syscall()).ok())
        .max()
        .filter(|number| *number > 0)
}

/// Entered with the architecture loaded; falls out at its end when it is another one. The last instruction is a jump
/// to the profile's own BPF.
fn section(newest: &Newest) -> Vec<Instruction> {
    use Instruction as I;
    let mut body = vec![I::plain(op::LOAD, NUMBER)];
    if [Arch::ScmpArchS390, Arch::ScmpArchS390x].map(|arch| names::arch(arch).audit).contains(&newest.audit) {
        body.push(I::branch(op::IF_EQUAL, S390_MULTIPLEX, 1, 0));
    }
    if newest.audit == names::arch(Arch::ScmpArchX86_64).audit {
        // A kind that is not listed is left to the profile's own BPF, which knows what to do with strangers.
        body.extend(match (newest.native, newest.x32) {
            (Some(native), Some(x32)) => vec![
                I::branch(op::IF_ANY_BIT, X32_BIT, 1, 0),
                I::branch(op::IF_GREATER, native, 1, 2),
                I::branch(op::IF_GREATER, x32, 0, 1),
            ],
            (Some(native), None) => {
                vec![I::branch(op::IF_ANY_BIT, X32_BIT, 2, 0), I::branch(op::IF_GREATER, native, 0, 1)]
            }
            (None, x32) => {
                vec![I::branch(op::IF_ANY_BIT, X32_BIT, 0, 2), I::branch(op::IF_GREATER, x32.unwrap_or(u32::MAX), 0, 1)]
            }
        });
    } else {
        body.push(I::branch(op::IF_GREATER, newest.native.unwrap_or(u32::MAX), 0, 1));
    }
    body.push(I::plain(op::RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32));
    body.push(I::plain(op::JUMP, 0));
    let mut section = vec![I::branch(op::IF_EQUAL, newest.audit, 0, body.len() as u8)];
    section.append(&mut body);
    section
}
