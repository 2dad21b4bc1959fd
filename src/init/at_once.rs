//! A filesystem of the kernel's own by mount(2): two calls for what takes fsopen(2) and its family six to ten, which a
//! container has half a dozen times. Not for what shows up only step by step: errors are told by the long way.

use std::os::fd::BorrowedFd;

use nix::unistd::fchdir;

use super::mounts::{data_of, now};
use crate::plan::mounts::{AttrChange, FsParam, Mount};
use crate::sys::mount::{
    MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_STRICTATIME, mount_here,
};

/// What has no source to look up, and takes the same options from either call.
const FILESYSTEMS: &[&str] = &["proc", "tmpfs", "devpts", "mqueue", "sysfs"];

/// Attributes of a mount as mount(2) has them. Not read-only, which would make the superblock so as well.
const FLAGS: &[(u64, u64)] = &[
    (MOUNT_ATTR_NOSUID, libc::MS_NOSUID),
    (MOUNT_ATTR_NODEV, libc::MS_NODEV),
    (MOUNT_ATTR_NOEXEC, libc::MS_NOEXEC),
    (MOUNT_ATTR_NOATIME, libc::MS_NOATIME),
    (MOUNT_ATTR_STRICTATIME, libc::MS_STRICTATIME),
    (MOUNT_ATTR_NODIRATIME, libc::MS_NODIRATIME),
    (MOUNT_ATTR_NOSYMFOLLOW, 1 << 8), // MS_NOSYMFOLLOW (linux/mount.h)
];

/// Mounts it on `target`, which becomes the working directory: that way no path is looked up here either.
///
/// False where it takes the long way, be it that mount(2) has failed: that one can say what was wrong.
pub fn mount(mount: &Mount, fstype: &str, source: Option<&str>, params: &[FsParam], target: BorrowedFd<'_>) -> bool {
    let Some(flags) = flags(now(mount).set) else { return false };
    is_plain(mount, fstype, params)
        && fchdir(target).is_ok()
        && mount_here(".", source.unwrap_or("none"), fstype, flags, &data_of(params)).is_ok()
}

/// Whether nothing is to be done while it is detached, and the options say the same as one string.
fn is_plain(mount: &Mount, fstype: &str, params: &[FsParam]) -> bool {
    let once = |text: &str| !text.contains([',', '"', '\\']);
    FILESYSTEMS.contains(&fstype)
        && !mount.copy_up
        && mount.id_mapping.is_none()
        && mount.recursive_attrs == AttrChange::default()
        && mount.propagation.is_empty()
        && params.iter().all(|param| once(&param.key) && param.value.as_deref().is_none_or(once))
}

fn flags(attributes: u64) -> Option<u64> {
    let known = FLAGS.iter().fold(0, |all, (attribute, _)| all | attribute);
    let chosen = FLAGS.iter().filter(|(attribute, _)| attributes & attribute != 0);
    (attributes & !known == 0).then(|| chosen.fold(0, |all, (_, flag)| all | flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mount_2_would_do_otherwise_takes_the_long_way() {
        assert_eq!(flags(MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME), Some(libc::MS_NOSUID | libc::MS_STRICTATIME));
        assert_eq!(flags(0), Some(0));
        assert_eq!(flags(crate::sys::mount::MOUNT_ATTR_RDONLY), None);
        assert_eq!(flags(1 << 40), None);
    }
}
