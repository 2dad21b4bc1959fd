//! A timer to poll (timerfd_create(2)). Not for deadlines of a single wait: poll has its own.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use super::{Result, check, own};

/// A descriptor that becomes readable every `period`, which must not be zero, for the first time after one.
pub fn every(period: Duration) -> Result<OwnedFd> {
    // SAFETY: plain integers only.
    let ret = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
    let timer = own(check(ret.into(), || "timerfd_create()".to_owned())? as RawFd);
    let time = libc::timespec {
        // Go's longest duration is 292 years.
        tv_sec: libc::time_t::try_from(period.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: period.subsec_nanos().into(),
    };
    let spec = libc::itimerspec { it_interval: time, it_value: time };
    // SAFETY: `spec` is alive; a null old value is allowed.
    let ret = unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const spec, std::ptr::null_mut()) };
    check(ret.into(), || format!("timerfd_settime({period:?})"))?;
    Ok(timer)
}

/// Takes the expirations so far off the timer; how many there were.
pub fn expired(timer: BorrowedFd<'_>) -> u64 {
    let mut count = [0; 8];
    match crate::sys::again::read(timer, &mut count) {
        Ok(8) => u64::from_ne_bytes(count),
        // EAGAIN: none.
        _ => 0,
    }
}
