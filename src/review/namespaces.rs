//! Namespaces that the container shares with the host.

use super::{Review, Severity};
use crate::plan::namespaces::Kind;

/// Kind, severity, the finding's name, what sharing it allows.
const SHARED: &[(Kind, Severity, &str, &str)] = &[
    (Kind::Mount, Severity::Danger, "host-mount-namespace", "the program sees and changes the host's mounts and files"),
    (
        Kind::Pid,
        Severity::Warning,
        "host-pid-namespace",
        "the program sees the host's processes, and may signal or trace those of its user",
    ),
    (
        Kind::Network,
        Severity::Warning,
        "host-network-namespace",
        "the program reaches the host's loopback and abstract unix sockets",
    ),
    (
        Kind::Ipc,
        Severity::Warning,
        "host-ipc-namespace",
        "the program reaches the host's System V IPC and POSIX message queues",
    ),
    (
        Kind::Uts,
        Severity::Note,
        "host-uts-namespace",
        "the program sees the host's name, and with CAP_SYS_ADMIN changes it",
    ),
    (Kind::Cgroup, Severity::Note, "host-cgroup-namespace", "the program sees the paths of the host's cgroups"),
];

pub(super) fn look(review: &mut Review<'_>) {
    for (kind, severity, name, what) in SHARED {
        if !review.plan.namespaces.has(*kind) {
            let hint = format!("add {{\"type\": \"{}\"}}", kind.name());
            review.add(*severity, name, "linux.namespaces", *what, hint);
        }
    }
    let root = review.plan.process.as_ref().is_some_and(|process| process.uid == 0);
    if root && !review.user_namespace() {
        review.add(
            Severity::Warning,
            "host-root",
            "process.user.uid",
            "the program is the host's root, held back by capabilities and seccomp alone",
            "add {\"type\": \"user\"} with uidMappings and gidMappings to linux.namespaces, or set another uid",
        );
    }
    host_root_mapped(review);
}

/// A user namespace whose root is the host's is none: files on the host know only ids.
fn host_root_mapped(review: &mut Review<'_>) {
    let maps = review.plan.id_maps.as_ref();
    if maps.is_some_and(|maps| !maps.by_helper && maps.uids.iter().any(|range| range.host == 0)) {
        review.add(
            Severity::Warning,
            "host-root-mapped",
            "linux.uidMappings",
            "the host's uid 0 is mapped: the program may own the host's files as root",
            "map ids that belong to nobody on the host",
        );
    }
}
