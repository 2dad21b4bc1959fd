//! `linux.seccomp`, checked and decided: which call gets which answer. Not for BPF: that is `crate::seccomp`.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag as Flag,
    LinuxSeccompOperator as Operator, LinuxSyscall,
};
use serde::{Deserialize, Serialize};

use super::no_nul;
use crate::error::InputError;
use crate::seccomp::names;
use crate::sys::seccomp::{FLAG_SPEC_ALLOW, FLAG_WAIT_KILLABLE_RECV};

type Result<T> = std::result::Result<T, InputError>;

/// A profile, ready to be compiled and loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filter {
    /// What the BPF is made of.
    pub program: Program,
    /// `SECCOMP_FILTER_FLAG_*` for seccomp(2).
    pub flags: u32,
    pub load: Load,
    /// Some call is for an agent to answer.
    pub listener: Option<Listener>,
    /// An array of `struct sock_filter` that is loaded in place of what `program` comes to.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "instructions")]
    pub raw: Option<Vec<u8>>,
}

/// How many there are: BPF is for machines.
#[expect(clippy::ref_option, reason = "serde's signature")]
fn instructions<S: serde::Serializer>(raw: &Option<Vec<u8>>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{} instructions", raw.as_ref().map_or(0, |raw| raw.len() / 8)))
}

/// Where the descriptor goes by which an agent answers calls (seccomp_unotify(2)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Of the agent's unix stream socket, absolute.
    pub path: PathBuf,
    /// For the agent, as it stands in the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// The agent may be asked about sendmsg(2), so that this call cannot be used to hand the descriptor over.
    pub asks_about_sendmsg: bool,
}

/// What the one who loads a filter has to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loading {
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u32,
    /// A listener comes of it, which an agent waits for.
    pub listener: bool,
}

impl Filter {
    pub fn loading(&self) -> Loading {
        Loading { flags: self.flags, listener: self.listener.is_some() }
    }
}

/// The parts of the document, besides the profile, that have a say.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// `process.noNewPrivileges`.
    pub no_new_privs: bool,
    /// The bundle's directory.
    pub bundle: &'a Path,
    /// The annotation [`RECEIVER`].
    pub receiver: Option<&'a str>,
}

/// crun's annotation for the path of the agent's socket, where the profile names none.
pub const RECEIVER: &str = "run.oci.seccomp.receiver";

/// When the filter is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Load {
    /// While CAP_SYS_ADMIN is still held, which seccomp(2) asks for in place of no_new_privs.
    BeforeCapabilities,
    /// As the last thing before the container counts as created: no_new_privs is set, and the parent has to be there
    /// still, for the listener.
    BeforeStart,
    /// As the last thing before the program is executed: no_new_privs is set.
    Last,
}

/// The part of a profile from which BPF is made. Equal programs give equal BPF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// For calls that no rule matches.
    pub default: Action,
    /// Each once, the machine's own first: it is always served, listed or not. Calls of any other kill the thread.
    pub architectures: Vec<Arch>,
    /// At the index that each has in `linux.seccomp.syscalls`.
    pub rules: Vec<Rule>,
}

/// The answer to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    KillProcess,
    KillThread,
    /// SIGSYS.
    Trap,
    /// The call fails with this errno.
    Errno(u16),
    /// A tracer decides; it is told this number.
    Trace(u16),
    /// An agent decides.
    Notify,
    Log,
    Allow,
}

impl Action {
    /// The call is carried out, or somebody who sees it may let it: it is not simply refused.
    pub fn permits(self) -> bool {
        matches!(self, Self::Trace(_) | Self::Notify | Self::Log | Self::Allow)
    }
}

/// One entry of `linux.seccomp.syscalls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// Names that this machine does not know are left in: they match nothing.
    pub names: Vec<String>,
    pub action: Action,
    /// The rule matches when all conditions of one of these do; always, when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<Vec<Condition>>,
}

/// A comparison of one argument of the call, unsigned and 64 bits wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// The argument, 0 to 5.
    pub arg: u32,
    pub is: Comparison,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Comparison {
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Equal(u64),
    GreaterOrEqual(u64),
    Greater(u64),
    /// `argument & mask == value & mask`
    Masked {
        mask: u64,
        value: u64,
    },
}

