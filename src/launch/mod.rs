//! The parent's half of making a container: everything on the host that the Plan asks for, from the state directory to
//! the finished record. Whatever fails, nothing stays behind.

pub mod clone;
pub mod console;
mod idmap;
mod ids;
pub mod listener;
pub mod netdev;
pub mod notify;
pub mod pin;
mod place;
pub mod run;
mod serve;
pub mod signals;
pub mod sockets;
pub mod start;
pub mod terminal;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::AT_FDCWD;

use crate::cgroup::Cgroup;
use crate::error::InputError;
use crate::init::wire::Wire;
use crate::init::{Inherited, Trees};
use crate::plan::Plan;
use crate::rdt::Prepared;
use crate::state::root_mount::{self, RootMount};
use crate::state::{Container, Dir, Record, status};
use crate::sync::{self, Channel};
use crate::sys::Named;
use crate::sys::process::{pidfd_send_signal, wait};
use crate::sys::publish::publish;
use crate::trace;
use clone::Child;
use place::Astray;

/// What the command line says about the making, beyond the Plan.
#[derive(Debug)]
pub struct Request {
    /// The state root.
    pub root: PathBuf,
    /// Set the state root's sticky bit (a default root below $XDG_RUNTIME_DIR).
    pub sticky_root: bool,
    pub pid_file: Option<PathBuf>,
    pub pidfd_socket: Option<PathBuf>,
    /// Where the terminal's master goes: a connected socket.
    pub console: Option<OwnedFd>,
    /// Descriptors from 3 on that the program keeps: `--preserve-fds` and LISTEN_FDS.
    pub preserve_fds: u32,
    /// Make the sd_notify socket in the state directory.
    pub notify: bool,
}

/// A container that has just been created: its init waits for `start`.
#[derive(Debug)]
pub struct Created {
    pub container: Container,
    /// Init, our child.
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// Makes the container and leaves its init waiting.
///
/// # Errors
/// One line that names what failed; the container is gone again.
pub fn create(plan: &Plan, mut request: Request, warn: &mut dyn FnMut(String)) -> Result<Created> {
    check_preserved(request.preserve_fds)?;
    // Looked at first: they are the user's words, and nothing has been made yet.
    let join = clone::open_namespaces(plan)?;
    let receivers = [("--pidfd-socket", &request.pidfd_socket), ("run.oci.pidfd_receiver", &plan.pidfd_receiver)];
    let mut pidfd_sockets = Vec::new();
    for (at, path) in receivers {
        if let Some(path) = path {
            pidfd_sockets.push((at, sockets::connect_pidfd(path, at)?));
        }
    }
    let resctrl = plan.intel_rdt.as_ref().map(|rdt| Prepared::new(rdt, &plan.id)).transpose()?;
    let console = request.console.take();
    let dir = Dir::create(&request.root, &plan.id, request.sticky_root)?;
    let mut record = Record::new(plan, crate::state::time::now());
    record.intel_rdt = resctrl.as_ref().map(|prepared| prepared.group.clone());
    let mut making =
        Making { plan, request: &request, dir: Some(dir), resctrl, root_mount: None, cgroup: None, child: None };
    match making.all(record, join, console, pidfd_sockets) {
        Ok(record) => {
            let child = making.child.take().context("internal error: no child")?;
            let dir = making.dir.take().context("internal error: no state directory")?;
            Ok(Created { container: Container { dir, record }, pid: child.pid, pidfd: child.pidfd })
        }
        // From elsewhere nothing of it would be found, and the record has to stay for whoever finds it.
        Err(error) if error.is::<Astray>() => {
            making.end_child();
            Err(error)
        }
        Err(error) => {
            making.undo(warn);
            Err(error)
        }
    }
}

/// What has been made so far, so that it can be unmade.
struct Making<'a> {
    plan: &'a Plan,
    request: &'a Request,
    dir: Option<Dir>,
    resctrl: Option<Prepared<'a>>,
    root_mount: Option<RootMount>,
    cgroup: Option<Cgroup>,
    child: Option<Child>,
}

