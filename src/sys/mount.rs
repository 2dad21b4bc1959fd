//! The mount calls that libc does not wrap: open_tree(2), move_mount(2), mount_setattr(2), fsopen(2) and its family
//! (Linux 5.2; mount_setattr 5.12).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::stat::fstat;

use super::{Result, SysError, check};

// <linux/mount.h>
pub const SYS_OPEN_TREE_ATTR: libc::c_long = 467; // asm/unistd.h, on every architecture; since Linux 6.15
pub const MOUNT_ATTR_RDONLY: u64 = 0x1;
pub const MOUNT_ATTR_NOSUID: u64 = 0x2;
pub const MOUNT_ATTR_NODEV: u64 = 0x4;
pub const MOUNT_ATTR_NOEXEC: u64 = 0x8;
pub const MOUNT_ATTR_NOATIME: u64 = 0x10;
pub const MOUNT_ATTR_STRICTATIME: u64 = 0x20;
pub const MOUNT_ATTR_NODIRATIME: u64 = 0x80;
pub const MOUNT_ATTR_NOSYMFOLLOW: u64 = 0x20_0000;
pub const OPEN_TREE_CLONE: u32 = 1;
pub const OPEN_TREE_CLOEXEC: u32 = libc::O_CLOEXEC as u32;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;
const FSPICK_EMPTY_PATH: u32 = 8;
const FSPICK_CLOEXEC: u32 = 1;
const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
const AT_RECURSIVE: u32 = 0x8000;
const SYS_STATMOUNT: libc::c_long = 457; // asm/unistd.h, on every architecture but alpha; since Linux 6.8
const AT_EMPTY_PATH: u32 = libc::AT_EMPTY_PATH as u32;

/// The longest value that fsconfig(2) takes, with its NUL (`strndup_user(…, 256)` in fs/fsopen.c).
pub const FSCONFIG_VALUE_MAX: usize = 256;

/// `struct mount_attr` (mount_setattr(2)).
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct MountAttr {
    pub attr_set: u64,
    pub attr_clr: u64,
    pub propagation: u64,
    pub userns_fd: u64,
}

fn cstring(path: &Path, call: &str) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| SysError::new(format!("{call}({path:?})"), Errno::EINVAL))
}

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: every caller passes the return value of a call that has just succeeded in making this descriptor.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// A detached copy of the mount at `path`, with everything below it if `recursive`.
///
/// # Errors
/// ENOENT and EACCES from the path; EINVAL if a mount there is locked or unbindable; EPERM without CAP_SYS_ADMIN.
pub fn clone_tree(path: &Path, recursive: bool) -> Result<OwnedFd> {
    let name = cstring(path, "open_tree")?;
    open_tree(libc::AT_FDCWD, &name, 0, recursive, || format!("open_tree({path:?})"))
}

/// [`clone_tree`] with everything below if `recursive`, and all of it with this propagation.
pub fn clone_tree_as(path: &Path, recursive: bool, propagation: u64) -> Result<OwnedFd> {
    clone_with(path, recursive, MountAttr { propagation, ..MountAttr::default() })
}

/// [`clone_tree`] of the one mount, read-only.
pub fn clone_read_only(path: &Path) -> Result<OwnedFd> {
    clone_with(path, false, MountAttr { attr_set: MOUNT_ATTR_RDONLY, ..MountAttr::default() })
}

