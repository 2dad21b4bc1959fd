//! Enters the namespaces: those that clone3 could not make, those to join, and what is set inside them.

use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::setsid;

use super::Init;
use super::identity::forget_affinity;
use crate::cgroup::join_self;
use crate::plan::namespaces::Kind;
use crate::sync;
use crate::sys::net::loopback_up;
use crate::sys::process::{
    self, close_together, enter_namespace, join_session_keyring, set_gid, set_groups, set_key_permissions, set_uid,
};
use crate::sys::{Named, SysError};

pub fn enter(init: &mut Init<'_>) -> Result<()> {
    let tasks = std::mem::take(&mut init.inherited.cgroup_tasks);
    join_self(&tasks)?;
    close_together(tasks);
    forget_affinity();
    init.wait_for_go()?;
    join(init)?;
    if !init.plan.net_devices.is_empty() {
        init.inherited.wire.ask(sync::Kind::NetDevices, &[], sync::Kind::Done)?;
    }
    // After the joins: a cgroup namespace is rooted where its maker is (cgroup_namespaces(7)).
    if init.plan.namespaces.is_new(Kind::Cgroup) && !init.plan.clones_cgroup_namespace() {
        unshare(CloneFlags::CLONE_NEWCGROUP).named(|| "unshare(CLONE_NEWCGROUP)".to_owned())?;
    }
    enter_time_namespace(init)?;
    if init.plan.namespaces.has(Kind::User) {
        become_root(init.plan.process.as_ref().is_some_and(|process| process.keep_groups))?;
    }
    setsid().named(|| "setsid()".to_owned())?;
    if init.plan.new_keyring {
        join_keyring(&init.plan.id)?;
    }
    if init.plan.namespaces.is_new(Kind::Network) {
        let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
            .named(|| "socket(AF_INET)".to_owned())?;
        loopback_up(any.as_fd())?;
    }
    Ok(())
}

/// Joins the namespaces that were opened by path: first with the privileges we came with, then, for those that need it,
/// with those over the user namespace joined.
fn join(init: &mut Init<'_>) -> Result<()> {
    let mut refused = Vec::new();
    let (user, others): (Vec<_>, Vec<_>) =
        std::mem::take(&mut init.inherited.join).into_iter().partition(|(kind, _)| *kind == Kind::User);
    for (kind, fd) in others {
        match enter_namespace(fd.as_fd(), kind.flag() as i32) {
            Err(SysError { errno: Errno::EPERM, .. }) if !user.is_empty() => refused.push((kind, fd)),
            result => result.with_context(|| at(init, kind))?,
        }
    }
    for (kind, fd) in user.into_iter().chain(refused) {
        enter_namespace(fd.as_fd(), kind.flag() as i32).with_context(|| at(init, kind))?;
    }
    check_joined_maps(init)?;
    // What clone3 was not asked for, so that the user namespace just joined owns it.
    let late = init.plan.namespaces.made_after_join();
    if late != 0 {
        let flags = CloneFlags::from_bits_retain(late as i32);
        unshare(flags).named(|| format!("unshare({flags:?})"))?;
    }
    Ok(())
}

/// Mappings given beside a user namespace to join must be those that it has: files would get other owners than meant.
fn check_joined_maps(init: &Init<'_>) -> Result<()> {
    let Some(maps) = init.plan.id_maps.as_ref().filter(|maps| maps.of_joined) else { return Ok(()) };
    for (file, name, expected) in [("uid_map", "uidMappings", &maps.uids), ("gid_map", "gidMappings", &maps.gids)] {
        let path = format!("/proc/self/{file}");
        let text = std::fs::read_to_string(&path).named(|| format!("read({path:?})"))?;
        let numbers = |line: &str| line.split_whitespace().map(|word| word.parse().ok()).collect::<Option<Vec<u32>>>();
        let actual: Option<Vec<Vec<u32>>> = text.lines().map(numbers).collect();
        let mut actual = actual.with_context(|| format!("{path}: is no id map"))?;
        let mut expected: Vec<Vec<u32>> =
            expected.iter().map(|range| vec![range.container, range.host, range.size]).collect();
        actual.sort_unstable();
        expected.sort_unstable();
        if actual != expected {
            bail!(
                "linux.{name}: is not the map of the user namespace that is joined (hint: leave it out, or give the same)"
            );
        }
    }
    Ok(())
}

