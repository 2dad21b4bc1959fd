//! The names of seccomp as tables: what a profile may say, and what each name is to libseccomp and to the kernel.
//! `features` prints them. Not for the meaning of a profile: that is `plan::seccomp`.

use libseccomp::{ScmpArch, ScmpVersion};
use oci_spec::runtime::{
    Arch, LinuxSeccompAction as Action, LinuxSeccompFilterFlag as Flag, LinuxSeccompOperator as Operator,
};

use crate::sys::seccomp as kernel;

/// The actions that a profile may use.
const ACTIONS: &[Action] = &[
    Action::ScmpActAllow,
    Action::ScmpActErrno,
    Action::ScmpActKill,
    Action::ScmpActKillProcess,
    Action::ScmpActKillThread,
    Action::ScmpActLog,
    Action::ScmpActNotify,
    Action::ScmpActTrace,
    Action::ScmpActTrap,
];

const OPERATORS: &[Operator] = &[
    Operator::ScmpCmpEq,
    Operator::ScmpCmpGe,
    Operator::ScmpCmpGt,
    Operator::ScmpCmpLe,
    Operator::ScmpCmpLt,
    Operator::ScmpCmpMaskedEq,
    Operator::ScmpCmpNe,
];

/// One filter flag that a profile may set.
pub(crate) struct FlagRow {
    pub flag: Flag,
    /// `SECCOMP_FILTER_FLAG_*` of seccomp(2).
    pub bit: u32,
    /// Whether the bit goes to the kernel.
    pub passed: bool,
}

/// The flags that a profile may set.
pub(crate) const FLAGS: &[FlagRow] = &[
    FlagRow { flag: Flag::SeccompFilterFlagLog, bit: kernel::FLAG_LOG, passed: true },
    FlagRow { flag: Flag::SeccompFilterFlagSpecAllow, bit: kernel::FLAG_SPEC_ALLOW, passed: true },
    // The filter is loaded by a process with one thread: there is no other to synchronise.
    FlagRow { flag: Flag::SeccompFilterFlagTsync, bit: kernel::FLAG_TSYNC, passed: false },
    FlagRow { flag: Flag::SeccompFilterFlagWaitKillableRecv, bit: kernel::FLAG_WAIT_KILLABLE_RECV, passed: true },
];

/// One architecture that a profile may list.
pub(crate) struct ArchRow {
    pub arch: Arch,
    pub scmp: ScmpArch,
    /// `AUDIT_ARCH_*` of linux/audit.h: what the kernel reports in `seccomp_data.arch`.
    pub audit: u32,
    /// The first libseccomp that knows it, as major and minor version.
    since: (u32, u32),
}

/// Of an `AUDIT_ARCH_*`: a little-endian architecture (`__AUDIT_ARCH_LE`).
const LITTLE_ENDIAN: u32 = 0x4000_0000;

impl ArchRow {
    const fn new(arch: Arch, scmp: ScmpArch, audit: u32, since: (u32, u32)) -> Self {
        Self { arch, scmp, audit, since }
    }

    /// The libseccomp in this binary knows the architecture.
    pub fn is_known(&self) -> bool {
        let (major, minor, _) = library_version();
        self.since <= (major, minor)
    }

    /// One filter can serve both architectures: libseccomp refuses to mix byte orders.
    pub fn fits(&self, other: &Self) -> bool {
        self.audit & LITTLE_ENDIAN == other.audit & LITTLE_ENDIAN
    }
}

/// The architectures that a profile may list, sorted by name.
#[rustfmt::skip]
const ARCHS: &[ArchRow] = &[
    ArchRow::new(Arch::ScmpArchAarch64, ScmpArch::Aarch64, 0xc000_00b7, (2, 5)),
    ArchRow::new(Arch::ScmpArchArm, ScmpArch::Arm, 0x4000_0028, (2, 5)),
    ArchRow::new(Arch::ScmpArchLoongarch64, ScmpArch::Loongarch64, 0xc000_0102, (2, 6)),
    ArchRow::new(Arch::ScmpArchM68k, ScmpArch::M68k, 0x0000_0004, (2, 6)),
    ArchRow::new(Arch::ScmpArchMips, ScmpArch::Mips, 0x0000_0008, (2, 5)),
    ArchRow::new(Arch::ScmpArchMips64, ScmpArch::Mips64, 0x8000_0008, (2, 5)),
    ArchRow::new(Arch::ScmpArchMips64n32, ScmpArch::Mips64N32, 0xa000_0008, (2, 5)),
    ArchRow::new(Arch::ScmpArchMipsel, ScmpArch::Mipsel, 0x4000_0008, (2, 5)),
    ArchRow::new(Arch::ScmpArchMipsel64, ScmpArch::Mipsel64, 0xc000_0008, (2, 5)),
    ArchRow::new(Arch::ScmpArchMipsel64n32, ScmpArch::Mipsel64N32, 0xe000_0008, (2, 5)),
    ArchRow::new(Arch::ScmpArchParisc, ScmpArch::Parisc, 0x0000_000f, (2, 5)),
    ArchRow::new(Arch::ScmpArchParisc64, ScmpArch::Parisc64, 0x8000_000f, (2, 5)),
    ArchRow::new(Arch::ScmpArchPpc, ScmpArch::Ppc, 0x0000_0014, (2, 5)),
    ArchRow::new(Arch::ScmpArchPpc64, ScmpArch::Ppc64, 0x8000_0015, (2, 5)),
    ArchRow::new(Arch::ScmpArchPpc64le, ScmpArch::Ppc64Le, 0xc000_0015, (2, 5)),
    ArchRow::new(Arch::ScmpArchRiscv64, ScmpArch::Riscv64, 0xc000_00f3, (2, 5)),
    ArchRow::new(Arch::ScmpArchS390, ScmpArch::S390, 0x0000_0016, (2, 5)),
    ArchRow::new(Arch::ScmpArchS390x, ScmpArch::S390X, 0x8000_0016, (2, 5)),
    ArchRow::new(Arch::ScmpArchSh, ScmpArch::Sh, 0x4000_002a, (2, 6)),
    ArchRow::new(Arch::ScmpArchSheb, ScmpArch::Sheb, 0x0000_002a, (2, 6)),
    // x32 is x86_64 to the kernel; its calls have bit 30 of their number set.
    ArchRow::new(Arch::ScmpArchX32, ScmpArch::X32, 0xc000_003e, (2, 5)),
    ArchRow::new(Arch::ScmpArchX86, ScmpArch::X86, 0x4000_0003, (2, 5)),
    ArchRow::new(Arch::ScmpArchX86_64, ScmpArch::X8664, 0xc000_003e, (2, 5)),
];

