//! Compiles a profile in a process of its own, with a limit: for some profiles libseccomp 2.5.4 releases its tree of
//! comparisons for ever (`_db_tree_put`). Neither that nor a crash of it shall be the runtime's.

use std::fs::File;
use std::io::{Read, Write};

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;

use super::compile;
use crate::plan::seccomp::Program;
use crate::sys::Named;
use crate::sys::process::{exit_now, fork, set_rlimit, wait};

/// Seconds of processor time, no part of which is spent waiting for others. The profiles of container engines take 0.02.
const SECONDS: u64 = 5;
/// What the process may write to of its own, in bytes.
const MEMORY: u64 = 1 << 30;

const WHAT_TO_DO: &str = "(hint: compare an argument of a call in one rule alone)";

/// [`compile::compile`] of `program`.
///
/// # Errors
/// As there; and a profile over which libseccomp does not come to an end, or crashes.
pub(super) fn compile(program: &Program) -> Result<Vec<u8>> {
    let (results, tell) = pipe2(OFlag::O_CLOEXEC).named(|| "pipe2()".to_owned())?;
    let Some(pid) = fork()? else {
        drop(results);
        // It could not be told any more.
        let _ = set_pdeathsig(Signal::SIGKILL);
        // Where they are refused, limits are in force that are lower still.
        let _ = set_rlimit(0, libc::RLIMIT_CPU, SECONDS, SECONDS + 1);
        let _ = set_rlimit(0, libc::RLIMIT_DATA, MEMORY, MEMORY);
        let _ = set_rlimit(0, libc::RLIMIT_CORE, 0, 0);
        let (status, bytes) = match compile::compile(program) {
            Ok(bpf) => (0, bpf),
            Err(error) => (1, format!("{error:#}").into_bytes()),
        };
        let told = File::from(tell).write_all(&bytes);
        exit_now(if told.is_ok() { status } else { 2 });
    };
    drop(tell);
    let mut bytes = Vec::new();
    let read = File::from(results).read_to_end(&mut bytes);
    let status = wait(pid)?;
    read.context("linux.seccomp: reading what was compiled")?;
    if libc::WIFEXITED(status) {
        match libc::WEXITSTATUS(status) {
            0 => return Ok(bytes),
            1 => bail!(String::from_utf8_lossy(&bytes).into_owned()),
            _ => bail!("linux.seccomp: compiling the profile failed"),
        }
    }
    match libc::WTERMSIG(status) {
        libc::SIGXCPU => bail!("linux.seccomp: libseccomp is not done with the profile after {SECONDS} s {WHAT_TO_DO}"),
        signal => bail!("linux.seccomp: signal {signal} ended libseccomp's work on the profile {WHAT_TO_DO}"),
    }
}
