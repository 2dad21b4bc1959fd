//! Containers with mounts and no mount namespace: what they mount is in the host's namespace, below their own root, and
//! gone from there with them. No other mount of the host is there, gone or changed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::mount::{MntFlags, umount2};

use crate::faults::injected;
use crate::harness::sockets::FdReceiver;
use crate::harness::terminal::Terminal;
use crate::harness::{Bundle, HostMount, MountTable, Value, json, sys};

/// A container in the host's mount namespace, with the mounts that every bundle has.
fn without_namespace(mut bundle: Bundle) -> Bundle {
    bundle.no_namespace("mount").remove("/linux/maskedPaths").remove("/linux/readonlyPaths");
    bundle
}

/// The lines of the host's mount table, numbers and propagation included, of what is in a directory.
fn below(dir: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let inside = |line: &&str| line.split(' ').nth(4).is_some_and(|point| Path::new(point).starts_with(dir));
    table.lines().filter(inside).map(str::to_owned).collect()
}

fn all(bundle: &Bundle) -> Vec<String> {
    below(bundle.path("").parent().unwrap())
}

/// Makes the rootfs a shared mount, and what it is mounted on one of its peers: so it is where systemd has started the host.
fn shared_root(bundle: &Bundle) -> [HostMount; 2] {
    let outer = HostMount::itself(&bundle.path("")).shared();
    [HostMount::itself(&bundle.rootfs("")).shared(), outer]
}

fn table() -> MountTable {
    MountTable::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap())
}

/// Proves: mounts[].{destination,type,source,options}
#[test]
fn mounts_are_made_without_a_mount_namespace_and_go_with_the_container() {
    only_oarlock!("others would change the host's own mounts");
    let mut bundle = without_namespace(Bundle::waiting());
    let source = bundle.host_dir("source");
    fs::write(source.join("file"), "of the host\n").unwrap();
    bundle.bind(&source, "/vol", &["bind", "ro"]);
    bundle.namespace("cgroup", None);
    let container = bundle.started();
    assert_eq!(container.namespace("mnt"), fs::read_link("/proc/self/ns/mnt").unwrap().to_string_lossy());
    let inside = |script: &str| bundle.rt.call(["exec", &bundle.id, "sh", "-c", script]);
    inside("cat /proc/1/cmdline | tr '\\0' ' '").ok().prints("sleep 1000");
    inside("cat /vol/file; echo x > /vol/file || echo refused").ok().prints("of the host\nrefused");
    inside("stat -c '%t %T' /dev/null; test -c /dev/pts/ptmx; echo x > /dev/null; ls -l /dev/fd | sed 's/.*-> //'")
        .ok()
        .prints("1 3\n/proc/self/fd");
    // Nothing of it is in the directory itself, and none of it is passed on.
    let rootfs = bundle.rootfs("");
    let proc = rootfs.join("proc");
    assert_eq!(table().at(proc.to_str().unwrap()).kind, "proc");
    let mounted = table().0;
    let ours: Vec<_> = mounted.iter().filter(|mount| Path::new(&mount.point).starts_with(&rootfs)).collect();
    assert!(ours.len() >= 9 && ours.iter().all(|mount| !mount.propagation().contains(&"shared")), "{ours:#?}");
    container.delete_force();
    assert_eq!(all(&bundle), [""; 0]);
    assert_eq!(fs::read_dir(&proc).unwrap().count(), 0);
}

/// Proves: root.readonly
#[test]
fn a_root_is_read_only_for_the_container_alone() {
    only_oarlock!("others would change the host's own mounts");
    for mounts in [true, false] {
        let mut bundle = without_namespace(Bundle::sh("touch /new || echo refused; pwd"));
        bundle.set("/root/readonly", true).set("/process/cwd", "/work/dir");
        if !mounts {
            bundle.set("/mounts", json!([]));
        }
        bundle.run().ok().prints("refused\n/work/dir");
        fs::write(bundle.rootfs("new"), "the host still writes").unwrap();
        assert_eq!(all(&bundle), [""; 0]);
    }
}

