//! Where and when a process runs: scheduling, processors, I/O priority, memory nodes, execution domain. All of it on the
//! calling process, and kept over execve(2).

use super::{Result, check};

/// `struct sched_attr` (sched_setattr(2)).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct SchedAttr {
    pub size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
    /// Of SCHED_FLAG_UTIL_CLAMP_MIN and _MAX, Linux 5.3; older kernels mind only what is not 0.
    pub util_min: u32,
    pub util_max: u32,
}

pub fn set_scheduler(mut attr: SchedAttr) -> Result<()> {
    attr.size = size_of::<SchedAttr>() as u32;
    // SAFETY: `attr` says its own size and outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    check(ret, || format!("sched_setattr({attr:?})")).map(drop)
}

/// sched_setaffinity(2): processor N at bit N % 64 of word N / 64. The raw call, because glibc's type ends at 1024.
///
/// # Errors
/// EINVAL if none of them is online and in this process's cpuset.
pub fn set_affinity(processors: &[u64]) -> Result<()> {
    // SAFETY: the pointer and the size describe `processors`.
    let ret = unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(processors), processors.as_ptr().cast::<u8>())
    };
    check(ret, || format!("sched_setaffinity({processors:x?})")).map(drop)
}

/// ioprio_set(2): class << 13 | priority.
pub fn set_io_priority(value: i32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    // SAFETY: plain integers only.
    let ret = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) };
    check(ret, || format!("ioprio_set({value:#x})")).map(drop)
}

/// set_mempolicy(2): mode and flags in one word, node N at bit N % 64 of word N / 64.
///
/// # Errors
/// EINVAL for a mode that the kernel lacks, and for a node that it has not or that the cpuset leaves out; ENOSYS without
/// CONFIG_NUMA.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<()> {
    let first = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // One bit less than it is told of is what the kernel takes (get_nodes() in mm/mempolicy.c).
    let bits = size_of_val(nodes) * 8 + 1;
    // SAFETY: the kernel reads `bits` - 1 bits, which are there, and nothing by a null pointer.
    let ret = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, first, bits) };
    check(ret, || format!("set_mempolicy({mode:#x}, {nodes:x?})")).map(drop)
}

/// # Errors
/// EINVAL for a persona that the kernel lacks.
pub fn set_personality(persona: u64) -> Result<()> {
    // SAFETY: plain integers only.
    let ret = unsafe { libc::personality(persona as libc::c_ulong) };
    check(ret.into(), || format!("personality({persona:#x})")).map(drop)
}
