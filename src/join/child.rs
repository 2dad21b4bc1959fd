//! The child's half of `exec`: from the clone through the container's namespaces to the last phases, which are init's.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::{chroot, fchdir, setsid};

use crate::cgroup::join_self;
use crate::init::identity::{Candidate, forget_affinity};
use crate::init::namespaces::{become_root, join_keyring};
use crate::init::wire::Wire;
use crate::init::{console, exec};
use crate::launch::console::send_master;
use crate::plan::exec::Base;
use crate::plan::namespaces::Kind;
use crate::plan::process::Process;
use crate::safe::rootfs::Rootfs;
use crate::sync::Kind as Packet;
use crate::sys::Named;
use crate::sys::again::open;
use crate::sys::process::{close_all_but, close_together, exit_now, set_name, set_undumpable};
use crate::sys::sched::set_affinity;
use crate::trace;

/// A process on its way into a container.
pub struct Joining<'a> {
    pub id: &'a str,
    pub base: &'a Base,
    pub process: &'a Process,
    pub wire: Wire,
    /// The container's init.
    pub init: BorrowedFd<'a>,
    /// `CLONE_NEW*` of what is left to enter.
    pub namespaces: u64,
    /// Init's root, for a container that shares the host's mount namespace.
    pub root: Option<OwnedFd>,
    /// `tasks` of each cgroup v1 hierarchy.
    pub tasks: Vec<OwnedFd>,
    /// Where the pty's master goes.
    pub console: Option<OwnedFd>,
    /// Descriptors from 3 on that the program keeps.
    pub preserve_fds: u32,
    /// How many of them are sockets passed on by socket activation.
    pub listen_fds: u32,
}

/// Lives the child's life. Returns only by ending the process: with the program, or after telling the parent what went
/// wrong.
pub fn run(joining: &mut Joining<'_>) -> ! {
    match joining.live() {
        Ok(never) => match never {},
        Err(error) => joining.wire.fail("exec", &format!("{error:#}")),
    }
    exit_now(1)
}

impl Joining<'_> {
    fn live(&mut self) -> Result<Infallible> {
        self.keep([self.init.as_raw_fd()].into_iter().chain(self.own_fds()).chain(trace::fd()).collect())?;
        self.wire.report_panics();
        let tasks = std::mem::take(&mut self.tasks);
        join_self(&tasks)?;
        close_together(tasks);
        self.choose_processors()?;
        if let Some(score) = self.process.oom_score_adj {
            self.adjust_oom_score(score)?;
        }
        // Before anybody in the container can see us (CVE-2016-9962).
        set_undumpable()?;
        set_name(c"oarlock:exec")?;
        trace::in_child("process");
        trace::span("enter", || self.enter())?;
        setsid().named(|| "setsid()".to_owned())?;
        if self.base.new_keyring {
            join_keyring(self.id)?;
        }
        let terminal = self.process.terminal.then(|| self.open_terminal()).transpose()?;
        // Nothing of the host is left open for a path such as /proc/self/fd/7 to lead to (CVE-2024-21626).
        self.keep(
            [self.wire.as_fd()]
                .iter()
                .chain(terminal.as_ref().map(AsFd::as_fd).as_ref())
                .map(AsRawFd::as_raw_fd)
                .chain(trace::fd())
                .collect(),
        )?;
        self.wire.ask(Packet::Ready, &[], Packet::Committed)?;
        let mut process = self.process.clone();
        if self.listen_fds > 0 {
            process.env.retain(|variable| !variable.starts_with("LISTEN_PID="));
            process.env.push(format!("LISTEN_PID={}", std::process::id()));
        }
        let seccomp = self.base.loading();
        let candidate = Candidate {
            process: &process,
            seccomp,
            terminal,
            procfs: None,
            keep: Vec::new(),
            preserve_fds: self.preserve_fds,
            wire: &mut self.wire,
        };
        let program: exec::Program = trace::span("process", || candidate.assume())?;
        trace::end();
        program.run(&process, seccomp, &mut self.wire)
    }

    fn own_fds(&self) -> impl Iterator<Item = RawFd> {
        let optional = self.root.iter().chain(&self.console).chain(&self.tasks).map(AsRawFd::as_raw_fd);
        optional.chain([self.wire.as_fd().as_raw_fd()])
    }

    /// Closes every descriptor but the program's and these.
    fn keep(&self, fds: Vec<RawFd>) -> Result<()> {
        Ok(close_all_but(3 + self.preserve_fds as RawFd, fds)?)
    }

    /// Now that we are in the container's cpuset.
    fn choose_processors(&self) -> Result<()> {
        match &self.process.exec_affinity {
            None => forget_affinity(),
            Some(affinity) => {
                // Without a final list the kernel decides: what of the initial one the cpuset has (config.md).
                if let Some(last) = &affinity.last {
                    set_affinity(last.words()).context(
                        "process.execCPUAffinity.final (hint: at least one must be online and in the container's cpuset)",
                    )?;
                }
            }
        }
        Ok(())
    }

    /// While the files of /proc/self are still ours: they become root's when we are undumpable.
    fn adjust_oom_score(&self, score: i32) -> Result<()> {
        match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
            // Lowering it takes CAP_SYS_RESOURCE; without privileges over the host that is let go (as runc).
            Err(error) if self.base.rootless && error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
            result => Ok(result
                .named(|| format!("write(\"/proc/self/oom_score_adj\", \"{score}\")"))
                .context("process.oomScoreAdj")?),
        }
    }

    fn enter(&mut self) -> Result<()> {
        if self.namespaces != 0 {
            super::enter(self.init, self.namespaces)?;
        }
        if self.base.namespaces & Kind::User.flag() != 0 {
            become_root(self.process.keep_groups)?;
        }
        if let Some(root) = self.root.take() {
            fchdir(&root).named(|| "fchdir(root)".to_owned())?;
            chroot(".").named(|| "chroot(\".\")".to_owned())?;
        }
        Ok(())
    }

    fn open_terminal(&mut self) -> Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open("/", flags, Mode::empty()).named(|| "open(\"/\")".to_owned())?;
        let (master, slave) = console::open_pty(&Rootfs::new(root), self.process)?;
        let socket = self.console.take().context("internal error: a terminal without a place for its master")?;
        send_master(socket.as_fd(), master.as_fd())?;
        Ok(slave)
    }
}
