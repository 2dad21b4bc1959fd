//! What of the host's files the container can reach, and what of the kernel's.

use std::path::Path;

use super::{Review, Severity};
use crate::plan::mounts::{Mount, MountKind, attr, ms};
use crate::plan::namespaces::Kind;

/// Directories whose owner owns the host: to write there is to run code as root, sooner or later.
const HOST_OWNED: &[&str] = &[
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib64",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var",
    "/var/lib",
    "/var/run",
    "/var/spool",
];

/// Below these, too.
const HOST_OWNED_BELOW: &[&str] = &["/boot", "/etc", "/proc", "/sys", "/usr", "/root/.ssh", "/var/spool/cron"];

/// Whoever talks to these is root on the host, read-only mount or not.
const SOCKETS: &[&str] = &[
    "docker.sock",
    "containerd.sock",
    "crio.sock",
    "podman.sock",
    "buildkitd.sock",
    "system_bus_socket",
    "systemd/private",
];

/// What Docker and containerd hide, that tells of the host or changes it (the kernel's documentation of each).
const MASKED: &[&str] = &["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/sys/firmware"];

/// What they keep from being written.
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(super) fn look(review: &mut Review<'_>) {
    let plan = review.plan;
    if !plan.namespaces.has(Kind::Mount) {
        // Said already, and worse than all of these.
        return;
    }
    for mount in &plan.mounts {
        match &mount.kind {
            MountKind::Bind { source, .. } => bind(review, mount, source),
            MountKind::Filesystem { fstype, .. } if fstype == "sysfs" && writable(mount) => review.add(
                review.unless_mapped(Severity::Warning),
                "writable-sysfs",
                &mount.at,
                "sysfs is writable: devices and drivers of the host can be changed",
                "add \"ro\" to its options",
            ),
            _ => {}
        }
    }
    if plan.rootfs.propagation.kind == ms::SHARED {
        review.add(
            Severity::Warning,
            "shared-root",
            "linux.rootfsPropagation",
            "mounts made in the container appear on the host",
            "use \"rslave\" or \"rprivate\"",
        );
    }
    if !plan.rootfs.readonly {
        let what = "the program may change its own image";
        review.add(
            Severity::Note,
            "writable-root",
            "root.readonly",
            what,
            "set it to true, and give a tmpfs where it writes",
        );
    }
    kernel_files(review);
}

fn writable(mount: &Mount) -> bool {
    (mount.attrs.set | mount.recursive_attrs.set) & attr::RDONLY == 0
}

fn bind(review: &mut Review<'_>, mount: &Mount, source: &Path) {
    let text = source.to_string_lossy();
    if SOCKETS.iter().any(|socket| source.ends_with(socket)) {
        let what = format!("{text} is a door to the host's root for whoever can connect to it, read-only or not");
        review.add(
            Severity::Danger,
            "control-socket",
            &mount.at,
            what,
            "leave it out, or put a filtering proxy before it",
        );
        return;
    }
    if mount.propagation.iter().any(|change| change.kind == ms::SHARED) {
        let what = format!("mounts made below {} appear on the host", mount.destination.display());
        review.add(
            Severity::Warning,
            "shared-mount",
            &mount.at,
            what,
            "use \"rslave\" where the host's mounts are to appear inside",
        );
    }
    let owned = HOST_OWNED.iter().any(|path| source == Path::new(path))
        || HOST_OWNED_BELOW.iter().any(|path| source.starts_with(path));
    let kernel = source.starts_with("/dev") && source != Path::new("/dev");
    match (writable(mount), owned) {
        (true, true) => {
            let what = format!("{text} of the host is writable: who owns it owns the host");
            let severity = review.unless_mapped(Severity::Danger);
            review.add(
                severity,
                "writable-host-path",
                &mount.at,
                what,
                "add \"rro\", or bind only the part that is needed",
            );
        }
        (false, true) => {
            let what = format!("{text} of the host can be read, secrets in it too");
            review.add(Severity::Note, "readable-host-path", &mount.at, what, "bind only the part that is needed");
        }
        (true, false) if !kernel => {
            let what = format!("{text} of the host is writable");
            review.add(Severity::Note, "writable-bind", &mount.at, what, "add \"ro\" if the program only reads it");
        }
        _ => {}
    }
}

/// Files of /proc and /sys that speak for the whole host, where these are mounted.
fn kernel_files(review: &mut Review<'_>) {
    let plan = review.plan;
    let mounted = |path: &str| {
        let root = Path::new(if path.starts_with("/proc") { "/proc" } else { "/sys" });
        plan.mounts.iter().any(|mount| mount.destination == root)
    };
    let missing = |wanted: &[&'static str], given: &[std::path::PathBuf]| -> Vec<&'static str> {
        let covered = |path: &str| given.iter().any(|given| Path::new(path).starts_with(given));
        wanted.iter().copied().filter(|path| mounted(path) && !covered(path)).collect()
    };
    let masked = missing(MASKED, &plan.masked_paths);
    if !masked.is_empty() {
        let what = format!("{} tell of the host", masked.join(", "));
        review.add(
            review.unless_mapped(Severity::Warning),
            "unmasked-paths",
            "linux.maskedPaths",
            what,
            "list them here",
        );
    }
    let both: Vec<_> = plan.masked_paths.iter().chain(&plan.readonly_paths).cloned().collect();
    let open = missing(READ_ONLY, &both);
    if !open.is_empty() {
        let what = format!("{} can be written to by the container's root", open.join(", "));
        review.add(
            review.unless_mapped(Severity::Danger),
            "writable-proc",
            "linux.readonlyPaths",
            what,
            "list them here",
        );
    }
}
