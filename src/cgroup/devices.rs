//! Device rules that are more than lines in a file. On v2 they are a BPF program on the container's directory that the kernel
//! asks at every open and mknod of a device: here it is written and put in force; the calls are in [`crate::sys::bpf`]. On
//! v1 they may have to be kept from systemd.

use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::file;
use crate::plan::cgroup::{DeviceRule, DeviceType};
use crate::sys::bpf::{self, Insn, Reg};

/// Attaches a program for `rules` in place of what is attached; `fresh`: nothing is.
pub(super) fn attach(dir: &Path, rules: &[DeviceRule], fresh: bool) -> Result<()> {
    let dir = file::open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
    let new = load(&program(rules))?;
    let old = if fresh { Vec::new() } else { bpf::attached(&dir)? };
    match old.as_slice() {
        [] => bpf::attach(&dir, &new, None)?,
        // At no time is there no program, or both.
        [one] => bpf::attach(&dir, &new, Some(one))?,
        many => {
            bpf::attach(&dir, &new, None)?;
            for program in many {
                bpf::detach(&dir, program).context("replacing the device programs already attached")?;
            }
        }
    }
    Ok(())
}

/// Keeps the rules of a v1 directory as they are. systemd writes its own there anew whenever it finds a reason, such as a
/// sibling that wants another controller, and where it could not be told ours that is `a`: every device, to a container that
/// runs. The kernel refuses just that write (EINVAL, which systemd takes calmly) while there is a cgroup below.
pub(super) fn keep_rules(dir: &Path) -> Result<()> {
    file::mkdir(&dir.join("keeps-device-rules"))?;
    Ok(())
}

/// Before Linux 5.11 programs count against RLIMIT_MEMLOCK, usually 64 KiB: then, and only then, it is raised for the
/// time of the call.
fn load(program: &[Insn]) -> Result<std::os::fd::OwnedFd> {
    let first = bpf::load_cgroup_device(program);
    if !matches!(&first, Err(e) if e.errno == Errno::EPERM) {
        return Ok(first?);
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    if setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)
        .or_else(|_| setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard))
        .is_err()
    {
        return Ok(first?);
    }
    let second = bpf::load_cgroup_device(program);
    setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard)?;
    Ok(second?)
}

/// What the context holds (struct bpf_cgroup_dev_ctx): access << 16 | type, major, minor; 32 bits each.
const CTX: Reg = Reg::R1;
const ACCESS: Reg = Reg::R2;
const TYPE: Reg = Reg::R3;
const MAJOR: Reg = Reg::R4;
const MINOR: Reg = Reg::R5;
const TEMP: Reg = Reg::R6;
const RESULT: Reg = Reg::R0;

const BPF_DEVCG_DEV_BLOCK: u32 = 1;
const BPF_DEVCG_DEV_CHAR: u32 = 2;

/// The last rule that matches decides, for each kind of access by itself: so the rules are read backwards, a denial of
/// anything still asked for ends it, and a permission takes off what it grants until nothing is left to ask for.
fn program(rules: &[DeviceRule]) -> Vec<Insn> {
    let mut code = vec![
        Insn::load32(ACCESS, CTX, 0),
        Insn::mov(TYPE, ACCESS),
        Insn::and(TYPE, 0xffff),
        Insn::shift_right(ACCESS, 16),
        Insn::load32(MAJOR, CTX, 4),
        Insn::load32(MINOR, CTX, 8),
    ];
    // Nothing before a rule that covers everything can matter.
    let covers = |r: &&DeviceRule| r.typ == DeviceType::All && r.access == 7 && r.major.is_none() && r.minor.is_none();
    let end = rules.iter().rposition(|r| covers(&r));
    for rule in rules[end.unwrap_or(0)..].iter().rev() {
        let access = u32::from(rule.access);
        let verdict = if rule.allow {
            vec![Insn::and(ACCESS, !access), Insn::jump_unless_eq(ACCESS, 0, 2)]
        } else {
            vec![Insn::mov(TEMP, ACCESS), Insn::and(TEMP, access), Insn::jump_if_eq(TEMP, 0, 2)]
        };
        let mut block = Vec::new();
        let typ = match rule.typ {
            DeviceType::All => None,
            DeviceType::Block => Some(BPF_DEVCG_DEV_BLOCK),
            DeviceType::Char => Some(BPF_DEVCG_DEV_CHAR),
        };
        let tests: Vec<(Reg, u32)> = [(TYPE, typ), (MAJOR, rule.major), (MINOR, rule.minor)]
            .into_iter()
            .filter_map(|(reg, value)| Some((reg, value?)))
            .collect();
        for (i, (reg, value)) in tests.iter().enumerate() {
            // Over the tests that follow, the verdict, and its two instructions of return.
            let over = tests.len() - i - 1 + verdict.len() + 2;
            block.push(Insn::jump_unless_eq(*reg, *value, over as i16));
        }
        block.extend(verdict);
        block.extend([Insn::set(RESULT, rule.allow.into()), Insn::exit()]);
        code.extend(block);
    }
    code.extend([Insn::set(RESULT, 0), Insn::exit()]);
    code
}