/// Decides about `spec`, which stands at `json` in the document.
///
/// # Errors
/// The first thing that the specification or libseccomp forbids, by its JSON path.
pub fn compile(spec: &LinuxSeccomp, json: &str, around: Surroundings<'_>, warn: &mut Vec<String>) -> Result<Filter> {
    let default = action(spec.default_action(), spec.default_errno_ret(), json, "defaultErrnoRet")?;
    let rules = spec.syscalls().iter().flatten().enumerate();
    let program = Program {
        default,
        architectures: architectures(spec.architectures().iter().flatten().copied(), json)?,
        rules: rules.map(|(i, call)| rule(call, &format!("{json}.syscalls[{i}]"), warn)).collect::<Result<_>>()?,
    };
    if !may_execute(&program) {
        warn.push(format!("{json}: the profile refuses execve, so the container's program cannot be started"));
    }
    let listener = listener(spec, json, around, &program, warn)?;
    let load = match (around.no_new_privs, &listener) {
        (false, _) => Load::BeforeCapabilities,
        (true, Some(_)) => Load::BeforeStart,
        (true, None) => Load::Last,
    };
    let mut flags = flags(spec.flags().as_deref(), json)?;
    if listener.is_none() && flags & FLAG_WAIT_KILLABLE_RECV != 0 {
        warn.push(format!("{json}.flags: WAIT_KILLABLE_RECV means nothing without SCMP_ACT_NOTIFY"));
        flags &= !FLAG_WAIT_KILLABLE_RECV;
    }
    Ok(Filter { program, flags, load, listener, raw: None })
}

/// A filter that is given as BPF, whatever the profile says.
pub fn given(raw: Vec<u8>, no_new_privs: bool) -> Result<Filter> {
    let nothing =
        Program { default: Action::Allow, architectures: architectures(std::iter::empty(), "")?, rules: Vec::new() };
    let load = if no_new_privs { Load::Last } else { Load::BeforeCapabilities };
    Ok(Filter { program: nothing, flags: 0, load, listener: None, raw: Some(raw) })
}

/// Refuses names that libseccomp does not know: for those who would rather know than have a rule that matches nothing.
///
/// # Errors
/// The first, by its JSON path.
pub fn known_only(spec: &LinuxSeccomp, json: &str) -> Result<()> {
    for (i, call) in spec.syscalls().iter().flatten().enumerate() {
        if let Some(n) = call.names().iter().position(|name| !names::is_syscall(name)) {
            let at = format!("{json}.syscalls[{i}].names[{n}]");
            return Err(InputError::new(at, format!("{:?} is not known to libseccomp", call.names()[n]))
                .hint("run.oci.seccomp_fail_unknown_syscall is set"));
        }
    }
    Ok(())
}

/// The agent, if the profile asks one about anything.
fn listener(
    spec: &LinuxSeccomp,
    json: &str,
    around: Surroundings<'_>,
    program: &Program,
    warn: &mut Vec<String>,
) -> Result<Option<Listener>> {
    let given = spec.listener_path().as_deref().filter(|path| !path.as_os_str().is_empty());
    let path = given.or(around.receiver.filter(|path| !path.is_empty()).map(Path::new));
    let metadata = spec.listener_metadata().clone().filter(|data| !data.is_empty());
    if metadata.is_some() && path.is_none() {
        return Err(InputError::new(format!("{json}.listenerMetadata"), "is for an agent, and none is named")
            .hint(format!("give {json}.listenerPath too")));
    }
    let asks = |rule: &Rule| rule.action == Action::Notify;
    if program.default != Action::Notify && !program.rules.iter().any(asks) {
        if given.is_some() {
            warn.push(format!("{json}.listenerPath: means nothing without SCMP_ACT_NOTIFY"));
        }
        return Ok(None);
    }
    let path = path.ok_or_else(|| {
        InputError::new(format!("{json}.listenerPath"), "is missing, and SCMP_ACT_NOTIFY needs an agent to ask")
            .hint("give the path of the unix socket on which the agent listens")
    })?;
    no_nul(&format!("{json}.listenerPath"), &path.to_string_lossy())?;
    let mut about = program.rules.iter().filter(|rule| rule.names.iter().any(|name| name == "sendmsg"));
    let asks_about_sendmsg = match program.default {
        Action::Notify => !about.any(|rule| !asks(rule) && rule.any_of.is_empty()),
        _ => about.any(asks),
    };
    Ok(Some(Listener { path: around.bundle.join(path), metadata, asks_about_sendmsg }))
}

/// `field` is the name of the errno in the object at `at`.
fn action(action: LinuxSeccompAction, errno: Option<u32>, at: &str, field: &str) -> Result<Action> {
    let errno_field = format!("{at}.{field}");
    // libseccomp takes no errno of 4095 (MAX_ERRNO) or more; a tracer gets the 16 bits of SECCOMP_RET_DATA.
    let data = |max: u16| match errno {
        None => Ok(libc::EPERM as u16),
        Some(errno) => u16::try_from(errno)
            .ok()
            .filter(|errno| *errno <= max)
            .ok_or_else(|| InputError::new(errno_field.clone(), format!("{errno} is more than {max}"))),
    };
    let decided = match action {
        LinuxSeccompAction::ScmpActErrno => return data(4094).map(Action::Errno),
        LinuxSeccompAction::ScmpActTrace => return data(u16::MAX).map(Action::Trace),
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Action::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => Action::KillProcess,
        LinuxSeccompAction::ScmpActTrap => Action::Trap,
        LinuxSeccompAction::ScmpActLog => Action::Log,
        LinuxSeccompAction::ScmpActAllow => Action::Allow,
        LinuxSeccompAction::ScmpActNotify => Action::Notify,
    };
    match errno {
        None => Ok(decided),
        Some(_) => Err(InputError::new(errno_field, format!("{action} returns no errno"))
            .hint("only SCMP_ACT_ERRNO and SCMP_ACT_TRACE take one")),
    }
}

