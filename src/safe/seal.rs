//! Protects the host's binary from the containers it enters (CVE-2019-5736). A process of ours inside a container can be
//! found at `/proc/PID/exe`, and root in there could open that file for writing. So the verbs that enter a container
//! execute themselves once more from a private read-only clone of their own mount: writing through it is EROFS, and
//! since the clone's descriptor closes at that execve, nobody is left who could make it writable (while such a
//! descriptor lives, CAP_SYS_ADMIN in the container can clear the flag; afterwards the mount belongs to no namespace and
//! mount_setattr(2) answers EINVAL). Cost: a few µs, and a second start-up. On x86-64 the first of the two gets no further
//! than `sys/early.rs`, which does the plain case in place of [`ensure`].

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::sys::Named;
use crate::sys::again::open;
use crate::sys::mount::clone_read_only;
use crate::sys::process::reexec;
use crate::weak::{Guard, KEPT_SEAL, lacks};

/// argv[0] of the second start, which `sys/early.rs` gives it too.
pub const SEALED: &std::ffi::CStr = c"oarlock:sealed";
const SELF: &str = "/proc/self/exe";

/// Makes sure that this process runs from a file that nobody can write through it: returns if so, otherwise starts the
/// program anew from one.
///
/// # Errors
/// If neither a read-only mount nor a sealed copy can be had; going on would endanger the host.
pub fn ensure() -> Result<()> {
    let again = std::env::args_os().next().is_some_and(|name| name.as_encoded_bytes() == SEALED.to_bytes());
    if is_sealed(again)? || lacks(Guard::SealedBinary) {
        return Ok(());
    }
    if again {
        bail!("cannot protect {SELF}: still writable after starting from a sealed copy");
    }
    let image = match clone_read_only(SELF.as_ref()) {
        Ok(image) => image,
        // Without CAP_SYS_ADMIN there are no mounts: copy.
        Err(_) => sealed_copy().context("cannot protect the runtime's own binary by a sealed copy")?,
    };
    if lacks(Guard::ClosedSeal) {
        fcntl(&image, FcntlArg::F_DUPFD(KEPT_SEAL)).named(|| "fcntl(F_DUPFD)".to_owned())?;
    }
    Err(reexec(image.as_fd(), SEALED).into())
}

/// A read-only mount (the host's own will do: no container can remount it), or a memfd that is sealed against writing.
fn is_sealed(again: bool) -> Result<bool> {
    if statvfs(SELF).named(|| format!("statvfs({SELF:?})"))?.flags().contains(FsFlags::ST_RDONLY) {
        return Ok(true);
    }
    if !again {
        return Ok(false);
    }
    let exe = open(SELF, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).named(|| format!("open({SELF:?})"))?;
    let seals = fcntl(&exe, FcntlArg::F_GET_SEALS).unwrap_or(0);
    Ok(SealFlag::from_bits_truncate(seals).contains(SealFlag::F_SEAL_WRITE))
}

fn sealed_copy() -> Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut copy = File::from(memfd_create(c"oarlock", flags).named(|| "memfd_create()".to_owned())?);
    let mut exe = File::open(SELF).named(|| format!("open({SELF:?})"))?;
    io::copy(&mut exe, &mut copy).named(|| format!("copy {SELF} to a memfd"))?;
    let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).named(|| format!("fcntl(F_ADD_SEALS, {seals:?})"))?;
    // execve(2) of a file that is open for writing is ETXTBSY: hand over a read-only descriptor.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&copy));
    Ok(open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).named(|| format!("open({path:?})"))?)
}
