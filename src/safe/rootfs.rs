//! The one handle on the container's root file system. Every path below it is resolved from this descriptor, by the
//! kernel, with the root as its limit (openat2(2), RESOLVE_IN_ROOT): a symlink, or a neighbour swapping directories in a
//! shared volume, can lead to another place inside the root, never outside it (CVE-2021-30465, CVE-2024-45310,
//! CVE-2026-41579).

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};
use nix::unistd::{chroot, fchdir, symlinkat};

use crate::sys::again::{open, openat};
use crate::sys::openat2::{RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, openat2};
use crate::sys::{Named, SysError, current_dir};
use crate::weak::{Guard, lacks};

/// How many dangling symlinks are followed on the way to one path; the kernel's own limit (path_resolution(7)).
const MAX_LINKS: u32 = 40;

#[derive(Debug)]
pub struct Rootfs {
    root: OwnedFd,
    /// It is the root of the calling process, too.
    own: bool,
}

impl Rootfs {
    /// `fd` refers to the root directory (O_PATH will do).
    pub fn new(fd: OwnedFd) -> Self {
        Self { root: fd, own: false }
    }

    /// Makes `fd` the root of the calling process first, in whose `/proc` nothing is to be looked up from then on: it is
    /// the container's.
    pub fn enter(fd: OwnedFd) -> Result<Self> {
        fchdir(&fd).named(|| "fchdir(root)".to_owned())?;
        chroot(".").named(|| "chroot(\".\")".to_owned())?;
        Ok(Self { root: fd, own: true })
    }

    /// What `path` leads to, following symlinks inside the root; `None` if it does not exist.
    pub fn find(&self, path: &Path) -> Result<Option<OwnedFd>> {
        self.resolve(path, OFlag::empty(), 0)
    }

    /// As [`Rootfs::find`], but any symlink on the way is refused with ELOOP.
    pub fn find_without_symlinks(&self, path: &Path) -> Result<Option<OwnedFd>> {
        self.resolve(path, OFlag::empty(), RESOLVE_NO_SYMLINKS)
    }