/// By one call since Linux 6.15. Whatever is wrong there, an older kernel or the path, the two calls of before tell.
fn clone_with(path: &Path, recursive: bool, attr: MountAttr) -> Result<OwnedFd> {
    static MISSING: AtomicBool = AtomicBool::new(false);
    if !MISSING.load(Ordering::Relaxed) {
        let name = cstring(path, "open_tree_attr")?;
        let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | if recursive { AT_RECURSIVE } else { 0 };
        // SAFETY: `name` is NUL-terminated, `attr` a struct mount_attr of the size passed; both outlive the call.
        let ret = unsafe {
            libc::syscall(
                SYS_OPEN_TREE_ATTR,
                libc::AT_FDCWD,
                name.as_ptr(),
                flags,
                &raw const attr,
                size_of::<MountAttr>(),
            )
        };
        if ret >= 0 {
            return Ok(owned(ret));
        }
        MISSING.store(Errno::last() == Errno::ENOSYS, Ordering::Relaxed);
    }
    let tree = clone_tree(path, recursive)?;
    setattr(tree.as_fd(), attr, recursive)?;
    Ok(tree)
}

/// As [`clone_tree`] what `fd` refers to (an O_PATH descriptor will do).
pub fn clone_tree_of(fd: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    open_tree(fd.as_raw_fd(), c"", AT_EMPTY_PATH, recursive, || format!("open_tree({})", fd.as_raw_fd()))
}

fn open_tree(dirfd: RawFd, name: &CStr, flags: u32, recursive: bool, call: impl FnOnce() -> String) -> Result<OwnedFd> {
    let recursive = if recursive { AT_RECURSIVE } else { 0 };
    let flags = flags | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive;
    // SAFETY: `name` is NUL-terminated and outlives the call.
    let ret = unsafe { libc::syscall(libc::SYS_open_tree, dirfd, name.as_ptr(), flags) };
    check(ret, call).map(owned)
}

/// Attaches the detached mount `tree` at what `target` refers to.
pub fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are the empty string; the descriptors are open for the duration of the call.
    let ret = unsafe {
        libc::syscall(libc::SYS_move_mount, tree.as_raw_fd(), c"".as_ptr(), target.as_raw_fd(), c"".as_ptr(), flags)
    };
    let done = check(ret, || format!("move_mount({}, {})", tree.as_raw_fd(), target.as_raw_fd())).map(drop);
    done.map_err(
        |error| if is_mismatch(&error, tree, target) { SysError { errno: Errno::ENOTDIR, ..error } } else { error },
    )
}

/// Whether a tree could not be attached because it holds a file of a mount namespace with a lower number than ours
/// (`mnt_ns_loop` in fs/namespace.c): an older one, or since numbers are dealt out by processor a younger one at times.
pub fn holds_namespace(error: &anyhow::Error) -> bool {
    error.downcast_ref::<SysError>().is_some_and(|error| error.errno == Errno::ELOOP)
}

