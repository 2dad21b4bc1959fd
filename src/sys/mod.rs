//! All unsafe code and every raw system call. Arguments are typed, and an error prints the call as strace would:
//! `open_tree("/srv/x", OPEN_TREE_CLONE): no such file or directory`. Not for policy: what to call, and when, is
//! decided elsewhere.

pub mod again;
pub mod bpf;
#[cfg(all(target_arch = "x86_64", not(fuzzing)))]
mod early;
pub mod entry;
#[cfg(all(known_libc, target_feature = "crt-static", not(test)))]
mod libc_start;
pub mod mount;
pub mod net;
pub mod netlink;
pub mod openat2;
pub mod process;
pub mod publish;
pub mod regex;
pub mod sched;
pub mod seccomp;
pub mod timer;
pub mod tty;
pub mod userfault;

use std::fmt;

use nix::errno::Errno;

/// A system call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysError {
    /// The call with its arguments, as strace prints it.
    pub call: String,
    pub errno: Errno,
}

impl SysError {
    pub fn new(call: impl Into<String>, errno: Errno) -> Self {
        Self { call: call.into(), errno }
    }

    /// The error in `errno` now, for the call that has just returned.
    pub fn last(call: impl Into<String>) -> Self {
        Self::new(call, Errno::last())
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, errno_text(self.errno))
    }
}

impl std::error::Error for SysError {}

pub type Result<T> = std::result::Result<T, SysError>;

/// The kernel's words for `errno` in lower case, the form that clients of runc match ("no such file or directory").
pub fn errno_text(errno: Errno) -> String {
    errno.desc().to_lowercase()
}

/// Turns the return value of a raw system call into a result; `call` is only evaluated on failure.
pub fn check(ret: libc::c_long, call: impl FnOnce() -> String) -> Result<libc::c_long> {
    if ret < 0 { Err(SysError::last(call())) } else { Ok(ret) }
}

/// Takes ownership of a descriptor that a system call has just made.
fn own(fd: std::os::fd::RawFd) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: only this module's children call it, with the return value of a successful call that makes descriptors.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) }
}

/// recvmsg(2) with room for one descriptor (SCM_RIGHTS): how many bytes came, and the descriptor that came along.
pub fn receive(
    socket: std::os::fd::BorrowedFd<'_>,
    buffer: &mut [u8],
) -> nix::Result<(usize, Option<std::os::fd::OwnedFd>)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
    use std::os::fd::AsRawFd;
    let mut control = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let mut iov = [std::io::IoSliceMut::new(buffer)];
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut iov, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let fd = message.cmsgs()?.find_map(|message| match message {
        // The kernel has installed it for us, and nobody else knows of it.
        ControlMessageOwned::ScmRights(fds) => fds.first().map(|fd| own(*fd)),
        _ => None,
    });
    Ok((message.bytes, fd))
}

/// A moment in the host's time zone.
#[derive(Debug, Clone, Copy)]
pub struct LocalTime {
    /// From 0, which is January.
    pub month: usize,
    /// From 1.
    pub day: i32,
    pub hour: i32,
    pub minute: i32,
    pub second: i32,
}

/// Now, by the host's clocks and time zone (localtime(3)).
pub fn local_time() -> LocalTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let time = libc::time_t::try_from(since.as_secs()).unwrap_or(libc::time_t::MAX);
    // SAFETY: a tm is plain data, for which zeros are a value.
    let mut broken: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to living values of the right types; on failure `broken` stays as it is.
    unsafe { libc::localtime_r(&raw const time, &raw mut broken) };
    LocalTime {
        month: usize::try_from(broken.tm_mon).unwrap_or(0),
        day: broken.tm_mday,
        hour: broken.tm_hour,
        minute: broken.tm_min,
        second: broken.tm_sec,
    }
}

/// The working directory as the kernel names it. glibc's getcwd(3) hides what matters here: a directory outside the
/// root is reported as `(unreachable)/…` (getcwd(2), Linux 2.6.36).
pub fn current_dir() -> Result<Vec<u8>> {
    let mut buffer = vec![0u8; libc::PATH_MAX as usize];
    // SAFETY: the pointer and length describe `buffer`.
    let ret = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    let length = check(ret, || "getcwd()".to_owned())? as usize;
    buffer.truncate(length.saturating_sub(1)); // its NUL
    Ok(buffer)
}

/// Names the call behind a failure that comes from nix or std.
pub trait Named<T> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Named<T> for nix::Result<T> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| SysError::new(call(), errno))
    }
}

impl<T> Named<T> for std::io::Result<T> {
    fn named(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| SysError::new(call(), error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)))
    }
}

/// The id of the mount that `fd` is on (statx(2), STATX_MNT_ID, Linux 5.8).
pub fn mount_id(fd: std::os::fd::BorrowedFd<'_>) -> Result<u64> {
    Ok(statx(fd, libc::STATX_MNT_ID)?.stx_mnt_id)
}

