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

use anyhow::{Result, anyhow, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::hooks;
use crate::state::dir::LOG;
use crate::state::status::Observed;
use crate::state::view::HookState;
use crate::state::{Container, Status};
use crate::sys::SysError;
use crate::sys::again::write;
use crate::trace;

/// A created container whose init waits.
pub struct Waiting {
    fifo: OwnedFd,
    /// Init.
    pub init: OwnedFd,
}

/// Makes sure that the container can be started.
///
/// # Errors
/// In runc's words when it is not `created`.
pub fn waiting(container: &Container) -> Result<Waiting> {
    let Observed { status, init, fifo } = Observed::of(container)?;
    match (status, init, fifo) {
        (Status::Created, Some(init), Some(fifo)) => Ok(Waiting { fifo, init }),
        (Status::Stopped, ..) => bail!("cannot start a container that has stopped"),
        (Status::Running, ..) => bail!("cannot start an already running container"),
        (status, ..) => bail!("cannot start a container in the {} state", status.name()),
    }
}

impl Waiting {
    /// Starts the program; init's descriptor is left. The caller holds the container's lock.
    ///
    /// # Errors
    /// Init's own words when the program could not be executed.
    pub fn start(self, container: &Container) -> Result<OwnedFd> {
        trace::span("release init", || release(container, &self.fifo)).map(|()| self.init)
    }
}

fn release(container: &Container, fifo: &OwnedFd) -> Result<()> {
    match write(fifo, b"0") {
        // It is gone since its pidfd was looked at: what it has left in its log, if anything, says why.
        Ok(_) | Err(Errno::EPIPE) => {}
        Err(errno) => return Err(SysError::new("write(exec.fifo)", errno).into()),
    }
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

/// Runs the poststart hooks of a container that has been started.
///
/// # Errors
/// The first that fails; the container is to be destroyed then (runtime-spec, lifecycle 9).
pub fn poststart(container: &Container) -> Result<()> {
    let record = &container.record;
    if record.hooks.poststart.is_empty() {
        return Ok(());
    }
    let pid = record.init.map_or(0, |init| init.pid);
    let state = HookState::of_record(record, "running", pid).to_json();
    let output = hooks::Output::open(&record.hooks.output)?;
    hooks::run_all(&record.hooks.poststart, &output, &state, Some(&record.bundle))
}
