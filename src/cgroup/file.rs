//! Reading and writing one small file, and the directory calls, with errors that say what was called. Only for cgroupfs:
//! values are written in one write(2), which the kernel takes or refuses as a whole.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::sys::stat::Mode;

use crate::sys::{Named, Result, SysError, again};

pub(super) fn open(path: &Path, flags: OFlag) -> Result<OwnedFd> {
    again::open(path, flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
        .map_err(|e| SysError::new(format!("open({path:?})"), e))
}

pub(super) fn write(fd: &impl AsFd, value: &str) -> std::result::Result<(), Errno> {
    again::write(fd, value.as_bytes()).map(|_| ())
}

/// Opens, writes, closes.
pub(super) fn put(path: &Path, value: &str) -> Result<()> {
    let fd = open(path, OFlag::O_WRONLY)?;
    write(&fd, value).map_err(|e| SysError::new(format!("write({path:?}, {value:?})"), e))
}

pub(super) fn read(path: &Path) -> Result<String> {
    let fd = open(path, OFlag::O_RDONLY)?;
    read_fd(&fd).map_err(|e| SysError::new(format!("read({path:?})"), e))
}

pub(super) fn read_fd(fd: &impl AsFd) -> std::result::Result<String, Errno> {
    let mut text = Vec::new();
    let mut buf = [0; 4096];
    loop {
        match again::read(fd, &mut buf)? {
            0 => return Ok(String::from_utf8_lossy(&text).into_owned()),
            n => text.extend_from_slice(&buf[..n]),
        }
    }
}

/// A file that holds one value, which one read(2) gives whole.
pub(super) fn value(path: &Path) -> Result<String> {
    let fd = open(path, OFlag::O_RDONLY)?;
    let mut buf = [0; 4096];
    let n = again::read(&fd, &mut buf).map_err(|e| SysError::new(format!("read({path:?})"), e))?;
    Ok(String::from_utf8_lossy(&buf[..n]).into_owned())
}

/// Whether it was made; `false`: it is there.
pub(super) fn mkdir(path: &Path) -> Result<bool> {
    match nix::unistd::mkdir(path, Mode::from_bits_truncate(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(e) => Err(SysError::new(format!("mkdir({path:?})"), e)),
    }
}

pub(super) fn rmdir(path: &Path) -> Result<()> {
    nix::unistd::unlinkat(fcntl::AT_FDCWD, path, nix::unistd::UnlinkatFlags::RemoveDir)
        .map_err(|e| SysError::new(format!("rmdir({path:?})"), e))
}

/// The directories in `path`; none if it is gone.
pub(super) fn children(path: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let mut directories = Vec::new();
        for entry in again::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            }
        }
        Ok(directories)
    };
    match list().named(|| format!("readdir({path:?})")) {
        Err(error) if is_gone(error.errno) => Ok(Vec::new()),
        result => result,
    }
}

/// A cgroup being removed says ENOENT by path and ENODEV by fd.
pub(super) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}

/// The value of `key` in a file of lines `key value`.
pub(super) fn key<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(' '))
}
