//! seccomp(2): load a compiled filter, ask what the kernel knows. Not for what a filter says: that is `crate::seccomp`.

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::{Result, SysError, check};

pub const FLAG_TSYNC: u32 = libc::SECCOMP_FILTER_FLAG_TSYNC as u32;
pub const FLAG_LOG: u32 = libc::SECCOMP_FILTER_FLAG_LOG as u32;
pub const FLAG_SPEC_ALLOW: u32 = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32;
/// Linux 5.19, and only together with [`FLAG_NEW_LISTENER`].
pub const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;
pub const FLAG_NEW_LISTENER: u32 = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32;

/// Bytes of one instruction (`struct sock_filter`).
pub const INSTRUCTION: usize = size_of::<libc::sock_filter>();

/// The most instructions that the kernel takes in one filter (linux/bpf_common.h).
pub const MAX_INSTRUCTIONS: usize = libc::BPF_MAXINSNS as usize;

/// Loads `bpf`, an array of `struct sock_filter`, as a filter of the calling thread; with [`FLAG_NEW_LISTENER`] the
/// notification descriptor comes back. From here on every call of the thread is judged by it. Allocates nothing unless
/// it fails.
///
/// # Errors
/// `EACCES` without both no_new_privs and CAP_SYS_ADMIN in the own user namespace, `EINVAL` for a program that the
/// kernel does not accept or a flag that it does not know.
pub fn load(bpf: &[u8], flags: u32) -> Result<Option<OwnedFd>> {
    let count = bpf.len() / INSTRUCTION;
    let call = || format!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {{len={count}}})");
    let (Ok(len), true) = (u16::try_from(count), bpf.len().is_multiple_of(INSTRUCTION)) else {
        return Err(SysError::new(call(), Errno::EINVAL));
    };
    let program = libc::sock_fprog { len, filter: bpf.as_ptr().cast_mut().cast() };
    // SAFETY: `program` describes `bpf`, which lives through the call; the kernel copies it byte by byte, so its
    // alignment does not matter, and does not write to it.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    let ret = check(ret, call)?;
    if flags & FLAG_NEW_LISTENER == 0 {
        return Ok(None);
    }
    // SAFETY: with this flag the kernel returns a descriptor that nobody else holds.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(ret as i32) }))
}

/// The kernel knows the action `SECCOMP_RET_*` (without data), since Linux 4.14 by `SECCOMP_GET_ACTION_AVAIL`.
pub fn action_available(action: u32) -> bool {
    // SAFETY: the kernel reads one u32 from the pointer.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

/// The kernel knows the filter flag. Flags are checked before the program is read: a null program gives `EFAULT` with
/// a known flag and `EINVAL` with an unknown one, and is never loaded.
pub fn flag_available(flag: u32) -> bool {
    let nothing = std::ptr::null::<libc::sock_fprog>();
    let flag = if flag == FLAG_WAIT_KILLABLE_RECV { flag | FLAG_NEW_LISTENER } else { flag };
    // SAFETY: a null program is refused before anything is done with it.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flag, nothing) };
    ret == -1 && Errno::last() == Errno::EFAULT
}

/// What the tests of filters need: a child to load them into, and bare system calls to try in it.
#[cfg(test)]
pub(crate) mod trial {
    use nix::sys::resource::{Resource, setrlimit};
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    /// Runs `body` in a child that has loaded `bpf`, and returns how the child ended: by default with the code that
    /// `body` returns. 250 means that the filter could not be loaded.
    pub(crate) fn in_child(bpf: &[u8], flags: u32, body: impl FnOnce() -> u8) -> WaitStatus {
        // SAFETY: the child makes system calls only and leaves with _exit.
        match unsafe { fork() }.expect("fork") {
            ForkResult::Parent { child } => waitpid(child, None).expect("waitpid"),
            ForkResult::Child => {
                // A killed child must not leave a core file behind.
                let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
                let _ = nix::sys::prctl::set_no_new_privs();
                let code = if load(bpf, flags).is_ok() { body() } else { 250 };
                // SAFETY: ends the process without running anything of the parent's.
                unsafe { libc::_exit(i32::from(code)) }
            }
        }
    }

    /// The errno that the call number `nr` with `args` gives here, 0 for success.
    pub(crate) fn errno_of(nr: libc::c_long, args: [u64; 6]) -> u8 {
        let [a, b, c, d, e, f] = args;
        // SAFETY: the tests pass calls that fail, or that touch no memory.
        let ret = unsafe { libc::syscall(nr, a, b, c, d, e, f) };
        if ret == -1 { Errno::last_raw() as u8 } else { 0 }
    }

    /// [`errno_of`] for a call without arguments by the 32-bit entry (`int 0x80`).
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn errno_of_32bit(nr: u32) -> u8 {
        let ret: i32;
        // SAFETY: the tests pass calls without arguments, which touch no memory; rbx is not used by them. Entering by
        // int 0x80 clobbers r8 to r11 on older kernels.
        unsafe {
            std::arch::asm!("int 0x80", inlateout("eax") nr => ret, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
        if (-4095..0).contains(&ret) { -ret as u8 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_kernel_knows_is_available_and_nonsense_is_not() {
        assert!(action_available(libc::SECCOMP_RET_ERRNO) && action_available(libc::SECCOMP_RET_LOG));
        assert!(!action_available(0x1234_0000));
        assert!(flag_available(FLAG_LOG) && flag_available(FLAG_SPEC_ALLOW) && flag_available(FLAG_TSYNC));
        assert!(!flag_available(1 << 31));
    }

    #[test]
    fn a_refused_program_is_named_with_the_kernels_errno() {
        assert_eq!(
            load(&[], FLAG_LOG).unwrap_err().to_string(),
            "seccomp(SECCOMP_SET_MODE_FILTER, 0x2, {len=0}): invalid argument"
        );
        assert_eq!(load(&[0; 7], 0).unwrap_err().errno, Errno::EINVAL);
    }
}
