//! What all bundles of one run share: a directory that vanishes at exit, the busybox binary, the compiled probe,
//! unique names, and the counts of what was not tested.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{cgroup, mounts, sys};

static SKIPPED: AtomicUsize = AtomicUsize::new(0);
static DIFFERS: AtomicUsize = AtomicUsize::new(0);

/// The run's directory. The first caller makes it, and makes this process the reaper of containers whose
/// runtime has gone, so that tests see their exit codes as containerd's shim does.
pub fn dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        nix::sys::prctl::set_child_subreaper(true).expect("subreaper");
        let dir = tempfile::Builder::new().prefix("oarlock-test-").tempdir().expect("tempdir").keep();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).expect("chmod");
        fs::copy(busybox(), dir.join("busybox")).expect("copy busybox");
        sys::at_exit(clean_up);
        dir
    })
}

/// The cgroup below which this run's containers live, as `linux.cgroupsPath` spells it: below `TEST_CGROUP`, if that
/// is set.
pub fn cgroup() -> String {
    let above = std::env::var("TEST_CGROUP").unwrap_or_default();
    format!("{}/oarlock-test-{}", above.trim_end_matches('/'), std::process::id())
}

/// A name that no other test of this machine uses.
pub fn unique() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("t{}-{}", COUNT.fetch_add(1, Ordering::Relaxed), std::process::id())
}

extern "C" fn clean_up() {
    mounts::detach_all(dir());
    fs::remove_dir_all(dir()).ok();
    for path in cgroup::dirs(&cgroup()) {
        fs::remove_dir(path).ok();
    }
    let (skipped, differs) = (SKIPPED.load(Ordering::Relaxed), DIFFERS.load(Ordering::Relaxed));
    if skipped + differs > 0 {
        say(&format!("{skipped} skipped, {differs} known differences"));
    }
}

/// Prints past libtest's capture: what was not tested must be seen.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

pub fn note_skip(test: &str, reason: &str) {
    SKIPPED.fetch_add(1, Ordering::Relaxed);
    say(&format!("SKIP {}: {reason}", short(test)));
}

pub fn note_difference(test: &str, reason: &str) {
    DIFFERS.fetch_add(1, Ordering::Relaxed);
    say(&format!("DIFFERS {}: {reason}", short(test)));
}

/// `integration::mounts::a_test::here` as libtest names it: `mounts::a_test`.
fn short(test: &str) -> &str {
    let test = test.split_once("::").map_or(test, |(_, rest)| rest);
    test.trim_end_matches("::{{closure}}").trim_end_matches("::here")
}

/// The statically linked busybox of the host.
fn busybox() -> &'static str {
    ["/usr/bin/busybox", "/bin/busybox"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .expect("busybox is missing: apt-get install busybox-static")
}

/// Makes a root file system: busybox with its applets, and the few files and directories that programs expect.
pub fn make_rootfs(root: &Path) {
    for name in ["bin", "dev", "proc", "sys", "tmp", "etc", "root", "run", "var", "mnt"] {
        fs::create_dir_all(root.join(name)).expect("rootfs directory");
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod");
    fs::hard_link(dir().join("busybox"), root.join("bin/busybox")).expect("link busybox");
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).expect("applet");
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).expect("passwd");
    fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n").expect("group");
}

/// The applets that tests use. Not all that busybox has: a link costs as much as a small container.
const APPLETS: &[&str] = &[
    "awk", "cat", "chown", "dd", "df", "echo", "env", "false", "find", "grep", "head", "hostname", "id", "ip", "ls",
    "mkdir", "mknod", "mount", "od", "pwd", "readlink", "rm", "sh", "sleep", "stat", "tail", "test", "touch", "true",
    "umount", "uname", "wc", "yes",
];

/// The compiled `helpers/probe.c`: the questions that busybox cannot ask. `TEST_PROBE` is one compiled beforehand, for
/// where there is no compiler.
pub fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        let binary = dir().join("probe");
        if let Some(made) = std::env::var_os("TEST_PROBE") {
            fs::copy(made, &binary).expect("copy TEST_PROBE");
            return binary;
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/helpers/probe.c");
        let mut gcc = Command::new("gcc");
        gcc.args(["-static", "-O1", "-Wall", "-Werror", "-o"]).arg(&binary).arg(source);
        let output = gcc.output().expect("gcc is missing: apt-get install gcc libc6-dev");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        binary
    })
}
