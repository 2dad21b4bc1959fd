//! Device rules that are more than lines in a file. On v2 they are a BPF program on the container's directory, which is put in
//! force here; what it says is in [`program`], the calls are in [`crate::sys::bpf`]. On v1 they may have to be kept from
//! systemd.

mod program;

use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::{file, write};
use crate::plan::cgroup::{DeviceRule, Place, Write};
use crate::sys::bpf::{self, Insn};
use program::program;

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

/// Keeps v1's rules, which `writes` have set in `dir`, as they are. systemd writes its own there anew whenever it finds a
/// reason, such as a sibling that wants another controller, and where it could not be told ours that is `a`: every device, to a
/// container that runs. While there is a cgroup below the kernel refuses to reset the rules (EINVAL, which systemd takes
/// calmly).
pub(super) fn keep_rules(place: &Place, dir: &Path, writes: &[Write]) -> Result<()> {
    let resets = |write: &Write| write.value.starts_with('a');
    let rules: Vec<Write> = writes.iter().filter(|write| write.controller == "devices").cloned().collect();
    let exceptions: Vec<Write> = rules.iter().filter(|write| !resets(write)).cloned().collect();
    let all_is_allowed = rules.iter().any(|write| resets(write) && write.file == "devices.allow");
    if all_is_allowed && exceptions.is_empty() {
        return Ok(());
    }
    let below = dir.join("keeps-device-rules");
    loop {
        file::mkdir(&below)?;
        // It may have been faster. Of what is denied the kernel shows no list, but takes it again.
        if all_is_allowed {
            return write::all(place, &exceptions);
        }
        if !file::read(&dir.join("devices.list"))?.starts_with('a') {
            return Ok(());
        }
        file::rmdir(&below)?;
        write::all(place, &rules)?;
    }
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
