//! openat2(2) (Linux 5.6): the kernel resolves a path within bounds that no symlink or rename can leave.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::{Result, SysError, check, own};

/// `struct open_how`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

// <linux/openat2.h>
pub const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
pub const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub const RESOLVE_BENEATH: u64 = 0x08;
pub const RESOLVE_IN_ROOT: u64 = 0x10;

/// Opens `path` below `dir` within the bounds of `resolve`; `O_CLOEXEC` is added.
///
/// # Errors
/// ELOOP for a symlink or magic link that the bounds forbid.
pub fn openat2(dir: BorrowedFd<'_>, path: &Path, flags: OFlag, resolve: u64) -> Result<OwnedFd> {
    let call = || format!("openat2({path:?})");
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| SysError::new(call(), Errno::EINVAL))?;
    let how = OpenHow { flags: (flags | OFlag::O_CLOEXEC).bits() as u64, mode: 0, resolve };
    loop {
        // SAFETY: `name` is NUL-terminated, `how` is a struct open_how of the size passed; both outlive the call.
        let ret = unsafe {
            libc::syscall(libc::SYS_openat2, dir.as_raw_fd(), name.as_ptr(), &raw const how, size_of::<OpenHow>())
        };
        match check(ret, call) {
            Ok(fd) => return Ok(own(fd as i32)),
            // Something was renamed while the kernel looked at "..": the answer would not be certain (openat2(2)).
            Err(SysError { errno: Errno::EAGAIN | Errno::EINTR, .. }) => {}
            Err(error) => return Err(error),
        }
    }
}
