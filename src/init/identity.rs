//! The process becomes what the program will be: scheduling, limits, labels, working directory, user, capabilities,
//! seccomp, in an order that each step still has the privileges it needs.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, umask};
use nix::unistd::{Gid, Uid, chdir, fchown, isatty};

use super::wire::Wire;
use super::{Init, console, exec, listener};
use crate::plan::mask::Mask;
use crate::plan::process::{Capabilities, Process};
use crate::plan::seccomp::{Filter, Loading};
use crate::safe::procfs::Procfs;
use crate::safe::rootfs::{file_type, stat};
use crate::sync;
use crate::sys::again::open;
use crate::sys::process::{self, close_all_but};
use crate::sys::sched::{self, SchedAttr};
use crate::sys::{Named, SysError, current_dir};
use crate::trace;
use crate::weak::{Guard, lacks};

/// The highest capability that a kernel may know.
const CAPABILITIES: u32 = 63;

/// A process of the runtime that is about to become a program of the container: init, or one that has joined later.
pub struct Candidate<'a> {
    pub process: &'a Process,
    pub wire: &'a mut Wire,
    /// Where the container has a filter.
    pub seccomp: Option<Loading>,
    /// The pty's slave.
    pub terminal: Option<OwnedFd>,
    /// The private procfs, if there is one already.
    pub procfs: Option<Procfs>,
    /// Descriptors that are still needed, besides the program's (0 to 2 and those preserved) and the wire's.
    pub keep: Vec<RawFd>,
    pub preserve_fds: u32,
}

/// The phase of that name.
pub fn assume(init: &mut Init<'_>) -> Result<()> {
    let Some(process) = &init.plan.process else {
        // The parent sends the filter all the same: unread, it would be taken for the answer that `ready` waits for.
        if init.plan.seccomp.is_some() {
            init.inherited.wire.wait_for_filter()?;
        }
        return Ok(());
    };
    let candidate = Candidate {
        process,
        seccomp: init.plan.seccomp.as_ref().map(Filter::loading),
        wire: &mut init.inherited.wire,
        terminal: init.terminal.take(),
        procfs: init.procfs.take(),
        keep: [&init.inherited.exec_fifo, &init.inherited.exec_log]
            .into_iter()
            .chain(&init.inherited.hook_output.stdout)
            .chain(&init.inherited.hook_output.stderr)
            .map(AsRawFd::as_raw_fd)
            .collect(),
        preserve_fds: init.inherited.preserve_fds,
    };
    init.program = Some(candidate.assume()?);
    Ok(())
}

impl Candidate<'_> {
    /// Becomes what the program will be, and finds the program.
    pub fn assume(mut self) -> Result<exec::Program> {
        let process = self.process;
        match self.terminal.take() {
            Some(slave) => console::take_over(&slave)?,
            None => give_stdio(process)?,
        }
        schedule(process)?;
        limit(self.wire, process)?;
        self.label()?;
        self.procfs = None;
        let home = home(process.uid)?;
        let entered = enter_directory(&process.cwd);
        umask(Mode::from_bits_truncate(process.umask));
        if self.seccomp.is_some() {
            self.wire.wait_for_filter()?;
        }
        // What is left of our own closes by itself at execve(2).
        self.keep.push(self.wire.as_fd().as_raw_fd());
        self.keep.extend(trace::fd());
        close_all_but(3 + self.preserve_fds as RawFd, self.keep)?;
        if process.no_new_privileges {
            process::set_no_new_privileges()?;
        } else {
            // Loading a filter takes CAP_SYS_ADMIN, about to be dropped, or no_new_privs. Whatever we do from here on the
            // filter has to allow, so as much as possible has been done before.
            load_filter(self.seccomp, self.wire)?;
        }
        become_user(process)?;
        // Refused for root, but perhaps not for the user: a directory on NFS, or one that is only the user's.
        match entered {
            Err(error) if is_refusal(&error) => enter_directory(&process.cwd)?,
            entered => entered?,
        }
        let program = exec::Program::find(process, home)?;
        if self.seccomp.is_some_and(|loading| loading.listener) {
            // While there is a parent to take the listener, and with no_new_privs not before this.
            load_filter(self.seccomp, self.wire)?;
        }
        Ok(program)
    }

    /// AppArmor's profile and SELinux' label of the next execve, through the private procfs (CVE-2019-16884).
    fn label(&mut self) -> Result<()> {
        if let Some(profile) = &self.process.apparmor_profile {
            let value = format!("exec {profile}");
            let procfs = self.procfs()?;
            // The file of its own since Linux 5.8, the one shared by all LSMs before.
            procfs
                .write_self("attr/apparmor/exec", &value)
                .or_else(|error| if is_missing(&error) { procfs.write_self("attr/exec", &value) } else { Err(error) })
                .with_context(|| format!("process.apparmorProfile ({profile})"))?;
        }
        if let Some(label) = &self.process.selinux_label {
            self.procfs()?.write_self("attr/exec", label).with_context(|| format!("process.selinuxLabel ({label})"))?;
        }
        Ok(())
    }

    fn procfs(&mut self) -> Result<&Procfs> {
        match &mut self.procfs {
            Some(procfs) => Ok(procfs),
            slot => Ok(slot.insert(Procfs::new()?)),
        }
    }
}

