//! `start`: lets init run its program, and learns whether it did.
//!
//! ```text
//!   start                                    init (holds exec.fifo open for reading)
//!   ─────                                    ────
//!   open(fifo, O_WRONLY|O_NONBLOCK)          ENXIO: nobody waits
//!   write one byte  ───────────────────────▶ read
//!                                            append "A" to exec.log
//!   poll(fifo): POLLERR  ◀────────────────── execve or death closes the reading end
//!   read exec.log:  ""      died before      "A"  started      "A…"  failed, and why
//! ```

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

use crate::hooks;
use crate::state::dir::LOG;
use crate::state::view::HookState;
use crate::state::{Container, Status};
use crate::sys::{Named, SysError};

/// Starts the program of a created container and runs the poststart hooks. The caller holds the container's lock.
///
/// # Errors
/// In runc's words when the container is not `created`; init's own words when the program could not be executed. If a
/// poststart hook fails the container is killed (runtime-spec, lifecycle 9).
pub fn start(container: &Container) -> Result<()> {
    let fifo = match container.status()? {
        Status::Created => container.dir.open_fifo()?,
        Status::Stopped => bail!("cannot start a container that has stopped"),
        Status::Running => bail!("cannot start an already running container"),
        status => bail!("cannot start a container in the {} state", status.name()),
    };
    release(container, &fifo.context("cannot start a container that has stopped")?)?;
    poststart(container)
}

fn release(container: &Container, fifo: &OwnedFd) -> Result<()> {
    write(fifo, b"0").named(|| "write(exec.fifo)".to_owned())?;
    loop {
        // POLLERR is always watched: the last reader is gone.
        match poll(&mut [PollFd::new(fifo.as_fd(), PollFlags::empty())], PollTimeout::NONE) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(SysError::new("poll(exec.fifo)", errno).into()),
        }
    }
    let log = container.dir.read(LOG)?.unwrap_or_default();
    match log.split_first() {
        None => Err(anyhow!("init died before it could start the program")),
        Some((b'A', [])) => Ok(()),
        Some((_, error)) => Err(anyhow!(String::from_utf8_lossy(error).into_owned())),
    }
}

fn poststart(container: &Container) -> Result<()> {
    let record = &container.record;
    if record.hooks.poststart.is_empty() {
        return Ok(());
    }
    let pid = record.init.map_or(0, |init| init.pid);
    let state = HookState::of_record(record, "running", pid).to_json();
    hooks::run_all(&record.hooks.poststart, &state, Some(&record.bundle)).inspect_err(|_| {
        // The hook's failure is the error to tell; what outlives this is left to `delete --force`.
        let _ = container.kill_and_wait();
    })
}
