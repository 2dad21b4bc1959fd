//! v2's device rules as a BPF program that the kernel asks at every open and mknod of a device. It is the kernel's verifier that
//! makes it dear, by the jump: what all rules of a kind have in common is asked once, and a device's numbers are one.

use std::collections::BTreeMap;

use crate::plan::cgroup::{ALL_ACCESS, DeviceRule, DeviceType};
use crate::sys::bpf::{Insn, Reg};

/// What the context holds (struct bpf_cgroup_dev_ctx): access << 16 | type, major, minor; 32 bits each.
const CTX: Reg = Reg::R1;
const ACCESS: Reg = Reg::R2;
const TYPE: Reg = Reg::R3;
const MAJOR: Reg = Reg::R4;
const MINOR: Reg = Reg::R5;
const TEMP: Reg = Reg::R6;
/// Major and minor as the kernel has them in one number (dev_t).
const DEVICE: Reg = Reg::R7;
const RESULT: Reg = Reg::R0;

const MINOR_BITS: u32 = 20;
const MAJOR_BITS: u32 = 12;

const BPF_DEVCG_DEV_BLOCK: u32 = 1;
const BPF_DEVCG_DEV_CHAR: u32 = 2;

/// A jump goes no further than 32767 instructions, and no rule takes more than three.
const MOST_RULES: usize = 8000;

/// The last rule that matches decides, for each kind of access by itself: so the rules are read backwards, a denial of
/// anything still asked for ends it, and a permission takes off what it grants until nothing is left to ask for.
pub(super) fn program(rules: &[DeviceRule]) -> Vec<Insn> {
    let mut code = vec![
        Insn::load32(ACCESS, CTX, 0),
        Insn::mov(TYPE, ACCESS),
        Insn::and(TYPE, 0xffff),
        Insn::shift_right(ACCESS, 16),
        // To look whether it may be executed asks for nothing.
        Insn::jump_unless_eq(ACCESS, 0, 2),
        Insn::set(RESULT, 0),
        Insn::exit(),
        Insn::load32(MAJOR, CTX, 4),
        Insn::load32(MINOR, CTX, 8),
        Insn::mov(DEVICE, MAJOR),
        Insn::shift_left(DEVICE, MINOR_BITS),
        Insn::or(DEVICE, MINOR),
    ];
    // Nothing before a rule that covers everything can matter.
    let covers =
        |r: &DeviceRule| r.typ == DeviceType::All && r.access == ALL_ACCESS && r.major.is_none() && r.minor.is_none();
    let end = rules.iter().rposition(covers).unwrap_or(0);
    let backwards: Vec<&DeviceRule> = rules[end..].iter().rev().collect();
    for alike in backwards.chunk_by(|a, b| a.allow && b.allow).flat_map(|run| run.chunks(MOST_RULES)) {
        if alike[0].allow {
            permissions(alike, &mut code);
        } else {
            denial(alike[0], &mut code);
        }
    }
    code.extend([Insn::set(RESULT, 0), Insn::exit()]);
    code
}

/// Of permissions that follow one another the order does not matter.
fn permissions(rules: &[&DeviceRule], code: &mut Vec<Insn>) {
    let mut granted = Vec::new();
    for typ in [DeviceType::All, DeviceType::Block, DeviceType::Char] {
        // Those for many devices come first, and ask for nothing.
        let mut access_of: BTreeMap<_, u8> = BTreeMap::new();
        for rule in rules.iter().filter(|rule| rule.typ == typ) {
            *access_of.entry((rule.major, rule.minor)).or_default() |= rule.access;
        }
        if access_of.is_empty() {
            continue;
        }
        let type_test = number(typ).map(|number| (code.len(), number));
        code.extend(type_test.map(|_| Insn::exit()));
        for ((major, minor), access) in access_of {
            match tests(major, minor)[..] {
                [(reg, value)] if access == ALL_ACCESS => {
                    granted.push((code.len(), reg, value));
                    code.push(Insn::exit());
                }
                ref tests => {
                    unless_all(tests, 1, code);
                    code.push(Insn::and(ACCESS, !u32::from(access)));
                }
            }
        }
        if let Some((at, number)) = type_test {
            code[at] = Insn::jump_unless_eq(TYPE, number, over(at, code.len()));
        }
    }
    code.push(Insn::jump_unless_eq(ACCESS, 0, 2));
    for (at, reg, value) in granted {
        code[at] = Insn::jump_if_eq(reg, value, over(at, code.len()));
    }
    code.extend([Insn::set(RESULT, 1), Insn::exit()]);
}

fn denial(rule: &DeviceRule, code: &mut Vec<Insn>) {
    let mut all: Vec<_> = number(rule.typ).map(|number| (TYPE, number)).into_iter().collect();
    all.extend(tests(rule.major, rule.minor));
    let verdict = [
        Insn::mov(TEMP, ACCESS),
        Insn::and(TEMP, rule.access.into()),
        Insn::jump_if_eq(TEMP, 0, 2),
        Insn::set(RESULT, 0),
        Insn::exit(),
    ];
    unless_all(&all, verdict.len(), code);
    code.extend(verdict);
}