/// Loads the seccomp filter, if there is one that is not loaded yet.
pub fn load_filter(loading: Option<Loading>, wire: &mut Wire) -> Result<()> {
    match (loading, wire.take_filter()) {
        (Some(Loading { flags, listener: true }), Some(bpf)) => listener::load(&bpf, flags, wire),
        (Some(Loading { flags, listener: false }), Some(bpf)) => {
            crate::sys::seccomp::load(&bpf, flags).map(drop).context("linux.seccomp")
        }
        _ => Ok(()),
    }
}

/// Pipes, sockets and terminals that we were given as stdin, stdout and stderr come to belong to the program's user, or
/// it could not open `/dev/stdout` anew. Nothing else does: devices and files are the host's (crun 1.8.1 gave /dev/null
/// away).
fn give_stdio(process: &Process) -> Result<()> {
    let stdio = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for fd in [stdio.0.as_fd(), stdio.1.as_fd(), stdio.2.as_fd()] {
        let Ok(stat) = stat(fd) else { continue }; // closed
        if stat.st_uid == process.uid {
            continue;
        }
        let kind = file_type(&stat);
        if kind != SFlag::S_IFIFO && kind != SFlag::S_IFSOCK && !(kind == SFlag::S_IFCHR && isatty(fd) == Ok(true)) {
            continue;
        }
        match fchown(fd, Some(Uid::from_raw(process.uid)), Some(Gid::from_raw(stat.st_gid))) {
            // An unmapped id, a filesystem without owners, or not ours to give: the program can still use the descriptor.
            Ok(()) | Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS) => {}
            Err(errno) => return Err(SysError::new("fchown(stdio)", errno).into()),
        }
    }
    Ok(())
}

/// Lets this process run wherever its cpuset allows. Since Linux 6.2 the kernel keeps what sched_setaffinity(2) was asked
/// for through every change of the cpuset, so a container would be held to the processors of whoever called the runtime.
pub fn forget_affinity() {
    // Bits beyond what the kernel counts are ignored; no kernel counts to more than these 8192.
    const EVERYWHERE: [u64; 128] = [u64::MAX; 128];
    // Refused only where somebody else confines us; then the processors are theirs to say.
    let _ = sched::set_affinity(&EVERYWHERE);
}

fn schedule(process: &Process) -> Result<()> {
    if let Some(scheduler) = process.scheduler {
        let attr = SchedAttr {
            policy: scheduler.policy,
            flags: scheduler.flags,
            nice: scheduler.nice,
            priority: scheduler.priority,
            runtime: scheduler.runtime,
            deadline: scheduler.deadline,
            period: scheduler.period,
            ..SchedAttr::default()
        };
        sched::set_scheduler(attr).context("process.scheduler")?;
    }
    if let Some(value) = process.io_priority {
        sched::set_io_priority(value).context("process.ioPriority")?;
    }
    if let Some(persona) = process.personality {
        sched::set_personality(persona).context("linux.personality")?;
    }
    if let Some(policy) = &process.memory_policy {
        let nodes = policy.nodes.as_ref().map_or(&[][..], Mask::words);
        sched::set_memory_policy(policy.mode, nodes)
            .context("linux.memoryPolicy (hint: the nodes must be the host's and in the container's cpuset)")?;
    }
    Ok(())
}

/// Sets the limits, all but RLIMIT_FSIZE: until the program starts, we still write to the exec log.
fn limit(wire: &mut Wire, process: &Process) -> Result<()> {
    for limit in process.rlimits.iter().filter(|limit| limit.resource != libc::RLIMIT_FSIZE) {
        match process::set_rlimit(0, limit.resource, limit.soft, limit.hard) {
            // Root of a user namespace may not raise a hard limit; the parent may have the privilege.
            Err(SysError { errno: Errno::EPERM, .. }) => {
                wire.ask(sync::Kind::Rlimit, limit.at.as_bytes(), sync::Kind::Done)?;
            }
            result => result.with_context(|| limit.at.clone())?,
        }
    }
    Ok(())
}

fn errno_of(error: &anyhow::Error) -> Option<Errno> {
    error.downcast_ref::<SysError>().map(|error| error.errno)
}

fn is_missing(error: &anyhow::Error) -> bool {
    errno_of(error) == Some(Errno::ENOENT)
}

fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(errno_of(error), Some(Errno::EACCES | Errno::EPERM))
}