/// A file over a directory, or the other way round: EINVAL here, but ENOTDIR of mount(2), whose text has Docker give a hint.
fn is_mismatch(error: &SysError, tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> bool {
    let is_directory = |fd| fstat(fd).map(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR);
    error.errno == Errno::EINVAL
        && matches!((is_directory(tree), is_directory(target)), (Ok(tree), Ok(target)) if tree != target)
}

/// The same at a path, in a namespace whose directories nobody else can change.
pub fn attach_at(tree: BorrowedFd<'_>, target: &CStr) -> Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH;
    // SAFETY: `target` is NUL-terminated, the other path the empty string; both outlive the call.
    let ret = unsafe {
        libc::syscall(libc::SYS_move_mount, tree.as_raw_fd(), c"".as_ptr(), libc::AT_FDCWD, target.as_ptr(), flags)
    };
    check(ret, || format!("move_mount({}, {target:?})", tree.as_raw_fd())).map(drop)
}

/// Changes attributes (`MOUNT_ATTR_*`) of the mount that `fd` refers to, and of all below it if `recursive`.
///
/// # Errors
/// EPERM when a changed flag is locked by a more privileged user namespace (mount_namespaces(7)).
pub fn set_attributes(fd: BorrowedFd<'_>, set: u64, clear: u64, recursive: bool) -> Result<()> {
    setattr(fd, MountAttr { attr_set: set, attr_clr: clear, ..MountAttr::default() }, recursive)
}

/// Shows and stores owners through the map of the user namespace `map` from now on (Linux 5.12), in the detached mount that
/// `fd` refers to, and in all below it if `recursive`.
///
/// # Errors
/// EINVAL when the filesystem cannot do it, has that map already, or the mount is attached; EPERM without CAP_SYS_ADMIN
/// over the filesystem and the namespace, or when the ids are mapped already.
pub fn map_ids(fd: BorrowedFd<'_>, map: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    let userns_fd = map.as_raw_fd() as u64;
    setattr(fd, MountAttr { attr_set: MOUNT_ATTR_IDMAP, userns_fd, ..MountAttr::default() }, recursive)
}

/// Sets the propagation type (`MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE`).
pub fn set_propagation(fd: BorrowedFd<'_>, propagation: u64, recursive: bool) -> Result<()> {
    setattr(fd, MountAttr { propagation, ..MountAttr::default() }, recursive)
}

fn setattr(fd: BorrowedFd<'_>, attr: MountAttr, recursive: bool) -> Result<()> {
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `attr` is a struct mount_attr of the size passed; the path is the empty string.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    check(ret, || {
        let MountAttr { attr_set, attr_clr, propagation, .. } = attr;
        format!("mount_setattr(set={attr_set:#x}, clear={attr_clr:#x}, propagation={propagation:#x})")
    })
    .map(drop)
}

/// A filesystem being configured: fsopen(2), or fspick(2) for one that is mounted already.
///
/// Its errors carry the kernel's own words (`tmpfs: Bad value for 'size'`), which it leaves in the descriptor's log.
#[derive(Debug)]
pub struct FsContext {
    fd: OwnedFd,
    name: String,
}

impl FsContext {
    /// # Errors
    /// ENODEV for a filesystem that the kernel does not know.
    pub fn open(fstype: &str) -> Result<Self> {
        let call = || format!("fsopen({fstype:?})");
        let name = CString::new(fstype).map_err(|_| SysError::new(call(), Errno::EINVAL))?;
        // SAFETY: `name` is NUL-terminated and outlives the call.
        let ret = unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) };
        Ok(Self { fd: check(ret, call).map(owned)?, name: fstype.to_owned() })
    }

    /// The filesystem of the mount that `mount` refers to, for [`FsContext::reconfigure`].
    pub fn pick(mount: BorrowedFd<'_>) -> Result<Self> {
        let flags = FSPICK_EMPTY_PATH | FSPICK_CLOEXEC;
        // SAFETY: the path is the empty string; the descriptor is open for the duration of the call.
        let ret = unsafe { libc::syscall(libc::SYS_fspick, mount.as_raw_fd(), c"".as_ptr(), flags) };
        let fd = check(ret, || format!("fspick({})", mount.as_raw_fd())).map(owned)?;
        Ok(Self { fd, name: "fspick".to_owned() })
    }

    pub fn set_flag(&self, key: &str) -> Result<()> {
        self.config(FSCONFIG_SET_FLAG, Some(key), None)
    }

    pub fn set_string(&self, key: &str, value: &str) -> Result<()> {
        self.config(FSCONFIG_SET_STRING, Some(key), Some(value))
    }

    /// Makes the superblock and returns its mount, still detached, with `attributes` (`MOUNT_ATTR_*`).
    pub fn mount(self, attributes: u64) -> Result<OwnedFd> {
        self.config(FSCONFIG_CMD_CREATE, None, None)?;
        // SAFETY: plain integers only.
        let ret = unsafe { libc::syscall(libc::SYS_fsmount, self.fd.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) };
        check(ret, || format!("fsmount({:?}){}", self.name, self.log())).map(owned)
    }

    /// Applies what was set to the mounted filesystem.
    pub fn reconfigure(self) -> Result<()> {
        self.config(FSCONFIG_CMD_RECONFIGURE, None, None)
    }

    fn config(&self, command: u32, key: Option<&str>, value: Option<&str>) -> Result<()> {
        let call = || match (key, value) {
            (Some(key), Some(value)) => format!("fsconfig({:?}, {key:?}, {value:?})", self.name),
            (Some(key), None) => format!("fsconfig({:?}, {key:?})", self.name),
            _ => format!("fsconfig({:?}, CMD_CREATE)", self.name),
        };
        let c =
            |text: Option<&str>| text.map(CString::new).transpose().map_err(|_| SysError::new(call(), Errno::EINVAL));
        let (ckey, cvalue) = (c(key)?, c(value)?);
        let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        // SAFETY: key and value are null or NUL-terminated strings that outlive the call.
        let ret = unsafe {
            libc::syscall(libc::SYS_fsconfig, self.fd.as_raw_fd(), command, pointer(&ckey), pointer(&cvalue), 0)
        };
        check(ret, || format!("{}{}", call(), self.log())).map(drop)
    }

    /// What the kernel has to say about the last failure: ` [Bad value for 'size']`, or nothing. Keeps errno.
    fn log(&self) -> String {
        let errno = Errno::last();
        let mut text = String::new();
        let mut line = [0u8; 512];
        while let Ok(n @ 1..) = crate::sys::again::read(self.fd.as_fd(), &mut line) {
            let message = String::from_utf8_lossy(&line[..n]);
            // "e tmpfs: Bad value": a level, a blank, the message.
            let message = message.get(2..).unwrap_or_default().trim_end();
            text.push_str(if text.is_empty() { " [" } else { "; " });
            text.push_str(message);
        }
        if !text.is_empty() {
            text.push(']');
        }
        errno.set();
        text
    }
}

