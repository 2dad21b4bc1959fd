//! Does our BPF say what it should? Two answers to compare it with, call by call: libseccomp's plain compilation of the
//! same rules, without tree and without what stands before it; and the profile itself, read here once more, where what it
//! says is beyond dispute. For tests and fuzzing.

use std::collections::{BTreeMap, BTreeSet};

use libseccomp::ScmpSyscall;
use oci_spec::runtime::{Arch, LinuxSeccomp};
use serde_json::{Value, json};

use super::interpreter::{Call, run};
use super::names::{self, ArchRow};
use super::sound::is_sound;
use super::{apart, compile, kernel_action};
use crate::plan::seccomp::{Action, Comparison, Condition, Program, Rule, Surroundings};

const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const X32_BIT: u32 = 0x4000_0000;

/// Architectures that calls come from, whether the profile lists them or not.
const ALWAYS: [Arch; 4] = [Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32, Arch::ScmpArchAarch64];

/// No architecture has more calls than this.
const CALLS: u32 = 600;

/// The most calls of one number that are tried.
const MOST: usize = 1024;

/// A profile, as `linux.seccomp` has it.
pub fn profile(data: &[u8]) {
    judge(data);
}

/// How many calls were tried.
fn judge(data: &[u8]) -> usize {
    let Ok(profile) = serde_json::from_slice::<LinuxSeccomp>(data) else { return 0 };
    let around = Surroundings { no_new_privs: true, bundle: "/bundle".as_ref(), receiver: Some("/agent") };
    crate::plan::seccomp::compile(&profile, "linux.seccomp", around, &mut Vec::new())
        .map_or(0, |filter| agree(&filter.program))
}

/// A profile that `data` chooses the parts of.
pub fn made_up(data: &[u8]) {
    profile(Choices(data).profile().to_string().as_bytes());
}

/// How many calls were tried.
///
/// # Panics
/// At the first call about which the two disagree.
pub fn agree(program: &Program) -> usize {
    // Where libseccomp comes to no end, or crashes, that harms nobody there.
    let Ok(apart) = apart::compile(program) else { return 0 };
    let plain = compile::rules(program).and_then(|mut context| {
        context.set_ctl_optimize(1)?;
        let mut bpf = Vec::new();
        compile::export(&context, &mut bpf).map(|()| bpf)
    });
    let (ours, plain) = match (compile::compile(program), plain) {
        (Ok(ours), Ok(plain)) => (ours, plain),
        // Longer than the kernel takes is an error of ours alone.
        (Err(_), _) => return 0,
        (Ok(_), Err(error)) => panic!("libseccomp refuses what we take: {error:#}"),
    };
    assert_eq!(ours, apart, "another process makes another filter: {program:?}");
    let listed = program.architectures.iter().copied();
    let archs: BTreeMap<_, _> = listed.chain(ALWAYS).map(names::arch).map(|row| (row.scmp as u32, row)).collect();
    let calls: Vec<Judged> = archs.values().flat_map(|arch| Side::of(program, arch).calls()).collect();
    // A list that is wrong (`sound`) is no witness.
    let archs: Vec<u32> = program.architectures.iter().map(|arch| names::arch(*arch).audit).collect();
    let is_sound = is_sound(&plain, &archs);
    for Judged { call, newer, meant } in &calls {
        let found = run(&ours, call);
        let expected = if *newer { Some(ENOSYS) } else { meant.or_else(|| is_sound.then(|| run(&plain, call))) };
        assert!(
            expected.is_none_or(|expected| found == expected),
            "{call:x?}: {found:#x}, not {expected:x?}: {program:?}"
        );
    }
    calls.len()
}

/// A call, and what is known about its answer.
struct Judged {
    call: Call,
    /// `ENOSYS`, whatever the rules are.
    newer: bool,
    meant: Option<u32>,
}

/// What the profile has for one architecture.
struct Side<'a> {
    program: &'a Program,
    arch: &'static ArchRow,
    /// The rules about each call, by its number.
    rules: BTreeMap<u32, Vec<&'a Rule>>,
    /// Calls that are many, by their first argument: libseccomp has rules of its own for them.
    multiplexed: Vec<u32>,
}

