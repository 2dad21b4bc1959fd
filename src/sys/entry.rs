//! Where the process begins: C's `main`, in place of the standard library's, which takes three times as many system calls
//! as it needs to before ours is called. It reads /proc/self/maps for the guard page of the stack, and sets up a second
//! stack on which to report that the first has overflowed: without that, an overflow is the plain SIGSEGV of a C program.
//! What else it does is done here, since programs rely on it.

use std::io::Write;
use std::os::fd::IntoRawFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::again::{again, open};
use super::{check, errno_text};

/// argv is not looked at: the standard library has been given it before, by its entry in `.init_array`.
#[cfg(not(any(test, fuzzing)))]
// SAFETY: this is the only `main` of the program, with the signature that C has for it.
#[unsafe(no_mangle)]
extern "C" fn main(_argc: std::ffi::c_int, _argv: *const *const std::ffi::c_char) -> std::ffi::c_int {
    run()
}

// A fuzzer begins in libFuzzer, which calls this over and over.
#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| crate::fuzz::run(data));

/// Where the standard library seeds its hash maps from, which makes every run of a fuzzer another: the order of a map's keys
/// decides what is read first. `hack/fuzz --same` wants none of it.
#[cfg(fuzzing)]
// SAFETY: the C library's function of this name, with its signature. That library calls its own, whatever the name is bound to.
#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut std::ffi::c_void, length: usize, flags: std::ffi::c_uint) -> isize {
    if std::env::var_os("OARLOCK_FUZZ_SAME").is_none() {
        // SAFETY: getrandom(2) with the arguments that it is called with.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize };
    }
    // SAFETY: the caller's buffer has that length.
    unsafe { buffer.cast::<u8>().write_bytes(1, length) };
    length.cast_signed()
}

/// The whole life of the process; its exit status.
pub fn run() -> std::ffi::c_int {
    begin();
    crate::cli::main().into()
}

/// What every program of Rust finds: descriptors 0 to 2 are open, so that no file of ours is taken for them, and writing
/// to what nobody reads is an error, not the end.
fn begin() {
    let standard = |fd| libc::pollfd { fd, events: 0, revents: 0 };
    let mut fds = [standard(0), standard(1), standard(2)];
    // SAFETY: the pointer and the count describe `fds`.
    let mut poll = || unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, 0) };
    let polled = again(|| Errno::result(poll()));
    let closed = |fd: &&libc::pollfd| polled.is_err() || fd.revents & libc::POLLNVAL != 0;
    for _ in fds.iter().filter(closed) {
        // The lowest number that is free is the one that is missing. Should poll(2) have failed, none may be, and one more
        // descriptor is open.
        match open("/dev/null", OFlag::O_RDWR, Mode::empty()) {
            Ok(fd) => drop(fd.into_raw_fd()),
            Err(errno) => {
                // Where nobody may hear it, if that is the one.
                let _ = writeln!(std::io::stderr(), "oarlock: open(\"/dev/null\"): {}", errno_text(errno));
                super::process::exit_now(1);
            }
        }
    }
    // SAFETY: SIG_IGN is a disposition that signal(2) takes.
    let ignored = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    keep_heap();
    #[cfg(panic = "abort")]
    no_backtraces();
    let _ = check(if ignored == libc::SIG_ERR { -1 } else { 0 }, || "signal(SIGPIPE, SIG_IGN)".to_owned());
}

/// A release has no table to find frames by (`hack/rustc-static`), and ends where one is looked for: errors are not to, whatever
/// the environment asks for.
#[cfg(panic = "abort")]
fn no_backtraces() {
    if ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"].iter().any(|name| std::env::var_os(name).is_some()) {
        // SAFETY: there is no other thread yet that could read the environment.
        unsafe { std::env::set_var("RUST_LIB_BACKTRACE", "0") };
    }
}

/// One growth of the heap, and no giving back of what is asked for again a moment later: pages that are never touched cost
/// nothing, and a command of ours lives for milliseconds.
fn keep_heap() {
    const ENOUGH: libc::c_int = 1 << 20;
    // SAFETY: both parameters take any number; nothing else uses the heap at this time.
    unsafe {
        libc::mallopt(libc::M_TOP_PAD, ENOUGH);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 4 * ENOUGH);
    }
}
