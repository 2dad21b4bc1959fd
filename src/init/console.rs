//! The terminal: a pty of the container's own devpts, whose master goes to whoever asked for the container.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, makedev};
use nix::sys::statfs::fstatfs;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};

use super::Init;
use super::mounts::keep_out_of_proc;
use crate::launch::console::send_master;
use crate::plan::namespaces::Kind;
use crate::plan::process::Process;
use crate::safe::rootfs::{Rootfs, file_type, stat};
use crate::sys::mount::{attach, clone_tree_of};
use crate::sys::{Named, tty};
use crate::weak::{Guard, lacks};

/// DEVPTS_SUPER_MAGIC (linux/magic.h).
const DEVPTS_MAGIC: i64 = 0x1cd1;

/// The phase of that name: puts the slave at `/dev/console`, too.
pub fn open(init: &mut Init<'_>) -> Result<()> {
    let Some(process) = init.plan.process.as_ref().filter(|process| process.terminal) else { return Ok(()) };
    let (master, slave) = open_pty(init.rootfs()?, process)?;
    if init.plan.namespaces.has(Kind::Mount) || init.plan.mounts_on_the_host() {
        mount_console(init, slave.as_fd()).context("/dev/console")?;
    }
    let socket = init.inherited.console.take().context("internal error: a terminal without a place for its master")?;
    send_master(socket.as_fd(), master.as_fd())?;
    init.terminal = Some(slave);
    Ok(())
}

/// A new pty of the container's devpts for `process`: master and slave.
pub fn open_pty(rootfs: &Rootfs, process: &Process) -> Result<(OwnedFd, OwnedFd)> {
    // Not /dev/ptmx, which an image can make a symlink to anywhere (CVE-2025-52565).
    let master = rootfs
        .open_checked(Path::new("/dev/pts/ptmx"), OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, check_ptmx)
        .context("process.terminal: the container needs a devpts at /dev/pts (hint: add the mount, or set terminal to false)")?;
    tty::unlock(master.as_fd())?;
    let slave = tty::open_peer(master.as_fd())?;
    if let Some(size) = process.console_size {
        tty::set_window_size(slave.as_fd(), size).context("process.consoleSize")?;
    }
    fchown(&slave, Some(Uid::from_raw(process.uid)), Some(Gid::from_raw(process.gid)))
        .or_else(|errno| match errno {
            // An id that the user namespace does not map; the terminal still works for its owner.
            nix::errno::Errno::EINVAL => Ok(()),
            errno => Err(errno),
        })
        .named(|| format!("fchown(tty, {}, {})", process.uid, process.gid))?;
    Ok((master, slave))
}

fn check_ptmx(fd: BorrowedFd<'_>) -> Result<()> {
    let filesystem = fstatfs(fd).named(|| "fstatfs(ptmx)".to_owned())?.filesystem_type();
    let stat = stat(fd)?;
    if filesystem.0 != DEVPTS_MAGIC || file_type(&stat) != SFlag::S_IFCHR || stat.st_rdev != makedev(5, 2) {
        bail!("/dev/pts/ptmx is not the ptmx of a devpts");
    }
    Ok(())
}

/// Binds the slave, by its descriptor, over a fresh file at `/dev/console`.
fn mount_console(init: &Init<'_>, slave: BorrowedFd<'_>) -> Result<()> {
    let rootfs = init.rootfs()?;
    let path = Path::new("/dev/console");
    let (parent, name) = rootfs.parent(path)?;
    // A symlink there would lead the mount elsewhere; another file is simply covered.
    if let Ok(existing) = nix::sys::stat::fstatat(&parent, name, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
        && file_type(&existing) == SFlag::S_IFLNK
        && !lacks(Guard::ConsoleLink)
    {
        unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir).named(|| format!("unlink({path:?})"))?;
    }
    let target = rootfs.file(path)?;
    // One may have come back since.
    keep_out_of_proc(rootfs, target.as_fd())?;
    attach(clone_tree_of(slave, false)?.as_fd(), target.as_fd())?;
    Ok(())
}

/// Makes the slave stdin, stdout, stderr and the controlling terminal.
pub fn take_over(slave: &OwnedFd) -> Result<()> {
    nix::unistd::dup2_stdin(slave).named(|| format!("dup2({}, 0)", slave.as_raw_fd()))?;
    nix::unistd::dup2_stdout(slave).named(|| format!("dup2({}, 1)", slave.as_raw_fd()))?;
    nix::unistd::dup2_stderr(slave).named(|| format!("dup2({}, 2)", slave.as_raw_fd()))?;
    Ok(tty::make_controlling(slave.as_fd())?)
}
