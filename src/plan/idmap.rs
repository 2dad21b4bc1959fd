//! The id maps of a new user namespace, checked against user_namespaces(7), and who writes them. Not for joined user
//! namespaces: their maps are what they are.

use oci_spec::runtime::{LinuxIdMapping, Spec};
use serde::Serialize;

use super::Result;
use super::namespaces::{Kind, Namespaces};
use crate::error::InputError;
use crate::host::Facts;

/// The most lines a map may have (user_namespaces(7), Linux 4.15).
const LINES_MAX: usize = 340;

/// One line of `/proc/PID/uid_map` (user_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range {
    pub container: u32,
    pub host: u32,
    pub size: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMaps {
    pub uids: Vec<Range>,
    pub gids: Vec<Range>,
    /// The user namespace is joined: these are not written, but must be what it has.
    pub of_joined: bool,
    /// Write by `newuidmap`/`newgidmap`: the caller has no CAP_SETUID over the host and maps more than itself.
    pub by_helper: bool,
    /// Write `deny` to `setgroups` first: the caller may not map gids otherwise (user_namespaces(7)).
    pub deny_setgroups: bool,
}

impl IdMaps {
    /// The host's uid for a uid of the container; `None` when it is not mapped.
    pub fn uid_to_host(&self, id: u32) -> Option<u32> {
        to_host(&self.uids, id)
    }

    /// The host's gid for a gid of the container; `None` when it is not mapped.
    pub fn gid_to_host(&self, id: u32) -> Option<u32> {
        to_host(&self.gids, id)
    }
}

fn to_host(ranges: &[Range], id: u32) -> Option<u32> {
    ranges
        .iter()
        .find(|range| id >= range.container && id - range.container < range.size)
        .map(|range| range.host + (id - range.container))
}

/// `linux.uidMappings` and `linux.gidMappings`; `None` without a user namespace, or when one is joined and nothing is said
/// of its maps. Mappings beside a user namespace to join are accepted (containerd and CRI-O send both) and compared.
///
/// # Errors
/// Missing, overlapping, overflowing or empty ranges; mappings without a user namespace; ids of the process that are not
/// mapped; no user namespace although the caller is not root.
pub fn compile(spec: &Spec, namespaces: &Namespaces, facts: &Facts) -> Result<Option<IdMaps>> {
    let linux = spec.linux().as_ref();
    let uids = linux.and_then(|linux| linux.uid_mappings().as_deref()).unwrap_or_default();
    let gids = linux.and_then(|linux| linux.gid_mappings().as_deref()).unwrap_or_default();
    if !namespaces.has(Kind::User) {
        for (name, given) in [("uidMappings", uids), ("gidMappings", gids)] {
            if !given.is_empty() {
                return Err(InputError::new(
                    format!("linux.{name}"),
                    "user namespace mappings specified, but no user namespace",
                )
                .hint("add {\"type\": \"user\"} to linux.namespaces"));
            }
        }
        if facts.euid != 0 {
            return Err(InputError::new("linux.namespaces", "rootless container requires user namespaces")
                .hint("add {\"type\": \"user\"} with uidMappings and gidMappings, or run as root"));
        }
        return Ok(None);
    }
    let uids = ranges("linux.uidMappings", "uid", &of_document(uids))?;
    let gids = ranges("linux.gidMappings", "gid", &of_document(gids))?;
    if !namespaces.is_new(Kind::User) {
        let given = !uids.is_empty() || !gids.is_empty();
        return Ok(given.then_some(IdMaps { uids, gids, of_joined: true, by_helper: false, deny_setgroups: false }));
    }
    for (name, id, given) in [("uidMappings", "uid", &uids), ("gidMappings", "gid", &gids)] {
        let at = format!("linux.{name}");
        if given.is_empty() {
            return Err(InputError::new(at, format!("user namespaces enabled, but no {id} mappings found")));
        }
        if to_host(given, 0).is_none() {
            return Err(InputError::new(at, format!("the container's {id} 0 is not mapped"))
                .hint("the runtime sets the container up as its root"));
        }
    }
    let oneself = only(&uids, facts.euid) && only(&gids, facts.egid);
    let by_helper = !facts.can_map_ids && !oneself;
    let maps = IdMaps { uids, gids, of_joined: false, by_helper, deny_setgroups: !facts.can_map_ids && !by_helper };
    check_user(spec, &maps)?;
    Ok(Some(maps))
}

/// The map is the one line that a process without privileges may write: itself (user_namespaces(7)).
fn only(ranges: &[Range], own: u32) -> bool {
    matches!(ranges, [range] if range.size == 1 && range.host == own)
}

/// `uidMappings` or `gidMappings`, not yet checked.
pub fn of_document(given: &[LinuxIdMapping]) -> Vec<Range> {
    let range = |mapping: &LinuxIdMapping| Range {
        container: mapping.container_id(),
        host: mapping.host_id(),
        size: mapping.size(),
    };
    given.iter().map(range).collect()
}

/// Checks the map that stands at `at`; `id` is `uid` or `gid`.
///
/// # Errors
/// Too many ranges; empty, overflowing or overlapping ones.
pub fn ranges(at: &str, id: &str, given: &[Range]) -> Result<Vec<Range>> {
    if given.len() > LINES_MAX {
        let what = format!("has {} entries, the kernel takes {LINES_MAX}", given.len());
        return Err(InputError::new(at, what));
    }
    for (i, range) in given.iter().enumerate() {
        let at_range = format!("{at}[{i}]");
        if range.size == 0 {
            return Err(InputError::new(format!("{at_range}.size"), "is 0: it would map nothing"));
        }
        for (side, start) in [("containerID", range.container), ("hostID", range.host)] {
            // 4294967295 is "no id" to the kernel and cannot be mapped.
            if start.checked_add(range.size).is_none() {
                let what = format!("{side} {start} + {} is past the last {id}, 4294967294", range.size);
                return Err(InputError::new(format!("{at_range}.size"), what));
            }
        }
        for (j, other) in given[..i].iter().enumerate() {
            let sides = [("containerID", range.container, other.container), ("hostID", range.host, other.host)];
            for (side, a, b) in sides {
                if a < b + other.size && b < a + range.size {
                    return Err(InputError::new(at_range, format!("overlaps {at}[{j}] in {side}")));
                }
            }
        }
    }
    Ok(given.to_vec())
}

/// The process' own ids must be mapped, or setuid(2) and its kin fail after everything else has been set up.
fn check_user(spec: &Spec, maps: &IdMaps) -> Result<()> {
    let Some(user) = spec.process().as_ref().map(|process| process.user()) else {
        return Ok(());
    };
    let unmapped = |at: String, id: u32, list: &str| {
        Err(InputError::new(at, format!("{id} is not mapped in the user namespace"))
            .hint(format!("extend linux.{list}")))
    };
    if maps.uid_to_host(user.uid()).is_none() {
        return unmapped("process.user.uid".into(), user.uid(), "uidMappings");
    }
    if maps.gid_to_host(user.gid()).is_none() {
        return unmapped("process.user.gid".into(), user.gid(), "gidMappings");
    }
    for (i, gid) in user.additional_gids().iter().flatten().enumerate() {
        if maps.gid_to_host(*gid).is_none() {
            return unmapped(format!("process.user.additionalGids[{i}]"), *gid, "gidMappings");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
