//! bpf(2) as far as device rules need it: instructions, loading a program, and attaching it to a v2 cgroup. What the
//! program says is not decided here.

use std::ffi::c_void;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{Result, check};

const BPF_PROG_LOAD: u32 = 5;
const BPF_PROG_ATTACH: u32 = 8;
const BPF_PROG_DETACH: u32 = 9;
const BPF_PROG_GET_FD_BY_ID: u32 = 13;
const BPF_PROG_QUERY: u32 = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// A register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
}

/// `struct bpf_insn` (linux/bpf.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Insn {
    code: u8,
    /// Two bit-fields of four: the destination is the low one on little-endian machines, the high one on others.
    regs: u8,
    off: i16,
    imm: u32,
}

impl Insn {
    const fn new(code: u8, dst: Reg, src: Reg, off: i16, imm: u32) -> Self {
        let (dst, src) = (dst as u8, src as u8);
        let regs = if cfg!(target_endian = "little") { src << 4 | dst } else { dst << 4 | src };
        Self { code, regs, off, imm }
    }

    /// `dst = *(u32 *)(src + off)`: BPF_LDX | BPF_MEM | BPF_W
    pub const fn load32(dst: Reg, src: Reg, off: i16) -> Self {
        Self::new(0x61, dst, src, off, 0)
    }

    /// `dst = src`, 32 bits: BPF_ALU | BPF_MOV | BPF_X
    pub const fn mov(dst: Reg, src: Reg) -> Self {
        Self::new(0xbc, dst, src, 0, 0)
    }

    /// `dst = imm`, 32 bits: BPF_ALU | BPF_MOV | BPF_K
    pub const fn set(dst: Reg, imm: u32) -> Self {
        Self::new(0xb4, dst, Reg::R0, 0, imm)
    }

    /// `dst &= imm`, 32 bits: BPF_ALU | BPF_AND | BPF_K
    pub const fn and(dst: Reg, imm: u32) -> Self {
        Self::new(0x54, dst, Reg::R0, 0, imm)
    }

    /// `dst >>= imm`, 32 bits: BPF_ALU | BPF_RSH | BPF_K
    pub const fn shift_right(dst: Reg, imm: u32) -> Self {
        Self::new(0x74, dst, Reg::R0, 0, imm)
    }

    /// `dst <<= imm`, 32 bits: BPF_ALU | BPF_LSH | BPF_K
    pub const fn shift_left(dst: Reg, imm: u32) -> Self {
        Self::new(0x64, dst, Reg::R0, 0, imm)
    }

    /// `dst |= src`, 32 bits: BPF_ALU | BPF_OR | BPF_X
    pub const fn or(dst: Reg, src: Reg) -> Self {
        Self::new(0x4c, dst, src, 0, 0)
    }

    /// Skips `over` instructions if the lower 32 bits are `imm`: BPF_JMP32 (Linux 5.1) | BPF_JEQ | BPF_K
    pub const fn jump_if_eq(dst: Reg, imm: u32, over: i16) -> Self {
        Self::new(0x16, dst, Reg::R0, over, imm)
    }

    /// Skips `over` instructions if the lower 32 bits are not `imm`: BPF_JMP32 (Linux 5.1) | BPF_JNE | BPF_K
    pub const fn jump_unless_eq(dst: Reg, imm: u32, over: i16) -> Self {
        Self::new(0x56, dst, Reg::R0, over, imm)
    }

    /// Returns R0: BPF_JMP | BPF_EXIT
    pub const fn exit() -> Self {
        Self::new(0x95, Reg::R0, Reg::R0, 0, 0)
    }
}

/// What `program` returns for a context of these words: the kernel lends nobody its own interpreter for such programs.
#[cfg(test)]
pub fn interpret(program: &[Insn], context: [u32; 3]) -> u32 {
    let mut regs = [0u32; 8];
    let mut at = 0;
    loop {
        let insn = program[at];
        let (src, dst) = if cfg!(target_endian = "little") {
            (insn.regs >> 4, insn.regs & 15)
        } else {
            (insn.regs & 15, insn.regs >> 4)
        };
        let (src, dst) = (usize::from(src), usize::from(dst));
        at += 1;
        let mut jump = |condition: bool| {
            if condition {
                at = at.checked_add_signed(insn.off.into()).unwrap();
            }
        };
        match insn.code {
            0x61 => regs[dst] = context[insn.off as usize / 4],
            0xbc => regs[dst] = regs[src],
            0xb4 => regs[dst] = insn.imm,
            0x54 => regs[dst] &= insn.imm,
            0x4c => regs[dst] |= regs[src],
            0x64 => regs[dst] <<= insn.imm,
            0x74 => regs[dst] >>= insn.imm,
            0x16 => jump(regs[dst] == insn.imm),
            0x56 => jump(regs[dst] != insn.imm),
            0x95 => return regs[0],
            code => panic!("{code:#x}"),
        }
    }
}

