//! `exec`: a further process of a running container. It enters what init lives in and becomes its program by the same
//! last phases as init; this is its parent's half.
//!
//! ```text
//!   parent                                   child
//!   ──────                                   ─────
//!   setns(pid), clone3, setns back ────────▶ joins cgroup v1, enters the other namespaces, opens its terminal
//!                 ◀───────────────────────── Ready
//!   writes the pid file, sends the pidfd
//!   Committed     ─────────────────────────▶ becomes what the program will be
//!                 ◀───────────────────────── Rlimit(JSON path)      for each limit the child may not raise itself
//!   Done          ─────────────────────────▶
//!                 ◀───────────────────────── Listener(number) + fd  as in `sync.rs`
//!   Done(rings)   ─────────────────────────▶
//!                 ◀───────────────────────── end of file: execve(2) has closed the channel
//! ```
//!
//! As in `sync.rs`, either side may fail at any point: the child says `Failed`, the parent goes away.

mod child;
mod freeze;
pub mod mounts;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;

use crate::cgroup::Cgroup;
use crate::init::wire::Wire;
use crate::launch::clone::{Child, through_middle};
use crate::launch::listener::{self, Handover};
use crate::launch::{check_preserved, sockets, write_pid_file};
use crate::plan::cgroup::Place;
use crate::plan::namespaces::Kind;
use crate::plan::process::Process;
use crate::rdt;
use crate::state::dir::SECCOMP;
use crate::state::view::HookState;
use crate::state::{Container, Record};
use crate::sync::{self, Channel, Packet};
use crate::sys::again::open;
use crate::sys::process::{
    Cloned, clone, close_together, enter_namespace, pidfd_send_signal, set_rlimit, set_undumpable, wait,
};
use crate::sys::sched::set_affinity;
use crate::sys::{Named, SysError};
use crate::trace;
use child::Joining;
use freeze::Watch;

/// The word that travels with the pidfd: runc's for a process that is not init.
const PIDFD: &str = "setns";

/// runc's words.
pub const STOPPED: &str = "cannot exec in a stopped container";
const PAUSED: &str = "cannot exec in a paused container";

/// What the command line says about the joining, beyond the process itself.
#[derive(Debug, Default)]
pub struct Request {
    /// Where the terminal's master goes: a connected socket.
    pub console: Option<OwnedFd>,
    pub pid_file: Option<PathBuf>,
    pub pidfd_socket: Option<PathBuf>,
    /// Descriptors from 3 on that the program keeps.
    pub preserve_fds: u32,
    /// How many of them are sockets passed on by socket activation.
    pub listen_fds: u32,
    /// A cgroup below the container's.
    pub cgroup: Option<Place>,
    /// Join a paused container all the same, and wait until it is resumed.
    pub ignore_paused: bool,
}

/// A process that has entered the container and waits for [`Joined::execute`]; killed if it is dropped before.
pub struct Joined<'a> {
    child: Option<Child>,
    channel: Channel,
    watch: Option<Watch>,
    /// Rings when the process has loaded a filter that an agent waits for.
    bell: Option<listener::Bell>,
    record: &'a Record,
    process: &'a Process,
    pid_file: Option<PathBuf>,
}