#[test]
fn a_terminal_is_at_dev_console_without_a_mount_namespace_too() {
    only_oarlock!("others would change the host's own mounts");
    let mut bundle =
        without_namespace(Bundle::sh("test -c /dev/console && grep -c ' /dev/console ' /proc/self/mountinfo"));
    bundle.set("/process/terminal", true);
    let socket = FdReceiver::new(bundle.host_dir("c").join("console"));
    let container = bundle.create_with(&["--console-socket", socket.path.to_str().unwrap()]);
    let mut terminal = Terminal::new(socket.receive().0);
    container.start();
    assert_eq!(terminal.read_all().trim(), "1");
    container.delete_force();
    assert_eq!(all(&bundle), [""; 0]);
}

#[test]
fn a_root_on_a_shared_mount_passes_nothing_on_and_is_left_as_it_was() {
    only_oarlock!("others would change the host's own mounts");
    let bundle = without_namespace(Bundle::waiting());
    let (rootfs, peer) = (bundle.rootfs(""), bundle.host_dir("peer"));
    let _shared = shared_root(&bundle);
    fs::create_dir(rootfs.join("vol")).unwrap();
    let bind = Command::new("mount").arg("--bind").args([&rootfs, &peer]).status().unwrap();
    assert!(bind.success());
    let _peer = HostMount(peer.clone());
    // What is mounted in the rootfs itself is the container's to see, and stays.
    let _inner = HostMount::tmpfs(&rootfs.join("vol"));
    fs::write(rootfs.join("vol/file"), "mounted before\n").unwrap();
    let before = all(&bundle);
    assert!(before.len() >= 4, "{before:#?}");
    let container = bundle.started();
    bundle.rt.call(["exec", &bundle.id, "cat", "/vol/file"]).ok().prints("mounted before");
    let passed = below(&peer);
    assert!(!passed.iter().any(|line| line.contains(" - proc ")), "{passed:#?}");
    container.delete_force();
    assert_eq!(all(&bundle), before);
}

#[test]
fn what_is_mounted_below_a_bind_stays_on_the_host_and_nothing_comes_to_it() {
    only_oarlock!("others would change the host's own mounts");
    for options in [&["rbind"][..], &["rbind", "rshared"], &["rbind", "rprivate"], &["rbind", "src-nofollow"]] {
        let mut bundle =
            without_namespace(Bundle::sh("cat /vol/sub/file && mount -t tmpfs inside /vol/other && echo done"));
        bundle.allow_sys_admin();
        let source = bundle.host_dir("source");
        let _shared = HostMount::tmpfs(&source).shared();
        fs::create_dir(source.join("sub")).unwrap();
        fs::create_dir(source.join("other")).unwrap();
        let _sub = HostMount::tmpfs(&source.join("sub")).shared();
        fs::write(source.join("sub/file"), "below\n").unwrap();
        bundle.bind(&source, "/vol", options);
        let before = all(&bundle);
        bundle.run().ok().prints("below\ndone");
        assert_eq!(all(&bundle), before, "{options:?}");
    }
}

#[test]
fn a_create_that_fails_midway_takes_its_mounts_back() {
    only_oarlock!("others would change the host's own mounts");
    let mut bundle = without_namespace(Bundle::waiting());
    let missing = bundle.host_dir("source").join("missing");
    bundle.bind(&missing, "/vol", &["bind"]);
    bundle.refused().names("mounts[7]").says("missing");
    // The root itself could not be found again below another mount.
    std::os::unix::fs::symlink(".", bundle.rootfs("self")).unwrap();
    for to in ["/", "/self"] {
        bundle.set("/mounts/7", json!({"destination": to, "type": "tmpfs", "source": "tmpfs"}));
        bundle.refused().names("mounts[7]").says("needs a mount namespace");
    }
}

