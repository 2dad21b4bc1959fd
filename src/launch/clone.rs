//! The clone: new namespaces, namespaces to join, and the two cases that need a process in between.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::pin::{self, Pin};
use super::place::Astray;
use crate::init::{self, Inherited};
use crate::plan::Plan;
use crate::plan::namespaces::Kind;
use crate::safe::rootfs::stat;
use crate::sys::Named;
use crate::sys::again::open;
use crate::sys::process::{Cloned, clone, close_together, enter_namespace, exit_now, pidfd_open, wait};

/// Init, as its parent sees it.
#[derive(Debug)]
pub struct Child {
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// The namespaces to join, opened.
#[derive(Debug)]
pub struct Joined(Vec<(Kind, OwnedFd)>);

impl Joined {
    fn take(&mut self, wanted: impl Fn(Kind) -> bool) -> Vec<(Kind, OwnedFd)> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(kind, _)| wanted(*kind));
        self.0 = left;
        taken
    }
}

/// Opens the namespaces that are to be joined by path.
///
/// # Errors
/// By JSON path, if one is missing or is no namespace of its kind.
pub fn open_namespaces(plan: &Plan) -> Result<Joined> {
    let mut joined = Vec::new();
    for namespace in &plan.namespaces.entries {
        let Some(path) = &namespace.path else { continue };
        let fd = open_namespace(path, namespace.kind).with_context(|| format!("{}.path", namespace.at))?;
        if namespace.kind == Kind::Network
            && let Some(sysctl) = plan.sysctl.iter().find(|sysctl| sysctl.path.starts_with("net/"))
            && is_own(&fd, namespace.kind)?
        {
            bail!(
                "{}: {}.path is the host's network namespace, which is not the container's to change",
                sysctl.at,
                namespace.at
            );
        }
        joined.push((namespace.kind, fd));
    }
    Ok(Joined(joined))
}

