//! The parent's side of the protocol in `sync.rs`.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;

use super::clone::Child;
use super::place::Place;
use super::{idmap, ids, listener, netdev};
use crate::cgroup::Cgroup;
use crate::hooks;
use crate::plan::Plan;
use crate::plan::namespaces::Kind;
use crate::seccomp;
use crate::state::Dir;
use crate::state::dir::SECCOMP;
use crate::state::view::HookState;
use crate::sync::{self, Channel, unless_gone};
use crate::sys::Named;
use crate::sys::again::open;
use crate::sys::mount::clone_tree;
use crate::sys::process::{enter_namespace, set_rlimit};
use crate::trace;
use crate::weak::{Guard, lacks};

/// Gives the child what it needs and serves its requests until it is ready to be started.
///
/// # Errors
/// The child's own, or ours; the child is still there to be ended.
pub fn until_ready(
    plan: &Plan,
    child: &Child,
    channel: &Channel,
    root: &Path,
    dir: &Dir,
    cgroup: &Cgroup,
) -> Result<()> {
    ids::map(plan.id_maps.as_ref(), child.pid)?;
    ids::adjust_oom_score(plan, child.pid, plan.cgroup.rootless)?;
    cgroup.move_down(&plan.cgroup, child.pid)?;
    // Nobody reads if the child has failed already: its own words, read below, are the better error. Whatever else goes
    // wrong is told at once: the child would wait for what it was not sent.
    let reached = unless_gone(channel.send(sync::Kind::Go, &[]))?;
    if let Some(filter) = &plan.seccomp
        && reached
    {
        // Beside the child's mounts, when it has to be compiled.
        let bpf = trace::span("seccomp", || seccomp::bpf(root, filter))?;
        unless_gone(channel.send(sync::Kind::Seccomp, &bpf))?;
        dir.write_new(SECCOMP, &bpf)?;
    }
    let mut id_maps = idmap::Holders::default();
    loop {
        let Some(packet) = channel.receive()? else {
            return Err(died(plan, child));
        };
        // Whether it is read is seen when the next packet is received.
        match packet.kind {
            sync::Kind::NetDevices => {
                let path = format!("/proc/{}/ns/net", child.pid);
                let namespace = File::open(&path).named(|| format!("open({path:?})"))?;
                netdev::move_all(&plan.net_devices, namespace.as_fd())?;
                unless_gone(channel.send(sync::Kind::Done, &[]))?;
            }
            sync::Kind::TimeOffsets => {
                ids::shift_clocks(plan, child.pid)?;
                let path = format!("/proc/{}/ns/time_for_children", child.pid);
                let namespace = File::open(&path).named(|| format!("open({path:?})"))?;
                unless_gone(channel.send_with(sync::Kind::Tree, &[], Some(namespace.as_fd())))?;
            }
            sync::Kind::OpenTree => match open_tree(child, &packet.body) {
                Ok(tree) => drop(unless_gone(channel.send_with(sync::Kind::Tree, &[], Some(tree.as_fd())))?),
                Err(error) => drop(unless_gone(channel.send(sync::Kind::Tree, format!("{error:#}").as_bytes()))?),
            },
            sync::Kind::MapIds => {
                let tree = packet.fd.context("internal error: no tree to map the ids of")?;
                id_maps.apply(plan, child, &packet.body, &tree)?;
                unless_gone(channel.send(sync::Kind::Done, &[]))?;
            }
            sync::Kind::RunHooks => {
                run_hooks(plan, child)?;
                unless_gone(channel.send(sync::Kind::Done, &[]))?;
            }
            sync::Kind::Rlimit => {
                set_limit(plan, child, &packet.body)?;
                unless_gone(channel.send(sync::Kind::Done, &[]))?;
            }
            sync::Kind::Listener => {
                let agent = plan.seccomp.as_ref().and_then(|filter| filter.listener.as_ref());
                let agent = agent.context("internal error: a listener, and nobody to ask")?;
                let state = HookState::of(plan, "creating", child.pid);
                let handover = listener::Handover { agent, child, channel, state };
                if let Some(bell) = handover.answer(packet)? {
                    // At a failure in between the channel speaks first.
                    if bell.wait(channel)? {
                        handover.fetch(bell)?;
                    }
                }
            }
            sync::Kind::Ready => return cgroup.apply_late(&plan.cgroup.limits),
            sync::Kind::Failed => {
                let (phase, text) = sync::parse_failure(&packet.body);
                return Err(if phase == "internal error" { anyhow!("{phase} in init: {text}") } else { anyhow!(text) });
            }
            other => bail!("internal error: unexpected {other:?} from init"),
        }
    }
}

