//! Classic BPF as the kernel runs it over `struct seccomp_data`, for tests: what does a program say about a call?

use crate::sys::seccomp::INSTRUCTION;

/// A system call as a filter sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub number: u32,
    pub arch: u32,
    pub args: [u64; 6],
}

impl Call {
    fn data(&self) -> [u8; 64] {
        let mut data = [0; 64];
        data[..4].copy_from_slice(&self.number.to_ne_bytes());
        data[4..8].copy_from_slice(&self.arch.to_ne_bytes());
        for (slot, arg) in data[16..].chunks_exact_mut(8).zip(self.args) {
            slot.copy_from_slice(&arg.to_ne_bytes());
        }
        data
    }
}

/// The value that `bpf` returns for `call`: `SECCOMP_RET_*` with its data.
pub(super) fn run(bpf: &[u8], call: &Call) -> u32 {
    let data = call.data();
    let (mut at, mut a) = (0, 0u32);
    loop {
        let [c0, c1, jt, jf, k0, k1, k2, k3] = bpf[at * INSTRUCTION..][..INSTRUCTION].try_into().unwrap();
        let (code, k) = (u32::from(u16::from_ne_bytes([c0, c1])), u32::from_ne_bytes([k0, k1, k2, k3]));
        at += 1;
        let mut branch = |yes: bool| at += usize::from(if yes { jt } else { jf });
        match code {
            0x20 => a = u32::from_ne_bytes(data[k as usize..][..4].try_into().unwrap()),
            0x54 => a &= k,
            0x05 => at += k as usize,
            0x15 => branch(a == k),
            0x25 => branch(a > k),
            0x35 => branch(a >= k),
            0x45 => branch(a & k != 0),
            0x06 => return k,
            other => panic!("opcode {other:#x} at {}", at - 1),
        }
    }
}