impl<'a> Side<'a> {
    fn of(program: &'a Program, arch: &'static ArchRow) -> Self {
        let mut rules: BTreeMap<u32, Vec<&Rule>> = BTreeMap::new();
        for rule in &program.rules {
            for name in &rule.names {
                if let Some(number) = number_of(name, arch) {
                    rules.entry(number).or_default().push(rule);
                }
            }
        }
        let numbers = ["socketcall", "ipc"].into_iter().filter_map(|name| number_of(name, arch));
        Self { program, arch, rules, multiplexed: numbers.collect() }
    }

    fn is_listed(&self) -> bool {
        self.program.architectures.contains(&self.arch.arch)
    }

    /// The profile refuses, and names no call as new as this one.
    fn is_newer(&self, number: u32) -> bool {
        let default = self.program.default;
        let answers = !default.permits() && kernel_return(default) != ENOSYS;
        let newest = self.rules.keys().next_back().copied().unwrap_or(0);
        answers && self.is_listed() && newest > 0 && number > newest
    }

    fn calls(&self) -> Vec<Judged> {
        let all = self
            .numbers()
            .into_iter()
            .flat_map(|number| self.arguments(number).into_iter().map(move |args| (number, args)));
        let judged = all.map(|(number, args)| {
            let call = Call { number, arch: self.arch.audit, args };
            Judged { call, newer: self.is_newer(number), meant: self.meant(&call) }
        });
        judged.collect()
    }

    fn numbers(&self) -> BTreeSet<u32> {
        // Those of x32 begin at its bit, those of MIPS at 4000, 5000 or 6000.
        let first = match self.arch.arch {
            Arch::ScmpArchX32 => X32_BIT,
            _ => self.rules.keys().next().map_or(0, |number| number / 1000 * 1000),
        };
        let known = first..first + CALLS;
        let named = self.rules.keys().flat_map(|number| [number.wrapping_sub(1), *number, number + 1]);
        let edges = [X32_BIT - 1, X32_BIT, i32::MAX as u32, 1 << 31, u32::MAX];
        // To the kernel x86_64 and x32 are one architecture, and this bit tells them apart.
        let is_own = |number: &u32| match self.arch.arch {
            Arch::ScmpArchX86_64 => number & X32_BIT == 0,
            Arch::ScmpArchX32 => number & X32_BIT != 0,
            _ => true,
        };
        known.chain(named).chain(edges).filter(is_own).collect()
    }

    /// Arguments on both sides of everything that is compared, in each half.
    fn arguments(&self, number: u32) -> Vec<[u64; 6]> {
        let mut values: [BTreeSet<u64>; 6] = std::array::from_fn(|_| BTreeSet::from([0, u64::MAX]));
        if self.multiplexed.contains(&number) {
            values[0].extend(1..25);
        }
        let rules = self.rules.get(&number).map_or(&[][..], Vec::as_slice);
        let conditions: Vec<&Condition> = rules.iter().flat_map(|rule| rule.any_of.iter().flatten()).collect();
        for condition in &conditions {
            values[condition.arg as usize].extend(around(condition.is));
        }
        if conditions.is_empty() && values[0].len() == 2 {
            return vec![[0; 6], [u64::MAX; 6]];
        }
        let compared = |arg: &usize| values[*arg].len() > 2;
        let mut all = vec![[0; 6]];
        for arg in (0..6).filter(compared) {
            let with = |args: [u64; 6], value| std::array::from_fn(|i| if i == arg { value } else { args[i] });
            let more: Vec<_> =
                all.iter().flat_map(|args| values[arg].iter().map(|value| with(*args, *value))).collect();
            // Not all there are, but no more from one end than from the other.
            let step = more.len().div_ceil(MOST);
            all = more.into_iter().step_by(step).collect();
        }
        all
    }