/// Brings a process into the container, as far as its terminal.
///
/// # Errors
/// In runc's words where the container is stopped or paused; one line that names what failed. No process is left.
pub fn join<'a>(container: &'a Container, process: &'a Process, mut request: Request) -> Result<Joined<'a>> {
    check_preserved(request.preserve_fds)?;
    let record = &container.record;
    let base = &record.exec;
    let pidfd_socket =
        request.pidfd_socket.as_deref().map(|path| sockets::connect_pidfd(path, "--pidfd-socket")).transpose()?;
    let init = container.init()?.context(STOPPED)?;
    let pid = record.init.map_or(0, |init| init.pid);
    let watch = if request.ignore_paused { None } else { Watch::new(&record.cgroup)? };
    if let Some(watch) = &watch
        && watch.is_frozen()?
    {
        bail!("{PAUSED} (use --ignore-paused to override)");
    }
    let filter = match base.seccomp {
        // Nothing runs without the filter that the container has.
        Some(_) => Some(container.dir.read(SECCOMP)?.context("the container's seccomp filter is missing")?),
        None => None,
    };
    let mut namespaces = base.namespaces;
    let own = |pid| {
        // Init hides until it executes its program, and only privileges over the host would see it.
        is_own_user_namespace(pid).context(
            "the container's namespaces (hint: without privileges over the host, start the container before exec)",
        )
    };
    if namespaces & Kind::User.flag() != 0 && own(pid)? {
        namespaces &= !Kind::User.flag();
    }
    let (cgroup, tasks) = open_cgroup(record, request.cgroup.as_ref(), pid)?;
    let (theirs, channel) = Channel::pair()?;
    let root = (namespaces & Kind::Mount.flag() == 0).then(|| open_root(pid)).transpose()?;
    let mut joining = Joining {
        id: &record.id,
        base,
        process,
        wire: Wire::new(theirs, filter),
        init: init.as_fd(),
        namespaces: namespaces & !Kind::Pid.flag(),
        root,
        tasks,
        console: request.console.take(),
        preserve_fds: request.preserve_fds,
        listen_fds: request.listen_fds,
    };
    // A path by a pid is init's only as long as init lives.
    let by_pid = joining.root.is_some() || base.namespaces & Kind::User.flag() != 0;
    if by_pid && container.init()?.is_none() {
        bail!(STOPPED);
    }
    // Ours too, as config.md has it: on v2 the child is born in the container's cgroup.
    if let Some(initial) = process.exec_affinity.as_ref().and_then(|affinity| affinity.initial.as_ref()) {
        set_affinity(initial.words()).context(
            "process.execCPUAffinity.initial (hint: at least one must be online and in the runtime's cpuset)",
        )?;
    }
    let other = || if request.cgroup.is_some() { Ok(None) } else { current_cgroup(&record.cgroup, pid) };
    let into = Into { cgroup, other: &other, tolerant: base.rootless };
    let child = if base.rootless && namespaces & Kind::Pid.flag() != 0 {
        in_between(&mut joining, &into)?
    } else {
        directly(&mut joining, &into, namespaces & Kind::Pid.flag() != 0)?
    };
    let Joining { wire, tasks, console, root, .. } = joining;
    close_together(tasks.into_iter().chain(into.cgroup).chain([wire.into()]).chain(console).chain(root).collect());
    let mut joined = Joined { child: Some(child), channel, watch, bell: None, record, process, pid_file: None };
    trace::span("wait for the process", || joined.until_ready())?;
    joined.share_resctrl()?;
    let child = joined.child.as_ref().context("internal error: no child")?;
    if base.rootless {
        Cgroup::from(request.cgroup.as_ref().unwrap_or(&record.cgroup).clone()).bring_in(child.pid)?;
    }
    if let Some(socket) = pidfd_socket {
        sockets::send(socket.as_fd(), PIDFD, child.pidfd.as_fd()).context("--pidfd-socket")?;
    }
    if let Some(path) = request.pid_file {
        write_pid_file(&path, child.pid).context("--pid-file")?;
        joined.pid_file = Some(path);
    }
    Ok(joined)
}