/// The limit on memory under which a container with a small static program starts: our promise, kept by
/// `integration/memory.rs`. What v1 does not count, the kernel's own memory for the most part, v2 does.
const MEMORY_NEED_V1: u64 = 1 << 20;
const MEMORY_NEED_V2: u64 = 2 << 20;

/// The child is gone without a word. A limit on memory is the usual reason.
pub(super) fn died(plan: &Plan, child: &Child) -> anyhow::Error {
    let status = crate::sys::process::wait(child.pid).unwrap_or_default();
    let how = if libc::WIFSIGNALED(status) {
        format!("was killed by signal {}", libc::WTERMSIG(status))
    } else {
        format!("exited with status {}", libc::WEXITSTATUS(status))
    };
    let limit = plan.cgroup.limits.writes.iter().find(|write| {
        libc::WIFSIGNALED(status) && write.controller == "memory" && write.json.ends_with("memory.limit")
    });
    match limit {
        Some(write) => {
            let need = if plan.cgroup.place.v1.is_empty() { MEMORY_NEED_V2 } else { MEMORY_NEED_V1 };
            anyhow!(
                "init {how} while the container was made (hint: {} is {} bytes; a container starts with {need})",
                write.json,
                write.value
            )
        }
        None => anyhow!("init {how} while the container was made"),
    }
}

/// prestart and createRuntime hooks, in the runtime's own namespaces.
fn run_hooks(plan: &Plan, child: &Child) -> Result<()> {
    let state = HookState::of(plan, "creating", child.pid).to_json();
    let output = hooks::Output::open(&plan.hooks.output)?;
    hooks::run_all(&plan.hooks.prestart, &output, &state, Some(&plan.bundle))?;
    hooks::run_all(&plan.hooks.create_runtime, &output, &state, Some(&plan.bundle))
}

fn set_limit(plan: &Plan, child: &Child, at: &[u8]) -> Result<()> {
    let process = plan.process.as_ref().context("internal error: limits without a process")?;
    let limit = process
        .rlimits
        .iter()
        .find(|limit| limit.at.as_bytes() == at)
        .context("internal error: init asks for a limit that is not in the Plan")?;
    set_rlimit(child.pid, limit.resource, limit.soft, limit.hard)
        .with_context(|| format!("{} (hint: a hard limit is raised only with CAP_SYS_RESOURCE)", limit.at))
}

/// Clones a tree for the child, from within its mount namespace, where the kernel's locks on flags and covered mounts
/// are in force, but with our privileges over the path.
fn open_tree(child: &Child, request: &[u8]) -> Result<OwnedFd> {
    let (request, path) = request.split_first().context("internal error: an empty request")?;
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let here = Place::save()?;
    if *request == sync::Request::WithoutNamespaces as u8 {
        // What CLONE_NEWNS leaves out of its copy.
        let copied = unshare(CloneFlags::CLONE_NEWNS).named(|| "unshare(CLONE_NEWNS)".to_owned());
        let opened = copied.and_then(|()| clone_tree(path, true));
        here.return_to()?;
        return Ok(opened?);
    }
    if !lacks(Guard::LockedMounts) {
        enter_namespace(child.pidfd.as_fd(), Kind::Mount.flag() as i32)?;
    }
    let handle =
        |flags| open(path, OFlag::O_PATH | OFlag::O_CLOEXEC | flags, Mode::empty()).named(|| format!("open({path:?})"));
    let opened = if *request == sync::Request::Path as u8 {
        handle(OFlag::O_DIRECTORY)
    } else if *request == sync::Request::Itself as u8 {
        handle(OFlag::O_NOFOLLOW)
    } else {
        clone_tree(path, *request == sync::Request::Trees as u8)
    };
    here.return_to()?;
    Ok(opened?)
}