fn at(init: &Init<'_>, kind: Kind) -> String {
    match init.plan.namespaces.joined(kind) {
        Some(namespace) => {
            format!("{}.path ({})", namespace.at, namespace.path.as_deref().unwrap_or("".as_ref()).display())
        }
        None => format!("linux.namespaces ({kind:?})"),
    }
}

/// Offsets can be written only while a time namespace has no process, so it is made by unshare(2), filled by the parent
/// and entered afterwards (time_namespaces(7)).
fn enter_time_namespace(init: &mut Init<'_>) -> Result<()> {
    if init.plan.namespaces.time_offsets.is_empty() {
        return Ok(());
    }
    unshare(CloneFlags::from_bits_retain(libc::CLONE_NEWTIME)).named(|| "unshare(CLONE_NEWTIME)".to_owned())?;
    let answer = init.inherited.wire.ask(sync::Kind::TimeOffsets, &[], sync::Kind::Tree)?;
    let fd = answer.fd.context("internal error: no time namespace came back")?;
    Ok(enter_namespace(fd.as_fd(), libc::CLONE_NEWTIME)?)
}

/// Root of a user namespace, so that what is made from here on belongs to it.
/// With its caller's groups if the program is to keep them.
pub fn become_root(keep_groups: bool) -> Result<()> {
    // setgroups(2) is refused where `setgroups` says deny; then no group was gained either.
    match if keep_groups { Ok(()) } else { set_groups(&[]) } {
        Err(SysError { errno: Errno::EPERM, .. }) => {}
        result => result?,
    }
    set_gid(0).context("linux.gidMappings: the container's gid 0 must be mapped")?;
    set_uid(0).context("linux.uidMappings: the container's uid 0 must be mapped")?;
    // Changing ids has made us undumpable or not as fs.suid_dumpable says.
    Ok(process::set_undumpable()?)
}

/// A session keyring of the container's own, or it would share the caller's keys. It is named so that later processes of
/// the container can join it, and searchable by the container's users (keyrings(7)).
pub fn join_keyring(id: &str) -> Result<()> {
    const POSSESSOR_ALL: u32 = 0x3f00_0000;
    const USER_VIEW: u32 = 0x0001_0000;
    const USER_READ: u32 = 0x0002_0000;
    const USER_SEARCH: u32 = 0x0008_0000;
    const USER_LINK: u32 = 0x0010_0000;
    let name = std::ffi::CString::new(format!("_ses.{id}"))?;
    let key = match join_session_keyring(&name) {
        // A kernel without keyrings, or a filter around us that hides them: there is nothing to share then.
        Err(SysError { errno: Errno::ENOSYS, .. }) => return Ok(()),
        key => key.context("session keyring (--no-new-keyring does without)")?,
    };
    set_key_permissions(key, POSSESSOR_ALL | USER_VIEW | USER_READ | USER_SEARCH | USER_LINK)?;
    Ok(())
}

/// The host and domain name.
pub fn name(init: &mut Init<'_>) -> Result<()> {
    if let Some(name) = &init.plan.hostname {
        nix::unistd::sethostname(name).named(|| format!("hostname: sethostname({name:?})"))?;
    }
    if let Some(name) = &init.plan.domainname {
        crate::sys::net::set_domain_name(name).context("domainname")?;
    }
    Ok(())
}

/// `linux.sysctl`, through the private procfs.
pub fn sysctl(init: &mut Init<'_>) -> Result<()> {
    for sysctl in &init.plan.sysctl {
        let path = format!("sys/{}", sysctl.path);
        init.procfs()?.write(&path, &sysctl.value).with_context(|| sysctl.at.clone())?;
    }
    Ok(())
}
