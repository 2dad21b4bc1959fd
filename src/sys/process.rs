//! Processes: clone3(2), pidfds, prctl(2) and what a process sets on itself before execve(2).

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::again::again;
use super::{Result, SysError, check};
use crate::weak::{Guard, KEPT_SEAL, lacks};

/// `struct clone_args` (clone3(2), Linux 5.7).
#[repr(C, align(8))]
#[derive(Debug, Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of [`clone`] this is.
#[derive(Debug)]
pub enum Cloned {
    Child,
    Parent { pid: i32, pidfd: OwnedFd },
}

/// Forks by clone3(2) into the new namespaces in `flags` (`CLONE_NEW*`, or `CLONE_PARENT`), and on cgroup v2 into `cgroup`.
///
/// The child is a copy of this process, which must be single-threaded: no lock can be held by another thread, so the
/// child may allocate. glibc still believes it is the parent (its cached tid), so no errorcheck, recursive or robust
/// pthread lock may be used in it.
pub fn clone(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned> {
    let mut pidfd: RawFd = -1;
    let args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64 | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        pidfd: (&raw mut pidfd) as u64,
        // With CLONE_PARENT the kernel takes the caller's own exit signal and refuses another.
        exit_signal: if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 },
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
        ..CloneArgs::default()
    };
    // SAFETY: `args` is a struct clone_args of the size passed, without CLONE_VM or a new stack: the child runs on a
    // copy of this memory. `pidfd` outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match check(ret, || format!("clone3(flags={flags:#x})"))? {
        0 => Ok(Cloned::Child),
        // SAFETY: with CLONE_PIDFD the kernel has stored a new descriptor there.
        pid => Ok(Cloned::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// fork(2) as glibc does it, which has the heap in order in the child whatever other threads were doing; the child's pid, and
/// in the child `None`.
pub fn fork() -> Result<Option<i32>> {
    // SAFETY: the child runs on a copy of this memory; of locks that other threads held, it meets none but the heap's.
    let ret = unsafe { libc::fork() };
    check(ret.into(), || "fork()".to_owned()).map(|pid| (pid != 0).then_some(pid as i32))
}

/// # Errors
/// ESRCH if there is no such process.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: plain integers only.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: the call has just returned this new descriptor.
    check(ret, || format!("pidfd_open({pid})")).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// A copy of the descriptor that has the number `fd` in another process (Linux 5.6).
///
/// # Errors
/// EPERM without the right to trace that process; EBADF if it has none of that number.
pub fn pidfd_getfd(pidfd: BorrowedFd<'_>, fd: RawFd) -> Result<OwnedFd> {
    // SAFETY: plain integers only.
    let ret = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) };
    // SAFETY: the call has just returned this new descriptor.
    check(ret, || format!("pidfd_getfd({fd})")).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// # Errors
/// ESRCH if the process has been reaped.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: a null siginfo means that of kill(2).
    let ret = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    check(ret, || format!("pidfd_send_signal({signal})")).map(drop)
}

/// What close_range(2) does with the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseRange {
    Now,
    OnExec,
}

/// Closes all descriptors from `first` up, now or at execve(2) (Linux 5.11). Whoever calls this with `Now` must not use,
/// nor drop, an owner of one of them afterwards.
pub fn close_from(first: RawFd, when: CloseRange) -> Result<()> {
    close(first, libc::c_uint::MAX, when)
}

/// Closes all descriptors from `first` up, now, except those in `keep`; the same holds for their owners.
pub fn close_all_but(first: RawFd, mut keep: Vec<RawFd>) -> Result<()> {
    if lacks(Guard::ClosedDescriptors) {
        return Ok(());
    }
    if lacks(Guard::ClosedSeal) {
        keep.push(KEPT_SEAL);
    }
    keep.sort_unstable();
    let mut next = first;
    for fd in keep {
        if fd > next {
            close(next, (fd - 1) as libc::c_uint, CloseRange::Now)?;
        }
        next = next.max(fd + 1);
    }
    close(next, libc::c_uint::MAX, CloseRange::Now)
}

