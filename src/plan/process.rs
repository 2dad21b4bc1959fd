//! The program: what is executed, as whom, with what. Not for what depends on the container's files (where the program
//! is found, its user's home).

pub(super) mod caps;
mod sched;

use std::collections::HashSet;
use std::path::PathBuf;

use oci_spec::runtime::{LinuxPersonalityDomain, PosixRlimit, PosixRlimitType, Spec};
use serde::{Deserialize, Serialize};

use super::mask::Mask;
use super::memory_policy::MemoryPolicy;
use super::{Options, Result, lsm, mounts, no_nul};
use crate::error::InputError;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    pub terminal: bool,
    /// Rows and columns, when `consoleSize` is given.
    pub console_size: Option<(u16, u16)>,
    /// Absolute, in the container.
    pub cwd: PathBuf,
    /// Never empty.
    pub args: Vec<String>,
    /// `NAME=value`, each name once (the last wins). `HOME` is added in the container when absent or empty.
    pub env: Vec<String>,
    pub uid: u32,
    pub gid: u32,
    pub additional_gids: Vec<u32>,
    /// The caller's supplementary groups are kept, and these not set.
    #[serde(default)]
    pub keep_groups: bool,
    pub umask: u32,
    pub rlimits: Vec<Rlimit>,
    pub capabilities: Capabilities,
    pub no_new_privileges: bool,
    /// `None` inherits the caller's.
    pub oom_score_adj: Option<i32>,
    pub apparmor_profile: Option<String>,
    pub selinux_label: Option<String>,
    pub scheduler: Option<Scheduler>,
    /// The value of ioprio_set(2): class << 13 | priority.
    pub io_priority: Option<i32>,
    /// For what joins the container later; init has the processors of its cpuset.
    pub exec_affinity: Option<ExecAffinity>,
    /// The value of personality(2).
    pub personality: Option<u64>,
    pub memory_policy: Option<MemoryPolicy>,
}

/// `process.execCPUAffinity`: the processors on which a process of `exec` runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecAffinity {
    /// Until it is in the container's cgroup.
    pub initial: Option<Mask>,
    /// From then on.
    #[serde(rename = "final")]
    pub last: Option<Mask>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// The JSON path, for errors.
    pub at: String,
    /// `RLIMIT_NOFILE`, …
    pub name: String,
    /// The resource's number (setrlimit(2)).
    pub resource: u32,
    pub soft: u64,
    pub hard: u64,
}

/// The five sets as bits, capability N at bit N (capabilities(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub inheritable: u64,
    pub permitted: u64,
    pub ambient: u64,
}

/// The fields of `struct sched_attr` (sched_setattr(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduler {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// The umask of a process that gives none: runc's, which images rely on.
const UMASK: u32 = 0o022;

/// The kernel's range for `/proc/PID/oom_score_adj` (proc(5)).
const OOM_SCORE_ADJ: std::ops::RangeInclusive<i32> = -1000..=1000;

/// `PER_LINUX32` of personality(2).
const PER_LINUX32: u64 = 0x0008;

/// The container's `process`.
///
/// # Errors
/// Whatever is wrong in it, by its JSON path.
pub fn compile(process: &oci_spec::runtime::Process, options: &Options) -> Result<Process> {
    let notify = options.notify_socket.is_some().then(|| format!("NOTIFY_SOCKET={}", mounts::NOTIFY_SOCKET));
    let mut variables: Vec<String> = notify.into_iter().collect();
    if options.listen_fds > 0 {
        variables.extend(sockets(options.listen_fds, options.listen_fd_names.as_deref()));
        variables.push("LISTEN_PID=1".to_owned());
    }
    document(process, variables)
}

/// What socket activation tells in the environment (sd_listen_fds(3)), the pid apart.
pub(super) fn sockets(count: u32, names: Option<&str>) -> impl Iterator<Item = String> {
    [format!("LISTEN_FDS={count}")].into_iter().chain(names.map(|names| format!("LISTEN_FDNAMES={names}")))
}