/// Enters the working directory and makes sure that it is inside the root: a path such as /proc/self/fd/7 can lead to a
/// directory of the host that somebody left open (CVE-2024-21626).
fn enter_directory(cwd: &Path) -> Result<()> {
    chdir(cwd).named(|| format!("chdir({cwd:?})")).context("process.cwd")?;
    if cwd == Path::new("/") {
        return Ok(()); // nowhere else
    }
    let path = current_dir().context("process.cwd")?;
    if !path.starts_with(b"/") && !lacks(Guard::CwdInside) {
        // Back inside before anything else happens.
        chdir("/").named(|| "chdir(\"/\")".to_owned())?;
        bail!("process.cwd: {} is outside of the container's root file system", cwd.display());
    }
    Ok(())
}

fn become_user(process: &Process) -> Result<()> {
    let sets = &process.capabilities;
    for capability in (0..=CAPABILITIES).filter(|capability| sets.bounding & 1 << capability == 0) {
        match process::drop_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel knows no higher ones.
            Err(SysError { errno: Errno::EINVAL, .. }) => break,
            // Without CAP_SETPCAP nothing can be dropped, but there may be nothing to drop.
            Err(SysError { errno: Errno::EPERM, .. }) if !process::in_bounding_set(capability)? => {}
            Err(error) => return Err(error.into()),
        }
    }
    let uid = if lacks(Guard::NumericUsers) { named_by_image(process.uid) } else { process.uid };
    // Who becomes root loses none.
    if uid != 0 {
        process::set_keep_capabilities(true)?;
    }
    let groups = &process.additional_gids;
    match if process.keep_groups { Ok(()) } else { process::set_groups(groups) } {
        // Denied in this user namespace; without groups to add there is nothing lost.
        Err(SysError { errno: Errno::EPERM, .. }) if groups.is_empty() => {}
        result => result.context("process.user.additionalGids")?,
    }
    process::set_gid(process.gid).context("process.user.gid")?;
    process::set_uid(uid).context("process.user.uid")?;
    if uid != 0 {
        process::set_keep_capabilities(false)?;
    }
    set_capabilities(sets)?;
    // Changing ids has made us dumpable or not as fs.suid_dumpable says.
    Ok(process::set_undumpable()?)
}

/// The exact sets asked for (CVE-2025-27612); one capset, then ambient.
fn set_capabilities(sets: &Capabilities) -> Result<()> {
    process::set_capabilities(sets.effective, sets.permitted, sets.inheritable)
        .context("process.capabilities (hint: a capability that the runtime itself lacks cannot be given)")?;
    // An ambient capability goes by itself where the same bit leaves either of these (capabilities(7)).
    if sets.permitted & sets.inheritable != 0 {
        process::clear_ambient()?;
    }
    for capability in (0..=CAPABILITIES).filter(|capability| sets.ambient & 1 << capability != 0) {
        process::raise_ambient(capability)
            .context("process.capabilities.ambient (hint: ambient needs the same bit in permitted and inheritable)")?;
    }
    Ok(())
}

/// The home directory of `uid` in the container's own /etc/passwd; `/` when it is not there.
fn home(uid: u32) -> Result<String> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let Ok(passwd) = open("/etc/passwd", flags, Mode::empty()) else { return Ok("/".to_owned()) };
    if !is_regular(passwd.as_fd())? {
        return Ok("/".to_owned());
    }
    Ok(home_in(BufReader::new(File::from(passwd)), uid).unwrap_or_else(|| "/".to_owned()))
}

fn is_regular(fd: BorrowedFd<'_>) -> Result<bool> {
    Ok(file_type(&stat(fd)?) == SFlag::S_IFREG)
}

/// The sixth field of the first line whose third field is `uid` (passwd(5)). Lines are bounded: the file is the image's.
fn home_in(passwd: impl BufRead, uid: u32) -> Option<String> {
    const LONGEST: u64 = 64 * 1024;
    let mut passwd = passwd;
    loop {
        let mut line = Vec::new();
        if passwd.by_ref().take(LONGEST).read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&line);
        let fields: Vec<&str> = line.trim_end().split(':').collect();
        if fields.len() >= 6 && fields[2].parse() == Ok(uid) && !fields[5].is_empty() {
            return Some(fields[5].to_owned());
        }
    }
}

/// The uid of the user whose name in the image looks like this number.
fn named_by_image(uid: u32) -> u32 {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let line =
        passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == uid.to_string());
    line.and_then(|fields| fields.get(2)?.parse().ok()).unwrap_or(uid)
}

#[cfg(test)]
mod tests {
    use super::home_in;

    #[test]
    fn home_is_taken_by_number_never_by_name() {
        let passwd = b"1000:x:0:0::/wrong:/bin/sh\nroot:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n";
        assert_eq!(home_in(&passwd[..], 1000).as_deref(), Some("/home/bob"));
        assert_eq!(home_in(&passwd[..], 0).as_deref(), Some("/wrong"));
        assert_eq!(home_in(&passwd[..], 7), None);
        assert_eq!(home_in(&b"garbage\n:::\n"[..], 0), None);
    }
}
