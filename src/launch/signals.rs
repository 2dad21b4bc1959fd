//! Signals as a file descriptor, for a runtime that waits in the foreground (signalfd(2)).

use anyhow::Result;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::sys::Named;

/// All that can be caught: what is not the runtime's own business is the container's. SIGURG stays out (a Go client
/// sends it to itself all the time; runc ignores it too), and so do the faults of this process.
pub fn all() -> Result<SignalFd> {
    let mut set = SigSet::all();
    for own in [Signal::SIGURG, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGTRAP] {
        set.remove(own);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&set), None).named(|| "sigprocmask()".to_owned())?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).named(|| "signalfd()".to_owned())?)
}