/// The beginning of `union bpf_attr` for BPF_PROG_LOAD; the kernel takes what it is not given for zero.
#[repr(C)]
#[derive(Default)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// For BPF_PROG_ATTACH and BPF_PROG_DETACH.
#[repr(C)]
#[derive(Default)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// For BPF_PROG_QUERY.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// For BPF_PROG_GET_FD_BY_ID.
#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// # Safety
/// Addresses in `attr` must be valid for what `cmd` does with them until the call returns.
unsafe fn bpf<T>(cmd: u32, attr: &mut T, call: impl FnOnce() -> String) -> Result<i32> {
    // SAFETY: `attr` is a live, exclusively borrowed repr(C) struct of the size given; what it points to is the
    // caller's promise.
    let ret = unsafe { libc::syscall(libc::SYS_bpf, cmd, (attr as *mut T).cast::<c_void>(), size_of::<T>()) };
    Ok(check(ret, call)? as i32)
}

/// Loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE. EPERM: no CAP_BPF (or CAP_SYS_ADMIN), or before Linux 5.11
/// RLIMIT_MEMLOCK. EINVAL or EACCES: the verifier refuses it.
pub fn load_cgroup_device(program: &[Insn]) -> Result<OwnedFd> {
    let license = c"Apache-2.0";
    let mut attr = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_name: *b"oarlock_devices\0",
        ..Load::default()
    };
    // SAFETY: `program` and `license` outlive the call, which only reads them.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &mut attr, || format!("bpf(BPF_PROG_LOAD, {} insns)", program.len()))? };
    // SAFETY: the call succeeded, so `fd` is a new descriptor (always close-on-exec) that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device program to a cgroup's directory beside others, or in place of `replace` (Linux 5.6) at once.
pub fn attach(dir: &OwnedFd, program: &OwnedFd, replace: Option<&OwnedFd>) -> Result<()> {
    let mut attr = Attach {
        target_fd: dir.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | if replace.is_some() { BPF_F_REPLACE } else { 0 },
        replace_bpf_fd: replace.map_or(0, |fd| fd.as_raw_fd() as u32),
    };
    // SAFETY: `attr` holds no addresses.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attr, || "bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE)".into())? };
    Ok(())
}

/// Detaches one program.
pub fn detach(dir: &OwnedFd, program: &OwnedFd) -> Result<()> {
    let mut attr = Attach {
        target_fd: dir.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        ..Attach::default()
    };
    // SAFETY: `attr` holds no addresses.
    unsafe { bpf(BPF_PROG_DETACH, &mut attr, || "bpf(BPF_PROG_DETACH, BPF_CGROUP_DEVICE)".into())? };
    Ok(())
}

/// The device programs attached to the directory itself; those of its parents are not listed.
pub fn attached(dir: &OwnedFd) -> Result<Vec<OwnedFd>> {
    // The kernel attaches at most 64 (BPF_CGROUP_MAX_PROGS).
    let mut ids = [0u32; 64];
    let mut attr = Query {
        target_fd: dir.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: ids.len() as u32,
        ..Query::default()
    };
    // SAFETY: `ids` outlives the call, is not otherwise borrowed, and has room for the `prog_cnt` numbers promised.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr, || "bpf(BPF_PROG_QUERY, BPF_CGROUP_DEVICE)".into())? };
    ids[..attr.prog_cnt as usize].iter().map(|id| by_id(*id)).collect()
}

fn by_id(id: u32) -> Result<OwnedFd> {
    let mut attr = ById { id, ..ById::default() };
    // SAFETY: `attr` holds no addresses.
    let fd = unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attr, || format!("bpf(BPF_PROG_GET_FD_BY_ID, {id})"))? };
    // SAFETY: the call succeeded, so `fd` is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
