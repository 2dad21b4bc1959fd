//! `/dev`: nodes and links. Not for which devices may be used: that is the cgroup's.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Mount, Spec};
use serde::Serialize;

use super::namespaces::{Kind, Namespaces};
use super::{Result, no_nul, normalise};
use crate::error::InputError;
use crate::host::Facts;

#[derive(Debug, Clone, Serialize)]
pub struct Dev {
    /// False when `/dev` is a bind mount: what is there is left alone (as runc). False too without a mount namespace and a
    /// filesystem of its own there: the nodes would outlive the container.
    pub populate: bool,
    /// The defaults of the specification, then `linux.devices`; one entry a path, the document's wins.
    pub nodes: Vec<Node>,
    /// (path, target) below the rootfs: `/dev/fd` → `/proc/self/fd`, …, `/dev/ptmx` → `pts/ptmx`.
    pub links: Vec<(PathBuf, PathBuf)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// The JSON path, or `default device`.
    pub at: String,
    pub path: PathBuf,
    pub kind: NodeKind,
    pub major: u32,
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bind the host's node instead of mknod(2), which a user namespace forbids.
    pub bind: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    Char,
    Block,
    Fifo,
}

/// The default devices of config-linux.md: path, major, minor. `/dev/console` comes with the terminal.
pub const DEFAULTS: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links that programs expect (runtime-linux.md, Dev symbolic links), `/dev/core` as runc, `/dev/ptmx` for devpts.
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// The widths of the kernel's device numbers: 12 and 20 bits (linux/kdev_t.h).
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;

/// Set-id, sticky and permission bits of a mode.
const MODE_BITS: u32 = 0o7777;
/// Its file type bits.
const TYPE_BITS: u32 = 0o170000;

/// The nodes and links of `/dev`, and the nodes that the document wants elsewhere.
///
/// # Errors
/// Bad types, numbers, modes and paths; one path for two devices; devices without a mount namespace that are not in a
/// `/dev` of the container's own.
pub fn compile(spec: &Spec, namespaces: &Namespaces, facts: &Facts) -> Result<Dev> {
    let given = spec.linux().as_ref().and_then(|linux| linux.devices().as_deref()).unwrap_or_default();
    let on_dev = || spec.mounts().iter().flatten().filter(|mount| is_on_dev(mount));
    let own = namespaces.has(Kind::Mount) || on_dev().any(|mount| !is_bind(mount) && !has_option(mount, &["remount"]));
    let bind = namespaces.has(Kind::User) || facts.in_user_namespace;
    let mut nodes: Vec<Node> = DEFAULTS.iter().map(|row| default(row, bind)).collect();
    for (i, device) in given.iter().enumerate() {
        let at = format!("linux.devices[{i}]");
        let node = node(at.clone(), device, bind)?;
        if !own || (!namespaces.has(Kind::Mount) && !node.path.starts_with("/dev")) {
            return Err(InputError::new(at, "needs a mount namespace, or in /dev a mount there")
                .hint("add {\"type\": \"mount\"} to linux.namespaces"));
        }
        // A link to the container's own devpts: another one's ptmx would open terminals on the host.
        if node.path == Path::new("/dev/ptmx") {
            continue;
        }
        let Some(old) = nodes.iter_mut().find(|old| old.path == node.path) else {
            nodes.push(node);
            continue;
        };
        let same = Node { at: old.at.clone(), ..node.clone() } == *old;
        if old.at.starts_with("linux.") && !same {
            let what = format!("{:?} is another device in {}", node.path, old.at);
            return Err(InputError::new(format!("{}.path", node.at), what));
        }
        *old = node;
    }
    let links = LINKS.iter().map(|(path, target)| (PathBuf::from(path), PathBuf::from(target)));
    let links = links.filter(|(path, _)| !nodes.iter().any(|node| node.path == *path)).collect();
    Ok(Dev { populate: own && !on_dev().any(is_bind), nodes, links })
}

fn default((path, major, minor): &(&str, u32, u32), bind: bool) -> Node {
    Node {
        at: "default device".into(),
        path: path.into(),
        kind: NodeKind::Char,
        major: *major,
        minor: *minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
        bind,
    }
}

fn is_on_dev(mount: &Mount) -> bool {
    normalise(mount.destination()).as_deref() == Some(Path::new("/dev"))
}

fn is_bind(mount: &Mount) -> bool {
    mount.typ().as_deref() == Some("bind") || has_option(mount, &["bind", "rbind"])
}

fn has_option(mount: &Mount, names: &[&str]) -> bool {
    mount.options().iter().flatten().any(|option| names.contains(&option.as_str()))
}

fn node(at: String, device: &LinuxDevice, bind: bool) -> Result<Node> {
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => NodeKind::Char,
        LinuxDeviceType::B => NodeKind::Block,
        LinuxDeviceType::P => NodeKind::Fifo,
        LinuxDeviceType::A => {
            return Err(InputError::new(format!("{at}.type"), "invalid device type \"a\"").hint("one of c, u, b and p"));
        }
    };
    let given = device.path();
    no_nul(&format!("{at}.path"), &given.to_string_lossy())?;
    let path = normalise(given)
        .filter(|path| path.parent().is_some())
        .ok_or_else(|| InputError::new(format!("{at}.path"), format!("{given:?} is no absolute path of a file")))?;
    let mut numbers = (0, 0);
    if kind != NodeKind::Fifo {
        if (device.major(), device.minor()) == (0, 0) {
            return Err(InputError::new(format!("{at}.major"), "major and minor are missing or both 0")
                .hint("the kernel has no device 0:0"));
        }
        numbers = (number(&at, "major", device.major(), MAJOR_MAX)?, number(&at, "minor", device.minor(), MINOR_MAX)?);
    }
    let mode = device.file_mode().unwrap_or(0o666);
    if mode & !(MODE_BITS | TYPE_BITS) != 0 {
        return Err(InputError::new(format!("{at}.fileMode"), format!("{mode} (0{mode:o}) is no file mode")));
    }
    for (field, id) in [("uid", device.uid()), ("gid", device.gid())] {
        if id == Some(u32::MAX) {
            return Err(InputError::new(format!("{at}.{field}"), format!("{} is no {field}", u32::MAX)));
        }
    }
    Ok(Node {
        path,
        kind,
        major: numbers.0,
        minor: numbers.1,
        mode: mode & MODE_BITS,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        // Anyone may make a fifo (mknod(2)).
        bind: bind && kind != NodeKind::Fifo,
        at,
    })
}

fn number(at: &str, field: &str, given: i64, max: u32) -> Result<u32> {
    u32::try_from(given)
        .ok()
        .filter(|number| *number <= max)
        .ok_or_else(|| InputError::new(format!("{at}.{field}"), format!("{given} is not from 0 to {max}")))
}

#[cfg(test)]
mod tests;