    fn resolve(&self, path: &Path, flags: OFlag, bounds: u64) -> Result<Option<OwnedFd>> {
        let limits = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | bounds;
        let opened = if lacks(Guard::RootfsBounds) {
            openat2(self.root.as_fd(), &unbounded(path), OFlag::O_PATH | flags, bounds)
        } else {
            openat2(self.root.as_fd(), path, OFlag::O_PATH | flags, limits)
        };
        match opened {
            Ok(_) if lacks(Guard::OneLookup) => {
                openat2(self.root.as_fd(), &unbounded(path), OFlag::O_PATH | flags, 0).map(Some).map_err(Into::into)
            }
            Ok(fd) => Ok(Some(fd)),
            Err(SysError { errno: Errno::ENOENT, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The directory `path`, made with its parents (mode 0755) where missing.
    pub fn directory(&self, path: &Path) -> Result<OwnedFd> {
        let call = || format!("mkdir({path:?}) in the rootfs");
        let made = self.make(path, OFlag::O_DIRECTORY, MAX_LINKS, &|parent, name| {
            mkdirat(parent, name, Mode::from_bits_truncate(0o755)).named(call)?;
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            openat(parent, name, flags, Mode::empty()).named(|| format!("open({path:?}) in the rootfs"))
        });
        match made {
            Err(error) if is_no_directory(&error) => Err(SysError::new(call(), Errno::ENOTDIR).into()),
            made => made,
        }
    }

    /// What is at `path`, whatever it is; an empty file (mode 0644) is made there if nothing is.
    pub fn file(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        self.make(path, OFlag::empty(), MAX_LINKS, &|parent, name| {
            openat(parent, name, flags, Mode::from_bits_truncate(0o644))
                .named(|| format!("create({path:?}) in the rootfs"))
        })
    }

    /// What is at `path` itself: a symlink there is not followed, only on the way to it. Where there is nothing a directory
    /// or an empty file is made.
    pub fn itself(&self, path: &Path, directory: bool) -> Result<OwnedFd> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&parent, name, flags, Mode::empty()) {
            Err(Errno::ENOENT) if directory => self.directory(path),
            Err(Errno::ENOENT) => self.file(path),
            found => Ok(found.named(|| format!("open({path:?}) in the rootfs"))?),
        }
    }

    /// Finds `path`, or makes its last component by `make` in the directory that holds it.
    ///
    /// A symlink to what does not exist is no obstacle: what it names is made, inside the root (images have such links, to
    /// files below /run for one, and clients mount over them).
    fn make(
        &self,
        path: &Path,
        flags: OFlag,
        links: u32,
        make: &dyn Fn(BorrowedFd<'_>, &Path) -> Result<OwnedFd, SysError>,
    ) -> Result<OwnedFd> {
        if let Some(fd) = self.resolve(path, flags, 0)? {
            return Ok(fd);
        }
        let (parent, name) = self.parent(path)?;
        let error = match make(parent.as_fd(), name) {
            Err(error) if error.errno == Errno::EEXIST => error,
            made => return Ok(made?),
        };
        match readlinkat(&parent, name) {
            Ok(_) if links == 0 => Err(SysError::new(format!("open({path:?}) in the rootfs"), Errno::ELOOP).into()),
            Ok(target) => {
                let target = self.path_of(parent.as_fd())?.join(target);
                let target = crate::plan::normalise(&target).context("internal error: a relative path")?;
                self.make(&target, flags, links - 1, make)
            }
            // Somebody has just made it.
            Err(_) => self.resolve(path, flags, 0)?.ok_or_else(|| error.into()),
        }
    }

    /// Whether `/proc` can be asked about our own descriptors: it is the host's.
    pub fn trusts_proc(&self) -> bool {
        !self.own
    }

    /// Where `file` is now, seen from the root. In a root that we have entered, only a directory's place can be told.
    ///
    /// # Errors
    /// It has been moved out of the root.
    pub fn path_of(&self, file: BorrowedFd<'_>) -> Result<PathBuf> {
        if self.own {
            fchdir(file).named(|| "fchdir()".to_owned())?;
            let path = PathBuf::from(OsString::from_vec(current_dir()?));
            if !path.is_absolute() {
                bail!("{} is no longer inside of the root file system", path.display());
            }
            return Ok(path);
        }
        let name = |fd: BorrowedFd<'_>| {
            let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
            std::fs::read_link(&link).named(|| format!("readlink({link:?})"))
        };
        let (root, file) = (name(self.root.as_fd())?, name(file)?);
        match file.strip_prefix(&root) {
            Ok(below) => Ok(Path::new("/").join(below)),
            Err(_) => bail!("{} is no longer inside of the root file system", file.display()),
        }
    }

    /// The directory that holds `path`'s last component (made where missing), and that component.
    pub fn parent<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a Path)> {
        let name = path.file_name().with_context(|| format!("{}: has no file name", path.display()))?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        Ok((self.directory(parent)?, Path::new(name)))
    }

    /// Opens what is at `path`, which must satisfy `check` before anything is opened for real: opening a device has
    /// effects. `/proc` must still be the host's.
    pub fn open_checked(
        &self,
        path: &Path,
        flags: OFlag,
        check: impl FnOnce(BorrowedFd<'_>) -> Result<()>,
    ) -> Result<OwnedFd> {
        let handle =
            self.find(path)?.ok_or_else(|| SysError::new(format!("open({path:?}) in the rootfs"), Errno::ENOENT))?;
        check(handle.as_fd())?;
        let link = format!("/proc/self/fd/{}", handle.as_raw_fd());
        Ok(open(link.as_str(), flags, Mode::empty()).named(|| format!("open({path:?}) in the rootfs"))?)
    }

    /// Makes the symlink `path` → `target` unless something is there already.
    pub fn symlink(&self, path: &Path, target: &Path) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        match symlinkat(target, &parent, name) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(SysError::new(format!("symlink({path:?}) in the rootfs"), errno).into()),
        }
    }

    /// Makes the symlink `path` → `target`, or finds just that there.
    pub fn exact_symlink(&self, path: &Path, target: &Path) -> Result<()> {
        self.symlink(path, target)?;
        let (parent, name) = self.parent(path)?;
        match readlinkat(&parent, name) {
            Ok(there) if Path::new(&there) == target => Ok(()),
            Ok(there) => bail!("{} is there already, a symlink to {there:?}", path.display()),
            Err(_) => bail!("{} is there already, and no symlink", path.display()),
        }
    }
}

/// `path` as one below the working directory, which nothing bounds.
fn unbounded(path: &Path) -> PathBuf {
    Path::new(".").join(path.strip_prefix("/").unwrap_or(path))
}

fn is_no_directory(error: &anyhow::Error) -> bool {
    error.downcast_ref::<SysError>().is_some_and(|error| error.errno == Errno::ENOTDIR)
}

impl AsFd for Rootfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
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
