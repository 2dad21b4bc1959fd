//! The root of a container that has mounts and no mount namespace: two mounts of the host's own namespace, over the
//! rootfs. What the container mounts is below the second, and goes with it. Not for what is mounted there: that is
//! `init/`.
//!
//! The lower one is a plain clone of the directory, private as soon as it is attached: where the rootfs is on a shared
//! mount the kernel copies it to the other places, and takes the copies away again with it. The upper one, with all that
//! is mounted below the rootfs, comes onto the private one and is copied nowhere. So no mount of the host's changes.

use std::ffi::OsString;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use crate::host::is_rootless;
use crate::safe::rootfs::stat;
use crate::sys::again::open;
use crate::sys::mount::{attach, clone_tree_of, is_mounted, set_propagation};
use crate::sys::{Named, mount_id, mount_namespace_id, read_file, read_line, unique_mount_id};

const TABLE: &str = "/proc/self/mountinfo";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const NAMESPACE: &str = "/proc/self/ns/mnt";

/// The two, so that they are known again whatever has happened to the rootfs since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootMount {
    /// The numbers begin anew with the host.
    boot: String,
    /// The caller's, who is the host's.
    namespace: Namespace,
    /// Where they were attached.
    point: PathBuf,
    upper: Layer,
    lower: Layer,
}

/// A mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Namespace {
    device: u64,
    /// Given to another namespace when this one is gone.
    inode: u64,
    /// Never given again (Linux 6.11); 0 before that.
    unique: u64,
}

impl Namespace {
    fn ours() -> Result<Self> {
        let fd = open(NAMESPACE, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .named(|| format!("open({NAMESPACE:?})"))?;
        let about = stat(fd.as_fd())?;
        Ok(Self { device: about.st_dev, inode: about.st_ino, unique: mount_namespace_id(fd.as_fd()) })
    }

    fn is(&self, other: &Self) -> bool {
        let unique = self.unique == other.unique || self.unique == 0 || other.unique == 0;
        unique && (self.device, self.inode) == (other.device, other.inode)
    }
}

/// The mounts are, or may be, in another mount namespace than ours, where nothing can be done about them from here.
#[derive(Debug)]
pub struct Elsewhere {
    namespace: Namespace,
    /// The kernel has said that they are there.
    pub certain: bool,
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace: Namespace { inode, .. }, certain } = self;
        write!(f, "was mounted in another mount namespace, mnt:[{inode}] (hint: delete it there: ")?;
        write!(f, "nsenter --mount --target PID, with a PID that `lsns {inode}` shows")?;
        f.write_str(if *certain { ")" } else { "; or use --force if that namespace is gone)" })
    }
}

impl std::error::Error for Elsewhere {}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Layer {
    /// As in the mount table; given to another mount when this one is gone.
    id: u64,
    /// Never given again (Linux 6.8); 0 before that.
    unique: u64,
    /// What is mounted, for the kernels before. There a later mount of the same directory that has been given the number
    /// again is taken for this one, which somebody else must have unmounted.
    device: u64,
    inode: u64,
}

impl Layer {
    fn of(mount: BorrowedFd<'_>) -> Result<Self> {
        let about = stat(mount)?;
        Ok(Self { id: mount_id(mount)?, unique: unique_mount_id(mount)?, device: about.st_dev, inode: about.st_ino })
    }
}

/// The two mounts, not attached yet.
#[derive(Debug)]
struct Detached {
    rootfs: OwnedFd,
    upper: OwnedFd,
    lower: OwnedFd,
}

impl Detached {
    fn clone_of(rootfs: &Path) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(rootfs, flags, Mode::empty()).named(|| format!("open({rootfs:?})"))?;
        refuse_own_root(fd.as_fd())?;
        let upper = clone_tree_of(fd.as_fd(), true)?;
        set_propagation(upper.as_fd(), libc::MS_PRIVATE, true)?;
        let lower = clone_tree_of(fd.as_fd(), false)?;
        // Not a peer of the mount that it comes onto: detached again it would take that along where one of the two is
        // mounted on another peer, as on every host that systemd has started.
        set_propagation(lower.as_fd(), libc::MS_PRIVATE, false)?;
        Ok(Self { rootfs: fd, upper, lower })
    }

    /// What they are found by.
    fn record(&self) -> Result<RootMount> {
        let boot = read_line(BOOT_ID)?.trim_end().to_owned();
        let link = format!("/proc/self/fd/{}", self.rootfs.as_raw_fd());
        let point = std::fs::read_link(&link).named(|| format!("readlink({link:?})"))?;
        let (upper, lower) = (Layer::of(self.upper.as_fd())?, Layer::of(self.lower.as_fd())?);
        Ok(RootMount { boot, namespace: Namespace::ours()?, point, upper, lower })
    }

    /// Attaches them; returns the upper one.
    fn attach(self) -> Result<OwnedFd> {
        attach(self.lower.as_fd(), self.rootfs.as_fd())?;
        // Again: what is attached below a shared mount becomes shared (mount_namespaces(7)).
        set_propagation(self.lower.as_fd(), libc::MS_PRIVATE, false)?;
        attach(self.upper.as_fd(), self.lower.as_fd())?;
        Ok(self.upper)
    }
}