/// The row of `arch`; of the machine's own for `SCMP_ARCH_NATIVE`.
pub(crate) fn arch(arch: Arch) -> &'static ArchRow {
    let row = match arch {
        Arch::ScmpArchNative => {
            let native = ScmpArch::native();
            ARCHS.iter().find(|row| row.scmp == native)
        }
        arch => ARCHS.iter().find(|row| row.arch == arch),
    };
    row.expect("every architecture of the specification, and each that this program builds for, has a row")
}

/// Whether libseccomp knows a system call of that name, on whatever architecture.
pub fn is_syscall(name: &str) -> bool {
    libseccomp::ScmpSyscall::from_name(name).is_ok()
}

/// The actions that a profile may use, sorted by name (`features`: `linux.seccomp.actions`).
pub fn supported_actions() -> Vec<Action> {
    ACTIONS.to_vec()
}

/// The operators that a profile may use, sorted by name (`features`: `linux.seccomp.operators`).
pub fn supported_operators() -> Vec<String> {
    OPERATORS.iter().map(Operator::to_string).collect()
}

/// The architectures that a profile may list, sorted by name (`features`: `linux.seccomp.archs`).
pub fn supported_archs() -> Vec<Arch> {
    ARCHS.iter().filter(|row| row.is_known()).map(|row| row.arch).collect()
}

/// The flags that a profile may set (`features`: `linux.seccomp.knownFlags`).
pub fn known_flags() -> Vec<String> {
    FLAGS.iter().map(|row| row.flag.to_string()).collect()
}

/// Those of [`known_flags`] that the running kernel has too (`features`: `linux.seccomp.supportedFlags`).
pub fn supported_flags() -> Vec<String> {
    FLAGS.iter().filter(|row| kernel::flag_available(row.bit)).map(|row| row.flag.to_string()).collect()
}

/// Major, minor and micro version of the libseccomp in this binary.
pub fn library_version() -> (u32, u32, u32) {
    let version = ScmpVersion::current().expect("seccomp_version(3) cannot fail");
    (version.major, version.minor, version.micro)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_spelled_as_the_specification_does() {
        let archs: Vec<String> = ARCHS.iter().map(|row| row.arch.to_string()).collect();
        assert!(archs.is_sorted(), "{archs:?}");
        assert!(archs.contains(&"SCMP_ARCH_X86_64".into()) && archs.contains(&"SCMP_ARCH_MIPSEL64N32".into()));
        let actions: Vec<String> = ACTIONS.iter().map(Action::to_string).collect();
        assert!(actions.is_sorted() && actions.contains(&"SCMP_ACT_KILL_PROCESS".into()), "{actions:?}");
        assert!(supported_operators().is_sorted() && supported_operators().contains(&"SCMP_CMP_MASKED_EQ".into()));
        assert!(known_flags().contains(&"SECCOMP_FILTER_FLAG_SPEC_ALLOW".into()));
    }

    #[test]
    fn an_audit_architecture_is_the_token_of_the_same_name() {
        for row in ARCHS.iter().filter(|row| row.arch != Arch::ScmpArchX32) {
            assert_eq!(row.audit, row.arch as u32, "{}", row.arch);
        }
    }

    #[test]
    fn libseccomp_takes_every_listed_architecture_of_our_byte_order() {
        let native = arch(Arch::ScmpArchNative);
        for row in ARCHS.iter().filter(|row| row.is_known() && row.fits(native)) {
            let mut context = libseccomp::ScmpFilterContext::new(libseccomp::ScmpAction::Allow).unwrap();
            assert!(context.add_arch(row.scmp).is_ok(), "{}", row.arch);
        }
    }
}
