//! The foreground of `run`: signals and the terminal are passed on until init ends, and its end is ours.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::Result;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;

use super::notify::Notify;
use super::terminal::Terminal;
use crate::sys::again::again;
use crate::sys::process::{pidfd_send_signal, wait};
use crate::sys::{Named, SysError};

/// Init in the foreground.
#[derive(Debug)]
pub struct Foreground {
    pub pid: i32,
    pub pidfd: OwnedFd,
    pub signals: SignalFd,
    pub terminal: Option<Terminal>,
    pub notify: Option<Notify>,
}

/// Adds a descriptor to those that are polled, if it is there: its index.
fn watch<'fd>(fds: &mut Vec<PollFd<'fd>>, fd: Option<PollFd<'fd>>) -> Option<usize> {
    fds.push(fd?);
    Some(fds.len() - 1)
}

impl Foreground {
    /// Waits for init's end and returns the exit status for a shell: its own, or 128 plus the signal's number.
    pub fn wait(mut self, warn: &dyn Fn(String)) -> Result<u8> {
        let mut exited = false;
        while !exited {
            let stdin = std::io::stdin();
            let mut fds = vec![
                PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            let output = watch(
                &mut fds,
                self.terminal.as_ref().map(|terminal| {
                    let room = if terminal.to_container.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
                    PollFd::new(terminal.master.as_fd(), PollFlags::POLLIN | room)
                }),
            );
            let open = self.terminal.as_ref().is_some_and(|terminal| terminal.wants_input());
            let input = watch(&mut fds, open.then(|| PollFd::new(stdin.as_fd(), PollFlags::POLLIN)));
            let notify =
                watch(&mut fds, self.notify.as_ref().map(|notify| PollFd::new(notify.as_fd(), PollFlags::POLLIN)));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(SysError::new("poll()", errno).into()),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(false)).collect();
            let is_ready = |index: Option<usize>| index.is_some_and(|index| ready[index]);
            exited = ready[0];
            if ready[1] {
                self.pass_on_signals()?;
            }
            if self.terminal.is_some() {
                self.copy(is_ready(output), is_ready(input))?;
            }
            if is_ready(notify)
                && let Some(notify) = &self.notify
            {
                // The container runs whether or not anybody hears that it is ready.
                let done = notify.forward_one(None).unwrap_or_else(|error| {
                    warn(format!("NOTIFY_SOCKET: {error:#}"));
                    true
                });
                if done {
                    self.notify = None;
                }
            }
        }
        self.end()
    }

    fn copy(&mut self, output: bool, input: bool) -> Result<()> {
        let Some(terminal) = &mut self.terminal else { return Ok(()) };
        if input {
            terminal.copy_in()?;
        } else {
            terminal.flush_in()?;
        }
        if output && !terminal.copy_out()? {
            // Everybody in the container has closed it, though init may go on; there is nothing more to copy.
            self.terminal = None;
        }
        Ok(())
    }

    fn pass_on_signals(&mut self) -> Result<()> {
        while let Some(signal) = again(|| self.signals.read_signal()).named(|| "read(signalfd)".to_owned())? {
            match signal.ssi_signo as i32 {
                // Of init itself the pidfd tells; others are orphans that came to us as their subreaper.
                libc::SIGCHLD => self.reap_orphans(),
                libc::SIGWINCH if self.terminal.is_some() => {
                    if let Some(terminal) = &self.terminal {
                        terminal.resize()?;
                    }
                }
                // Of the terminal's job control; it concerns this process.
                libc::SIGTTIN | libc::SIGTTOU => {}
                number => match pidfd_send_signal(self.pidfd.as_fd(), number) {
                    Err(error) if error.errno != Errno::ESRCH => return Err(error.into()),
                    _ => {}
                },
            }
        }
        Ok(())
    }

    fn reap_orphans(&self) {
        while let Some(pid) = crate::sys::process::exited_child() {
            if pid == self.pid {
                // Left as a zombie: `end` reads its status, through the same number.
                return;
            }
            let _ = wait(pid);
        }
    }

    fn end(self) -> Result<u8> {
        // What the container wrote last is still in the pty.
        if let Some(terminal) = &self.terminal {
            terminal.copy_out()?;
        }
        let status = wait(self.pid)?;
        Ok(if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) } as u8)
    }
}