/// Descriptors that have done their work, closed by the dozen.
#[derive(Debug, Default)]
pub struct Spent(Vec<OwnedFd>);

impl Spent {
    pub fn put(&mut self, fds: impl IntoIterator<Item = OwnedFd>) {
        const MANY: usize = 48;
        self.0.extend(fds);
        if self.0.len() >= MANY {
            close_together(std::mem::take(&mut self.0));
        }
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        close_together(std::mem::take(&mut self.0));
    }
}

/// Closes descriptors with one call for each run of neighbours among their numbers: those opened in a row usually are.
pub fn close_together(fds: Vec<OwnedFd>) {
    use std::os::fd::IntoRawFd;
    let mut numbers: Vec<RawFd> = fds.into_iter().map(IntoRawFd::into_raw_fd).collect();
    numbers.sort_unstable();
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        let (first, last) = (run[0], run[run.len() - 1]);
        if close(first, last as libc::c_uint, CloseRange::Now).is_err() {
            // A kernel before Linux 5.9, or a filter that hides the call.
            for fd in first..=last {
                // SAFETY: the owners of these numbers were consumed above.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
}

fn close(first: RawFd, last: libc::c_uint, when: CloseRange) -> Result<()> {
    let flags = if when == CloseRange::OnExec { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: plain integers only; the callers answer for the owners of the descriptors, as documented.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    check(ret, || format!("close_range({first}, {last})")).map(drop)
}

fn prctl(name: &str, option: i32, args: [u64; 4]) -> Result<i32> {
    // SAFETY: only options that take plain integers, or pointers that the callers below keep alive, are passed.
    let ret = unsafe { libc::prctl(option, args[0], args[1], args[2], args[3]) };
    check(ret.into(), || format!("prctl({name}, {:#x})", args[0])).map(|ret| ret as i32)
}

/// Makes this process unreadable to others of its user (ptrace(2), /proc/PID), until execve(2).
pub fn set_undumpable() -> Result<()> {
    if lacks(Guard::Undumpable) {
        return Ok(());
    }
    prctl("PR_SET_DUMPABLE", libc::PR_SET_DUMPABLE, [0; 4]).map(drop)
}

pub fn set_no_new_privileges() -> Result<()> {
    prctl("PR_SET_NO_NEW_PRIVS", libc::PR_SET_NO_NEW_PRIVS, [1, 0, 0, 0]).map(drop)
}

/// Keeps the permitted capabilities over setresuid(2).
pub fn set_keep_capabilities(keep: bool) -> Result<()> {
    prctl("PR_SET_KEEPCAPS", libc::PR_SET_KEEPCAPS, [keep.into(), 0, 0, 0]).map(drop)
}

/// Orphaned descendants become ours (PR_SET_CHILD_SUBREAPER).
pub fn set_subreaper() -> Result<()> {
    prctl("PR_SET_CHILD_SUBREAPER", libc::PR_SET_CHILD_SUBREAPER, [1, 0, 0, 0]).map(drop)
}

/// The name in `/proc/PID/comm` (at most 15 bytes).
pub fn set_name(name: &CStr) -> Result<()> {
    prctl("PR_SET_NAME", libc::PR_SET_NAME, [name.as_ptr() as u64, 0, 0, 0]).map(drop)
}

pub fn in_bounding_set(capability: u32) -> Result<bool> {
    prctl("PR_CAPBSET_READ", libc::PR_CAPBSET_READ, [capability.into(), 0, 0, 0]).map(|set| set == 1)
}

pub fn drop_from_bounding_set(capability: u32) -> Result<()> {
    prctl("PR_CAPBSET_DROP", libc::PR_CAPBSET_DROP, [capability.into(), 0, 0, 0]).map(drop)
}

pub fn clear_ambient() -> Result<()> {
    prctl("PR_CAP_AMBIENT_CLEAR_ALL", libc::PR_CAP_AMBIENT, [libc::PR_CAP_AMBIENT_CLEAR_ALL as u64, 0, 0, 0]).map(drop)
}

pub fn raise_ambient(capability: u32) -> Result<()> {
    let args = [libc::PR_CAP_AMBIENT_RAISE as u64, capability.into(), 0, 0];
    prctl("PR_CAP_AMBIENT_RAISE", libc::PR_CAP_AMBIENT, args).map(drop)
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Sets this process's effective, permitted and inheritable sets, capability N at bit N (capset(2)).
pub fn set_capabilities(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    let header = CapHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let half = |shift: u32| CapData {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: version 3 takes a header and two data structs, both alive here.
    let ret = unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) };
    check(ret, || format!("capset(effective={effective:#x}, permitted={permitted:#x}, inheritable={inheritable:#x})"))
        .map(drop)
}

// The plain system calls, not glibc's wrappers: those broadcast to threads, of which there are none, through locks that
// a child of raw clone3 must not touch.

pub fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: the pointer and the count describe `groups`.
    let ret = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    check(ret, || format!("setgroups({groups:?})")).map(drop)
}

pub fn set_gid(gid: u32) -> Result<()> {
    // SAFETY: plain integers only.
    let ret = unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) };
    check(ret, || format!("setresgid({gid})")).map(drop)
}

