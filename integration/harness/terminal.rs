//! The user's side of a terminal: the master of a pty, read with a deadline.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use super::sys;

/// The master of a pty and what was read from it so far.
pub struct Terminal {
    pub master: File,
    seen: String,
}

impl Terminal {
    /// A master that a runtime sent.
    pub fn new(master: OwnedFd) -> Self {
        Self { master: File::from(master), seen: String::new() }
    }

    /// A new pty of the given size that becomes the command's controlling terminal and standard input; the
    /// command's other streams stay as they are set. Returns the slave too, for the other streams.
    pub fn open(command: &mut Command, rows: u16, columns: u16) -> (Self, OwnedFd) {
        let pty = nix::pty::openpty(None, None).expect("openpty");
        for fd in [&pty.master, &pty.slave] {
            let flag = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
            nix::fcntl::fcntl(fd, flag).expect("FD_CLOEXEC");
        }
        sys::set_window_size(&pty.master, rows, columns);
        command.stdin(pty.slave.try_clone().expect("dup"));
        sys::own_session(command);
        (Self::new(pty.master), pty.slave)
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        self.master.write_all(format!("{line}\n").as_bytes()).expect("write to the terminal");
    }

    /// Reads until `text` has appeared; everything seen since the last such call.
    #[track_caller]
    pub fn read_until(&mut self, text: &str) -> String {
        while !self.seen.contains(text) {
            if !self.read_some() {
                panic!("the terminal closed before {text:?}: {:?}", self.seen);
            }
        }
        std::mem::take(&mut self.seen)
    }

    /// Reads until the other side has gone.
    #[track_caller]
    pub fn read_all(&mut self) -> String {
        while self.read_some() {}
        std::mem::take(&mut self.seen)
    }

    #[track_caller]
    fn read_some(&mut self) -> bool {
        let came = sys::wait_readable(self.master.as_fd(), sys::DEADLINE);
        assert!(came, "the terminal is silent after {:?}", self.seen);
        let mut bytes = [0; 4096];
        // EIO is how a pty says that no slave is open any more.
        let length = self.master.read(&mut bytes).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
        length > 0
    }
}