    /// What the profile says of `call`, where that is beyond dispute.
    fn meant(&self, call: &Call) -> Option<u32> {
        if !self.is_listed() {
            // -1 is the number of a call that a tracer has cancelled; libseccomp takes it for one of x86_64's.
            return (call.number != u32::MAX).then_some(libc::SECCOMP_RET_KILL_THREAD);
        }
        // A number that is neither x32's nor any call's.
        if self.arch.arch == Arch::ScmpArchX86_64 && call.number >= X32_BIT {
            return None;
        }
        let named = self.rules.get(&call.number).map(Vec::as_slice);
        // i386 and its like have numbers for calls that are also multiplexed; libseccomp tells us only of the latter.
        if named.is_none() && !self.multiplexed.is_empty() {
            return None;
        }
        let rules = named.unwrap_or_default().iter().filter(|rule| rule.action != self.program.default);
        let conditional = rules.clone().any(|rule| !rule.any_of.is_empty());
        let first = rules.clone().next().map(|rule| rule.action);
        let contradict = rules.clone().any(|rule| Some(rule.action) != first);
        // Of calls with half of each argument only the one half is compared.
        if contradict || (conditional && self.is_32_bit()) || self.multiplexed.contains(&call.number) {
            return None;
        }
        let matching = rules.clone().find(|rule| {
            rule.any_of.is_empty() || rule.any_of.iter().any(|all| all.iter().all(|one| holds(one, &call.args)))
        });
        Some(kernel_return(matching.map_or(self.program.default, |rule| rule.action)))
    }

    fn is_32_bit(&self) -> bool {
        /// `__AUDIT_ARCH_64BIT` of linux/audit.h.
        const IS_64_BIT: u32 = 0x8000_0000;
        self.arch.arch == Arch::ScmpArchX32 || self.arch.audit & IS_64_BIT == 0
    }
}

/// Calls that an architecture lacks have none.
fn number_of(name: &str, arch: &ArchRow) -> Option<u32> {
    u32::try_from(ScmpSyscall::from_name_by_arch(name, arch.scmp).ok()?.as_raw_syscall()).ok()
}

fn holds(condition: &Condition, args: &[u64; 6]) -> bool {
    let arg = args[condition.arg as usize];
    match condition.is {
        Comparison::NotEqual(value) => arg != value,
        Comparison::Less(value) => arg < value,
        Comparison::LessOrEqual(value) => arg <= value,
        Comparison::Equal(value) => arg == value,
        Comparison::GreaterOrEqual(value) => arg >= value,
        Comparison::Greater(value) => arg > value,
        // The value is masked too (seccomp_rule_add(3)).
        Comparison::Masked { mask, value } => arg & mask == value & mask,
    }
}

fn kernel_return(action: Action) -> u32 {
    let data = match action {
        Action::Errno(data) | Action::Trace(data) => data.into(),
        _ => 0,
    };
    kernel_action(action) | data
}

fn around(comparison: Comparison) -> Vec<u64> {
    let (value, mask) = match comparison {
        Comparison::Masked { mask, value } => (value, mask),
        Comparison::NotEqual(value)
        | Comparison::Less(value)
        | Comparison::LessOrEqual(value)
        | Comparison::Equal(value)
        | Comparison::GreaterOrEqual(value)
        | Comparison::Greater(value) => (value, value),
    };
    let high = 1 << 32;
    vec![
        value,
        value.wrapping_sub(1),
        value.wrapping_add(1),
        value.wrapping_add(high),
        value.wrapping_sub(high),
        value ^ (1 << 63),
        value & u64::from(u32::MAX),
        value | !u64::from(u32::MAX),
        value.rotate_left(32),
        !value,
        mask,
        !mask,
        value | !mask,
        value ^ (mask & mask.wrapping_neg()),
    ]
}

/// Bytes as decisions; zeros once there are no more.
struct Choices<'a>(&'a [u8]);

/// Calls of every kind: everywhere, of one architecture, multiplexed on i386, old and new, unknown.
const NAMES: &[&str] = &[
    "read",
    "write",
    "openat",
    "clone",
    "clone3",
    "personality",
    "socket",
    "bind",
    "connect",
    "accept4",
    "socketcall",
    "semop",
    "shmget",
    "msgctl",
    "ipc",
    "mmap",
    "mmap2",
    "prctl",
    "ioctl",
    "time",
    "arch_prctl",
    "set_thread_area",
    "waitpid",
    "statx",
    "openat2",
    "close_range",
    "futex_waitv",
    "execve",
    "sendmsg",
    "rt_sigreturn",
    "_llseek",
    "no_such",
];