/// mount(2) at `name` in the working directory (`.` is that itself): one call for what takes fsopen(2) and its family six
/// or more, and the way for what fsconfig(2) cannot carry (values over 255 bytes). For directories whose names nobody
/// else can change.
pub fn mount_here(name: &str, source: &str, fstype: &str, flags: u64, data: &str) -> Result<()> {
    let call = || format!("mount({source:?}, {name:?}, {fstype:?}, {flags:#x}, {data:?})");
    let c = |text: &str| CString::new(text).map_err(|_| SysError::new(call(), Errno::EINVAL));
    let (name_c, source_c, fstype_c, data_c) = (c(name)?, c(source)?, c(fstype)?, c(data)?);
    // SAFETY: all strings are NUL-terminated and outlive the call.
    let ret = unsafe {
        libc::mount(
            source_c.as_ptr(),
            name_c.as_ptr(),
            fstype_c.as_ptr(),
            flags as libc::c_ulong,
            data_c.as_ptr().cast(),
        )
    };
    check(ret.into(), call).map(drop)
}

/// `struct mnt_id_req` (statmount(2)), as of Linux 6.11: an older kernel takes it where what it does not know is 0.
#[repr(C)]
struct MountIdRequest {
    size: u32,
    spare: u32,
    mount: u64,
    mask: u64,
    namespace: u64,
}

/// Whether the mount with this unique number is in the mount namespace with that unique number (0 for our own), covered or
/// not. `None` where the kernel does not tell. Without privileges over another namespace, all in it is said to be gone.
pub fn is_mounted(unique: u64, namespace: u64) -> Option<bool> {
    const FIXED: usize = 512; // of struct statmount, without the strings, which are not asked for
    if unique == 0 {
        return None;
    }
    let request =
        MountIdRequest { size: size_of::<MountIdRequest>() as u32, spare: 0, mount: unique, mask: 0, namespace };
    let mut answer = [0u64; FIXED / 8];
    // SAFETY: the request is of the size that it tells; the buffer is alive, writable and of the size passed.
    let ret = unsafe { libc::syscall(SYS_STATMOUNT, &raw const request, answer.as_mut_ptr(), FIXED, 0) };
    match check(ret, String::new) {
        Ok(_) => Some(true),
        Err(error) if error.errno == Errno::ENOENT => Some(false),
        Err(_) => None,
    }
}
