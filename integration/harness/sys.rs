//! The calls that the harness needs and that no safe crate offers. All of the suite's unsafe code is here; what
//! it means to a test is written in the modules that call it.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::agent::{Answer, Call};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, RecvMsg, UnixAddr};

/// Nothing that a container runtime does takes longer than this; a wait beyond it is a hang. [`wait_readable`] and
/// [`longest`] know of slower machines.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A pidfd of `pid` (Linux 5.3); `None` when there is no such process.
pub fn pidfd_open(pid: i32) -> Option<OwnedFd> {
    // SAFETY: the call takes two integers and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: a descriptor that is not negative was just made for us and belongs to nobody else.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// `TEST_PATIENCE`: by how much this machine is slower than the deadlines were made for.
fn patience() -> u32 {
    static PATIENCE: OnceLock<u32> = OnceLock::new();
    *PATIENCE.get_or_init(|| {
        let text = std::env::var("TEST_PATIENCE").unwrap_or_else(|_| "1".to_owned());
        text.parse().expect("TEST_PATIENCE is a number")
    })
}

/// The deadline on this machine.
pub fn longest() -> Duration {
    DEADLINE * patience()
}

/// When a wait that begins now is one for ever.
pub fn deadline() -> Instant {
    Instant::now() + longest()
}

/// Waits until `fd` is readable (or hung up); `false` when `limit` (times `TEST_PATIENCE`) passes first.
pub fn wait_readable(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let end = Instant::now() + limit * patience();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(nix::Error::EINTR) => {}
            Err(error) => panic!("poll: {error}"),
        }
    }
}

/// Runs `hook` when the test binary exits, after libtest printed its result.
pub fn at_exit(hook: extern "C" fn()) {
    // SAFETY: the function is `extern "C"`, takes nothing and lives as long as the program.
    assert_eq!(unsafe { libc::atexit(hook) }, 0, "atexit");
}

/// Takes the descriptors out of a received message.
pub fn received_fds(message: &RecvMsg<'_, '_, UnixAddr>) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    for control in message.cmsgs().expect("control messages") {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel put these descriptors into this process for this message alone.
            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    fds
}

/// The flags with which the harness receives: nothing it gets may leak into a runtime that it spawns.
pub const RECEIVE: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;

/// Rows and columns of a terminal.
pub fn window_size(terminal: &impl AsFd) -> (u16, u16) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize` through the pointer.
    let rc = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    assert_eq!(rc, 0, "TIOCGWINSZ: {}", io::Error::last_os_error());
    (size.ws_row, size.ws_col)
}

/// Sets rows and columns; the kernel sends SIGWINCH to the terminal's foreground group.
pub fn set_window_size(terminal: &impl AsFd, rows: u16, columns: u16) {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one `winsize` through the pointer.
    let rc = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    assert_eq!(rc, 0, "TIOCSWINSZ: {}", io::Error::last_os_error());
}

/// Lets the command begin a session whose controlling terminal is its standard input.
pub fn own_session(command: &mut Command) {
    let prepare = || {
        // SAFETY: plain system calls between fork and exec; neither allocates nor locks.
        let rc: c_int = unsafe { if libc::setsid() < 0 { -1 } else { libc::ioctl(0, libc::TIOCSCTTY, 0) } };
        if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: the closure makes only async-signal-safe calls.
    unsafe { command.pre_exec(prepare) };
}

/// Gives the command `fds` as descriptors 3, 4, … and nothing else above 2.
pub fn pass_fds(command: &mut Command, fds: Vec<OwnedFd>) {
    // Copies far above the targets, so that no dup2 overwrites one that is still needed.
    let high: Vec<OwnedFd> = fds
        .iter()
        .map(|fd| {
            // SAFETY: F_DUPFD_CLOEXEC takes integers and returns a new descriptor or -1.
            let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100) };
            assert!(copy >= 0, "F_DUPFD_CLOEXEC: {}", io::Error::last_os_error());
            // SAFETY: just made, and owned by nobody else.
            unsafe { OwnedFd::from_raw_fd(copy) }
        })
        .collect();
    let prepare = move || {
        for (target, fd) in (3..).zip(&high) {
            // SAFETY: dup2 on two integers between fork and exec.
            if unsafe { libc::dup2(fd.as_raw_fd(), target) } < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes only async-signal-safe calls.
    unsafe { command.pre_exec(prepare) };
}

/// Sets a signal to be ignored, and blocked, in the command: what a careless caller of a runtime hands down.
pub fn ignore_and_block(command: &mut Command, signal: c_int) {
    let prepare = move || {
        // SAFETY: the set is initialised by sigemptyset before it is read; all calls are async-signal-safe.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, signal);
            libc::signal(signal, libc::SIG_IGN);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        }
        Ok(())
    };
    // SAFETY: the closure makes only async-signal-safe calls.
    unsafe { command.pre_exec(prepare) };
}

/// The next call that a process of a seccomp listener makes; `None` when it is gone before it can be read.
pub fn receive_call(listener: &OwnedFd) -> Option<Call> {
    const SECCOMP_IOCTL_NOTIF_RECV: libc::c_ulong = 0xc050_2100;
    // SAFETY: all zero is a valid value of this plain struct, and what the kernel demands.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `seccomp_notif` through the pointer.
    let rc = unsafe { libc::ioctl(listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
    (rc == 0).then(|| Call { number: call.data.nr.into(), pid: call.pid as i32, id: call.id })
}

/// Answers a call; the one who made it may be gone.
pub fn answer_call(listener: &OwnedFd, call: Call, answer: Answer) {
    const SECCOMP_IOCTL_NOTIF_SEND: libc::c_ulong = 0xc018_2101;
    let (val, error, flags) = match answer {
        Answer::Continue | Answer::HangUp => (0, 0, 1), // SECCOMP_USER_NOTIF_FLAG_CONTINUE
        Answer::Errno(errno) => (0, -errno, 0),
        Answer::Return(value) => (value, 0, 0),
    };
    let answer = libc::seccomp_notif_resp { id: call.id, val, error, flags };
    // SAFETY: the kernel reads one `seccomp_notif_resp` through the pointer.
    unsafe { libc::ioctl(listener.as_raw_fd(), SECCOMP_IOCTL_NOTIF_SEND, &raw const answer) };
}