#[test]
fn a_create_that_is_killed_midway_is_undone_by_delete_force() {
    only_oarlock!("others would change the host's own mounts");
    let bundle = without_namespace(Bundle::waiting());
    let _shared = shared_root(&bundle);
    let before = all(&bundle);
    let mut left = BTreeSet::new();
    for (call, last) in
        [("open_tree", 2), ("mount_setattr", 3), ("move_mount", 2), ("clone3", 1), ("recvmsg", 3), ("renameat", 2)]
    {
        for at in 1..=last {
            bundle.rt.finish(injected(&bundle.command("create", &[]), &[&format!("{call}:signal=KILL:when={at}")]));
            left.insert(all(&bundle).len() - before.len());
            bundle.rt.call(["delete", "--force", &bundle.id]).ok();
            assert_eq!(all(&bundle), before, "{call} {at}");
        }
    }
    // None, one, both, and with what init had mounted: the kill came when it was meant to.
    assert!(left.contains(&0) && left.len() >= 3, "{left:?}");
}

#[test]
fn a_mount_that_has_taken_the_roots_place_is_left_alone() {
    only_oarlock!("others would change the host's own mounts");
    let bundle = without_namespace(Bundle::waiting());
    let container = bundle.started();
    let rootfs = bundle.rootfs("");
    for _ in 0..2 {
        umount2(&rootfs, MntFlags::MNT_DETACH).unwrap();
    }
    let _other = HostMount::tmpfs(&rootfs);
    let before = all(&bundle);
    assert_eq!(before.len(), 1);
    container.delete_force();
    assert_eq!(all(&bundle), before);
}

/// The kernel gives the number of a mount that is gone to the next one.
#[test]
fn a_number_that_is_another_mounts_by_now_is_no_obstacle() {
    only_oarlock!("others would change the host's own mounts");
    let bundle = without_namespace(Bundle::waiting());
    let covered = bundle.host_dir("covered");
    let _lower = HostMount::tmpfs(&covered);
    let number = all(&bundle)[0].split(' ').next().unwrap().parse::<u64>().unwrap();
    let _upper = HostMount::tmpfs(&covered);
    let before = all(&bundle);
    for unique_known in [true, false] {
        bundle.rt.finish(injected(&bundle.command("create", &[]), &["move_mount:signal=KILL:when=1"]));
        change_record(&bundle, |mount| {
            mount["lower"]["id"] = json!(number);
            if !unique_known {
                mount["lower"]["unique"] = json!(0);
            }
        });
        bundle.rt.call(["delete", "--force", &bundle.id]).ok();
        assert_eq!(all(&bundle), before);
    }
}

/// Changes what is on record of the container's root.
fn change_record(bundle: &Bundle, change: impl FnOnce(&mut Value)) {
    let record = bundle.rt.root.join(&bundle.id).join("state.json");
    let mut content: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    change(&mut content["rootMount"]);
    fs::write(&record, content.to_string()).unwrap();
}

#[test]
fn a_root_under_another_mount_is_said_and_deleted_when_that_is_gone() {
    only_oarlock!("others would change the host's own mounts");
    let bundle = without_namespace(Bundle::waiting());
    let container = bundle.started();
    let over = HostMount::tmpfs(&bundle.rootfs(""));
    let covered = all(&bundle);
    bundle.rt.call(["delete", "--force", &bundle.id]).failed().says("something else is mounted over");
    assert_eq!(all(&bundle), covered);
    assert_eq!(container.status(), "stopped");
    drop(over);
    container.delete_force();
    assert_eq!(all(&bundle), [""; 0]);
}

#[test]
fn a_bundle_that_has_been_renamed_is_unmounted_where_it_is_now() {
    only_oarlock!("others would change the host's own mounts");
    let bundle = without_namespace(Bundle::waiting());
    let container = bundle.started();
    let moved = bundle.path("").with_file_name("moved to\\another");
    fs::rename(bundle.path(""), &moved).unwrap();
    container.delete_force();
    assert_eq!(all(&bundle), [""; 0]);
    fs::rename(&moved, bundle.path("")).unwrap();
}