impl RootMount {
    /// Detaches those of the two that are still there, with all below, and no other mount.
    ///
    /// # Errors
    /// One is there and cannot be reached: something has been mounted over it since. [`Elsewhere`].
    pub fn remove(&self) -> Result<()> {
        if read_line(BOOT_ID)?.trim_end() != self.boot || !self.is_here()? {
            return Ok(());
        }
        let table = read_file(TABLE)?;
        for layer in [&self.upper, &self.lower] {
            let known = is_mounted(layer.unique, 0);
            if known == Some(false) {
                continue;
            }
            // Wherever it is now: the bundle may have been renamed.
            let Some(point) = point_of(&table, layer.id) else {
                if known.is_some() {
                    bail!("is mounted outside of our root directory (hint: delete it from where it was created)");
                }
                continue;
            };
            let covered = || {
                anyhow!(
                    "something else is mounted over the container's root at {} (hint: unmount that, or delete its container, first)",
                    point.display()
                )
            };
            let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            let there = match open(&point, flags, Mode::empty()) {
                Err(Errno::ENOENT | Errno::ENOTDIR) if known.is_some() => return Err(covered()),
                // Below another mount, and another's mount: so it is taken to be where the kernel does not tell.
                Err(_) if known.is_none() && point != self.point => continue,
                there => there.named(|| format!("open({point:?})"))?,
            };
            let found = Layer::of(there.as_fd())?;
            if found == *layer {
                // By the descriptor: the very mount that has been looked at, whatever the path leads to meanwhile.
                let itself = format!("/proc/self/fd/{}", there.as_raw_fd());
                umount2(itself.as_str(), MntFlags::MNT_DETACH).named(|| format!("umount2({point:?}, MNT_DETACH)"))?;
            } else if known.is_some() || (found.id != layer.id && point == self.point) {
                return Err(covered());
            }
            // Else ours is gone, and the number has been given to another mount, which may be covered itself.
        }
        Ok(())
    }

    /// False where they are gone with the mount namespace that they were in.
    fn is_here(&self) -> Result<bool> {
        let (theirs, ours) = (self.namespace, Namespace::ours()?);
        if theirs.is(&ours) {
            return Ok(true);
        }
        // Whoever lacks privileges over the host is not told of other namespaces.
        let told = theirs.unique != 0 && !is_rootless()?;
        let state = |layer: &Layer| is_mounted(layer.unique, theirs.unique).filter(|_| told);
        match (state(&self.upper), state(&self.lower)) {
            (Some(false), Some(false)) => Ok(false),
            (upper, lower) => {
                let certain = upper == Some(true) || lower == Some(true);
                Err(Elsewhere { namespace: theirs, certain }.into())
            }
        }
    }
}

/// What is mounted over the root directory of a process is out of its reach: it could never be detached again.
fn refuse_own_root(rootfs: BorrowedFd<'_>) -> Result<()> {
    let own = open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .named(|| "open(\"/\")".to_owned())?;
    if Layer::of(rootfs)? == Layer::of(own.as_fd())? {
        bail!(
            "is the host's own root, which needs a mount namespace (hint: add {{\"type\": \"mount\"}} to linux.namespaces)"
        );
    }
    Ok(())
}

/// Where the mount with this number is (proc_pid_mountinfo(5)): ID PARENT MAJ:MIN ROOT MOUNT …
fn point_of(table: &[u8], id: u64) -> Option<PathBuf> {
    let id = id.to_string();
    table.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        (fields.next()? == id.as_bytes()).then(|| fields.nth(3).map(unescape))?
    })
}

/// Blanks and backslashes are in octal there.
fn unescape(mut field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    while let [first, rest @ ..] = field {
        let digit = |byte: u8| (b'0'..=b'7').contains(&byte).then(|| u32::from(byte - b'0'));
        let code = match (first, rest) {
            (b'\\', [a, b, c, ..]) => (|| u8::try_from(digit(*a)? * 64 + digit(*b)? * 8 + digit(*c)?).ok())(),
            _ => None,
        };
        path.push(code.unwrap_or(*first));
        field = if code.is_some() { &rest[3..] } else { rest };
    }
    PathBuf::from(OsString::from_vec(path))
}

/// The root of a container, attached once `record` has put it on record: whoever is killed after that leaves nothing that
/// [`RootMount::remove`] does not find.
///
/// # Errors
/// There is no such directory, it is our own root, it is on an unbindable mount, or it could not be recorded.
pub fn make(rootfs: &Path, record: impl FnOnce(RootMount) -> Result<()>) -> Result<OwnedFd> {
    let detached = Detached::clone_of(rootfs).context("root.path")?;
    record(detached.record()?)?;
    detached.attach().context("root.path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_number_whatever_its_path_is() {
        let table = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            122 22 0:40 / /with\\040a\\134blank\\011 rw shared:1 - tmpfs tmpfs rw\n\
            12 22 0:41 / /\xff\\9 rw - tmpfs 122 rw\n12\n";
        assert_eq!(point_of(table, 22), Some("/".into()));
        assert_eq!(point_of(table, 122), Some("/with a\\blank\t".into()));
        assert_eq!(point_of(table, 12), Some(PathBuf::from(OsString::from_vec(b"/\xff\\9".to_vec()))));
        assert_eq!(point_of(table, 2), None);
        assert_eq!(point_of(b"", 22), None);
    }
}
