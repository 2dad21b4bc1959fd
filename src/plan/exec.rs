//! A further process of a container, decided: from its own document or the container's `process`, the flags of `exec`
//! on top. Not for how the container is entered: that is `join/`.

#[cfg(test)]
mod tests;

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::cgroup::{Dir, Place};
use super::process::{self, Process, caps};
use super::seccomp::{Listener, Loading};
use super::{Plan, Result, lsm, mounts, no_nul};
use crate::error::InputError;
use crate::weak::{Guard, lacks};

/// What a container is to the processes that join it; its record keeps this.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Base {
    /// `CLONE_NEW*` of every namespace that is not the runtime's own.
    pub namespaces: u64,
    /// Its document's `process`, without the variables that speak of init's own sockets.
    pub process: Option<Process>,
    /// `SECCOMP_FILTER_FLAG_*`; the filter itself is in the container's directory.
    pub seccomp: Option<u32>,
    /// The agent that answers what the filter asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seccomp_listener: Option<Listener>,
    /// It has a session keyring of its own.
    pub new_keyring: bool,
    /// It was made without privileges over the host.
    pub rootless: bool,
}

impl Base {
    pub fn of(plan: &Plan) -> Self {
        Self {
            namespaces: plan.namespaces.entries.iter().fold(0, |flags, entry| flags | entry.kind.flag()),
            process: plan.process.clone().map(without_sockets),
            seccomp: plan.seccomp.as_ref().map(|filter| filter.flags),
            seccomp_listener: plan.seccomp.as_ref().and_then(|filter| filter.listener.clone()),
            new_keyring: plan.new_keyring,
            rootless: plan.cgroup.rootless,
        }
    }

    /// How the filter is loaded, if there is one.
    pub fn loading(&self) -> Option<Loading> {
        self.seccomp.map(|flags| Loading { flags, listener: self.seccomp_listener.is_some() })
    }
}

fn without_sockets(mut process: Process) -> Process {
    let notify = format!("NOTIFY_SOCKET={}", mounts::NOTIFY_SOCKET);
    process.env.retain(|variable| {
        let of_sockets = ["LISTEN_FDS=", "LISTEN_FDNAMES=", "LISTEN_PID="];
        *variable != notify && !of_sockets.iter().any(|name| variable.starts_with(name))
    });
    process
}

/// The flags of `exec` that change what the process is.
#[derive(Debug, Default)]
pub struct Flags<'a> {
    pub tty: bool,
    pub env: &'a [String],
    pub user: Option<&'a str>,
    pub additional_gids: &'a [String],
    pub cwd: Option<&'a Path>,
    pub caps: &'a [String],
    pub process_label: Option<&'a String>,
    pub apparmor: Option<&'a String>,
    pub no_new_privs: bool,
    pub args: &'a [String],
    /// Sockets passed on by socket activation.
    pub listen_fds: u32,
    pub listen_fd_names: Option<&'a str>,
}

/// Decides what the process is. A flag overrules the document; what the document leaves out, its environment and working
/// directory apart, is as for the container's own process (as runc has it).
///
/// # Errors
/// What is wrong in the flags, by their names, or in the document, by JSON path.
pub fn compile(base: &Base, document: Option<&oci_spec::runtime::Process>, flags: &Flags<'_>) -> Result<Process> {
    let mut process = match document {
        Some(document) => from_document(base, document, flags)?,
        None => from_container(base, flags)?,
    };
    for (i, arg) in flags.args.iter().enumerate() {
        no_nul(&format!("argument {i}"), arg)?;
    }
    if let Some(cwd) = flags.cwd {
        if !cwd.is_absolute() {
            return Err(InputError::new("--cwd", "Cwd must be an absolute path"));
        }
        cwd.clone_into(&mut process.cwd);
    }
    if let Some(user) = flags.user {
        set_user(&mut process, user)?;
    }
    for gid in flags.additional_gids {
        process.additional_gids.push(number("--additional-gids", gid)?);
    }
    for name in flags.caps {
        let bit = caps::bit("--cap", name)?;
        // Never inheritable or ambient: a program that another user runs would gain it (CVE-2022-29162).
        let sets = &mut process.capabilities;
        (sets.bounding, sets.effective, sets.permitted) =
            (sets.bounding | bit, sets.effective | bit, sets.permitted | bit);
        if lacks(Guard::ExactCapabilities) {
            sets.inheritable |= bit;
        }
    }
    if let Some(label) = lsm::label("--process-label", flags.process_label)? {
        process.selinux_label = Some(label);
    }
    if let Some(profile) = lsm::label("--apparmor", flags.apparmor)? {
        process.apparmor_profile = Some(profile);
    }
    process.no_new_privileges |= flags.no_new_privs;
    for variable in flags.env {
        process::check_variable("--env", variable)?;
    }
    process.env.extend_from_slice(flags.env);
    if flags.listen_fds > 0 {
        // LISTEN_PID is for the process itself to say.
        process.env.extend(process::sockets(flags.listen_fds, flags.listen_fd_names));
    }
    process.env = process::each_once(&process.env);
    Ok(process)
}

