//! How libc begins, in place of glibc's own `__libc_start_main`: that asks the processor, by some forty CPUID, for
//! features and caches, to choose among string functions. Each CPUID traps in a virtual machine, together a third of a
//! short command's time, and glibc has no option against it. Here the processor is not asked, and the string functions are
//! those that every x86-64 has. Nor is `GLIBC_TUNABLES` read, which is not for the caller of a privileged program to set.
//!
//! The rest is done as glibc does it, by the functions that it does it with, but for four things that nobody here needs:
//! standard descriptors of a set-user-ID program (`entry.rs` sees to them for all), a table for debuggers, where a
//! pthread_exit(3) of the first thread would go, and the relocation of a static program at fixed addresses, which this one
//! is not. Those functions are not for others to call, and change: so this is compiled only with the version it was
//! written for (`known_libc`, build.rs), which is Debian 12's. With any other, glibc begins by itself, and everything works
//! the same. The linker finds this symbol before it looks into libc.a, and what else was defined beside it there has to be
//! defined here.

use std::arch::{asm, naked_asm};
use std::ffi::{c_char, c_int, c_long, c_void};
use std::ptr::null_mut;

type Main = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char) -> c_int;
type Initialiser = Main;

// What the string functions take from here: bytes at which they change their ways, and details of it. glibc's own
// defaults, where it has one; those without are computed as it does it for a cache of one megabyte.
#[unsafe(no_mangle)]
static __x86_data_cache_size: c_long = 32 << 10;
#[unsafe(no_mangle)]
static __x86_data_cache_size_half: c_long = 16 << 10;
#[unsafe(no_mangle)]
static __x86_shared_cache_size: c_long = 1 << 20;
#[unsafe(no_mangle)]
static __x86_shared_cache_size_half: c_long = 1 << 19;
#[unsafe(no_mangle)]
static __x86_shared_non_temporal_threshold: c_long = 3 << 18;
#[unsafe(no_mangle)]
static __x86_rep_movsb_threshold: c_long = 2 << 10;
#[unsafe(no_mangle)]
static __x86_rep_movsb_stop_threshold: c_long = 3 << 18;
#[unsafe(no_mangle)]
static __x86_rep_stosb_threshold: c_long = 2 << 10;
#[unsafe(no_mangle)]
static __x86_string_control: c_int = 0;

unsafe extern "C" {
    /// From the kernel (AT_RANDOM).
    static _dl_random: *const [[u8; 8]; 2];

    fn __libc_setup_tls();
    fn __libc_early_init(initial: bool);
    fn __libc_init_first(argc: c_int, argv: *const *const c_char, environment: *const *const c_char);
    fn __cxa_atexit(f: unsafe extern "C" fn(*mut c_void), argument: *mut c_void, object: *mut c_void) -> c_int;
    fn _init();
    fn _fini();

    static __init_array_start: Initialiser;
    static __init_array_end: Initialiser;
    static __fini_array_start: unsafe extern "C" fn();
    static __fini_array_end: unsafe extern "C" fn();
}

/// `_start` calls it with `main` and the arguments; the last of its own, on the stack, is where that had begun. The
/// environment follows argv and its null pointer, and the auxiliary vector the environment and its own (ABI of x86-64,
/// 3.4.1). Until the program has been relocated, the compiler's calls would go to where nothing is.
///
/// # Safety
/// For `_start` alone.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn __libc_start_main(
    main: Main,
    argc: c_int,
    argv: *const *const c_char,
    init: *const c_void,
    fini: *const c_void,
    of_the_loader: *const c_void,
    stack_end: *const c_void,
) -> ! {
    naked_asm!(
        "push rdi",
        "push rsi",
        "push rdx", // and the stack is aligned
        "movsxd rax, esi",
        "lea rdi, [rdx + 8 * rax + 8]",
        "mov [rip + __environ], rdi",
        "mov rax, [rsp + 32]",
        "mov [rip + __libc_stack_end], rax",
        "2:",
        "add rdi, 8",
        "cmp qword ptr [rdi - 8], 0",
        "jne 2b",
        "call _dl_aux_init",
        "call _dl_relocate_static_pie",
        "pop rdx",
        "pop rsi",
        "pop rdi",
        "jmp {relocated}",
        relocated = sym relocated,
    )
}

/// The rest, in glibc's order: each function has then what it needs.
///
/// # Safety
/// For [`__libc_start_main`] alone.
unsafe extern "C" fn relocated(main: Main, argc: c_int, argv: *const *const c_char) -> ! {
    // SAFETY: as above.
    unsafe {
        let environment = argv.wrapping_add(argc as usize + 1);
        __libc_setup_tls();
        set_guards(*_dl_random);
        __libc_early_init(true);
        __libc_init_first(argc, argv, environment);
        __cxa_atexit(finish, null_mut(), null_mut());
        initialise(argc, argv, environment);
        libc::exit(main(argc, argv, environment))
    }
}

/// The stack protector's value, the first byte of which is 0 to stop a string, and the one that hides libc's pointers to
/// functions: `header.stack_guard` and `header.pointer_guard` of the thread's control block.
///
/// # Safety
/// The thread's storage has been set up, and nothing has used the values yet.
unsafe fn set_guards(random: [[u8; 8]; 2]) {
    let [stack, pointer] = random.map(usize::from_ne_bytes);
    // SAFETY: as the caller's.
    unsafe {
        asm!("mov fs:[0x28], {}", "mov fs:[0x30], {}", in(reg) stack & !0xff, in(reg) pointer,
            options(nostack, preserves_flags));
    }
}

/// Calls what libraries, the standard library among them, want called before `main`.
///
/// # Safety
/// As for those.
unsafe fn initialise(argc: c_int, argv: *const *const c_char, environment: *const *const c_char) {
    // SAFETY: as the caller's; the linker lays out such functions between the two.
    unsafe {
        _init();
        for function in between(&raw const __init_array_start, &raw const __init_array_end) {
            function(argc, argv, environment);
        }
    }
}

/// Calls what libraries want called at exit(3), in reverse.
unsafe extern "C" fn finish(_: *mut c_void) {
    // SAFETY: exit(3) calls it once; the linker lays out such functions between the two.
    unsafe {
        for function in between(&raw const __fini_array_start, &raw const __fini_array_end).iter().rev() {
            function();
        }
        _fini();
    }
}

/// # Safety
/// The two are the ends of an array.
unsafe fn between<T>(start: *const T, end: *const T) -> &'static [T] {
    // SAFETY: as the caller's.
    unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}