/// A `process`, the container's or one for `exec`, with variables of the runtime's own after those of its `env`.
pub(super) fn document(process: &oci_spec::runtime::Process, variables: Vec<String>) -> Result<Process> {
    let terminal = process.terminal().unwrap_or(false);
    let cwd = process.cwd();
    if !cwd.is_absolute() {
        return Err(InputError::new("process.cwd", "Cwd must be an absolute path"));
    }
    no_nul("process.cwd", &cwd.to_string_lossy())?;
    let args = process.args().clone().unwrap_or_default();
    if args.is_empty() {
        return Err(InputError::new("process.args", "args must not be empty"));
    }
    for (i, arg) in args.iter().enumerate() {
        no_nul(&format!("process.args[{i}]"), arg)?;
    }
    let user = process.user();
    let additional_gids = user.additional_gids().clone().unwrap_or_default();
    id("process.user.uid", user.uid())?;
    id("process.user.gid", user.gid())?;
    for (i, gid) in additional_gids.iter().enumerate() {
        id(&format!("process.user.additionalGids[{i}]"), *gid)?;
    }
    let umask = user.umask().unwrap_or(UMASK);
    if umask > 0o777 {
        return Err(InputError::new("process.user.umask", format!("{umask} (0{umask:o}) is more than 0777"))
            .hint("JSON numbers are decimal: 18 is 022"));
    }
    let oom_score_adj = process.oom_score_adj();
    if let Some(score) = oom_score_adj.filter(|score| !OOM_SCORE_ADJ.contains(score)) {
        let (min, max) = OOM_SCORE_ADJ.into_inner();
        return Err(InputError::new("process.oomScoreAdj", format!("{score} is not from {min} to {max}")));
    }
    Ok(Process {
        terminal,
        console_size: console_size(process, terminal)?,
        cwd: cwd.clone(),
        args,
        env: env(process, variables)?,
        uid: user.uid(),
        gid: user.gid(),
        additional_gids,
        keep_groups: false,
        umask,
        rlimits: rlimits(process.rlimits().as_deref().unwrap_or_default())?,
        capabilities: process.capabilities().as_ref().map_or(Ok(Capabilities::default()), caps::compile)?,
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        oom_score_adj,
        apparmor_profile: lsm::label("process.apparmorProfile", process.apparmor_profile().as_ref())?,
        selinux_label: lsm::label("process.selinuxLabel", process.selinux_label().as_ref())?,
        scheduler: process.scheduler().as_ref().map(sched::scheduler).transpose()?,
        io_priority: process.io_priority().as_ref().map(sched::io_priority).transpose()?,
        exec_affinity: exec_affinity(process)?,
        personality: None,
        memory_policy: None,
    })
}

fn exec_affinity(process: &oci_spec::runtime::Process) -> Result<Option<ExecAffinity>> {
    let Some(given) = process.exec_cpu_affinity() else { return Ok(None) };
    let mask = |name: &str, list: &Option<String>| {
        Mask::parse(&format!("process.execCPUAffinity.{name}"), list.as_deref().unwrap_or_default())
    };
    let (initial, last) = (mask("initial", given.initial())?, mask("final", given.cpu_affinity_final())?);
    Ok((initial.is_some() || last.is_some()).then_some(ExecAffinity { initial, last }))
}

/// `linux.personality` as the value of personality(2). It stands outside `process`, so `plan::compile` adds it.
pub fn personality(spec: &Spec) -> Option<u64> {
    let personality = spec.linux().as_ref()?.personality().as_ref()?;
    Some(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
    })
}

/// 4294967295 is "leave as it is" to setuid(2) and its kin.
pub(super) fn id(at: &str, id: u32) -> Result<()> {
    if id == u32::MAX {
        return Err(InputError::new(at, format!("{id} is no id")));
    }
    Ok(())
}

/// Ignored without a terminal: config.md says so.
fn console_size(process: &oci_spec::runtime::Process, terminal: bool) -> Result<Option<(u16, u16)>> {
    let Some(size) = process.console_size().filter(|_| terminal) else {
        return Ok(None);
    };
    let side = |name: &str, given: u64| {
        u16::try_from(given).map_err(|_| {
            let what = format!("{given} is more than {}", u16::MAX);
            InputError::new(format!("process.consoleSize.{name}"), what)
        })
    };
    Ok(Some((side("height", size.height())?, side("width", size.width())?)))
}

