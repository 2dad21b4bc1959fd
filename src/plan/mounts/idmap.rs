//! Id-mapped mounts (mount_setattr(2), `MOUNT_ATTR_IDMAP`): through which map a mount shows and stores owners. Not for
//! the user namespace that holds the map for the kernel: `launch/idmap.rs` makes it.

use serde::Serialize;

use super::super::Result;
use super::super::idmap::{IdMaps, Range, of_document, ranges};
use super::{Mount, MountKind};
use crate::error::InputError;

/// The map of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdMapping {
    /// `None`: that of the container's user namespace.
    pub maps: Option<Maps>,
    /// For the mounts below it too (`ridmap`).
    pub recursive: bool,
}

/// In each range `container` is the first id in the filesystem, and `host` the one on the host that it is shown as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Maps {
    pub uids: Vec<Range>,
    pub gids: Vec<Range>,
}

/// `idmap` or `ridmap` among the options.
#[derive(Debug)]
pub struct Given {
    /// Its JSON path.
    pub at: String,
    pub recursive: bool,
    /// crun's form carries the maps: `idmap=uids=0-1000-1#5-2000-1;gids=@0-0-10`.
    pub maps: Option<String>,
}

/// Decides the map of `mount`, which is `document` in the document: the option's own, or `uidMappings` and
/// `gidMappings` (which ask for a map without the option too), or the container's.
///
/// # Errors
/// Maps given twice or in part, or that the kernel would refuse; none given where there is no user namespace; a mount
/// that cannot have one.
pub fn compile(
    mount: &Mount,
    document: &oci_spec::runtime::Mount,
    given: Option<&Given>,
    user_namespace: bool,
    container: Option<&IdMaps>,
) -> Result<Option<IdMapping>> {
    let fields = [
        ("uidMappings", "uid", of_document(document.uid_mappings().as_deref().unwrap_or_default())),
        ("gidMappings", "gid", of_document(document.gid_mappings().as_deref().unwrap_or_default())),
    ];
    let field = fields.iter().find(|(_, _, ranges)| !ranges.is_empty());
    let at = match (given, field) {
        (Some(given), _) => given.at.clone(),
        (None, Some((name, ..))) => format!("{}.{name}", mount.at),
        (None, None) => return Ok(None),
    };
    if !matches!(mount.kind, MountKind::Bind { .. } | MountKind::Filesystem { .. }) {
        return Err(InputError::new(at, "ids can be mapped in a bind mount or a new filesystem only"));
    }
    let maps = match (given.and_then(|given| given.maps.as_deref()), field) {
        (Some(_), Some((name, ..))) => {
            let what = format!("has maps of its own, and {}.{name} says something else", mount.at);
            return Err(InputError::new(at, what).hint("give the maps once"));
        }
        (Some(text), None) => Some(of_option(&at, text, container)?),
        (None, Some(_)) => {
            let [uids, gids] = fields.map(|(name, id, given)| {
                let at = format!("{}.{name}", mount.at);
                if given.is_empty() {
                    return Err(InputError::new(at, "is missing").hint("a map of a mount has both, uids and gids"));
                }
                ranges(&at, id, &given)
            });
            Some(Maps { uids: uids?, gids: gids? })
        }
        (None, None) if user_namespace => None,
        (None, None) => {
            return Err(InputError::new(at, "needs a map, and the container has no user namespace")
                .hint("give uidMappings and gidMappings for the mount"));
        }
    };
    let recursive = given.is_some_and(|given| given.recursive);
    let same = |maps: &Maps| container.is_some_and(|own| own.uids == maps.uids && own.gids == maps.gids);
    let maps = maps.filter(|maps| !same(maps));
    // What is mounted in a user namespace has that one's map by itself, and the kernel refuses to apply it twice.
    let has_it = maps.is_none() && matches!(mount.kind, MountKind::Filesystem { .. });
    Ok((!has_it).then_some(IdMapping { maps, recursive }))
}

/// `uids=` and `gids=`, each a list of `FILESYSTEM-HOST-SIZE` separated by `#`. With `@` before it the second number is an
/// id of the container's user namespace.
fn of_option(at: &str, text: &str, container: Option<&IdMaps>) -> Result<Maps> {
    let (mut uids, mut gids) = (None, None);
    for part in text.split(';') {
        let (side, id, own, list) = match part.split_once('=') {
            Some(("uids", list)) => (&mut uids, "uid", container.map(|maps| &maps.uids), list),
            Some(("gids", list)) => (&mut gids, "gid", container.map(|maps| &maps.gids), list),
            _ => return Err(InputError::new(at, format!("{part:?} is neither uids=… nor gids=…"))),
        };
        let mut given = Vec::new();
        for triplet in list.split('#') {
            add(at, triplet, own.map(Vec::as_slice), &mut given)?;
        }
        if side.replace(ranges(&format!("{at}: {id}s"), id, &given)?).is_some() {
            return Err(InputError::new(at, format!("has {id}s twice")));
        }
    }
    let both = |side: Option<_>, name| {
        side.ok_or_else(|| {
            InputError::new(at, format!("has no {name}=")).hint("a map of a mount has both, uids and gids")
        })
    };
    Ok(Maps { uids: both(uids, "uids")?, gids: both(gids, "gids")? })
}

fn add(at: &str, triplet: &str, own: Option<&[Range]>, to: &mut Vec<Range>) -> Result<()> {
    let (relative, numbers) = match triplet.strip_prefix('@') {
        Some(numbers) => (true, numbers),
        None => (false, triplet),
    };
    let numbers: Option<Vec<u32>> = numbers.split('-').map(|number| number.parse().ok()).collect();
    let Some([filesystem, id, size]) = numbers.as_deref().and_then(|n| <[u32; 3]>::try_from(n).ok()) else {
        return Err(InputError::new(at, format!("{triplet:?} is not three numbers, FILESYSTEM-HOST-SIZE")));
    };
    if !relative {
        to.push(Range { container: filesystem, host: id, size });
        return Ok(());
    }
    let own = own.ok_or_else(|| {
        InputError::new(at, format!("{triplet:?} is relative to the container's maps, and there are none"))
            .hint("give linux.uidMappings and linux.gidMappings, or leave out the @")
    })?;
    // The ids of the container may lie in several of its ranges, each somewhere else on the host.
    let mut done = 0;
    while done < size {
        let next = id.checked_add(done);
        let found = next.and_then(|next| own.iter().find(|r| next >= r.container && next - r.container < r.size));
        let (Some(next), Some(range)) = (next, found) else {
            let what = format!("{triplet:?}: {} is not mapped in the user namespace", u64::from(id) + u64::from(done));
            return Err(InputError::new(at, what));
        };
        let offset = next - range.container;
        let length = (range.size - offset).min(size - done);
        let first = filesystem
            .checked_add(done)
            .ok_or_else(|| InputError::new(at, format!("{triplet:?} goes past the last id, 4294967294")))?;
        to.push(Range { container: first, host: range.host + offset, size: length });
        done += length;
    }
    if size == 0 {
        return Err(InputError::new(at, format!("{triplet:?} maps nothing")));
    }
    Ok(())
}
