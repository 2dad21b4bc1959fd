//! From a profile to BPF that can be loaded: libseccomp, and a cache in front of it. Not for what a profile means
//! (`plan::seccomp`), and not for loading it (`sys::seccomp`).

mod apart;
mod cache;
mod compile;
mod enosys;
pub mod names;
mod sound;

use std::path::Path;

use anyhow::Result;

use crate::error::InputError;
use crate::plan::seccomp::{Action, Filter};
use crate::sys::seccomp as kernel;

/// The BPF of `filter`, an array of `struct sock_filter` for [`kernel::load`], from the cache below the state root
/// `root` or compiled now (10 to 20 ms, in another process).
///
/// # Errors
/// An action or a flag that the running kernel does not have, and what libseccomp cannot make BPF of.
pub fn bpf(root: &Path, filter: &Filter) -> Result<Vec<u8>> {
    if let Some(raw) = &filter.raw {
        return Ok(raw.clone());
    }
    check_flags(filter)?;
    let key = cache::Key::of(&filter.program);
    if let Some(bpf) = key.as_ref().and_then(|key| cache::load(root, key)) {
        return Ok(bpf);
    }
    check_actions(filter)?;
    let bpf = apart::compile(&filter.program)?;
    if let Some(key) = key {
        // The next container compiles it again then, and that is all.
        let _ = cache::store(root, &key, &bpf);
    }
    Ok(bpf)
}

fn missing(at: String, what: String) -> Result<(), InputError> {
    Err(InputError::new(at, format!("this kernel has no {what}")))
}

/// Refuses flags that the running kernel does not have, by name: it would do so without a word.
fn check_flags(filter: &Filter) -> Result<(), InputError> {
    // Older than system calls without which nothing here works: mount_setattr(2) came with Linux 5.12, these by 4.17.
    const OLD: u32 = kernel::FLAG_TSYNC | kernel::FLAG_LOG | kernel::FLAG_SPEC_ALLOW;
    let asked = filter.flags & !OLD;
    match names::FLAGS.iter().find(|row| asked & row.bit != 0 && !kernel::flag_available(row.bit)) {
        Some(row) => missing("linux.seccomp.flags".into(), row.flag.to_string()),
        None => Ok(()),
    }
}

/// Refuses actions that the running kernel does not have, by name: it would take them for killing ones. What is in the cache
/// has been looked at when it was compiled.
fn check_actions(filter: &Filter) -> Result<(), InputError> {
    let program = &filter.program;
    let rules = program.rules.iter().enumerate();
    let actions = rules.map(|(i, rule)| (Some(i), rule.action));
    let mut asked = Vec::new();
    for (rule, action) in std::iter::once((None, program.default)).chain(actions) {
        let kind = kernel_action(action);
        if asked.contains(&kind) {
            continue;
        }
        if !kernel::action_available(kind) {
            let at = rule.map_or("defaultAction".into(), |i| format!("syscalls[{i}].action"));
            return missing(format!("linux.seccomp.{at}"), format!("{action:?} action"));
        }
        asked.push(kind);
    }
    Ok(())
}

/// `SECCOMP_RET_*` without data.
fn kernel_action(action: Action) -> u32 {
    match action {
        Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        Action::KillThread => libc::SECCOMP_RET_KILL_THREAD,
        Action::Trap => libc::SECCOMP_RET_TRAP,
        Action::Errno(_) => libc::SECCOMP_RET_ERRNO,
        Action::Trace(_) => libc::SECCOMP_RET_TRACE,
        Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
        Action::Log => libc::SECCOMP_RET_LOG,
        Action::Allow => libc::SECCOMP_RET_ALLOW,
    }
}

#[cfg(test)]
mod bpf_tests;
#[cfg(any(test, fuzzing))]
mod interpreter;
#[cfg(any(test, fuzzing))]
pub mod oracle;
#[cfg(test)]
mod tests;
