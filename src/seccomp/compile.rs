//! A profile's rules to BPF, by libseccomp. Takes 10 to 20 ms for the profiles of container engines: see `cache`.

use std::io::{Read, Seek};

use anyhow::{Context, Result, ensure};
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::sound::is_sound;
use super::{enosys, names};
use crate::plan::seccomp::{Action, Comparison, Condition, Program};
use crate::sys::seccomp::{INSTRUCTION, MAX_INSTRUCTIONS};

/// `SCMP_FLTATR_CTL_OPTIMIZE`: a binary tree over the numbers of the calls, not a list in order of weight. The kernel
/// also checks such a program four times faster when it is loaded.
const BINARY_TREE: u32 = 2;
const PLAIN_LIST: u32 = 1;

/// The BPF of `program`, an array of `struct sock_filter`, with the answer to calls newer than the profile before it.
///
/// # Errors
/// What libseccomp refuses (two rules that contradict each other) or makes a wrong filter of, and programs longer than the
/// kernel takes.
pub(super) fn compile(program: &Program) -> Result<Vec<u8>> {
    let mut context = rules(program)?;
    let mut bpf = sound(program, &context)?;
    if bpf.is_none() {
        context.set_ctl_optimize(PLAIN_LIST).context("libseccomp: plain list")?;
        bpf = sound(program, &context)?;
    }
    let bpf = bpf.context(
        "linux.seccomp: libseccomp makes a wrong filter of the profile (hint: compare an argument of a call in one rule alone)",
    )?;
    let count = bpf.len() / INSTRUCTION;
    ensure!(
        count <= MAX_INSTRUCTIONS,
        "linux.seccomp: the profile makes {count} instructions, and the kernel takes no more than {MAX_INSTRUCTIONS}"
    );
    Ok(bpf)
}

/// The whole filter, unless it is wrong.
fn sound(program: &Program, context: &ScmpFilterContext) -> Result<Option<Vec<u8>>> {
    let mut bpf = enosys::stub(program);
    export(context, &mut bpf)?;
    let archs: Vec<u32> = program.architectures.iter().map(|arch| names::arch(*arch).audit).collect();
    Ok(is_sound(&bpf, &archs).then_some(bpf))
}

pub(super) fn rules(program: &Program) -> Result<ScmpFilterContext> {
    let mut context = ScmpFilterContext::new(scmp_action(program.default)).context("libseccomp: seccomp_init")?;
    // Setting no_new_privs is a decision of its own, made and carried out elsewhere.
    context.set_ctl_nnp(false).context("libseccomp: no_new_privs")?;
    for arch in &program.architectures {
        context.add_arch(names::arch(*arch).scmp).with_context(|| format!("libseccomp: architecture {arch}"))?;
    }
    for (i, rule) in program.rules.iter().enumerate() {
        // libseccomp takes no rule that says what happens anyway.
        if rule.action == program.default {
            continue;
        }
        for name in &rule.names {
            // A name may be of another machine, or newer than libseccomp; runc passes over those as well.
            let Ok(call) = ScmpSyscall::from_name(name) else {
                continue;
            };
            add(&mut context, scmp_action(rule.action), call, &rule.any_of)
                .with_context(|| format!("linux.seccomp.syscalls[{i}]: libseccomp refuses the rule for {name}"))?;
        }
    }
    // libseccomp up to 2.5.4 makes a wrong tree when there is nothing to put into it.
    if program.architectures.iter().all(|arch| has_rules(program, names::arch(*arch).scmp)) {
        context.set_ctl_optimize(BINARY_TREE).context("libseccomp: binary tree")?;
    }
    Ok(context)
}

fn add(
    context: &mut ScmpFilterContext,
    action: ScmpAction,
    call: ScmpSyscall,
    any_of: &[Vec<Condition>],
) -> Result<(), libseccomp::error::SeccompError> {
    if any_of.is_empty() {
        context.add_rule(action, call)?;
    }
    for all in any_of {
        let all: Vec<ScmpArgCompare> = all.iter().map(scmp_compare).collect();
        context.add_rule_conditional(action, call, &all)?;
    }
    Ok(())
}

/// Some rule of `program` is about a call that `arch` has.
fn has_rules(program: &Program, arch: ScmpArch) -> bool {
    let rules = program.rules.iter().filter(|rule| rule.action != program.default);
    rules
        .flat_map(|rule| &rule.names)
        .any(|name| ScmpSyscall::from_name_by_arch(name, arch).is_ok_and(|call| call.as_raw_syscall() >= 0))
}

fn scmp_action(action: Action) -> ScmpAction {
    match action {
        Action::KillProcess => ScmpAction::KillProcess,
        Action::KillThread => ScmpAction::KillThread,
        Action::Trap => ScmpAction::Trap,
        Action::Errno(errno) => ScmpAction::Errno(i32::from(errno)),
        Action::Trace(data) => ScmpAction::Trace(data),
        Action::Notify => ScmpAction::Notify,
        Action::Log => ScmpAction::Log,
        Action::Allow => ScmpAction::Allow,
    }
}

fn scmp_compare(condition: &Condition) -> ScmpArgCompare {
    let (op, datum) = match condition.is {
        Comparison::NotEqual(value) => (ScmpCompareOp::NotEqual, value),
        Comparison::Less(value) => (ScmpCompareOp::Less, value),
        Comparison::LessOrEqual(value) => (ScmpCompareOp::LessOrEqual, value),
        Comparison::Equal(value) => (ScmpCompareOp::Equal, value),
        Comparison::GreaterOrEqual(value) => (ScmpCompareOp::GreaterEqual, value),
        Comparison::Greater(value) => (ScmpCompareOp::Greater, value),
        Comparison::Masked { mask, value } => (ScmpCompareOp::MaskedEqual(mask), value),
    };
    ScmpArgCompare::new(condition.arg, op, datum)
}

/// Appends the BPF to `bpf`. A memfd takes any length; writing to a pipe would wait for a reader.
pub(super) fn export(context: &ScmpFilterContext, bpf: &mut Vec<u8>) -> Result<()> {
    let mut file = loop {
        let file = memfd_create("seccomp", MFdFlags::MFD_CLOEXEC).context("memfd_create")?;
        // libseccomp calls everything ECANCELED.
        Errno::clear();
        match context.export_bpf(&file) {
            Err(_) if Errno::last() == Errno::EINTR => {}
            result => break result.map(|()| std::fs::File::from(file)).context("libseccomp: seccomp_export_bpf")?,
        }
    };
    file.rewind().context("memfd")?;
    file.read_to_end(bpf).context("memfd")?;
    Ok(())
}
