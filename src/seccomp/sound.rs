//! Whether BPF compares what it means to. libseccomp (2.5.4) loses track of the accumulator now and then: where two rules
//! about one call order the same argument, the second may be put to the half of it that the first has left there, and a
//! call goes through that no rule names; where several architectures are listed, the number of an architecture is taken
//! for that of a call. Such a filter must not be loaded. Not for what a filter says (`oracle`, for tests, judges that).

use super::enosys::ARCHITECTURE;
use crate::sys::seccomp::INSTRUCTION;

/// What is in the accumulator: a word of `struct seccomp_data`, and the bits of it that are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word {
    offset: u32,
    mask: u32,
}

/// What may be there when an instruction is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accumulator {
    Unreached,
    Holds(Word),
    /// It depends on the way.
    Mixed,
}

impl Accumulator {
    fn or(self, other: Self) -> Self {
        match self {
            Self::Unreached => other,
            same if same == other => same,
            _ => Self::Mixed,
        }
    }
}

/// On every way to a comparison the same word is compared, and that of the architecture only with one of `archs`
/// (`AUDIT_ARCH_*`).
pub(super) fn is_sound(bpf: &[u8], archs: &[u32]) -> bool {
    walk(bpf, archs).is_some()
}

/// `None` at the first instruction that is none of libseccomp's, or compares what it should not. Jumps lead forward alone,
/// so that what leads to an instruction has been seen before it.
fn walk(bpf: &[u8], archs: &[u32]) -> Option<()> {
    let start = Word { offset: u32::MAX, mask: 0 };
    let mut reached = vec![Accumulator::Unreached; bpf.len() / INSTRUCTION];
    *reached.first_mut()? = Accumulator::Holds(start);
    for (at, instruction) in bpf.chunks_exact(INSTRUCTION).enumerate() {
        let [c0, c1, jt, jf, k0, k1, k2, k3] = instruction.try_into().ok()?;
        let (code, k) = (u16::from_ne_bytes([c0, c1]), u32::from_ne_bytes([k0, k1, k2, k3]));
        let now = reached[at];
        let (next, skips) = match (u32::from(code), now) {
            (_, Accumulator::Unreached) => continue,
            (RETURN, _) => continue,
            (LOAD, _) => (Accumulator::Holds(Word { offset: k, mask: u32::MAX }), [0, 0]),
            (JUMP, _) => (now, [k as usize; 2]),
            (AND, Accumulator::Holds(word)) => (Accumulator::Holds(Word { mask: word.mask & k, ..word }), [0, 0]),
            (IF_EQUAL, Accumulator::Holds(Word { offset: ARCHITECTURE, .. })) if !archs.contains(&k) => return None,
            (IF_EQUAL | IF_GREATER | IF_GREATER_OR_EQUAL | IF_ANY_BIT, Accumulator::Holds(word)) if word != start => {
                (now, [jt.into(), jf.into()])
            }
            _ => return None,
        };
        for skip in skips {
            let to = reached.get_mut(at + 1 + skip)?;
            *to = to.or(next);
        }
    }
    Some(())
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_GREATER: u32 = libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K;
const IF_GREATER_OR_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const IF_ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::compile::{compile, export, rules};
    use super::super::tests::filter;
    use super::*;

    /// A profile that libseccomp compiles wrongly: 0x7e89_9a5d_ee77_0da5 is in neither range, and is let through.
    fn two_ranges() -> crate::plan::seccomp::Program {
        let range = |op, value: u64| json!({ "names": ["shmget"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 2, "op": op, "value": value }] });
        let rules = json!([range("SCMP_CMP_LE", 0x7e89_9a5d_ee77_0da4), range("SCMP_CMP_GE", 1 << 63)]);
        filter(json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules })).program
    }

    #[test]
    fn a_filter_that_lets_through_what_no_rule_names_is_refused() {
        let mut bpf = Vec::new();
        export(&rules(&two_ranges()).unwrap(), &mut bpf).unwrap();
        let arch = super::super::names::arch(oci_spec::runtime::Arch::ScmpArchNative).audit;
        assert!(!is_sound(&bpf, &[arch]), "libseccomp gets it right now");
        let error = format!("{:#}", compile(&two_ranges()).unwrap_err());
        assert!(error.contains("linux.seccomp") && error.contains("libseccomp"), "{error}");
    }

    #[test]
    fn what_is_compared_must_be_known() {
        let bpf = |code: &[(u32, u8, u8, u32)]| {
            let bytes = |(code, jt, jf, k): &(u32, u8, u8, u32)| {
                [&(*code as u16).to_ne_bytes()[..], &[*jt, *jf], &k.to_ne_bytes()].concat()
            };
            code.iter().flat_map(bytes).collect::<Vec<u8>>()
        };
        let ends = [(RETURN, 0, 0, 0), (RETURN, 0, 0, 1)];
        let with = |code: &[(u32, u8, u8, u32)]| is_sound(&bpf(&[code, &ends].concat()), &[7]);
        assert!(with(&[(LOAD, 0, 0, 0), (IF_EQUAL, 0, 1, 5)]));
        assert!(with(&[(LOAD, 0, 0, 4), (IF_EQUAL, 0, 1, 7)]));
        assert!(!with(&[(LOAD, 0, 0, 4), (IF_EQUAL, 0, 1, 5)]), "an architecture compared with a number");
        assert!(!with(&[(IF_EQUAL, 0, 1, 5)]), "nothing loaded");
        // One way to the second comparison loads another word.
        assert!(!with(&[(LOAD, 0, 0, 0), (IF_EQUAL, 0, 1, 5), (LOAD, 0, 0, 16), (IF_EQUAL, 0, 1, 5)]));
        assert!(with(&[(LOAD, 0, 0, 0), (IF_EQUAL, 0, 1, 5), (LOAD, 0, 0, 16), (LOAD, 0, 0, 16), (IF_EQUAL, 0, 1, 5)]));
        assert!(!with(&[(LOAD, 0, 0, 0), (IF_EQUAL, 9, 9, 5)]), "out of the program");
    }
}
