//! A container's status: never stored, always derived from what is true now.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::record::InitProcess;
use super::{Container, Record};
use crate::cgroup::stuck;
use crate::safe::rootfs::stat;
use crate::sys::process::pidfd_open;
use crate::sys::{Named, SysError, read_line};

/// runtime-spec, State; and `paused`, as runc has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// What identifies the process behind `pidfd`.
pub fn identify(pid: i32, pidfd: BorrowedFd<'_>) -> Result<InitProcess> {
    Ok(InitProcess { pid, start_time: start_time(pid)?, pidfd_inode: pidfs_inode(pidfd)? })
}

/// The pidfd's inode if it identifies the process, else 0: before Linux 6.9 all pidfds share one anonymous inode, on
/// another filesystem.
fn pidfs_inode(pidfd: BorrowedFd<'_>) -> Result<u64> {
    /// PID_FS_MAGIC (linux/magic.h).
    const PIDFS_MAGIC: i64 = 0x5049_4446;
    let filesystem = nix::sys::statfs::fstatfs(pidfd).named(|| "fstatfs(pidfd)".to_owned())?;
    if filesystem.filesystem_type().0 != PIDFS_MAGIC {
        return Ok(0);
    }
    Ok(stat(pidfd)?.st_ino)
}

/// Field 22 of /proc/PID/stat (proc_pid_stat(5)).
fn start_time(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = read_line(&path)?;
    // The name, in parentheses, may hold anything; what follows the last one does not.
    let rest = stat.rsplit_once(") ").map(|(_, rest)| rest);
    rest.and_then(|rest| rest.split(' ').nth(19))
        .and_then(|field| field.parse().ok())
        .with_context(|| format!("{path}: no start time"))
}

/// Whether the process has SIGKILL waiting for it, or is on its way out, or gone.
pub(super) fn is_ending(pid: i32) -> bool {
    read_line(format!("/proc/{pid}/stat")).map_or(true, |stat| tells_of_the_end(&stat))
}

/// By `/proc/PID/stat` (proc_pid_stat(5), fields 3, 9 and 31). A first thread that has ended before the others is a zombie, and
/// the process lives.
fn tells_of_the_end(stat: &str) -> bool {
    const PF_EXITING: u64 = 0x4; // linux/sched.h
    const SIGKILL: u64 = 1 << (libc::SIGKILL - 1);
    // The name, in parentheses, may hold anything; what follows the last one does not.
    let fields: Vec<&str> = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let has = |field: usize, bit: u64| {
        fields.get(field - 3).and_then(|number| number.parse().ok()).is_some_and(|number: u64| number & bit != 0)
    };
    has(31, SIGKILL) || (fields[0] != "Z" && has(9, PF_EXITING))
}

/// A pidfd of init, if that process still exists and has not exited.
pub fn open_init(record: &Record) -> Result<Option<OwnedFd>> {
    let Some(init) = record.init else { return Ok(None) };
    let pidfd = match pidfd_open(init.pid) {
        // EINVAL: the number is now a thread's.
        Err(SysError { errno: Errno::ESRCH | Errno::EINVAL, .. }) => return Ok(None),
        pidfd => pidfd?,
    };
    // Without a number on record this kernel has none either; and should it be another by now, the start time tells.
    let is_other = init.pidfd_inode != 0 && stat(pidfd.as_fd())?.st_ino != init.pidfd_inode;
    if is_other || has_exited(pidfd.as_fd(), PollTimeout::ZERO)? {
        return Ok(None);
    }
    // The inode alone repeats after a reboot. A process that vanishes here was not init: init is alive.
    match start_time(init.pid) {
        Ok(start_time) if start_time == init.start_time => Ok(Some(pidfd)),
        Ok(_) => Ok(None),
        Err(_) if has_exited(pidfd.as_fd(), PollTimeout::ZERO)? => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until the process, which has been killed, has exited, reaped or not. `others` are those that it may have to wait
/// for.
///
/// # Errors
/// Some processes take longer than anyone wants to wait, or for ever.
pub fn wait_for_exit(pid: i32, pidfd: BorrowedFd<'_>, others: impl FnOnce() -> Vec<i32>) -> Result<()> {
    /// As for the others in the cgroup.
    const PATIENCE: Duration = Duration::from_secs(10);
    const HINT: &str =
        "it is frozen with a cgroup above, or waits for one in its pid namespace to be reaped by a parent outside";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(
            &mut [PollFd::new(pidfd, PollFlags::POLLIN)],
            PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO),
        ) {
            Ok(1..) => return Ok(()),
            Err(errno) if errno != Errno::EINTR => return Err(SysError::new("poll(pidfd)", errno).into()),
            _ if left.is_zero() => {
                let why = stuck::words(&[pid]).or_else(|| stuck::words(&others()));
                let why = why.map_or_else(|| format!(" (hint: {HINT})"), |words| format!(": {words}"));
                bail!("init ({pid}) has not ended {} s after it was killed{why}", PATIENCE.as_secs())
            }
            _ => {}
        }
    }
}

fn has_exited(pidfd: BorrowedFd<'_>, timeout: PollTimeout) -> Result<bool> {
    loop {
        match poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], timeout) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(SysError::new("poll(pidfd)", errno).into()),
        }
    }
}

pub fn of(container: &Container) -> Result<Status> {
    Ok(Observed::of(container)?.status)
}

/// A container's status with what was opened to find it out, for verbs that go on from there.
#[derive(Debug)]
pub struct Observed {
    pub status: Status,
    /// Init, unless it has exited.
    pub init: Option<OwnedFd>,
    /// The writing end of `exec.fifo`, if init waits there.
    pub fifo: Option<OwnedFd>,
}

impl Observed {
    pub fn of(container: &Container) -> Result<Self> {
        let mut found = Self { status: Status::Stopped, init: None, fifo: None };
        if container.record.init.is_none() {
            // Cut off, unless whoever makes it still holds the lock.
            if container.dir.is_locked()? {
                found.status = Status::Creating;
            }
            return Ok(found);
        }
        found.init = container.init()?;
        if found.init.is_none() {
            return Ok(found);
        }
        if container.record.cgroup().is_frozen()? {
            found.status = Status::Paused;
            return Ok(found);
        }
        // `created` is exactly this: init waits at the fifo.
        found.fifo = container.dir.open_fifo()?;
        found.status = if found.fifo.is_some() { Status::Created } else { Status::Running };
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a process in this state, with these flags and pending signals.
    fn stat(state: char, flags: u32, pending: u32) -> String {
        format!("7 (a) Z (b) {state} 1 7 7 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 2 0 99 0 0 0 0 0 0 0 0 {pending} 0 0")
    }

    #[test]
    fn the_end_of_a_process_is_told_from_that_of_its_first_thread() {
        for (state, flags, pending, ends) in [
            ('S', 0x0040_0100, 0, false),
            // TERM, which a program may handle, and KILL.
            ('D', 0x0040_0100, 1 << 14, false),
            ('D', 0x0040_0100, 1 << 8, true),
            // Waiting for the others of its pid namespace.
            ('D', 0x0040_0104, 0, true),
            // After pthread_exit(3), with another thread running; and with all killed.
            ('Z', 0x0040_0104, 0, false),
            ('Z', 0x0040_0104, 1 << 8, true),
        ] {
            assert_eq!(tells_of_the_end(&stat(state, flags, pending)), ends, "{state} {flags:#x} {pending:#x}");
        }
        assert!(is_ending(i32::MAX));
        assert!(!is_ending(std::process::id().cast_signed()));
    }
}
