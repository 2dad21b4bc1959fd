//! Device rules that are more than lines in a file. On v2 they are a BPF program on the container's directory, which is put in
//! force here; what it says is in [`program`], the calls are in [`crate::sys::bpf`]. On v1 they may have to be kept from
//! systemd.

mod program;

use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::file;
use crate::plan::cgroup::DeviceRule;
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
