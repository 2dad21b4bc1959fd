//! A container's directory below the state root: made once, locked while a verb changes it, written so that a reader
//! or a crash never sees half a file.
//!
//! ```text
//! <root>/<id>/state.json   the record
//!             exec.fifo    init waits here for `start`
//!             exec.log     what init has to say after that
//!             notify/      the sd_notify socket, if asked for
//!             seccomp.bpf  the filter, for processes that join later
//! ```

use std::fs::{DirBuilder, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, renameat};
use nix::sys::stat::{Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, mkfifoat, unlinkat};

use crate::sys::again::{open, openat};
use crate::sys::{self, Named};

pub const FIFO: &str = "exec.fifo";
pub const LOG: &str = "exec.log";
pub const NOTIFY: &str = "notify";
pub const SECCOMP: &str = "seccomp.bpf";

#[derive(Debug)]
pub struct Dir {
    pub path: PathBuf,
    fd: OwnedFd,
}

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// By `delete --force`, which takes what has no record for what a killed `create` has left.
const REMOVED: &str = "the state directory was removed while it was being made";

impl Dir {
    /// Makes the state root if it is missing, and in it the directory of container `id`, locked.
    ///
    /// # Errors
    /// `container with given ID already exists` (runc's words).
    pub fn create(root: &Path, id: &str, sticky_root: bool) -> Result<Self> {
        // 0711: others may reach what they know the name of, such as the notify socket, but not look around.
        let mkdir = |path: &Path, parents| DirBuilder::new().recursive(parents).mode(0o711).create(path);
        let path = root.join(id);
        let mut made = mkdir(&path, false);
        // The state root of a host's first container.
        if made.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            mkdir(root, true).named(|| format!("mkdir({root:?})")).context("--root")?;
            made = mkdir(&path, false);
        }
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!("container with given ID already exists"),
            result => result.named(|| format!("mkdir({path:?})")).context("--root")?,
        }
        if sticky_root {
            // Or systemd-tmpfiles would clean up below $XDG_RUNTIME_DIR.
            let mode = Permissions::from_mode(0o1700);
            std::fs::set_permissions(root, mode).named(|| format!("chmod({root:?}, 1700)"))?;
        }
        let Some(mut dir) = Self::open(root, id)? else { bail!(REMOVED) };
        if !dir.lock()? {
            bail!(REMOVED);
        }
        Ok(dir)
    }

    /// The directory of container `id`; `None` if there is none.
    pub fn open(root: &Path, id: &str) -> Result<Option<Self>> {
        let path = root.join(id);
        match open(&path, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { path, fd })),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(sys::SysError::new(format!("open({path:?})"), errno).into()),
        }
    }

    /// Waits until no other verb is changing this container, and keeps others away until the descriptor closes. False if
    /// the container has been removed meanwhile.
    pub fn lock(&mut self) -> Result<bool> {
        sys::process::lock(self.fd.as_fd()).with_context(|| self.path.display().to_string())?;
        self.exists()
    }

    /// Takes the lock if no other verb holds it; whether it was taken.
    pub fn try_lock(&mut self) -> Result<bool> {
        Ok(sys::process::try_lock(self.fd.as_fd())?)
    }

    /// Whether the directory has not been removed.
    pub fn exists(&self) -> Result<bool> {
        Ok(fstat(&self.fd).named(|| format!("fstat({:?})", self.path))?.st_nlink > 0)
    }

    /// Lets other verbs change the container again.
    pub fn unlock(&mut self) -> Result<()> {
        Ok(sys::process::unlock(self.fd.as_fd())?)
    }

    /// Whether another verb holds the lock now: a creation that is still under way, for one.
    pub fn is_locked(&self) -> Result<bool> {
        // Through a descriptor of its own, which releases what it may get at once.
        let probe = openat(&self.fd, ".", DIRECTORY, Mode::empty()).named(|| format!("open({:?})", self.path))?;
        Ok(!sys::process::try_lock(probe.as_fd())?)
    }

    /// Writes the whole file anew: readers see the old content or the new (mode 0600).
    pub fn write(&self, name: &str, content: &[u8]) -> Result<()> {
        let temporary = format!(".{name}.tmp");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(
            openat(&self.fd, temporary.as_str(), flags, Mode::from_bits_truncate(0o600))
                .named(|| format!("open({:?})", self.path.join(&temporary)))?,
        );
        file.write_all(content).named(|| format!("write({:?})", self.path.join(&temporary)))?;
        renameat(&self.fd, temporary.as_str(), &self.fd, name)
            .named(|| format!("rename({:?})", self.path.join(name)))?;
        Ok(())
    }

    /// Writes a file that nobody looks for before the container is on record (mode 0600).
    pub fn write_new(&self, name: &str, content: &[u8]) -> Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&self.fd, name, flags, Mode::from_bits_truncate(0o600));
        let mut file = File::from(file.named(|| format!("open({:?})", self.path.join(name)))?);
        file.write_all(content).named(|| format!("write({:?})", self.path.join(name)))?;
        Ok(())
    }

    /// The content of a file; `None` if it is missing.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(sys::read_all(fd.as_fd()).named(|| format!("read({:?})", self.path.join(name)))?)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(sys::SysError::new(format!("open({:?})", self.path.join(name)), errno).into()),
        }
    }

    /// Whether a file was last written before this host was started. False where that cannot be told.
    pub fn is_of_an_earlier_boot(&self, name: &str) -> bool {
        let written = fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW).map(|stat| stat.st_mtime);
        // Seconds since then, and since when processes last did nothing (proc_uptime(5)).
        let uptime = sys::read_text("/proc/uptime").ok();
        let uptime = uptime.and_then(|text| text.split('.').next()?.parse().ok());
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let (Ok(written), Some(uptime), Ok(now)) = (written, uptime, now) else { return false };
        i64::try_from(now.as_secs().saturating_sub(uptime)).is_ok_and(|boot| written < boot)
    }

    /// Makes the fifo and the log by which init is started, and opens them for it: the fifo for both directions, so that
    /// opening it neither waits nor fails, and init is a reader of it for exactly as long as it waits.
    pub fn make_start_files(&self) -> Result<(OwnedFd, OwnedFd)> {
        let mode = Mode::from_bits_truncate(0o600);
        mkfifoat(&self.fd, FIFO, mode).named(|| format!("mkfifo({:?})", self.path.join(FIFO)))?;
        let fifo = openat(&self.fd, FIFO, OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
            .named(|| format!("open({:?})", self.path.join(FIFO)))?;
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let log = openat(&self.fd, LOG, flags, mode).named(|| format!("open({:?})", self.path.join(LOG)))?;
        Ok((fifo, log))
    }

    /// Opens the fifo for writing; `None` if nobody reads it: init has started its program, or is gone.
    pub fn open_fifo(&self) -> Result<Option<OwnedFd>> {
        let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(&self.fd, FIFO, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::ENXIO | Errno::ENOENT) => Ok(None),
            Err(errno) => Err(sys::SysError::new(format!("open({:?})", self.path.join(FIFO)), errno).into()),
        }
    }

    /// Removes the directory and what is in it, the record last: until then `delete --force` finds the container.
    pub fn remove(self) -> Result<()> {
        let record = super::record::FILE;
        let mut names: Vec<std::ffi::CString> = Vec::new();
        let copy = openat(&self.fd, ".", DIRECTORY, Mode::empty()).named(|| format!("open({:?})", self.path))?;
        let mut listing = nix::dir::Dir::from_fd(copy).named(|| format!("opendir({:?})", self.path))?;
        for entry in listing.iter() {
            names.push(entry.named(|| format!("readdir({:?})", self.path))?.file_name().to_owned());
        }
        names.retain(|name| name.as_c_str() != c"." && name.as_c_str() != c"..");
        names.sort_by_key(|name| name.as_bytes() == record.as_bytes());
        for name in names {
            match unlinkat(&self.fd, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(Errno::EISDIR) => {
                    let path = self.path.join(name.to_string_lossy().as_ref());
                    std::fs::remove_dir_all(&path).named(|| format!("rmdir({path:?})"))?;
                }
                Err(errno) => {
                    return Err(sys::SysError::new(format!("unlink({:?} in {:?})", name, self.path), errno).into());
                }
            }
        }
        match std::fs::remove_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => Ok(result.named(|| format!("rmdir({:?})", self.path))?),
        }
    }

    /// Who made the container (the directory's owner).
    pub fn owner(&self) -> Result<u32> {
        Ok(std::fs::metadata(&self.path).named(|| format!("stat({:?})", self.path))?.uid())
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Dir {
    fn as_raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}