impl Joined<'_> {
    /// Lets the process become its program; returns when it has.
    pub fn execute(mut self) -> Result<Child> {
        if !sync::unless_gone(self.channel.send(sync::Kind::Committed, &[]))? {
            return Err(self.died());
        }
        while let Some(packet) = self.next()? {
            self.serve(packet)?;
        }
        self.child.take().context("internal error: no child")
    }

    /// Caches and memory bandwidth are the container's.
    fn share_resctrl(&self) -> Result<()> {
        let (Some(group), Some(child)) = (&self.record.intel_rdt, &self.child) else { return Ok(()) };
        match group.add(child.pid) {
            // Its processes are in the default class then.
            Err(error) if rdt::is_gone(&error) => Ok(()),
            result => result,
        }
    }

    fn until_ready(&mut self) -> Result<()> {
        loop {
            match self.next()? {
                Some(packet) if packet.kind == sync::Kind::Ready => return Ok(()),
                Some(packet) => self.serve(packet)?,
                None => return Err(self.died()),
            }
        }
    }

    fn serve(&mut self, packet: Packet) -> Result<()> {
        match packet.kind {
            sync::Kind::Listener => {
                self.bell = self.handover()?.answer(packet)?;
                Ok(())
            }
            sync::Kind::Rlimit => {
                let limit = self.process.rlimits.iter().find(|limit| limit.at.as_bytes() == packet.body);
                let limit = limit.context("internal error: the process asks for a limit that it has not")?;
                let pid = self.child.as_ref().map_or(0, |child| child.pid);
                set_rlimit(pid, limit.resource, limit.soft, limit.hard).with_context(|| {
                    format!("{} (hint: a hard limit is raised only with CAP_SYS_RESOURCE)", limit.at)
                })?;
                // Whether it is read is seen when the next packet is received.
                sync::unless_gone(self.channel.send(sync::Kind::Done, &[])).map(drop)
            }
            sync::Kind::Failed => match sync::parse_failure(&packet.body) {
                (phase, text) if phase == "internal error" => Err(anyhow!("{phase} in the process: {text}")),
                (_, text) => Err(anyhow!(text)),
            },
            other => bail!("internal error: unexpected {other:?} from the process"),
        }
    }

    fn handover(&self) -> Result<Handover<'_>> {
        let agent = self.record.exec.seccomp_listener.as_ref();
        Ok(Handover {
            agent: agent.context("internal error: a listener, and nobody to ask")?,
            child: self.child.as_ref().context("internal error: no child")?,
            channel: &self.channel,
            state: HookState::of_record(self.record, "running", self.record.init.map_or(0, |init| init.pid)),
        })
    }

    /// The next packet of the child; `None` at its end.
    ///
    /// # Errors
    /// If the container is paused meanwhile: the child stands still.
    fn next(&mut self) -> Result<Option<Packet>> {
        loop {
            let mut fds = vec![PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
            let event = self.watch.as_ref().and_then(Watch::poll_fd);
            fds.extend(event.map(|(fd, events)| PollFd::new(fd, events)));
            fds.extend(self.bell.as_ref().map(listener::Bell::poll_fd));
            let timeout = self.watch.as_ref().map_or(PollTimeout::NONE, Watch::patience);
            let ready = match poll(&mut fds, timeout) {
                Ok(ready) => ready,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(SysError::new("poll()", errno).into()),
            };
            if fds[0].any().unwrap_or(false) {
                return self.channel.receive();
            }
            if self.bell.is_some() && fds.last().is_some_and(|fd| fd.any().unwrap_or(false)) {
                drop(fds);
                if let Some(bell) = self.bell.take() {
                    self.handover()?.fetch(bell)?;
                }
                continue;
            }
            let Some(watch) = &mut self.watch else { continue };
            if ready == 0 {
                // Where every inotify instance that the user may have is taken, the patience begins anew.
                let _ = watch.arm();
            }
            if watch.is_frozen()? {
                bail!("{PAUSED}: it was paused while the process was joining it (use --ignore-paused to override)");
            }
        }
    }

    /// The child is gone without a word.
    fn died(&mut self) -> anyhow::Error {
        let Some(child) = self.child.take() else { return anyhow!("internal error: no child") };
        let status = wait(child.pid).unwrap_or_default();
        if !libc::WIFSIGNALED(status) {
            return anyhow!("the process exited with status {} while joining", libc::WEXITSTATUS(status));
        }
        anyhow!(
            "the process was killed by signal {} while joining (hint: the container was stopped, or its memory limit is too small)",
            libc::WTERMSIG(status)
        )
    }
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        // Already gone is as good. What cannot be moved out of a frozen cgroup dies when that is thawed.
        let _ = pidfd_send_signal(child.pidfd.as_fd(), libc::SIGKILL);
        let frozen = self.watch.as_ref().is_some_and(|watch| watch.is_frozen().unwrap_or(false));
        if !frozen || freeze::release(&self.record.cgroup, child.pid) {
            let _ = wait(child.pid);
        }
        if let Some(path) = &self.pid_file {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// setns(2) refuses the user namespace that one is in: a container can have joined the runtime's own by its path.
fn is_own_user_namespace(pid: i32) -> Result<bool> {
    let number = |path: String| std::fs::metadata(&path).map(|data| data.ino()).named(|| format!("stat({path:?})"));
    Ok(number("/proc/self/ns/user".to_owned())? == number(format!("/proc/{pid}/ns/user"))?)
}

fn open_root(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/root");
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(path.as_str(), flags, Mode::empty()).named(|| format!("open({path:?})"))?)
}

/// What the child joins: the v2 directory for the clone, v1's `tasks` for itself.
fn open_cgroup(record: &Record, below: Option<&Place>, pid: i32) -> Result<(Option<OwnedFd>, Vec<OwnedFd>)> {
    match Cgroup::from(below.unwrap_or(&record.cgroup).clone()).join_fds() {
        Ok(fds) => Ok((fds.v2, fds.tasks)),
        Err(error) if below.is_some() => {
            Err(error).context("--cgroup (hint: it must exist below the container's cgroup)")
        }
        // The container's v2 cgroup can be gone when init has moved on. v1's are still there: they hold init.
        Err(error) => match current_cgroup(&record.cgroup, pid)? {
            Some(fd) => {
                let v1 = Place { v2: None, ..record.cgroup.clone() };
                Ok((Some(fd), Cgroup::from(v1).join_fds()?.tasks))
            }
            None => Err(error),
        },
    }
}

/// The v2 cgroup that init is in now.
fn current_cgroup(place: &Place, pid: i32) -> Result<Option<OwnedFd>> {
    let Some(v2) = &place.v2 else { return Ok(None) };
    let path = format!("/proc/{pid}/cgroup");
    let text = std::fs::read_to_string(&path).named(|| format!("read({path:?})"))?;
    let Some(below) = text.lines().find_map(|line| line.strip_prefix("0::/")) else { return Ok(None) };
    let path = v2.mount.join(below);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(Some(open(&path, flags, Mode::empty()).named(|| format!("open({path:?})"))?))
}

/// The v2 cgroup to be born into.
struct Into<'a> {
    cgroup: Option<OwnedFd>,
    /// Another, where that one cannot hold processes any more.
    other: &'a dyn Fn() -> Result<Option<OwnedFd>>,
    /// Without permission, none.
    tolerant: bool,
}

