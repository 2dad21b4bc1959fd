//! A private procfs for every write below /proc. The container's own /proc cannot be trusted: the image or a racing
//! neighbour may have put another file over the one we mean (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881). This one is
//! mounted nowhere, so nothing can be mounted over it.

use std::fs::File;
use std::io::Write;

use anyhow::Result;
use nix::errno::Errno;
use pathrs::error::ErrorKind;
use pathrs::flags::OpenFlags;
use pathrs::procfs::{ProcfsBase, ProcfsHandle, ProcfsHandleBuilder};

use crate::sys::{Named, SysError};
use crate::weak::{Guard, lacks};

#[derive(Debug)]
pub struct Procfs(ProcfsHandle);

impl Procfs {
    /// A procfs of this process's pid namespace, with /proc/sys in it.
    pub fn new() -> Result<Self> {
        let handle = ProcfsHandleBuilder::new().unmasked().build().map_err(|error| named(error, "mount procfs"))?;
        Ok(Self(handle))
    }

    /// Writes `value` to `path` below `/proc`, by one write(2).
    pub fn write(&self, path: &str, value: &str) -> Result<()> {
        self.write_to(ProcfsBase::ProcRoot, path, value)
    }

    /// Writes `value` to `path` below `/proc/thread-self`, by one write(2). The errors have the path in backquotes: by them
    /// Podman knows one of a security label.
    pub fn write_self(&self, path: &str, value: &str) -> Result<()> {
        self.write_to(ProcfsBase::ProcThreadSelf, path, value)
    }

    fn write_to(&self, base: ProcfsBase, path: &str, value: &str) -> Result<()> {
        let (host, shown) = match base {
            ProcfsBase::ProcThreadSelf => (format!("/proc/thread-self/{path}"), format!("`/proc/thread-self/{path}`")),
            _ => (format!("/proc/{path}"), format!("\"/proc/{path}\"")),
        };
        if lacks(Guard::PrivateProcfs) {
            std::fs::write(host, value).named(|| format!("write({shown}, {value:?})"))?;
            return Ok(());
        }
        let flags = OpenFlags::from_bits_retain((libc::O_WRONLY | libc::O_CLOEXEC) as _);
        let mut file: File = self.0.open(base, path, flags).map_err(|error| named(error, &format!("open({shown})")))?;
        file.write_all(value.as_bytes()).named(|| format!("write({shown}, {value:?})"))?;
        Ok(())
    }
}

fn named(error: pathrs::error::Error, call: &str) -> SysError {
    match error.kind() {
        ErrorKind::OsError(Some(errno)) => SysError::new(call, Errno::from_raw(errno)),
        _ => SysError::new(format!("{call}: {error}"), Errno::EXDEV),
    }
}
