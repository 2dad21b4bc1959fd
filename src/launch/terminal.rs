//! The terminal of a foreground run: this one in raw mode, its window passed on, bytes copied both ways.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::Result;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::isatty;

use crate::sys::again::{read, write};
use crate::sys::{Named, SysError, tty};

/// Our side of the container's pty.
#[derive(Debug)]
pub struct Terminal {
    pub master: OwnedFd,
    /// How our own terminal was, if stdin is one.
    before: Option<Termios>,
    /// Typed, but not yet taken by the container.
    pub to_container: Vec<u8>,
    input_open: bool,
}

const CHUNK: usize = 32 * 1024;

impl Terminal {
    pub fn new(master: OwnedFd) -> Result<Self> {
        let flags = fcntl(&master, FcntlArg::F_GETFL).named(|| "fcntl(F_GETFL)".to_owned())?;
        let flags = OFlag::from_bits_truncate(flags) | OFlag::O_NONBLOCK;
        fcntl(&master, FcntlArg::F_SETFL(flags)).named(|| "fcntl(F_SETFL)".to_owned())?;
        let stdin = std::io::stdin();
        let mut before = None;
        if isatty(&stdin) == Ok(true) {
            let attributes = tcgetattr(&stdin).named(|| "tcgetattr()".to_owned())?;
            let mut raw = attributes.clone();
            cfmakeraw(&mut raw);
            tcsetattr(&stdin, SetArg::TCSANOW, &raw).named(|| "tcsetattr()".to_owned())?;
            before = Some(attributes);
        }
        let terminal = Self { master, before, to_container: Vec::new(), input_open: true };
        terminal.resize()?;
        Ok(terminal)
    }

    /// Gives the container's terminal the size of ours.
    pub fn resize(&self) -> Result<()> {
        let stdin = std::io::stdin();
        if self.before.is_some() {
            tty::set_window_size(self.master.as_fd(), tty::window_size(stdin.as_fd())?)?;
        }
        Ok(())
    }

    /// Whether there is more to read, and room for it.
    pub fn wants_input(&self) -> bool {
        self.input_open && self.to_container.len() < CHUNK
    }

    /// Reads what was typed and passes it on as far as the container takes it.
    pub fn copy_in(&mut self) -> Result<()> {
        if self.wants_input() {
            let mut buffer = [0u8; 4096];
            match read(std::io::stdin().as_fd(), &mut buffer) {
                // End of input is not the end of the terminal: its line discipline turns ^D into an end of file.
                Ok(0) | Err(Errno::EIO) => {
                    self.input_open = false;
                    self.to_container.push(4);
                }
                Ok(n) => self.to_container.extend_from_slice(&buffer[..n]),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(errno) => return Err(SysError::new("read(stdin)", errno).into()),
            }
        }
        self.flush_in()
    }

    pub fn flush_in(&mut self) -> Result<()> {
        while !self.to_container.is_empty() {
            match write(&self.master, &self.to_container) {
                Ok(n) => drop(self.to_container.drain(..n)),
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                // Nobody has the other side open any more.
                Err(Errno::EIO) => self.to_container.clear(),
                Err(errno) => return Err(SysError::new("write(terminal)", errno).into()),
            }
        }
        Ok(())
    }

    /// Passes on what the container has written; false when it has closed its side.
    pub fn copy_out(&self) -> Result<bool> {
        let mut buffer = [0u8; 4096];
        loop {
            match read(&self.master, &mut buffer) {
                Ok(0) | Err(Errno::EIO) => return Ok(false),
                Ok(n) => write_all(std::io::stdout().as_fd(), &buffer[..n])?,
                Err(Errno::EAGAIN) => return Ok(true),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(SysError::new("read(terminal)", errno).into()),
            }
        }
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
                let _ = poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], PollTimeout::NONE);
            }
            // Whoever watched is gone; the container goes on.
            Err(Errno::EPIPE | Errno::EIO) => return Ok(()),
            Err(errno) => return Err(SysError::new(format!("write({})", to.as_raw_fd()), errno).into()),
        }
    }
    Ok(())
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing better can be done for a terminal that is gone.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}
