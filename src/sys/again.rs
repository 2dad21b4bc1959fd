//! System calls that a signal may interrupt before they have done anything (EINTR, signal(7)), made again until they have:
//! nix's own, by its names, which leave that to the caller. No signal is handled here, but some interrupt all the same: that
//! which stops a process, a debugger's.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::libc::off_t;
use nix::sys::stat::Mode;
use nix::{NixPath, Result};

/// Makes the call until it is not interrupted.
pub fn again<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

pub fn open<P: ?Sized + NixPath>(path: &P, flags: OFlag, mode: Mode) -> Result<OwnedFd> {
    again(|| fcntl::open(path, flags, mode))
}

pub fn openat<P: ?Sized + NixPath>(dir: impl AsFd, path: &P, flags: OFlag, mode: Mode) -> Result<OwnedFd> {
    again(|| fcntl::openat(dir.as_fd(), path, flags, mode))
}

pub fn read(fd: impl AsFd, buffer: &mut [u8]) -> Result<usize> {
    again(|| nix::unistd::read(fd.as_fd(), buffer))
}

pub fn write(fd: impl AsFd, bytes: &[u8]) -> Result<usize> {
    again(|| nix::unistd::write(fd.as_fd(), bytes))
}

pub fn pread(fd: impl AsFd, buffer: &mut [u8], offset: off_t) -> Result<usize> {
    again(|| nix::sys::uio::pread(fd.as_fd(), buffer, offset))
}

/// The standard library's, which begins everything else again.
pub fn read_dir(path: impl AsRef<std::path::Path>) -> std::io::Result<std::fs::ReadDir> {
    loop {
        match std::fs::read_dir(path.as_ref()) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