fn architectures(listed: impl Iterator<Item = Arch>, json: &str) -> Result<Vec<Arch>> {
    let native = names::arch(Arch::ScmpArchNative);
    let mut archs = vec![native.arch];
    for (i, arch) in listed.enumerate() {
        let row = names::arch(arch);
        let refuse = |what| Err(InputError::new(format!("{json}.architectures[{i}]"), format!("{arch} {what}")));
        if !row.is_known() {
            return refuse("is not known to the libseccomp in this program");
        }
        if !row.fits(native) {
            return refuse("has another byte order than this machine");
        }
        if !archs.contains(&row.arch) {
            archs.push(row.arch);
        }
    }
    Ok(archs)
}

/// Without a list the filter does not ask for the mitigation of speculative store bypass, as in runc since 1.2: it
/// costs much, and the kernel itself stopped to tie it to seccomp (Linux 5.16). An empty list asks for it.
fn flags(listed: Option<&[Flag]>, json: &str) -> Result<u32> {
    let Some(listed) = listed else {
        return Ok(FLAG_SPEC_ALLOW);
    };
    let mut bits = 0;
    for (i, flag) in listed.iter().enumerate() {
        let Some(row) = names::FLAGS.iter().find(|row| row.flag == *flag) else {
            return Err(InputError::new(format!("{json}.flags[{i}]"), format!("{flag} is not supported")));
        };
        if row.passed {
            bits |= row.bit;
        }
    }
    Ok(bits)
}

fn rule(call: &LinuxSyscall, at: &str, warn: &mut Vec<String>) -> Result<Rule> {
    if call.names().is_empty() {
        return Err(InputError::new(format!("{at}.names"), "is empty").hint("name at least one system call"));
    }
    if let Some(i) = call.names().iter().position(|name| name.is_empty() || name.contains('\0')) {
        return Err(InputError::new(format!("{at}.names[{i}]"), "is not the name of a system call"));
    }
    let conditions = call.args().iter().flatten().enumerate();
    let conditions: Vec<Condition> =
        conditions.map(|(i, arg)| condition(arg, &format!("{at}.args[{i}]"), warn)).collect::<Result<_>>()?;
    let repeats = (0..6).any(|arg| conditions.iter().filter(|condition| condition.arg == arg).count() > 1);
    let any_of = match conditions {
        none if none.is_empty() => Vec::new(),
        // libseccomp takes one condition for each argument in a rule. Older profiles list alternatives by comparing
        // an argument more than once, and runc matches every condition on its own then: so do we.
        alternatives if repeats => alternatives.into_iter().map(|condition| vec![condition]).collect(),
        all => vec![all],
    };
    let action = action(call.action(), call.errno_ret(), at, "errnoRet")?;
    Ok(Rule { names: call.names().clone(), action, any_of })
}

fn condition(arg: &LinuxSeccompArg, at: &str, warn: &mut Vec<String>) -> Result<Condition> {
    let index = u32::try_from(arg.index()).ok().filter(|index| *index < 6).ok_or_else(|| {
        InputError::new(format!("{at}.index"), format!("{} is not the index of an argument", arg.index()))
            .hint("a system call has six arguments, 0 to 5")
    })?;
    let (value, second) = (arg.value(), arg.value_two().unwrap_or(0));
    let is = match arg.op() {
        Operator::ScmpCmpMaskedEq => Comparison::Masked { mask: value, value: second },
        Operator::ScmpCmpNe => Comparison::NotEqual(value),
        Operator::ScmpCmpLt => Comparison::Less(value),
        Operator::ScmpCmpLe => Comparison::LessOrEqual(value),
        Operator::ScmpCmpEq => Comparison::Equal(value),
        Operator::ScmpCmpGe => Comparison::GreaterOrEqual(value),
        Operator::ScmpCmpGt => Comparison::Greater(value),
    };
    if second != 0 && !matches!(is, Comparison::Masked { .. }) {
        warn.push(format!("{at}.valueTwo: means nothing to {}", arg.op()));
    }
    Ok(Condition { arg: index, is })
}

/// Whether execve can succeed at all under `program`.
fn may_execute(program: &Program) -> bool {
    let mut named = program.rules.iter().filter(|rule| rule.names.iter().any(|name| name == "execve"));
    match program.default.permits() {
        true => !named.any(|rule| !rule.action.permits() && rule.any_of.is_empty()),
        false => named.any(|rule| rule.action.permits()),
    }
}

#[cfg(test)]
#[path = "seccomp_tests.rs"]
mod tests;