impl Into<'_> {
    fn clone(&self, flags: u64) -> Result<Cloned> {
        let error = match clone(flags, self.cgroup.as_ref().map(AsFd::as_fd)) {
            Err(error) if self.cgroup.is_some() => error,
            result => return Ok(result?),
        };
        match error.errno {
            // It hands controllers down, so only those below it may have members; it is gone; it is threaded.
            Errno::EBUSY | Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP => match (self.other)()? {
                Some(other) => Ok(clone(flags, Some(other.as_fd()))?),
                None => Err(error).context("--cgroup"),
            },
            Errno::EACCES | Errno::EPERM if self.tolerant => Ok(clone(flags, None)?),
            _ => Err(error.into()),
        }
    }
}

/// A process enters a pid namespace only by being born in it, so this one's children must be.
fn directly(joining: &mut Joining<'_>, into: &Into<'_>, pid_namespace: bool) -> Result<Child> {
    const OWN: &str = "/proc/self/ns/pid";
    let mut home = None;
    if pid_namespace {
        home = Some(File::open(OWN).named(|| format!("open({OWN:?})"))?);
        enter(joining.init, Kind::Pid.flag())?;
    }
    let cloned = into.clone(0);
    if let Ok(Cloned::Child) = cloned {
        child::run(joining);
    }
    if let Some(home) = home {
        enter_namespace(home.as_fd(), Kind::Pid.flag() as i32)
            .context("cannot return to the runtime's own namespace")?;
    }
    match cloned {
        Ok(Cloned::Parent { pid, pidfd }) => Ok(Child { pid, pidfd }),
        Ok(Cloned::Child) => bail!("internal error: the child came back"),
        // alloc_pid() answers so when the namespace's init is ending.
        Err(error) if is(&error, Errno::ENOMEM) => Err(error.context(STOPPED)),
        Err(error) => Err(error),
    }
}

/// Enters namespaces of init: all of `flags` or none, in an order that each needs.
fn enter(init: BorrowedFd<'_>, flags: u64) -> Result<()> {
    match enter_namespace(init, flags as i32) {
        // Init is ending, and has left its namespaces already.
        Err(SysError { errno: Errno::ESRCH, .. }) => bail!(STOPPED),
        result => result.context("entering the container's namespaces"),
    }
}

fn is(error: &anyhow::Error, errno: Errno) -> bool {
    error.downcast_ref::<SysError>().is_some_and(|error| error.errno == errno)
}

/// Without privileges over the host nobody returns to its pid namespace; and they can come from the container's user
/// namespace alone, which is not left again either. So somebody else goes there.
fn in_between(joining: &mut Joining<'_>, into: &Into<'_>) -> Result<Child> {
    let user = joining.namespaces & Kind::User.flag() != 0;
    joining.namespaces &= !Kind::User.flag();
    through_middle(|| {
        if user {
            enter(joining.init, Kind::User.flag())?;
            set_undumpable()?;
        }
        enter(joining.init, Kind::Pid.flag())?;
        match into.clone(libc::CLONE_PARENT as u64)? {
            Cloned::Child => child::run(joining),
            Cloned::Parent { pid, .. } => Ok(pid),
        }
    })
}
