//! Processes in uninterruptible sleep (state D), which nothing ends: they write to a file system that is frozen. Each verb
//! ends all the same and says what cannot end, and why; after the thaw nothing is left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::mounts::HostMount;
use crate::harness::{Bundle, Container, cgroup, sys};

/// A file system of the test's own, at `at`; why not, if there can be none here.
fn file_system(bundle: &Bundle, at: &Path) -> Result<HostMount, String> {
    file_system_of(16 << 20, &bundle.path("image"), at)
}

/// Likewise, of so many bytes in the file `image`.
fn file_system_of(size: u64, image: &Path, at: &Path) -> Result<HostMount, String> {
    fs::File::create(image).and_then(|file| file.set_len(size)).unwrap();
    let tried = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{command:?}: {error}")),
    };
    tried(Command::new("mkfs.ext4").arg("-q").arg(image))?;
    tried(Command::new("mount").args(["-o", "loop"]).arg(image).arg(at))?;
    Ok(HostMount(at.to_owned()))
}

/// A frozen file system, until this is dropped or the test is gone, however it ends.
struct Frozen(Child);

impl Frozen {
    fn new(at: &Path) -> Self {
        let script = "fsfreeze --freeze \"$1\" && echo frozen && read -r _; fsfreeze --unfreeze \"$1\"";
        let mut child = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(at)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh");
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let frozen = Self(child);
        assert_eq!(said, "frozen\n");
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

/// `/proc/PID/stat` has no event: it is read until it says that the process sleeps uninterruptibly.
fn sleeps(pid: i32) -> bool {
    let end = Instant::now() + sys::longest();
    while Instant::now() < end {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.contains(") D ") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

/// The child of a process, once it has one.
fn child_of(pid: i32) -> i32 {
    let end = Instant::now() + sys::longest();
    while Instant::now() < end {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            return child.parse().unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("{pid} has no child");
}

/// A bundle whose program is a script that finds the file system in /disk.
fn with_disk(script: &str) -> (Bundle, PathBuf) {
    let mut bundle = Bundle::sh(script);
    let disk = bundle.host_dir("disk");
    bundle.bind(&disk, "/disk", &["bind"]);
    (bundle, disk)
}

/// A bundle whose init, the first of its processes by number, can be frozen as it sleeps. Its child cannot once the file system
/// at the path is frozen: it waits for a device there.
fn with_device() -> Result<(Bundle, PathBuf, [HostMount; 2]), String> {
    let (bundle, disk) =
        with_disk("dd if=/dev/zero of=/disk/file bs=4096 count=1 conv=fsync 2>/dev/null & exec sleep 1000");
    let below = bundle.host_dir("below");
    let below_it = file_system(&bundle, &below)?;
    let it = file_system_of(4 << 20, &below.join("image"), &disk)?;
    Ok((bundle, below, [it, below_it]))
}

/// Nothing tells that a container is about to be frozen: it is asked until it is, or the `pause` has ended.
fn until_it_is_to_stop(path: &str, pause: &Child) {
    let file = if cgroup::is_v2() {
        cgroup::file("", path, "cgroup.freeze")
    } else {
        cgroup::file("freezer", path, "freezer.self_freezing")
    };
    let pause = sys::pidfd_open(pause.id() as i32).unwrap();
    while fs::read_to_string(&file).unwrap().trim() != "1" && !sys::wait_readable(pause.as_fd(), Duration::ZERO) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Starts the container with the file system at `at` frozen: its child, once that sleeps uninterruptibly.
fn start_on_frozen(container: &Container<'_>, at: &Path) -> (Frozen, i32) {
    let frozen = Frozen::new(at);
    container.start();
    let child = child_of(container.pid);
    assert!(sleeps(child));
    (frozen, child)
}

fn in_state_d(pid: i32) -> String {
    format!("process {pid} is in uninterruptible sleep (state D")
}

#[test]
fn every_verb_ends_while_init_cannot() {
    only_oarlock!("runc and crun wait as long as they like, and say something else");
    let (bundle, disk) = with_disk("echo x >/disk/file");
    let _mounted = match file_system(&bundle, &disk) {
        Ok(mounted) => mounted,
        Err(reason) => skip!(&reason),
    };
    let container = bundle.create();
    let frozen = Frozen::new(&disk);
    container.start();
    assert!(sleeps(container.pid));

    assert_eq!(container.status(), "running");
    bundle.rt.call(["list", "--quiet"]).ok().prints(&bundle.id);
    container.call("ps", &[]).ok();
    container.call("exec", &["echo", "ran"]).ok().prints("ran");
    container.call("kill", &["TERM"]).ok();
    // Linux has learnt to freeze some such sleeps (on v1). What could not be frozen is not left half frozen.
    let paused = container.call("pause", &[]);
    if paused.code == 0 {
        assert_eq!(container.status(), "paused");
        container.call("resume", &[]).ok();
    } else {
        paused.failed().says("unable to freeze").says(&in_state_d(container.pid));
    }
    assert_eq!(container.status(), "running");
    container.call("exec", &["echo", "ran"]).ok().prints("ran");
    container.call("delete", &[]).failed().says("not stopped: running");
    container.call("kill", &["KILL"]).ok();
    assert_eq!(container.status(), "running");
    container
        .call("delete", &["--force"])
        .failed()
        .says(&format!("init ({})", container.pid))
        .says(&in_state_d(container.pid));
    // It is not forgotten: the next one finds it.
    assert_eq!(container.status(), "running");
    bundle.rt.call(["list", "--quiet"]).ok().prints(&bundle.id);

    drop(frozen);
    container.delete_force();
    bundle.rt.call(["state", &bundle.id]).failed().says("container does not exist");
}

#[test]
fn pause_names_the_one_that_does_not_stop_and_not_one_that_does() {
    only_oarlock!("runc and crun say something else");
    let (bundle, below, _mounted) = match with_device() {
        Ok(made) => made,
        Err(reason) => skip!(&reason),
    };
    let container = bundle.create();
    let (frozen, child) = start_on_frozen(&container, &below);
    let paused = container.call("pause", &[]);
    paused.failed().says("unable to freeze").says(&in_state_d(child));
    assert_eq!(container.status(), "running");
    drop(frozen);
    container.delete_force();
}

#[test]
fn a_pause_ends_with_the_container_that_is_killed_meanwhile() {
    only_oarlock!("runc and crun say something else");
    let (bundle, below, _mounted) = match with_device() {
        Ok(made) => made,
        Err(reason) => skip!(&reason),
    };
    // One that gave up before the other came, on a slow machine, shows nothing.
    for _ in 0..5 {
        let container = bundle.create();
        let (frozen, _) = start_on_frozen(&container, &below);
        let pause = bundle.rt.spawn(bundle.rt.command(["pause", &bundle.id]));
        until_it_is_to_stop(&bundle.cgroup(), &pause.child);
        container.call("kill", &["KILL"]).ok();
        drop(frozen);
        let paused = pause.wait().failed();
        container.wait_end();
        container.delete();
        if paused.stderr.contains("container not running") {
            return;
        }
        assert!(paused.stderr.contains("unable to freeze"), "{paused}");
    }
    panic!("no pause has noticed it");
}

#[test]
fn delete_force_names_the_child_that_its_init_waits_for() {
    only_oarlock!("runc and crun say something else");
    let (bundle, disk) = with_disk("echo x >/disk/file & wait");
    let _mounted = match file_system(&bundle, &disk) {
        Ok(mounted) => mounted,
        Err(reason) => skip!(&reason),
    };
    let container = bundle.create();
    let (frozen, child) = start_on_frozen(&container, &disk);
    container.call("delete", &["--force"]).failed().says(&format!("init ({})", container.pid)).says(&in_state_d(child));
    bundle.rt.call(["list", "--quiet"]).ok().prints(&bundle.id);
    drop(frozen);
    container.delete_force();
}

#[test]
fn delete_force_names_what_outlives_an_init_without_a_pid_namespace() {
    only_oarlock!("runc and crun say something else");
    let (mut bundle, disk) = with_disk("echo x >/disk/file & wait");
    bundle.no_namespace("pid");
    let _mounted = match file_system(&bundle, &disk) {
        Ok(mounted) => mounted,
        Err(reason) => skip!(&reason),
    };
    let container = bundle.create();
    let (frozen, child) = start_on_frozen(&container, &disk);
    container.call("delete", &["--force"]).failed().says("still alive in the cgroup").says(&in_state_d(child));
    assert_eq!(container.status(), "stopped");
    container.call("delete", &[]).failed().says(&in_state_d(child));
    drop(frozen);
    container.delete_force();
}
