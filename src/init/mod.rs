//! The child's half: walks the Plan from a fresh clone to execve(2). [`PHASES`] is the sequence; `oarlock plan` prints
//! the same list. Nothing here parses or decides; what fails here, fails because of the kernel.

mod at_once;
mod cgroup_mount;
pub mod console;
pub mod copy_up;
mod dev;
pub mod exec;
pub mod identity;
pub mod links;
pub mod listener;
mod mask;
pub mod mounts;
pub mod namespaces;
mod pivot;
mod steps;
pub mod wire;

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::hooks;
use crate::plan::Plan;
use crate::plan::namespaces::Kind;
use crate::safe::procfs::Procfs;
use crate::safe::rootfs::Rootfs;
use crate::state::view::HookState;
use crate::sync;
use crate::sys;
use crate::sys::process::{close_all_but, end_on_signals, exit_now, set_name, set_undumpable};
use crate::trace;
use wire::Wire;

/// One phase of the child's life: its name in errors and traces, what does it, and what it is about to do in words.
pub struct Phase {
    pub name: &'static str,
    run: fn(&mut Init<'_>) -> Result<()>,
    pub steps: fn(&Plan) -> Vec<String>,
}

/// The child's life, in order. Everything up to `process` happens below one rootfs handle with the host's mounts still
/// in sight; from then on there is only the container.
pub const PHASES: &[Phase] = &[
    Phase { name: "namespaces", run: namespaces::enter, steps: steps::namespaces },
    Phase { name: "rootfs", run: pivot::attach, steps: steps::rootfs },
    Phase { name: "mounts", run: mounts::apply, steps: steps::mounts },
    Phase { name: "dev", run: dev::populate, steps: steps::dev },
    Phase { name: "console", run: console::open, steps: steps::console },
    Phase { name: "hooks", run: hooks_before_pivot, steps: steps::hooks },
    Phase { name: "paths", run: mask::apply, steps: steps::paths },
    Phase { name: "pivot", run: pivot::switch, steps: steps::pivot },
    Phase { name: "names", run: namespaces::name, steps: steps::names },
    Phase { name: "sysctl", run: namespaces::sysctl, steps: steps::sysctl },
    Phase { name: "process", run: identity::assume, steps: steps::process },
    Phase { name: "start", run: exec::wait_for_start, steps: steps::start },
];

/// Where the child finds what it gets of the host: the rootfs, and the sources of its binds in the order of its mounts.
#[derive(Debug)]
pub enum Trees {
    /// At their paths: its mount namespace is cloned from the host's.
    Host,
    /// In its hands, as detached trees: its mount namespace is cloned from the pinned one (`launch/pin.rs`).
    Brought { root: Option<OwnedFd>, binds: VecDeque<OwnedFd> },
    /// Attached in its mount namespace, cloned from a copy of the pinned one: the kernel has locked them there.
    Placed { root: PathBuf, binds: VecDeque<PathBuf> },
}

impl Trees {
    fn fds(&self) -> impl Iterator<Item = &OwnedFd> {
        let brought = match self {
            Self::Brought { root, binds } => Some((root, binds)),
            _ => None,
        };
        brought.into_iter().flat_map(|(root, binds)| root.iter().chain(binds))
    }

    fn into_fds(self) -> impl Iterator<Item = OwnedFd> {
        let brought = match self {
            Self::Brought { root, binds } => Some((root, binds)),
            _ => None,
        };
        brought.into_iter().flat_map(|(root, binds)| root.into_iter().chain(binds))
    }
}

/// What the child gets from its parent, besides the Plan.
#[derive(Debug)]
pub struct Inherited {
    pub wire: Wire,
    pub trees: Trees,
    /// The rootfs, attached already, of a container whose mounts are made in the host's namespace.
    pub root: Option<OwnedFd>,
    /// The namespaces to join, opened by the parent.
    pub join: Vec<(Kind, OwnedFd)>,
    /// `tasks` of each cgroup v1 hierarchy; empty on v2, where clone3 has put us into the cgroup.
    pub cgroup_tasks: Vec<OwnedFd>,
    /// Where the pty's master goes.
    pub console: Option<OwnedFd>,
    /// For the hooks that run in the container.
    pub hook_output: hooks::Output,
    pub exec_fifo: OwnedFd,
    pub exec_log: OwnedFd,
    /// Descriptors from 3 on that the program keeps.
    pub preserve_fds: u32,
}

impl Inherited {
    /// All of its descriptors, for the parent to close together: the child has its own of each.
    pub fn into_fds(self) -> Vec<OwnedFd> {
        let hooks::Output { stdout, stderr } = self.hook_output;
        let mut fds = vec![self.exec_fifo, self.exec_log, self.wire.into()];
        fds.extend(self.cgroup_tasks.into_iter().chain(self.trees.into_fds()));
        fds.extend(self.join.into_iter().map(|(_, fd)| fd));
        fds.extend(self.console.into_iter().chain(self.root).chain(stdout).chain(stderr));
        fds
    }

