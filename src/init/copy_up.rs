//! `tmpcopyup`: the content of the directory under a tmpfs, copied into it: directories, files and symlinks with their
//! modes, owners and times. Device nodes, sockets and fifos are left behind, as runc leaves them.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstatat, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, symlinkat};

use crate::safe::rootfs::{file_type, stat};
use crate::sys::again::openat;
use crate::sys::{Named, SysError};

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Copies everything below the directory `from` into the directory `to`, which itself stays as its mount options made
/// it. Both may be O_PATH descriptors. Symlinks are copied, never followed.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let open = |fd| openat(fd, ".", DIRECTORY, Mode::empty()).named(|| "open(\".\")".to_owned());
    copy_entries(&open(from)?, &open(to)?)
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let meta = stat(from.as_fd())?;
    copy_entries(from, to)?;
    keep_attributes(to, &meta)
}

fn copy_entries(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let mut entries = Dir::from_fd(from.try_clone().named(|| "dup()".to_owned())?).named(|| "opendir()".to_owned())?;
    for entry in entries.iter() {
        let entry = entry.named(|| "readdir()".to_owned())?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from, to, name).with_context(|| name.to_string_lossy().into_owned())?;
        }
    }
    Ok(())
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &std::ffi::CStr) -> Result<()> {
    let meta = fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW).named(|| format!("fstatat({name:?})"))?;
    match file_type(&meta) {
        SFlag::S_IFDIR => {
            let source = openat(from, name, DIRECTORY, Mode::empty()).named(|| format!("open({name:?})"))?;
            mkdirat(to, name, Mode::S_IRWXU).named(|| format!("mkdir({name:?})"))?;
            let target = openat(to, name, DIRECTORY, Mode::empty()).named(|| format!("open({name:?})"))?;
            copy_directory(&source, &target)
        }
        SFlag::S_IFREG => {
            // O_NONBLOCK: should the file have become a fifo since, opening it must not wait.
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let source = openat(from, name, flags, Mode::empty()).named(|| format!("open({name:?})"))?;
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            let target =
                openat(to, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).named(|| format!("create({name:?})"))?;
            let target = File::from(target);
            std::io::copy(&mut File::from(source), &mut &target).named(|| format!("copy({name:?})"))?;
            keep_attributes(&target.into(), &meta)
        }
        SFlag::S_IFLNK => {
            let target = readlinkat(from, name).named(|| format!("readlink({name:?})"))?;
            symlinkat(target.as_os_str(), to, name).named(|| format!("symlink({name:?})"))?;
            let owner = (Some(Uid::from_raw(meta.st_uid)), Some(Gid::from_raw(meta.st_gid)));
            ignore_unmapped(
                fchownat(to, name, owner.0, owner.1, AtFlags::AT_SYMLINK_NOFOLLOW).named(|| format!("chown({name:?})")),
            )?;
            let (accessed, modified) = times(&meta);
            utimensat(to, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)
                .named(|| format!("utimensat({name:?})"))?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn keep_attributes(to: &OwnedFd, meta: &FileStat) -> Result<()> {
    let owner = (Some(Uid::from_raw(meta.st_uid)), Some(Gid::from_raw(meta.st_gid)));
    ignore_unmapped(fchown(to, owner.0, owner.1).named(|| "fchown()".to_owned()))?;
    fchmod(to, Mode::from_bits_truncate(meta.st_mode)).named(|| "fchmod()".to_owned())?;
    let (accessed, modified) = times(meta);
    nix::sys::stat::futimens(to, &accessed, &modified).named(|| "futimens()".to_owned())?;
    Ok(())
}

/// An owner that the user namespace does not map cannot be given: EINVAL (EPERM without the privilege). The copy then
/// belongs to the container's root.
fn ignore_unmapped(result: Result<(), SysError>) -> Result<()> {
    match result {
        Err(SysError { errno: nix::errno::Errno::EINVAL | nix::errno::Errno::EPERM, .. }) => Ok(()),
        result => Ok(result?),
    }
}

fn times(meta: &FileStat) -> (TimeSpec, TimeSpec) {
    (TimeSpec::new(meta.st_atime, meta.st_atime_nsec), TimeSpec::new(meta.st_mtime, meta.st_mtime_nsec))
}
