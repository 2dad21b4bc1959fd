//! Where this process is: its mount namespace, root and working directory. setns(2) into a mount namespace resets the last
//! two, and a chrooted runtime would find itself outside.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{chroot, fchdir};

use crate::plan::namespaces::Kind;
use crate::sys::Named;
use crate::sys::again::open;
use crate::sys::process::{close_together, enter_namespace};

/// Marks the error of a process that could not go back to where it was: what it has made of the host is out of its reach.
#[derive(Debug)]
pub struct Astray;

impl std::fmt::Display for Astray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot return to the runtime's own namespaces (hint: delete --force removes what is left)")
    }
}

pub struct Place {
    namespace: OwnedFd,
    root: OwnedFd,
    cwd: OwnedFd,
}

impl Place {
    pub fn save() -> Result<Self> {
        let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let open = |path: &str, flags| open(path, flags, Mode::empty()).named(|| format!("open({path:?})"));
        Ok(Self {
            namespace: open("/proc/self/ns/mnt", OFlag::O_RDONLY | OFlag::O_CLOEXEC)?,
            root: open("/", directory)?,
            cwd: open(".", directory)?,
        })
    }

    /// # Errors
    /// [`Astray`].
    pub fn return_to(self) -> Result<()> {
        self.go().context(Astray)?;
        close_together(vec![self.namespace, self.root, self.cwd]);
        Ok(())
    }

    fn go(&self) -> Result<()> {
        enter_namespace(self.namespace.as_fd(), Kind::Mount.flag() as i32)?;
        let enter = |fd: BorrowedFd<'_>| fchdir(fd).named(|| "fchdir()".to_owned());
        enter(self.root.as_fd())?;
        chroot(".").named(|| "chroot(\".\")".to_owned())?;
        Ok(enter(self.cwd.as_fd())?)
    }
}