impl Making<'_> {
    fn all(
        &mut self,
        mut record: Record,
        join: clone::Joined,
        console: Option<OwnedFd>,
        pidfd_sockets: Vec<(&str, OwnedFd)>,
    ) -> Result<Record> {
        let plan = self.plan;
        Cgroup::refuse_in_use(&plan.cgroup)?;
        let dir = self.dir.as_ref().context("internal error: no state directory")?;
        // Before anything else exists: whoever kills us now, `delete --force` finds the rest by this.
        let root = if plan.mounts_on_the_host() {
            Some(root_mount::make(&plan.rootfs.path, |mount| {
                self.root_mount = Some(mount.clone());
                record.root_mount = Some(mount);
                record.write(dir)
            })?)
        } else {
            record.write(dir)?;
            None
        };
        if self.request.notify {
            notify::make_directory(dir)?;
        }
        // Before what the child keeps besides its end: that is a row of numbers then, closed by few calls.
        let (channel, theirs) = Channel::pair()?;
        let (exec_fifo, exec_log) = dir.make_start_files()?;
        let cgroup = self.cgroup.insert(trace::span("cgroup", || Cgroup::create(&plan.cgroup))?);
        // Without the hierarchies that could be done without.
        record.cgroup = cgroup.place().clone();
        if let Some(resctrl) = &mut self.resctrl {
            resctrl.make()?;
        }
        let fds = cgroup.join_fds()?;
        let inherited = Inherited {
            wire: Wire::new(theirs, None),
            trees: Trees::Host,
            root,
            join: Vec::new(),
            cgroup_tasks: fds.tasks,
            console,
            hook_output: match plan.hooks.any_inside() {
                true => crate::hooks::Output::open(&plan.hooks.output)?,
                false => crate::hooks::Output::default(),
            },
            exec_fifo,
            exec_log,
            preserve_fds: self.request.preserve_fds,
        };
        let pin = trace::span("bring mounts", || pin::prepare(plan, &self.request.root))?;
        let child = trace::span("clone", || clone::start(plan, join, fds.v2, pin, inherited))?;
        let child = self.child.insert(child);
        if let Some(resctrl) = &self.resctrl {
            resctrl.group.add(child.pid)?;
        }
        if plan.cgroup.unit.is_some() {
            let adopted = cgroup.adopt(&plan.cgroup, child.pid);
            record.cgroup = cgroup.place().clone();
            adopted?;
        }
        trace::span("wait for init", || serve::until_ready(plan, child, &channel, &self.request.root, dir, cgroup))?;
        record.init = Some(status::identify(child.pid, child.pidfd.as_fd())?);
        record.write(dir)?;
        if let Some(path) = &self.request.pid_file {
            write_pid_file(path, child.pid).context("--pid-file")?;
        }
        for (at, socket) in pidfd_sockets {
            sockets::send_pidfd(socket.as_fd(), child.pidfd.as_fd()).context(at.to_owned())?;
        }
        if !sync::unless_gone(channel.send(sync::Kind::Committed, &[]))? {
            return Err(serve::died(plan, child));
        }
        Ok(record)
    }

    /// Whether there was one.
    fn end_child(&mut self) -> bool {
        let Some(child) = self.child.take() else { return false };
        // Already gone is as good.
        let _ = pidfd_send_signal(child.pidfd.as_fd(), libc::SIGKILL);
        let _ = wait(child.pid);
        true
    }

    /// Ends the child and removes what exists, in the reverse order. What cannot be removed is told, and stays findable
    /// for `delete --force`.
    fn undo(mut self, warn: &mut dyn FnMut(String)) {
        let born = self.end_child();
        if let Some(cgroup) = self.cgroup.take()
            && let Err(error) = cgroup.kill(libc::SIGKILL).and_then(|()| cgroup.remove())
        {
            warn(format!("{error:#}"));
            return;
        }
        if let Some(resctrl) = self.resctrl.take()
            && let Err(error) = resctrl.undo()
        {
            warn(format!("{error:#}"));
            return;
        }
        if let Some(mount) = self.root_mount.take()
            && let Err(error) = mount.remove()
        {
            warn(format!("{error:#}"));
            return;
        }
        if born {
            if let Some(path) = &self.request.pid_file {
                // Written, or not yet.
                let _ = std::fs::remove_file(path);
            }
            let state = crate::state::view::HookState::of(self.plan, "stopped", 0).to_json();
            let hooks = &self.plan.hooks;
            crate::hooks::run_each(&hooks.poststop, &hooks.output, &state, Some(&self.plan.bundle), |error| {
                warn(format!("{error:#}"));
            });
        }
        if let Some(dir) = self.dir.take()
            && let Err(error) = dir.remove()
        {
            warn(format!("{error:#}"));
        }
    }
}

/// Every descriptor that is to be kept must be there: a number off by one would hand the program some other file.
pub fn check_preserved(count: u32) -> Result<()> {
    for fd in 3..3 + count as i32 {
        if !crate::sys::is_inherited(fd) {
            return Err(InputError::new(
                "--preserve-fds",
                format!("{count} are asked for, but descriptor {fd} is not open"),
            )
            .hint("it counts the open descriptors from 3 on, besides those of LISTEN_FDS")
            .into());
        }
    }
    Ok(())
}

/// Writes the pid without a newline; a reader sees the whole number or no file (containerd reads it at once).
pub fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    Ok(publish(AT_FDCWD, path, 0o644, pid.to_string().as_bytes()).named(|| format!("write({path:?})"))?)
}
