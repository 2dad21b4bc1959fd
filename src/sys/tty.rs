//! Terminals: the pty calls that nix lacks, and windows.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::{Result, check};

/// Opens the other end of the pty master `master` without looking up a path (Linux 4.13): nobody can put another file
/// in its place.
pub fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes plain flags and returns a new descriptor.
    let ret = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    // SAFETY: the call has just returned this new descriptor.
    check(ret.into(), || "ioctl(TIOCGPTPEER)".to_owned()).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Unlocks the pty (unlockpt(3) without its path look-ups).
pub fn unlock(master: BorrowedFd<'_>) -> Result<()> {
    let zero: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    let ret = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const zero) };
    check(ret.into(), || "ioctl(TIOCSPTLCK)".to_owned()).map(drop)
}

/// Rows and columns of the terminal.
pub fn window_size(tty: BorrowedFd<'_>) -> Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one struct winsize.
    let ret = unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    check(ret.into(), || "ioctl(TIOCGWINSZ)".to_owned()).map(|_| (size.ws_row, size.ws_col))
}

pub fn set_window_size(tty: BorrowedFd<'_>, (rows, columns): (u16, u16)) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one struct winsize.
    let ret = unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    check(ret.into(), || "ioctl(TIOCSWINSZ)".to_owned()).map(drop)
}

/// Makes the terminal the controlling one of this session leader.
pub fn make_controlling(tty: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes a plain integer.
    let ret = unsafe { libc::ioctl(tty.as_raw_fd(), libc::TIOCSCTTY, 0) };
    check(ret.into(), || "ioctl(TIOCSCTTY)".to_owned()).map(drop)
}