fn env(process: &oci_spec::runtime::Process, variables: Vec<String>) -> Result<Vec<String>> {
    let mut env = process.env().clone().unwrap_or_default();
    for (i, variable) in env.iter().enumerate() {
        check_variable(&format!("process.env[{i}]"), variable)?;
    }
    env.extend(variables);
    Ok(each_once(&env))
}

/// # Errors
/// What is not of the form `NAME=value`.
pub(super) fn check_variable(at: &str, variable: &str) -> Result<()> {
    no_nul(at, variable)?;
    let what = match variable.find('=') {
        None => "missing '='",
        Some(0) => "name cannot be empty",
        Some(_) => return Ok(()),
    };
    Err(InputError::new(at, format!("invalid environment variable: {what}")).hint("give it as NAME=value"))
}

/// Each name once, the last value, in the order of the last mentions, as runc.
pub(super) fn each_once(env: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut last: Vec<String> = Vec::with_capacity(env.len());
    for variable in env.iter().rev() {
        if seen.insert(variable.split('=').next()) {
            last.push(variable.clone());
        }
    }
    last.reverse();
    last
}

/// The resource's number. Each `RLIMIT_*` of Linux is there (getrlimit(2)).
fn resource(kind: PosixRlimitType) -> u32 {
    let number = match kind {
        PosixRlimitType::RlimitCpu => libc::RLIMIT_CPU,
        PosixRlimitType::RlimitFsize => libc::RLIMIT_FSIZE,
        PosixRlimitType::RlimitData => libc::RLIMIT_DATA,
        PosixRlimitType::RlimitStack => libc::RLIMIT_STACK,
        PosixRlimitType::RlimitCore => libc::RLIMIT_CORE,
        PosixRlimitType::RlimitRss => libc::RLIMIT_RSS,
        PosixRlimitType::RlimitNproc => libc::RLIMIT_NPROC,
        PosixRlimitType::RlimitNofile => libc::RLIMIT_NOFILE,
        PosixRlimitType::RlimitMemlock => libc::RLIMIT_MEMLOCK,
        PosixRlimitType::RlimitAs => libc::RLIMIT_AS,
        PosixRlimitType::RlimitLocks => libc::RLIMIT_LOCKS,
        PosixRlimitType::RlimitSigpending => libc::RLIMIT_SIGPENDING,
        PosixRlimitType::RlimitMsgqueue => libc::RLIMIT_MSGQUEUE,
        PosixRlimitType::RlimitNice => libc::RLIMIT_NICE,
        PosixRlimitType::RlimitRtprio => libc::RLIMIT_RTPRIO,
        PosixRlimitType::RlimitRttime => libc::RLIMIT_RTTIME,
    };
    // glibc's type for it is unsigned, musl's is not.
    #[allow(clippy::unnecessary_cast)]
    let number = number as u32;
    number
}

fn rlimits(given: &[PosixRlimit]) -> Result<Vec<Rlimit>> {
    let mut rlimits: Vec<Rlimit> = Vec::with_capacity(given.len());
    for (i, limit) in given.iter().enumerate() {
        let at = format!("process.rlimits[{i}]");
        let (name, resource) = (limit.typ().to_string(), resource(limit.typ()));
        if let Some(first) = rlimits.iter().find(|first| first.resource == resource) {
            let what = format!("duplicate {name}, first given in {}", first.at);
            return Err(InputError::new(format!("{at}.type"), what));
        }
        let (soft, hard) = (limit.soft(), limit.hard());
        if soft > hard {
            let what = format!("{soft} is more than the hard limit, {hard}");
            return Err(InputError::new(format!("{at}.soft"), what));
        }
        rlimits.push(Rlimit { at, name, resource, soft, hard });
    }
    Ok(rlimits)
}

#[cfg(test)]
mod tests;