/// Whether it is the namespace that we are in ourselves.
fn is_own(fd: &OwnedFd, kind: Kind) -> Result<bool> {
    let path = format!("/proc/self/ns/{}", kind.proc_file());
    let own = File::open(&path).named(|| format!("open({path:?})"))?;
    let (a, b) = (stat(fd.as_fd())?, stat(own.as_fd())?);
    Ok((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

fn open_namespace(path: &Path, kind: Kind) -> Result<OwnedFd> {
    // O_NONBLOCK: the path might be a fifo.
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = open(path, flags, Mode::empty()).named(|| format!("open({path:?})"))?;
    match crate::sys::namespace_type(fd.as_fd()) {
        Ok(found) if u64::from(found) == kind.flag() => Ok(fd),
        Ok(_) => bail!("{} is a namespace of another kind than {kind:?}", path.display()),
        Err(_) => {
            bail!("{} is no namespace (hint: give a file such as /proc/PID/ns/{})", path.display(), kind.proc_file())
        }
    }
}

/// Starts init, which lives in `init::run`.
pub fn start(
    plan: &Plan,
    mut join: Joined,
    cgroup: Option<OwnedFd>,
    pin: Option<Pin>,
    mut inherited: Inherited,
) -> Result<Child> {
    let cgroup_namespace = if plan.clones_cgroup_namespace() { Kind::Cgroup.flag() } else { 0 };
    let flags = plan.namespaces.clone_flags() | cgroup_namespace;
    // A process enters a pid namespace only by being born in it, so this one's children must be; and what a new user
    // namespace could no longer join, it has to be born into too.
    let new_user = plan.namespaces.is_new(Kind::User);
    let before = join.take(|kind| kind == Kind::Pid || (new_user && kind != Kind::Mount));
    inherited.join = join.0;
    if plan.cgroup.rootless && before.iter().any(|(kind, _)| *kind == Kind::Pid) {
        // Without privileges over the host there is no way back into its pid namespace, so another process goes.
        return through_middle(move || {
            Home::leave_for(&before, plan)?;
            match clone(flags | libc::CLONE_PARENT as u64, cgroup.as_ref().map(AsFd::as_fd))? {
                Cloned::Child => init::run(plan, inherited),
                Cloned::Parent { pid, .. } => Ok(pid),
            }
        });
    }
    let home = Home::leave_for(&before, plan)?;
    let cloned = if plan.namespaces.needs_middle() {
        through_middle(move || match clone_in_user_namespace(plan, cgroup, &mut inherited)? {
            Cloned::Child => init::run(plan, inherited),
            Cloned::Parent { pid, .. } => Ok(pid),
        })
    } else {
        pin::from_within(pin, new_user, |trees| {
            inherited.trees = trees;
            match clone(flags, cgroup.as_ref().map(AsFd::as_fd))? {
                Cloned::Child => init::run(plan, inherited),
                Cloned::Parent { pid, pidfd } => {
                    close_together(inherited.into_fds().into_iter().chain(cgroup).collect());
                    Ok(Child { pid, pidfd })
                }
            }
        })
    };
    // Back before anything else is started, hooks above all.
    home.return_to()?;
    cloned
}

/// The namespaces that this process left for the time of the clone.
struct Home(Vec<(Kind, OwnedFd)>);

impl Home {
    fn leave_for(join: &[(Kind, OwnedFd)], plan: &Plan) -> Result<Self> {
        let mut home = Self(Vec::new());
        for (kind, fd) in join {
            let own = format!("/proc/self/ns/{}", kind.proc_file());
            let back = File::open(&own).named(|| format!("open({own:?})"))?;
            let at = || plan.namespaces.joined(*kind).map(|namespace| namespace.at.clone()).unwrap_or_default();
            match enter_namespace(fd.as_fd(), kind.flag() as i32) {
                Ok(()) => home.0.push((*kind, back.into())),
                Err(error) => {
                    home.return_to()?;
                    return Err(error).with_context(at);
                }
            }
        }
        Ok(home)
    }

    fn return_to(self) -> Result<()> {
        for (kind, fd) in self.0.into_iter().rev() {
            enter_namespace(fd.as_fd(), kind.flag() as i32).context(Astray)?;
        }
        Ok(())
    }
}

/// Has a child born by a process in between, which can enter what this one cannot leave again (a user namespace; without
/// privileges over the host a pid namespace), and clone from there. `birth` does both: in the middle process it returns what [`clone`] says of the child, made with
/// CLONE_PARENT, so that the child is ours; in the child it does not return.
pub fn through_middle(birth: impl FnOnce() -> Result<i32>) -> Result<Child> {
    let (result, report) = nix::unistd::pipe2(OFlag::O_CLOEXEC).named(|| "pipe2()".to_owned())?;
    let middle = match clone(0, None)? {
        Cloned::Parent { pid, .. } => pid,
        Cloned::Child => {
            drop(result);
            match birth() {
                Ok(pid) => {
                    let _ = crate::sys::again::write(&report, &pid.to_ne_bytes());
                    exit_now(0);
                }
                Err(error) => {
                    let _ = crate::sys::again::write(&report, format!("{error:#}").as_bytes());
                    exit_now(1);
                }
            }
        }
    };
    drop((report, birth));
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut File::from(result), &mut said).named(|| "read(pipe)".to_owned())?;
    let status = wait(middle)?;
    match <[u8; 4]>::try_from(said.as_slice()) {
        // Our child by CLONE_PARENT and not reaped yet, so the number is still its.
        Ok(pid) if status == 0 => {
            let pid = i32::from_ne_bytes(pid);
            Ok(Child { pid, pidfd: pidfd_open(pid)? })
        }
        _ if said.is_empty() => bail!("the process between runtime and container died (wait status {status:#x})"),
        _ => bail!("{}", String::from_utf8_lossy(&said)),
    }
}

/// A new pid namespace must belong to the user namespace that is joined: someone has to enter that one first.
fn clone_in_user_namespace(plan: &Plan, cgroup: Option<OwnedFd>, inherited: &mut Inherited) -> Result<Cloned> {
    let at = || plan.namespaces.joined(Kind::User).map(|namespace| namespace.at.clone()).unwrap_or_default();
    // What is the host's is joined with the host's privileges, before they are given up.
    let mut later = Vec::new();
    for (kind, fd) in inherited.join.drain(..) {
        if kind == Kind::User || kind == Kind::Mount || enter_namespace(fd.as_fd(), kind.flag() as i32).is_err() {
            later.push((kind, fd));
        }
    }
    let user = later.iter().position(|(kind, _)| *kind == Kind::User).context("internal error: no user namespace")?;
    enter_namespace(later.swap_remove(user).1.as_fd(), libc::CLONE_NEWUSER).with_context(at)?;
    inherited.join = later;
    let flags = libc::CLONE_NEWPID as u64 | libc::CLONE_PARENT as u64;
    Ok(clone(flags, cgroup.as_ref().map(AsFd::as_fd))?)
}
