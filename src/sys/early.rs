//! What is done before libc has been set up: where a verb will have to start the program anew from a read-only mount
//! (`safe/seal.rs`), that is done here, at the ELF file's entry, which `build.rs` names to the linker. It needs a handful
//! of system calls and nothing of libc, whose own beginning costs more than those: it asks for the processor's features
//! and caches by some forty CPUID, each of which traps in a virtual machine, and maps and relocates what the second start
//! maps and relocates again.
//!
//! And whoever goes on is given the pages of its data at once: each would be written to in the next instants, by relocation
//! to begin with, and to map some thirty by one call takes a tenth off a short command's time.
//!
//! Only short cuts. Whatever does not go as expected leaves everything as it was and lets the program begin as any other;
//! `seal::ensure` then does the former with checks and messages, and in any case has the last word.
//!
//! The code runs before relocation, thread-local storage and the choice of string functions. Nothing of libc may be called,
//! nor anything of the standard library that is not a constant (without optimisation even `ptr::add` calls a check, through
//! a table that has not been relocated), and the compiler must find no memcpy, memset or memcmp to put in: hence loops by
//! hand, bytes loaded by an instruction that it does not look into, and arguments one by one.

use std::arch::{asm, naked_asm};
use std::ffi::c_char;
use std::mem::MaybeUninit;

use crate::safe::seal::SEALED;

use super::mount::{MOUNT_ATTR_RDONLY, MountAttr, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE, SYS_OPEN_TREE_ATTR};

const SEALED_TEXT: &[u8] = SEALED.to_bytes_with_nul();
const SEALED_NAME: *const c_char = SEALED.as_ptr();
const SELF: *const c_char = c"/proc/self/exe".as_ptr();
const EMPTY: *const c_char = c"".as_ptr();

/// The entry: the stack is as execve(2) made it, and libc's own `_start` gets it, and rdx, as they were.
///
/// # Safety
/// For the kernel alone.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn oarlock_start() -> ! {
    naked_asm!(
        "mov rdi, rsp",
        "push rdx",
        "sub rsp, 8", // a call wants the stack aligned
        "call {begin}",
        "add rsp, 8",
        "pop rdx",
        "jmp _start",
        begin = sym begin,
    )
}

/// Does not return if the program is executed anew. `stack`: argc, argv, a null pointer, the environment, a null pointer.
///
/// # Safety
/// `stack` is the stack of a process that has just been executed.
unsafe extern "C" fn begin(stack: *mut usize) {
    if cfg!(test) || cfg!(feature = "weakened") {
        return;
    }
    // SAFETY: as the caller's.
    unsafe { seal_if_it_enters(stack) };
    map_data();
}

/// Maps every page of the program's data, from what the linker lays out first to what it lays out last.
#[inline(always)]
fn map_data() {
    const PAGE: usize = 4096;
    let (start, end): (usize, usize);
    // SAFETY: two addresses relative to the instruction's; then a call that changes no content of any page.
    unsafe {
        asm!("lea {}, [rip + __init_array_start]", "lea {}, [rip + _end]", out(reg) start, out(reg) end,
            options(nomem, nostack, preserves_flags));
        let start = start & !(PAGE - 1);
        call(libc::SYS_madvise, start, end - start, libc::MADV_POPULATE_WRITE as usize, 0, 0);
    }
}

/// As [`begin`], for the verbs that have to be sealed.
///
/// # Safety
/// As for [`begin`].
#[inline(always)]
unsafe fn seal_if_it_enters(stack: *mut usize) {
    // SAFETY: by the layout above all of it is there, and each argument is a C string.
    unsafe {
        let argc = *stack;
        let argv = stack.wrapping_add(1).cast::<*const c_char>();
        if argc == 0 || is(*argv, SEALED_TEXT) {
            return;
        }
        let mut i = 1;
        while i < argc {
            let word = *argv.wrapping_add(i);
            // As in cli::main: an argument that only looks like the verb costs another verb a second start.
            if is(word, b"create\0") || is(word, b"exec\0") || is(word, b"mounts\0") || is(word, b"run\0") {
                seal(argv, argv.wrapping_add(argc).wrapping_add(1).cast_const());
                return;
            }
            i += 1;
        }
    }
}

/// Whether the C string at `text` is `word`, which ends with a NUL.
///
/// # Safety
/// `text` is a C string.
#[inline(always)]
unsafe fn is(text: *const c_char, word: &[u8]) -> bool {
    let mut i = 0;
    while i < word.len() {
        let byte: u32;
        // SAFETY: all bytes before were those of `word`, of which only the last is a NUL: this one is in the string.
        unsafe {
            asm!("movzx {:e}, byte ptr [{}]", out(reg) byte, in(reg) text.wrapping_add(i),
                options(nostack, readonly, preserves_flags));
        }
        if byte != word[i] as u32 {
            return false;
        }
        i += 1;
    }
    true
}

/// Executes the program from a read-only clone of its mount; returns if it cannot, or if its mount is read-only already.
///
/// # Safety
/// `argv` and `environment` are null-terminated arrays of C strings.
unsafe fn seal(argv: *mut *const c_char, environment: *const *const c_char) {
    // struct statfs of asm-generic/statfs.h is fifteen words here; libc has no name for the flags.
    const WORDS: usize = 15;
    const FLAGS: usize = 10;
    const HERE: usize = libc::AT_FDCWD as usize;
    const CLONE: usize = (OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC) as usize;
    const EMPTY_PATH: usize = libc::AT_EMPTY_PATH as usize;
    const SIZE: usize = size_of::<MountAttr>();
    let attr = MountAttr { attr_set: MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let attr = (&raw const attr) as usize;
    let mut found = MaybeUninit::<[usize; WORDS]>::uninit();
    // SAFETY: every pointer is to what the call wants there, and alive; the kernel fills `found` if it returns 0.
    unsafe {
        if call(libc::SYS_statfs, SELF as usize, (&raw mut found) as usize, 0, 0, 0) != 0
            || *(&raw const found).cast::<usize>().wrapping_add(FLAGS) & libc::ST_RDONLY as usize != 0
        {
            return;
        }
        let mut tree = call(SYS_OPEN_TREE_ATTR, HERE, SELF as usize, CLONE, attr, SIZE);
        if tree == -(libc::ENOSYS as isize) {
            tree = call(libc::SYS_open_tree, HERE, SELF as usize, CLONE, 0, 0);
            if tree >= 0 && call(libc::SYS_mount_setattr, tree as usize, EMPTY as usize, EMPTY_PATH, attr, SIZE) != 0 {
                call(libc::SYS_close, tree as usize, 0, 0, 0, 0);
                return;
            }
        }
        if tree < 0 {
            return;
        }
        let name = *argv;
        *argv = SEALED_NAME;
        call(libc::SYS_execveat, tree as usize, EMPTY as usize, argv as usize, environment as usize, EMPTY_PATH);
        *argv = name;
        call(libc::SYS_close, tree as usize, 0, 0, 0, 0);
    }
}

/// A system call: its result, or the error number with a minus. libc's own would store the latter where there is no
/// storage yet.
///
/// # Safety
/// As for the call.
#[inline(always)]
unsafe fn call(number: libc::c_long, first: usize, second: usize, third: usize, fourth: usize, fifth: usize) -> isize {
    let result: isize;
    // SAFETY: the registers of the kernel's x86-64 calling convention (syscall(2)).
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}