fn from_container(base: &Base, flags: &Flags<'_>) -> Result<Process> {
    let Some(mut process) = base.process.clone() else {
        return Err(InputError::new("process", "the container's configuration has none").hint("give one by --process"));
    };
    if flags.args.is_empty() {
        return Err(
            InputError::new("command line", "args must not be empty").hint("give a program after the container's ID")
        );
    }
    process.args = flags.args.to_vec();
    // The container's own terminal is its init's alone.
    process.terminal = flags.tty;
    process.console_size = process.console_size.filter(|_| flags.tty);
    Ok(process)
}

fn from_document(base: &Base, document: &oci_spec::runtime::Process, flags: &Flags<'_>) -> Result<Process> {
    let mut document = document.clone();
    if flags.tty {
        document.set_terminal(Some(true));
    }
    if !flags.args.is_empty() {
        document.set_args(Some(flags.args.to_vec()));
    }
    let mut process = process::document(&document, Vec::new())?;
    let Some(container) = &base.process else { return Ok(process) };
    process.keep_groups = container.keep_groups;
    if document.capabilities().is_none() {
        process.capabilities = container.capabilities;
    }
    if document.user().umask().is_none() {
        process.umask = container.umask;
    }
    if process.rlimits.is_empty() {
        process.rlimits.clone_from(&container.rlimits);
    }
    process.apparmor_profile = process.apparmor_profile.or_else(|| container.apparmor_profile.clone());
    process.selinux_label = process.selinux_label.or_else(|| container.selinux_label.clone());
    process.oom_score_adj = process.oom_score_adj.or(container.oom_score_adj);
    process.scheduler = process.scheduler.or(container.scheduler);
    process.io_priority = process.io_priority.or(container.io_priority);
    process.exec_affinity = process.exec_affinity.or_else(|| container.exec_affinity.clone());
    process.personality = container.personality;
    process.memory_policy.clone_from(&container.memory_policy);
    Ok(process)
}

/// `UID[:GID]`. Numbers alone: a name would be looked up in a file of the image (CVE-2016-3697). Without a gid the
/// container's stays.
fn set_user(process: &mut Process, given: &str) -> Result<()> {
    let (uid, gid) = match given.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid)),
        None => (given, None),
    };
    let uid = number("--user", uid)?;
    if let Some(gid) = gid {
        process.gid = number("--user", gid)?;
    }
    process.uid = uid;
    Ok(())
}

/// An id: digits and nothing else (CVE-2026-30892: what cannot be read must not become 0).
fn number(at: &str, text: &str) -> Result<u32> {
    if lacks(Guard::NumericUsers) {
        return Ok(text.parse().unwrap_or(0));
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits).ok_or_else(|| {
        InputError::new(at, format!("{text:?} is no id")).hint("ids are numbers from 0 to 4294967294")
    })?;
    process::id(at, number)?;
    Ok(number)
}

/// `--cgroup [CONTROLLERS:]PATH`: the container's place, with the path below it; `None` when none is asked for.
///
/// # Errors
/// A controller that the container is in no hierarchy of, one named twice, a path that leads out.
pub fn sub_cgroup(given: &[String], place: &Place) -> Result<Option<Place>> {
    let wrong = |what: String| InputError::new("--cgroup", what).hint("give [CONTROLLER[,CONTROLLER]:]PATH");
    if !given.is_empty() && place.is_none() {
        return Err(InputError::new("--cgroup", "the container has no cgroup for one to be below"));
    }
    let mut place = place.clone();
    let mut named: Vec<&str> = Vec::new();
    for text in given {
        let Some((controllers, path)) = text.split_once(':') else {
            if given.len() > 1 {
                return Err(wrong(format!("{text:?} is one of several and names no controller")));
            }
            let below = below(text)?;
            for dir in place.v1.iter_mut().chain(&mut place.v2) {
                dir.below.extend(&below);
            }
            break;
        };
        let below = below(path)?;
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return Err(wrong(format!("{text:?} has an empty controller")));
            }
            if named.contains(&controller) {
                return Err(wrong(format!("controller {controller} is given twice")));
            }
            named.push(controller);
        }
        let mut rest: Vec<&str> = controllers.split(',').collect();
        for dir in &mut place.v1 {
            let before = rest.len();
            rest.retain(|controller| !is_in(dir, controller));
            if rest.len() < before {
                dir.below.extend(&below);
            }
        }
        if let Some(controller) = rest.first() {
            return Err(wrong(format!("the container is in no cgroup v1 hierarchy of controller {controller}")));
        }
    }
    Ok((!given.is_empty()).then_some(place))
}

fn is_in(dir: &Dir, controller: &str) -> bool {
    dir.has(controller) || dir.has(&format!("name={controller}"))
}

/// The path's ordinary components.
fn below(path: &str) -> Result<PathBuf> {
    no_nul("--cgroup", path)?;
    let mut below = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::ParentDir => {
                return Err(InputError::new("--cgroup", format!("{path} is not a sub cgroup path"))
                    .hint("it begins at the container's own cgroup and cannot leave it"));
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(below)
}