const ACTIONS: &[&str] =
    &["ALLOW", "ERRNO", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "LOG", "TRACE", "TRAP", "NOTIFY"];

const OPERATORS: &[&str] = &["EQ", "NE", "LT", "LE", "GE", "GT", "MASKED_EQ"];

const VALUES: &[u64] =
    &[0, 1, 2, 8, 0x7e02_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff, 1 << 32, 1 << 63, u64::MAX];

impl Choices<'_> {
    fn byte(&mut self) -> usize {
        let byte = self.0.split_off_first().copied().unwrap_or(0);
        byte.into()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.byte() % all.len()]
    }

    fn value(&mut self) -> u64 {
        match self.byte() {
            own @ 0..32 => (0..8).fold(own as u64, |value, _| value << 8 | self.byte() as u64),
            listed => VALUES[listed % VALUES.len()],
        }
    }

    fn action(&mut self, of: &mut Value, action: &str, errno: &str) {
        let name = self.of(ACTIONS);
        of[action] = format!("SCMP_ACT_{name}").into();
        if ["ERRNO", "TRACE"].contains(&name) && self.byte().is_multiple_of(2) {
            of[errno] = (self.byte() * 16).min(4094).into();
        }
    }

    fn rule(&mut self) -> Value {
        let names: Vec<&str> = (0..=self.byte() % 3).map(|_| self.of(NAMES)).collect();
        let args: Vec<Value> = (0..self.byte() % 4).map(|_| self.condition()).collect();
        let mut rule = json!({ "names": names, "args": args });
        self.action(&mut rule, "action", "errnoRet");
        rule
    }

    fn condition(&mut self) -> Value {
        let op = format!("SCMP_CMP_{}", self.of(OPERATORS));
        json!({ "index": self.byte() % 6, "op": op, "value": self.value(), "valueTwo": self.value() })
    }

    fn profile(&mut self) -> Value {
        const LISTS: [&[&str]; 5] =
            [&[], &["X86_64"], &["X86_64", "X86", "X32"], &["X86"], &["X32", "AARCH64", "MIPSEL", "RISCV64"]];
        let architectures: Vec<String> = self.of(&LISTS).iter().map(|arch| format!("SCMP_ARCH_{arch}")).collect();
        let mut profile = json!({ "architectures": architectures });
        self.action(&mut profile, "defaultAction", "defaultErrnoRet");
        profile["syscalls"] = (0..self.byte() % 9).map(|_| self.rule()).collect();
        profile
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::filter;
    use super::*;

    /// Bytes without a pattern (xorshift64*), the same each time.
    fn noise(seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = |_| {
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
        };
        (0..160).map(next).collect()
    }

    /// `ORACLE_ROUNDS=N` tries more.
    #[test]
    fn made_up_profiles_mean_what_they_say() {
        let rounds = std::env::var("ORACLE_ROUNDS").map_or(100, |rounds| rounds.parse().expect("a number"));
        let tried = |round: &u64| judge(Choices(&noise(*round)).profile().to_string().as_bytes()) > 0;
        // The others contradict themselves, or are of those that libseccomp makes wrong filters of.
        let compiled = (0..rounds).filter(tried).count() as u64;
        assert!(compiled > rounds / 3, "{compiled}");
    }

    #[test]
    fn a_wrong_filter_is_noticed() {
        let profile = |value: u64| {
            filter(json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                { "names": ["read"], "action": "SCMP_ACT_ALLOW" },
                { "names": ["personality"], "action": "SCMP_ACT_ALLOW",
                  "args": [{ "index": 0, "op": "SCMP_CMP_EQ", "value": value }] }] }))
        };
        let (good, other) = (profile(8).program, profile(8 | 1 << 63).program);
        assert!(agree(&good) > 2000);
        let side = Side::of(&good, names::arch(Arch::ScmpArchNative));
        let bpf = compile::compile(&other).unwrap();
        let differs = |args: &[u64; 6]| {
            let call = Call { number: libc::SYS_personality as u32, arch: side.arch.audit, args: *args };
            Some(run(&bpf, &call)) != side.meant(&call)
        };
        assert!(side.arguments(libc::SYS_personality as u32).iter().any(differs));
    }
}
