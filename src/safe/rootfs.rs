//! The one handle on the container's root file system. Every path below it is resolved from this descriptor, by the
//! kernel, with the root as its limit (openat2(2), RESOLVE_IN_ROOT): a symlink, or a neighbour swapping directories in a
//! shared volume, can lead to another place inside the root, never outside it (CVE-2021-30465, CVE-2024-45310,
//! CVE-2026-41579).

use std::fs::Permissions;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, SFlag, fstat};
use pathrs::error::{Error, ErrorKind};
use pathrs::flags::{OpenFlags, ResolverFlags};
use pathrs::{InodeType, Root};

use crate::sys::{Named, SysError};

#[derive(Debug)]
pub struct Rootfs(Root);

impl Rootfs {
    /// `fd` refers to the root directory (O_PATH will do).
    pub fn new(fd: OwnedFd) -> Self {
        Self(Root::from_fd(fd))
    }

    /// What `path` leads to, following symlinks inside the root; `None` if it does not exist.
    pub fn find(&self, path: &Path) -> Result<Option<OwnedFd>> {
        found(self.0.resolve(path), "resolve", path)
    }

    /// As [`Rootfs::find`], but any symlink on the way is refused with ELOOP.
    pub fn find_without_symlinks(&self, path: &Path) -> Result<Option<OwnedFd>> {
        let root = self.0.as_ref().with_resolver_flags(ResolverFlags::NO_SYMLINKS);
        found(root.resolve_nofollow(path), "resolve without symlinks", path)
    }

    /// The directory `path`, made with its parents (mode 0755) where missing.
    pub fn directory(&self, path: &Path) -> Result<OwnedFd> {
        match self.find(path)? {
            Some(fd) if file_type(&stat(fd.as_fd())?) == SFlag::S_IFDIR => Ok(fd),
            Some(_) => Err(SysError::new(format!("mkdir({path:?})"), Errno::ENOTDIR).into()),
            None => self
                .0
                .mkdir_all(path, &Permissions::from_mode(0o755))
                .map(OwnedFd::from)
                .map_err(|error| named(error, "mkdir_all", path).into()),
        }
    }

    /// What is at `path`, whatever it is; an empty file (mode 0644) is made there if nothing is.
    pub fn file(&self, path: &Path) -> Result<OwnedFd> {
        if let Some(fd) = self.find(path)? {
            return Ok(fd);
        }
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        let flags = OpenFlags::from_bits_retain((libc::O_CREAT | libc::O_NOFOLLOW | libc::O_CLOEXEC) as _);
        self.0
            .create_file(path, flags, &Permissions::from_mode(0o644))
            .map(OwnedFd::from)
            .map_err(|error| named(error, "create", path).into())
    }

    /// The directory that holds `path`'s last component (made where missing), and that component.
    pub fn parent<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a Path)> {
        let name = path.file_name().with_context(|| format!("{}: has no file name", path.display()))?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        Ok((self.directory(parent)?, Path::new(name)))
    }

    /// Opens what is at `path`, which must satisfy `check` before anything is opened for real: opening a device has
    /// effects.
    pub fn open_checked(
        &self,
        path: &Path,
        flags: OFlag,
        check: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
    ) -> Result<OwnedFd> {
        let handle = self.find(path)?.ok_or_else(|| SysError::new(format!("open({path:?})"), Errno::ENOENT))?;
        check(handle.as_fd())?;
        let flags = OpenFlags::from_bits_retain(flags.bits() as _);
        pathrs::Handle::from_fd(handle)
            .reopen(flags)
            .map(OwnedFd::from)
            .map_err(|error| named(error, "open", path).into())
    }

    /// Makes the symlink `path` → `target` unless something is there already.
    pub fn symlink(&self, path: &Path, target: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        match self.0.create(path, &InodeType::Symlink(PathBuf::from(target))) {
            Err(error) if errno(&error) == Some(Errno::EEXIST) => Ok(()),
            result => result.map_err(|error| named(error, "symlink", path).into()),
        }
    }
}

impl AsFd for Rootfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// fstat(2) with a name.
pub fn stat(fd: BorrowedFd<'_>) -> Result<FileStat> {
    Ok(fstat(fd).named(|| format!("fstat({})", fd.as_raw_fd()))?)
}

/// The file's type bits (`S_IFMT`).
pub fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

fn found(result: Result<pathrs::Handle, Error>, call: &str, path: &Path) -> Result<Option<OwnedFd>> {
    match result {
        Ok(handle) => Ok(Some(handle.into())),
        Err(error) if errno(&error) == Some(Errno::ENOENT) => Ok(None),
        Err(error) => Err(named(error, call, path).into()),
    }
}

fn errno(error: &Error) -> Option<Errno> {
    match error.kind() {
        ErrorKind::OsError(Some(errno)) => Some(Errno::from_raw(errno)),
        _ => None,
    }
}

/// pathrs' error as a call with its path; what is no errno is a safety violation, which reads as EXDEV.
fn named(error: Error, call: &str, path: &Path) -> SysError {
    match errno(&error) {
        Some(errno) => SysError::new(format!("{call}({path:?}) in the rootfs"), errno),
        None => SysError::new(format!("{call}({path:?}) in the rootfs: {error}"), Errno::EXDEV),
    }
}