    /// Closes what the clone has copied from the parent and is not meant for the child.
    fn close_others(&self) -> sys::Result<()> {
        let mut own = vec![self.wire.as_fd().as_raw_fd(), self.exec_fifo.as_raw_fd(), self.exec_log.as_raw_fd()];
        own.extend(self.join.iter().map(|(_, fd)| fd.as_raw_fd()));
        own.extend(self.hook_output.stdout.iter().chain(&self.hook_output.stderr).map(|fd| fd.as_raw_fd()));
        own.extend(
            self.cgroup_tasks
                .iter()
                .chain(&self.console)
                .chain(&self.root)
                .chain(self.trees.fds())
                .map(|fd| fd.as_raw_fd()),
        );
        own.extend(trace::fd());
        close_all_but(3 + self.preserve_fds as i32, own)
    }
}

/// The child as it walks the Plan.
pub struct Init<'a> {
    plan: &'a Plan,
    inherited: Inherited,
    rootfs: Option<Rootfs>,
    procfs: Option<Procfs>,
    /// The pty's slave.
    terminal: Option<OwnedFd>,
    /// The program, found and ready for execve(2).
    program: Option<exec::Program>,
}

/// Lives the child's life. Returns only by ending the process: with the container's program, or after telling the
/// parent what went wrong.
pub fn run(plan: &Plan, inherited: Inherited) -> ! {
    // Above all the parent's end of the channel: while we held a copy, the parent's death would go unnoticed.
    let closed = inherited.close_others();
    end_on_signals();
    inherited.wire.report_panics();
    let mut init = Init { plan, inherited, rootfs: None, procfs: None, terminal: None, program: None };
    if let Err(error) = closed {
        init.inherited.wire.fail("start", &error.to_string());
        exit_now(1);
    }
    trace::in_child("init");
    for phase in PHASES {
        if let Err(error) = trace::span(phase.name, || (phase.run)(&mut init)) {
            init.inherited.wire.fail(phase.name, &format!("{error:#}"));
            exit_now(1);
        }
    }
    exit_now(1)
}

impl Init<'_> {
    fn rootfs(&self) -> Result<&Rootfs> {
        self.rootfs.as_ref().context("internal error: the rootfs is not attached yet")
    }

    /// The private procfs, made at its first use: most containers write nothing below /proc.
    fn procfs(&mut self) -> Result<&Procfs> {
        match &mut self.procfs {
            Some(procfs) => Ok(procfs),
            slot => Ok(slot.insert(Procfs::new()?)),
        }
    }

    /// Waits until the parent has mapped our ids and filled our cgroup.
    fn wait_for_go(&mut self) -> Result<()> {
        self.inherited.wire.expect(sync::Kind::Go)?;
        // Only now: before its ids are mapped, an unprivileged parent could not open the files of an undumpable child.
        // From here on no process in a pid namespace that we join can read our memory or descriptors (CVE-2016-9962).
        set_undumpable()?;
        set_name(c"oarlock:init")?;
        Ok(())
    }

    /// The state that hooks in the container's namespaces get: the pid is that of the container's view (runtime-spec, State).
    fn hook_state(&self, status: &str) -> String {
        HookState::of(self.plan, status, std::process::id() as i32).to_json()
    }
}

/// The hooks that run when everything is mounted, before pivot_root: prestart and createRuntime in the runtime's
/// namespaces, by the parent; createContainer in the container's, by us (runtime-spec, Hooks).
fn hooks_before_pivot(init: &mut Init<'_>) -> Result<()> {
    let hooks = &init.plan.hooks;
    if !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty() {
        init.inherited.wire.ask(sync::Kind::RunHooks, &[], sync::Kind::Done)?;
    }
    if !hooks.create_container.is_empty() {
        let state = init.hook_state("creating");
        hooks::run_all(
            &hooks.create_container,
            &init.inherited.hook_output,
            &state,
            Some(Path::new(&init.plan.bundle)),
        )?;
    }
    Ok(())
}