/// Skips `more` instructions unless every test holds.
fn unless_all(tests: &[(Reg, u32)], more: usize, code: &mut Vec<Insn>) {
    let end = code.len() + tests.len() + more;
    for (reg, value) in tests {
        code.push(Insn::jump_unless_eq(*reg, *value, over(code.len(), end)));
    }
}

/// The instructions between a jump at `from` and where it goes.
fn over(from: usize, to: usize) -> i16 {
    (to - from - 1).try_into().expect("bounded by MOST_RULES")
}

fn number(typ: DeviceType) -> Option<u32> {
    match typ {
        DeviceType::All => None,
        DeviceType::Block => Some(BPF_DEVCG_DEV_BLOCK),
        DeviceType::Char => Some(BPF_DEVCG_DEV_CHAR),
    }
}

/// The registers that have to have these values.
fn tests(major: Option<u32>, minor: Option<u32>) -> Vec<(Reg, u32)> {
    match (major, minor) {
        (Some(major), Some(minor)) if major < 1 << MAJOR_BITS && minor < 1 << MINOR_BITS => {
            vec![(DEVICE, major << MINOR_BITS | minor)]
        }
        // No device has numbers beyond those.
        _ => [(MAJOR, major), (MINOR, minor)].into_iter().filter_map(|(reg, value)| Some((reg, value?))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::bpf::interpret;

    /// Of a made-up rule: small numbers, so that many match.
    fn rule(bits: u32) -> DeviceRule {
        let some = |number: u32| (!number.is_multiple_of(4)).then_some(number / 4 % 3);
        let numbers = |n: u32| some(n).map(|n| [0, 1, 5000][n as usize]);
        DeviceRule {
            allow: !bits.is_multiple_of(3),
            typ: [DeviceType::All, DeviceType::Block, DeviceType::Char][(bits >> 4) as usize % 3],
            major: numbers(bits >> 8 & 15),
            minor: numbers(bits >> 12 & 15),
            access: [ALL_ACCESS, 1, 2, 4, 3, 6, 5, ALL_ACCESS][(bits >> 16) as usize % 8],
        }
    }

    /// What the rules say, of each kind of access by itself.
    fn allowed(rules: &[DeviceRule], typ: DeviceType, major: u32, minor: u32, access: u8) -> bool {
        access != 0
            && [1, 2, 4].into_iter().filter(|bit| access & bit != 0).all(|bit| {
                let matches = |rule: &&DeviceRule| {
                    (rule.typ == DeviceType::All || rule.typ == typ)
                        && rule.major.is_none_or(|number| number == major)
                        && rule.minor.is_none_or(|number| number == minor)
                        && rule.access & bit != 0
                };
                rules.iter().rev().find(matches).is_some_and(|rule| rule.allow)
            })
    }

    #[test]
    fn the_program_says_what_the_rules_say() {
        let mut seed = 1u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 8
        };
        let mut seen = [0; 2];
        for round in 0..2000 {
            let rules: Vec<_> = (0..round % 12).map(|_| rule(next())).collect();
            let code = program(&rules);
            for (typ, kind) in [(DeviceType::Block, 1), (DeviceType::Char, 2)] {
                for (major, minor, access) in (0..288).map(|n| (n % 6, n / 6 % 6, (n / 36) as u8)) {
                    let wanted = allowed(&rules, typ, major, minor, access);
                    let said = interpret(&code, [u32::from(access) << 16 | kind, major, minor]);
                    assert_eq!(said, u32::from(wanted), "{rules:?}: {typ:?} {major}:{minor} {access}");
                    seen[usize::from(wanted)] += 1;
                }
            }
        }
        assert!(seen.iter().all(|count| *count > 10_000), "{seen:?}");
    }

    #[test]
    fn rules_without_end_are_jumped_over() {
        let allow =
            |minor| DeviceRule { allow: true, typ: DeviceType::Char, major: Some(7), minor: Some(minor), access: 2 };
        let rules: Vec<_> = (0..40_000).map(allow).collect();
        let code = program(&rules);
        let said = |minor| interpret(&code, [2 << 16 | BPF_DEVCG_DEV_CHAR, 7, minor]);
        assert_eq!([said(0), said(39_999), said(40_000)], [1, 1, 0]);
    }

    #[test]
    fn a_jump_is_made_for_what_rules_do_not_have_in_common() {
        let allow =
            |minor| DeviceRule { allow: true, typ: DeviceType::Char, major: Some(1), minor: Some(minor), access: 7 };
        let [one, eleven] = [1, 11].map(|count| program(&(0..count).map(allow).collect::<Vec<_>>()).len());
        assert_eq!(eleven - one, 10);
    }
}
