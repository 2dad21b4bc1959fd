//! userfaultfd(2), for one thing: a page whose first touch another process sees. It takes no system call to touch it, so it
//! is how a process can say something that a seccomp filter has no say in.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::{Result, SysError, check, own};

// <linux/userfaultfd.h>
const UFFD_USER_MODE_ONLY: libc::c_int = 1;
const UFFD_API: u64 = 0xaa;
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const UFFDIO_REGISTER_MODE_MISSING: u64 = 1;

/// `struct uffdio_api`.
#[repr(C)]
#[derive(Default)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
#[derive(Default)]
struct Register {
    start: u64,
    len: u64,
    mode: u64,
    ioctls: u64,
}

/// A page that nobody has touched yet, and the descriptor that becomes readable when somebody does.
#[derive(Debug)]
pub struct Bell {
    fd: OwnedFd,
    page: Page,
}

/// What is left of a [`Bell`] when its descriptor is elsewhere.
#[derive(Debug)]
pub struct Page(*mut u8);

impl Bell {
    /// # Errors
    /// ENOSYS or EPERM where the kernel has no userfaultfd or a filter around us forbids it; EINVAL before Linux 5.11.
    pub fn new() -> Result<Self> {
        // Faults in user mode alone need no privilege (vm.unprivileged_userfaultfd). A blocking one cannot be polled.
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | UFFD_USER_MODE_ONLY;
        // SAFETY: plain integers only.
        let fd = check(unsafe { libc::syscall(libc::SYS_userfaultfd, flags) }, || "userfaultfd()".to_owned())?;
        let fd = own(fd as RawFd);
        let mut api = Api { api: UFFD_API, ..Api::default() };
        // SAFETY: `api` is the struct that this ioctl reads and writes.
        let ret = unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_API, &raw mut api) };
        check(ret.into(), || "ioctl(UFFDIO_API)".to_owned())?;
        // SAFETY: takes a plain integer.
        let length = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        // SAFETY: a new anonymous mapping, where the kernel likes.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(SysError::new(format!("mmap({length})"), Errno::last()));
        }
        let range = (page as u64, length as u64);
        let mut register = Register { start: range.0, len: range.1, mode: UFFDIO_REGISTER_MODE_MISSING, ioctls: 0 };
        // SAFETY: `register` is the struct that this ioctl reads and writes; it names the mapping just made.
        let ret = unsafe { libc::ioctl(fd.as_raw_fd(), UFFDIO_REGISTER, &raw mut register) };
        check(ret.into(), || "ioctl(UFFDIO_REGISTER)".to_owned())?;
        Ok(Self { fd, page: Page(page.cast()) })
    }

    /// Closes the descriptor here; another process has a copy. Its number is free again.
    pub fn close(self) -> Page {
        self.page
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Page {
    /// Touches the page. Stands still until the last copy of the descriptor is closed: the kernel serves the fault then.
    pub fn touch(self) {
        // SAFETY: the mapping is one writable page, made by `Bell::new` and never unmapped.
        unsafe { self.0.write_volatile(1) };
    }
}