fn kernel_is_since(major: u32, minor: u32) -> bool {
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

#[test]
fn a_bundle_that_has_been_renamed_and_covered_is_not_forgotten() {
    only_oarlock!("others would change the host's own mounts");
    if !kernel_is_since(6, 8) {
        skip!("needs statmount(2), Linux 6.8");
    }
    let bundle = without_namespace(Bundle::waiting());
    let moved = bundle.path("").with_file_name("moved");
    let rootfs = moved.join(bundle.rootfs("").strip_prefix(bundle.path("")).unwrap());
    for covered in [&moved, &rootfs] {
        let container = bundle.started();
        fs::rename(bundle.path(""), &moved).unwrap();
        let over = HostMount::tmpfs(covered);
        let before = all(&bundle);
        bundle.rt.call(["delete", "--force", &bundle.id]).failed().says("something else is mounted over");
        assert_eq!(all(&bundle), before);
        assert_eq!(container.status(), "stopped");
        drop(over);
        container.delete_force();
        assert_eq!(all(&bundle), [""; 0]);
        fs::rename(&moved, bundle.path("")).unwrap();
    }
}

/// A mount namespace in which `create` has been called.
struct Other(Child);

impl Other {
    fn create(bundle: &Bundle) -> Self {
        bundle.write();
        let create = bundle.command("create", &[]);
        let mut other = Command::new("unshare");
        other.args(["--mount", "--propagation", "private", "sh", "-ec"]);
        other.arg("\"$@\" >\"$0\" 2>&1 && echo made; read line").arg(bundle.path("create.out"));
        other.arg(create.get_program()).args(create.get_args()).env_remove("NOTIFY_SOCKET");
        let mut child = other.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let other = Self(child);
        assert_eq!(line, "made\n", "{}", fs::read_to_string(bundle.path("create.out")).unwrap());
        other
    }

    fn mounts(&self, bundle: &Bundle) -> usize {
        let table = fs::read_to_string(format!("/proc/{}/mountinfo", self.0.id())).unwrap();
        let rootfs = bundle.rootfs("");
        table.lines().filter(|line| line.contains(rootfs.to_str().unwrap())).count()
    }

    fn call(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["--mount", "--target", &self.0.id().to_string()]);
        inside.arg(command.get_program()).args(command.get_args());
        inside
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().ok();
    }
}

/// `kill` returns once the signal is sent, which is before init has gone.
fn end_init(bundle: &Bundle) {
    let pid = bundle.rt.state(&bundle.id)["pid"].as_i64().unwrap();
    let init = sys::pidfd_open(pid.try_into().unwrap()).unwrap();
    bundle.rt.call(["kill", &bundle.id, "KILL"]).ok();
    assert!(sys::wait_readable(init.as_fd(), sys::DEADLINE), "init does not end");
}

#[test]
fn a_root_in_another_mount_namespace_is_deleted_there() {
    only_oarlock!("others would change the host's own mounts");
    let bundle = without_namespace(Bundle::waiting());
    let other = Other::create(&bundle);
    let mounts = other.mounts(&bundle);
    assert!(mounts > 2, "{mounts}");
    end_init(&bundle);
    let delete = bundle.rt.command(["delete", "--force", &bundle.id]);
    if kernel_is_since(6, 11) {
        bundle.rt.call(["delete", "--force", &bundle.id]).failed().says("in another mount namespace");
    }
    let plain = bundle.rt.call(["delete", &bundle.id]).failed().says("root.path").says("lsns");
    assert!(plain.stderr.contains("nsenter"), "{plain}");
    assert_eq!((other.mounts(&bundle), bundle.rt.status(&bundle.id).as_str()), (mounts, "stopped"));
    bundle.rt.finish(other.call(&delete)).ok();
    assert_eq!(other.mounts(&bundle), 0);
    assert!(!bundle.rt.root.join(&bundle.id).exists());
}