pub fn set_uid(uid: u32) -> Result<()> {
    // SAFETY: plain integers only.
    let ret = unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) };
    check(ret, || format!("setresuid({uid})")).map(drop)
}

/// Sets a limit of process `pid` (0: of this one); the values as setrlimit(2) takes them (`u64::MAX` is no limit).
pub fn set_rlimit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` is alive; a null old limit is allowed.
    let ret = unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const limit, std::ptr::null_mut::<libc::rlimit64>())
    };
    check(ret, || format!("prlimit({pid}, {resource}, soft={soft}, hard={hard})")).map(drop)
}

/// Joins a new session keyring with this name; its serial number (keyctl(2)).
pub fn join_session_keyring(name: &CStr) -> Result<i32> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: `name` is NUL-terminated and outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr(), 0, 0, 0) };
    check(ret, || format!("keyctl(JOIN_SESSION_KEYRING, {name:?})")).map(|serial| serial as i32)
}

/// Sets the permissions of a key that this process possesses (keyctl_setperm(3)).
pub fn set_key_permissions(key: i32, permissions: u32) -> Result<()> {
    const KEYCTL_SETPERM: i32 = 5;
    // SAFETY: plain integers only.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, key, permissions, 0, 0) };
    check(ret, || format!("keyctl(SETPERM, {key}, {permissions:#x})")).map(drop)
}

/// Default dispositions for every signal and an empty mask: Rust ignores SIGPIPE, and an ignored signal stays ignored
/// over execve(2).
pub fn reset_signals() {
    // SAFETY: sigaction with SIG_DFL and sigprocmask with an empty set read only the structs given; signals that may
    // not be changed (SIGKILL, SIGSTOP, glibc's own) answer EINVAL, which changes nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=64 {
            // The raw call, since glibc refuses its two internal signals; 8 is the kernel's sigset size.
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, std::ptr::null_mut::<u8>(), 8);
        }
        let empty: u64 = 0;
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const empty, std::ptr::null_mut::<u8>(), 8);
    }
}

/// Lets the signals that ask a process to end do so, until [`reset_signals`]: as pid 1 of a namespace this process would not
/// notice them otherwise, since the kernel applies no default action to it (pid_namespaces(7)).
pub fn end_on_signals() {
    extern "C" fn end(signal: i32) {
        exit_now(128 + signal);
    }
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2] {
        let handler: extern "C" fn(i32) = end;
        // SAFETY: the handler does nothing but _exit(2), which is async-signal-safe.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Lets writes beyond RLIMIT_FSIZE fail with EFBIG instead of killing this process.
pub fn ignore_file_size_signal() {
    // SAFETY: SIG_IGN is a valid disposition for SIGXFSZ.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// execve(2); returns only on failure. Both arrays must end with a null pointer.
pub fn execve(path: &CStr, argv: &[*const libc::c_char], envp: &[*const libc::c_char]) -> SysError {
    // SAFETY: the arrays are null-terminated and hold pointers to strings that their owner, the caller, keeps alive.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    SysError::last(format!("execve({path:?})"))
}

/// Starts the program in `image` with our own arguments, but `name` as argv[0], and our own environment; returns only on
/// failure.
pub fn reexec(image: BorrowedFd<'_>, name: &CStr) -> SysError {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    let arguments: Vec<CString> = std::env::args_os()
        .skip(1)
        // argv came from C strings: none of them has a NUL.
        .filter_map(|argument| CString::new(argument.as_encoded_bytes()).ok())
        .collect();
    let mut argv: Vec<*const libc::c_char> = vec![name.as_ptr()];
    argv.extend(arguments.iter().map(|argument| argument.as_ptr()));
    argv.push(std::ptr::null());
    // SAFETY: argv and environ are null-terminated arrays of strings that are alive; no other thread changes environ.
    unsafe {
        libc::syscall(libc::SYS_execveat, image.as_raw_fd(), c"".as_ptr(), argv.as_ptr(), environ, libc::AT_EMPTY_PATH)
    };
    SysError::last(format!("execveat({})", image.as_raw_fd()))
}

/// Ends this process at once, without the parent's exit handlers: for the child half of a failed launch.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit does not return and runs nothing.
    unsafe { libc::_exit(code) }
}

/// setns(2) into every namespace in `flags` of what `fd` refers to (a namespace, or a pidfd).
pub fn enter_namespace(fd: BorrowedFd<'_>, flags: i32) -> Result<()> {
    // SAFETY: plain integers only.
    let ret = unsafe { libc::setns(fd.as_raw_fd(), flags) };
    check(ret.into(), || format!("setns({}, {flags:#x})", fd.as_raw_fd())).map(drop)
}

/// Waits for a child to exit and reaps it; its status as waitpid(2) encodes it.
pub fn wait(pid: i32) -> Result<i32> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is alive and writable.
        let ret = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        match check(ret.into(), || format!("waitpid({pid})")) {
            Ok(_) => return Ok(status),
            Err(error) if error.errno == Errno::EINTR => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits for an exclusive flock(2) on `fd`, which lasts until the last descriptor of this opening closes. Descriptors are
/// close-on-exec, and so the lock is not passed on to hooks or containers.
pub fn lock(fd: BorrowedFd<'_>) -> Result<()> {
    flock(fd, libc::LOCK_EX)
}

/// Takes the lock if nobody holds it; whether it was taken.
pub fn try_lock(fd: BorrowedFd<'_>) -> Result<bool> {
    match flock(fd, libc::LOCK_EX | libc::LOCK_NB) {
        Err(error) if error.errno == Errno::EWOULDBLOCK => Ok(false),
        result => result.map(|()| true),
    }
}

pub fn unlock(fd: BorrowedFd<'_>) -> Result<()> {
    flock(fd, libc::LOCK_UN)
}

fn flock(fd: BorrowedFd<'_>, operation: i32) -> Result<()> {
    // SAFETY: plain integers only.
    let flock = || Errno::result(unsafe { libc::flock(fd.as_raw_fd(), operation) });
    again(flock).map(drop).map_err(|errno| SysError::new(format!("flock({})", fd.as_raw_fd()), errno))
}

/// A child that has exited and is not reaped yet, if there is one; it stays so.
pub fn exited_child() -> Option<i32> {
    // SAFETY: an all-zero siginfo_t is valid.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is alive and writable.
    let ret = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) };
    // SAFETY: waitid has filled the fields of a child's state change, or left them zero.
    let pid = unsafe { info.si_pid() };
    (ret == 0 && pid != 0).then_some(pid)
}
