//! Network interfaces of the namespace this process is in, by ioctl (netdevice(7)).

use std::os::fd::{AsRawFd, BorrowedFd};

use super::{Result, check};

/// Brings the interface `lo` up; `socket` is any socket of the namespace.
pub fn loopback_up(socket: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: an all-zero ifreq is valid: an empty name and a null union.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads the ifreq's name and flags, both set above.
    let ret = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    check(ret.into(), || "ioctl(SIOCSIFFLAGS, \"lo\", IFF_UP)".to_owned()).map(drop)
}

/// setdomainname(2), which nix lacks.
pub fn set_domain_name(name: &str) -> Result<()> {
    // SAFETY: the pointer and length describe `name`.
    let ret = unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) };
    check(ret.into(), || format!("setdomainname({name:?})")).map(drop)
}
