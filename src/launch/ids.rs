//! The id maps of the container's user namespace, and what else of `/proc/PID` the parent writes: the child, undumpable
//! and without privileges over the host, could not.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::plan::Plan;
use crate::plan::idmap::{IdMaps, Range};
use crate::program;
use crate::sys::Named;

/// Maps the child's ids, if the Plan makes a user namespace.
pub fn map(maps: Option<&IdMaps>, pid: i32) -> Result<()> {
    let Some(maps) = maps.filter(|maps| !maps.of_joined) else { return Ok(()) };
    if maps.deny_setgroups {
        write(pid, "setgroups", "deny").context("linux.gidMappings")?;
    }
    if maps.by_helper {
        by_helper("newuidmap", pid, &maps.uids).context("linux.uidMappings")?;
        return by_helper("newgidmap", pid, &maps.gids).context("linux.gidMappings");
    }
    write(pid, "uid_map", &lines(&maps.uids)).context("linux.uidMappings")?;
    write(pid, "gid_map", &lines(&maps.gids)).context("linux.gidMappings")
}

/// One line a range, all in one write(2), as the kernel wants it (user_namespaces(7)).
fn lines(ranges: &[Range]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.container, range.host, range.size)).collect()
}

/// newuidmap(1) and newgidmap(1) are setuid: they write what /etc/subuid and /etc/subgid grant to the caller.
fn by_helper(program: &str, pid: i32, ranges: &[Range]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for range in ranges {
        command.args([range.container, range.host, range.size].map(|number| number.to_string()));
    }
    let output = program::output(&mut command).named(|| format!("execve({program:?})")).with_context(|| {
        format!("{program} is needed to map more than one's own id (hint: install the package uidmap)")
    })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {} (hint: the ranges must be granted in /etc/subuid and /etc/subgid)", said.trim());
    }
    Ok(())
}

/// `process.oomScoreAdj`. Lowering it takes CAP_SYS_RESOURCE; without privileges over the host that is let go (as runc).
pub fn adjust_oom_score(plan: &Plan, pid: i32, rootless: bool) -> Result<()> {
    let Some(score) = plan.process.as_ref().and_then(|process| process.oom_score_adj) else { return Ok(()) };
    match write(pid, "oom_score_adj", &score.to_string()) {
        Err(error) if rootless && is_refusal(&error) => Ok(()),
        result => result.context("process.oomScoreAdj"),
    }
}

fn is_refusal(error: &anyhow::Error) -> bool {
    use nix::errno::Errno;
    error
        .downcast_ref::<crate::sys::SysError>()
        .is_some_and(|error| matches!(error.errno, Errno::EACCES | Errno::EPERM))
}

/// `linux.timeOffsets`, for the time namespace that the child has just made and nobody has entered.
pub fn shift_clocks(plan: &Plan, pid: i32) -> Result<()> {
    let lines: String = plan
        .namespaces
        .time_offsets
        .iter()
        .map(|offset| format!("{} {} {}\n", offset.clock, offset.secs, offset.nanosecs))
        .collect();
    write(pid, "timens_offsets", &lines).context("linux.timeOffsets")
}

fn write(pid: i32, file: &str, content: &str) -> Result<()> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    std::fs::write(&path, content).named(|| format!("write({path:?}, {content:?})"))?;
    Ok(())
}
