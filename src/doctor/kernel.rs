//! What the kernel offers: namespaces, the calls that containers are made with, seccomp.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag};

use super::{Section, State};
use crate::plan::namespaces::Kind;
use crate::seccomp::names;
use crate::sys::mount::{FsContext, MOUNT_ATTR_RDONLY, clone_tree, set_attributes};
use crate::sys::openat2::{RESOLVE_IN_ROOT, openat2};
use crate::sys::process::{CloseRange, close_from, join_session_keyring, pidfd_open, pidfd_send_signal};

pub(super) fn namespaces() -> Section {
    let mut section = Section::new("namespaces");
    for kind in Kind::all() {
        let file = format!("/proc/self/ns/{}", kind.proc_file());
        section.path(kind.name(), &file, "containers that ask for one of this kind are refused");
    }
    let limit = fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    let allowed = limit.trim().parse::<u64>().unwrap_or(0);
    section.has(
        "user namespaces allowed",
        allowed > 0,
        format!("at most {allowed} (/proc/sys/user/max_user_namespaces)"),
        "no container can have a user namespace, and rootless ones cannot be made",
    );
    for (file, forbids) in [
        ("/proc/sys/kernel/unprivileged_userns_clone", "0"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1"),
    ] {
        if let Ok(value) = fs::read_to_string(file) {
            let allowed = value.trim() != forbids;
            section.has(
                "user namespaces for everyone",
                allowed,
                format!("{file} is {}", value.trim()),
                "rootless containers cannot be made",
            );
        }
    }
    section
}

/// Each call is made for real, in a way that changes nothing beyond this process.
pub(super) fn calls() -> Section {
    let mut section = Section::new("kernel");
    section.ok("release", fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim());
    let root = Path::new("/");
    let opened = openat2(AT_FDCWD, root, OFlag::O_PATH, RESOLVE_IN_ROOT);
    section.tried("openat2", &opened, State::Broken, "paths in images cannot be resolved safely (Linux 5.6)");
    let pidfd = pidfd_open(std::process::id() as i32);
    let signalled = pidfd.and_then(|pidfd| pidfd_send_signal(pidfd.as_fd(), 0));
    section.tried("pidfds", &signalled, State::Broken, "processes cannot be signalled safely (Linux 5.3)");
    // No descriptor has such a number.
    let closed = close_from(i32::MAX, CloseRange::OnExec);
    section.tried(
        "close_range",
        &closed,
        State::Broken,
        "descriptors of the host cannot be kept from programs (Linux 5.11)",
    );
    let tree = clone_tree(root, false);
    let attributes = tree.and_then(|tree| set_attributes(tree.as_fd(), MOUNT_ATTR_RDONLY, 0, false));
    section.tried(
        "open_tree, mount_setattr",
        &attributes,
        State::Missing,
        "needs privileges: rootless, they are there inside the container's user namespace (Linux 5.12)",
    );
    let context = FsContext::open("tmpfs");
    section.tried("fsopen", &context, State::Missing, "needs privileges: as above (Linux 5.2)");
    let keyring = join_session_keyring(c"oarlock.doctor");
    section.tried(
        "keyrings",
        &keyring,
        State::Missing,
        "containers keep the caller's session keyring: use --no-new-keyring",
    );
    section
}

pub(super) fn seccomp() -> Section {
    let mut section = Section::new("seccomp");
    let (major, minor, micro) = names::library_version();
    section.ok("libseccomp", format!("{major}.{minor}.{micro}, in this binary"));
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    let detail = if actions.is_empty() { "the kernel has no seccomp" } else { actions.trim() };
    section.has("filters", !actions.is_empty(), detail, "containers with a seccomp profile are refused");
    let (known, supported) = (names::known_flags(), names::supported_flags());
    let lacking: Vec<String> = known.into_iter().filter(|flag| !supported.contains(flag)).collect();
    let detail = if lacking.is_empty() { supported.join(" ") } else { format!("without {}", lacking.join(" ")) };
    section.has("flags", lacking.is_empty(), detail, "profiles that ask for these flags are refused");
    section
}