/// The number of the mount that `fd` is on which no other mount will ever have while the host is up (STATX_MNT_ID_UNIQUE,
/// Linux 6.8); 0 where the kernel gives none.
pub fn unique_mount_id(fd: std::os::fd::BorrowedFd<'_>) -> Result<u64> {
    const STATX_MNT_ID_UNIQUE: u32 = 0x4000; // linux/stat.h
    let about = statx(fd, STATX_MNT_ID_UNIQUE)?;
    Ok(if about.stx_mask & STATX_MNT_ID_UNIQUE == 0 { 0 } else { about.stx_mnt_id })
}

fn statx(fd: std::os::fd::BorrowedFd<'_>, mask: u32) -> Result<libc::statx> {
    use std::os::fd::AsRawFd;
    // SAFETY: an all-zero struct statx is valid.
    let mut statx: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is the empty string and `statx` is alive and writable.
    let ret = unsafe { libc::statx(fd.as_raw_fd(), c"".as_ptr(), libc::AT_EMPTY_PATH, mask, &raw mut statx) };
    check(ret.into(), || format!("statx({})", fd.as_raw_fd())).map(|_| statx)
}

/// The whole of a file, in as few calls as it takes. `std::fs::read` asks for the size first, which files of the kernel do not
/// tell, and then starts with 32 bytes.
pub fn read_file(path: impl AsRef<std::path::Path>) -> Result<Vec<u8>> {
    use nix::fcntl::OFlag;
    let path = path.as_ref();
    let fd = again::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
        .named(|| format!("open({path:?})"))?;
    read_all(std::os::fd::AsFd::as_fd(&fd)).named(|| format!("read({path:?})"))
}

/// What is left of an open file.
pub fn read_all(fd: std::os::fd::BorrowedFd<'_>) -> nix::Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut buffer = [0u8; 16384];
    loop {
        match again::read(fd, &mut buffer)? {
            0 => return Ok(content),
            n => content.extend_from_slice(&buffer[..n]),
        }
    }
}

/// A file of the kernel that is one line, which one read(2) gives whole.
pub fn read_line(path: impl AsRef<std::path::Path>) -> Result<String> {
    use nix::fcntl::OFlag;
    let path = path.as_ref();
    let fd = again::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
        .named(|| format!("open({path:?})"))?;
    let mut buffer = [0u8; 4096];
    let length = again::read(&fd, &mut buffer).named(|| format!("read({path:?})"))?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// A file of text.
pub fn read_text(path: impl AsRef<std::path::Path>) -> Result<String> {
    Ok(String::from_utf8_lossy(&read_file(path)?).into_owned())
}

/// Whether this number is an open descriptor that our caller has passed on: it came through execve(2), and so is not
/// close-on-exec as all of our own are.
pub fn is_inherited(fd: std::os::fd::RawFd) -> bool {
    // SAFETY: F_GETFD changes nothing, and answers EBADF where nothing is open.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// The `CLONE_NEW*` flag of the namespace that `fd` refers to (ioctl_nsfs(2), Linux 4.11).
pub fn namespace_type(fd: std::os::fd::BorrowedFd<'_>) -> Result<u32> {
    use std::os::fd::AsRawFd;
    /// `_IO(0xb7, 0x3)` (linux/nsfs.h).
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: this ioctl takes no argument.
    let ret = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    check(ret.into(), || format!("ioctl({}, NS_GET_NSTYPE)", fd.as_raw_fd())).map(|kind| kind as u32)
}

/// The user namespace that owns the namespace `fd` refers to (ioctl_nsfs(2), Linux 4.9).
///
/// # Errors
/// EPERM if it lies outside of our own user namespace.
pub fn namespace_owner(fd: std::os::fd::BorrowedFd<'_>) -> Result<std::os::fd::OwnedFd> {
    use std::os::fd::AsRawFd;
    /// `_IO(0xb7, 0x1)` (linux/nsfs.h).
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: this ioctl takes no argument.
    let ret = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_USERNS) };
    check(ret.into(), || format!("ioctl({}, NS_GET_USERNS)", fd.as_raw_fd())).map(|fd| own(fd as i32))
}

/// The number of the mount namespace that `fd` refers to, which no other will ever have while the host is up (ioctl_nsfs(2),
/// Linux 6.11); 0 where the kernel gives none.
pub fn mount_namespace_id(fd: std::os::fd::BorrowedFd<'_>) -> u64 {
    use std::os::fd::AsRawFd;
    // `_IOR(0xb7, 0x5, __u64)` (linux/nsfs.h), in the encoding that most architectures share: elsewhere it is refused.
    const NS_GET_MNTNS_ID: libc::c_ulong = 0x8008_b705;
    let mut id = 0u64;
    // SAFETY: the ioctl writes one u64, to a living one.
    let ret = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_MNTNS_ID, &raw mut id) };
    if ret < 0 { 0 } else { id }
}