#[test]
fn a_root_that_went_with_its_mount_namespace_is_no_obstacle() {
    only_oarlock!("others would change the host's own mounts");
    let bundle = without_namespace(Bundle::waiting());
    drop(Other::create(&bundle));
    let deleted = bundle.rt.call(["delete", "--force", &bundle.id]).ok();
    // Before, it is said that nothing is known of that namespace.
    assert!(deleted.stderr.is_empty() || !kernel_is_since(6, 11), "{deleted}");
    assert!(!bundle.rt.root.join(&bundle.id).exists());
}

/// As before Linux 6.11.
#[test]
fn where_nothing_can_be_told_of_another_mount_namespace_force_goes_on() {
    only_oarlock!("others would change the host's own mounts");
    let bundle = without_namespace(Bundle::waiting());
    drop(Other::create(&bundle));
    change_record(&bundle, |mount| mount["namespace"]["unique"] = json!(0));
    end_init(&bundle);
    bundle.rt.call(["delete", &bundle.id]).failed().says("in another mount namespace").says("--force");
    assert_eq!(bundle.rt.status(&bundle.id), "stopped");
    let forced = bundle.rt.call(["delete", "--force", &bundle.id]).ok();
    assert!(forced.stderr.contains("in another mount namespace"), "{forced}");
    assert!(!bundle.rt.root.join(&bundle.id).exists());
}

/// In a mount namespace of the test's own: the host's root is not put at risk.
#[test]
fn the_hosts_own_root_is_refused_before_anything_is_mounted() {
    only_oarlock!("others would change the host's own mounts");
    let roots = || {
        let mut mounts = table().0;
        mounts.retain(|mount| mount.point == "/");
        format!("{mounts:?}")
    };
    let before = roots();
    for root in ["/", "/usr/..", "/proc/self/root"] {
        let mut bundle = without_namespace(Bundle::waiting());
        bundle.set("/root/path", root).write();
        let create = bundle.command("create", &[]);
        let mut inside = Command::new("unshare");
        inside.args(["--mount", "--propagation", "private", "sh", "-c"]).env_remove("NOTIFY_SOCKET");
        inside.arg("before=$(cat /proc/$$/mountinfo); \"$@\"; code=$?; [ \"$before\" = \"$(cat /proc/$$/mountinfo)\" ] || exit 99; exit $code");
        inside.arg("sh").arg(create.get_program()).args(create.get_args());
        let output = bundle.nothing_left(bundle.rt.finish(inside));
        output.names("root.path").says("needs a mount namespace");
    }
    assert_eq!(roots(), before);
}

#[test]
fn what_needs_a_mount_namespace_is_refused_by_name() {
    only_oarlock!("others would change the host's own mounts");
    for (pointer, value, at) in [
        ("/linux/maskedPaths", json!(["/proc/kcore"]), "linux.maskedPaths"),
        ("/linux/readonlyPaths", json!(["/proc/sys"]), "linux.readonlyPaths"),
        ("/linux/rootfsPropagation", json!("rslave"), "linux.rootfsPropagation"),
        ("/linux/devices", json!([{"path": "/node", "type": "c", "major": 1, "minor": 3}]), "linux.devices[0]"),
    ] {
        let mut bundle = without_namespace(Bundle::waiting());
        bundle.set(pointer, value);
        bundle.refused().names(at);
    }
    let mut bundle = without_namespace(Bundle::waiting());
    bundle.user_namespace();
    bundle.refused().names("mounts").says("needs a mount namespace");
    bundle.set("/mounts", json!([])).set("/root/readonly", true);
    bundle.refused().names("root.readonly").says("needs a mount namespace");
}

/// Proves: linux.devices[].{path,type,major,minor}
#[test]
fn devices_are_made_in_a_dev_of_the_containers_own() {
    only_oarlock!("others would change the host's own mounts");
    let mut bundle = without_namespace(Bundle::sh("stat -c '%t %T' /dev/extra"));
    bundle.set("/linux/devices", json!([{"path": "/dev/extra", "type": "c", "major": 1, "minor": 5}]));
    bundle.run().ok().prints("1 5");
    assert!(!bundle.rootfs("dev/extra").exists());
}
