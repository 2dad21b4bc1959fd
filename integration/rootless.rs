//! Without privileges over the host. The user exists for one test alone: a number that nobody else has, and where names
//! and subordinate ids matter, in `/etc/passwd`, `/etc/subuid` and `/etc/subgid` of a mount namespace of its own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::agent::{Agent, Answer};
use crate::harness::{Bundle, HostMount, MountTable, Output, Value, base, cgroup, json};

/// Somebody without rights, and the bundle that is theirs.
struct User {
    bundle: Bundle,
    id: u32,
    /// The first of 65535 subordinate ids.
    subordinate: Option<u32>,
    /// Where the files are that stand for those in /etc.
    etc: PathBuf,
}

impl User {
    /// A user who may map no other id than their own.
    fn alone() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = 700_000_000 + std::process::id() * 64 + COUNT.fetch_add(1, Ordering::Relaxed);
        let mut bundle = Bundle::new();
        let etc = bundle.host_dir("etc");
        for dir in [bundle.rt.root.clone(), bundle.path(""), bundle.host_dir("run")] {
            fs::create_dir_all(&dir).unwrap();
            chown(&dir, Some(id), Some(id)).unwrap();
        }
        bundle.own_rootfs(id).namespace("user", None);
        for pointer in ["/linux/cgroupsPath", "/linux/resources"] {
            bundle.remove(pointer);
        }
        // There is no group 5 to give the terminals to.
        let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
        bundle.unmount("/dev/pts").mount("/dev/pts", "devpts", "devpts", &pts);
        let mut user = Self { bundle, id, subordinate: None, etc };
        user.map(json!([{"containerID": 0, "hostID": id, "size": 1}]));
        user
    }

    /// A user with subordinate ids, which become 1 to 65535 in the container.
    fn with_subordinate_ids() -> Self {
        let mut user = Self::alone();
        let first = 1_000_000_000 + (user.id % 32_768) * 65_536;
        user.subordinate = Some(first);
        let (id, name) = (user.id, format!("user-{}", user.id));
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        fs::write(user.etc.join("passwd"), format!("{passwd}{name}:x:{id}:{id}::/:/bin/sh\n")).unwrap();
        for file in ["subuid", "subgid"] {
            fs::write(user.etc.join(file), format!("{name}:{first}:65535\n")).unwrap();
        }
        user.map(json!([
            {"containerID": 0, "hostID": id, "size": 1}, {"containerID": 1, "hostID": first, "size": 65535}
        ]));
        user
    }

    fn map(&mut self, map: Value) {
        self.bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    }

    /// The command as this user runs it, after `prelude`, which root runs.
    fn run_by(&self, prelude: &str, command: &Command) -> Command {
        let mut script = format!("{prelude}\nset -e\n");
        if self.subordinate.is_some() {
            for file in ["passwd", "subuid", "subgid"] {
                script.push_str(&format!("mount --bind {} /etc/{file}\n", self.etc.join(file).display()));
            }
        }
        let id = self.id;
        script.push_str(&format!("exec setpriv --reuid={id} --regid={id} --clear-groups \"$@\""));
        let mut all = Command::new("unshare");
        all.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
        all.arg(command.get_program()).args(command.get_args()).env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
        all
    }

    fn bundle_command(&self, verb: &str, flags: &[&str]) -> Command {
        self.run_by("", &self.bundle.command(verb, flags))
    }

    #[track_caller]
    fn call(&self, args: &[&str]) -> Output {
        self.bundle.rt.finish(self.run_by("", &self.bundle.rt.command(args)))
    }

    #[track_caller]
    fn run(&self) -> Output {
        self.bundle.rt.finish(self.bundle_command("run", &[]))
    }

    #[track_caller]
    fn refused(&self) -> Output {
        self.bundle.nothing_left(self.bundle.rt.finish(self.bundle_command("create", &[])))
    }
}

/// Both kinds of user; one alone where newuidmap is missing.
fn users() -> Vec<User> {
    let mut users = vec![User::alone()];
    if has_newuidmap() {
        users.push(User::with_subordinate_ids());
    }
    users
}

fn has_newuidmap() -> bool {
    // The files are mounted over, so the host must have some.
    ["/usr/bin/newuidmap", "/etc/subuid", "/etc/subgid"].iter().all(|path| Path::new(path).exists())
}

#[test]
fn a_container_lives_and_ends_by_the_users_own_commands() {
    for mut user in users() {
        user.bundle.args(&["sleep", "1000"]);
        let container = user.bundle.create_by(user.bundle_command("create", &[]));
        let id = user.bundle.id.clone();
        assert_eq!(user.call(&["state", &id]).ok().json()["status"], "created");
        let status = container.proc("status");
        assert!(status.contains(&format!("\nUid:\t{0}\t{0}\t{0}\t{0}\n", user.id)), "{status}");
        user.call(&["start", &id]).ok();
        assert_eq!(user.call(&["state", &id]).ok().json()["status"], "running");
        let output = user.call(&["exec", &id, "sh", "-c", "id -u; cat /proc/1/comm; exit 7"]).code_is(7);
        assert_eq!(output.lines(), ["0", "sleep"]);
        user.call(&["list", "-q"]).ok().prints(&id);
        user.call(&["kill", &id, "KILL"]).ok();
        assert_eq!(container.wait(), 137);
        user.call(&["delete", &id]).ok();
        assert!(!user.bundle.rt.root.join(&id).exists());
    }
}

#[test]
fn exec_enters_a_running_container_as_another_user_or_with_more_capabilities() {
    if !has_newuidmap() {
        skip!("newuidmap (package uidmap), /etc/subuid or /etc/subgid is missing");
    }
    let mut user = User::with_subordinate_ids();
    user.bundle.args(&["sleep", "1000"]);
    let _container = user.bundle.create_by(user.bundle_command("create", &[]));
    let id = user.bundle.id.clone();
    user.call(&["start", &id]).ok();
    user.call(&["exec", "--user", "1000:100", &id, "sh", "-c", "echo $(id -u):$(id -g)"]).ok().prints("1000:100");
    user.call(&["exec", "--cap", "CAP_SYS_ADMIN", &id, "sh", "-c", "mount -t tmpfs t /mnt && echo mounted"])
        .ok()
        .prints("mounted");
}

#[test]
fn one_mapped_id_is_enough_and_groups_cannot_be_changed() {
    differs!("crun", "crun ignores the groups");
    let mut user = User::alone();
    let script = "cat /proc/self/setgroups; chown 1 /tmp 2>/dev/null || echo no other id; touch /tmp/new; id -u";
    user.bundle.script(script);
    user.run().ok().prints("deny\nno other id\n0");
    let made = fs::metadata(user.bundle.rootfs("tmp/new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (user.id, user.id));
    // Without the privilege to set groups there is none to ask for.
    user.bundle.set("/process/user/additionalGids", json!([0]));
    user.refused().names("process.user.additionalGids");
}

#[test]
fn subordinate_ids_are_mapped_by_newuidmap() {
    differs!("runc", "runc 1.1.5 sets no additional groups without privileges");
    if !has_newuidmap() {
        skip!("newuidmap (package uidmap), /etc/subuid or /etc/subgid is missing");
    }
    let mut user = User::with_subordinate_ids();
    user.bundle.set("/process/user/additionalGids", json!([20, 30]));
    user.bundle
        .script("cat /proc/self/setgroups; id -G; touch /tmp/new; chown 1000:2000 /tmp/new && stat -c %u:%g /tmp/new");
    user.run().ok().prints("allow\n0 20 30\n1000:2000");
    let made = fs::metadata(user.bundle.rootfs("tmp/new")).unwrap();
    let first = user.subordinate.unwrap();
    assert_eq!((made.uid(), made.gid()), (first + 999, first + 1999));
}

#[test]
fn ids_that_are_not_granted_are_refused_by_newuidmap_in_its_words() {
    if !has_newuidmap() {
        skip!("newuidmap (package uidmap), /etc/subuid or /etc/subgid is missing");
    }
    let mut user = User::with_subordinate_ids();
    user.map(json!([{"containerID": 0, "hostID": user.id, "size": 1}, {"containerID": 1, "hostID": 5, "size": 10}]));
    user.refused().names("linux.uidMappings").names("newuidmap").names("/etc/subuid");
}

#[test]
fn without_a_user_namespace_it_is_refused() {
    differs!("crun", "crun makes one by itself");
    let mut user = User::alone();
    user.bundle.no_namespace("user").remove("/linux/uidMappings");
    user.bundle.remove("/linux/gidMappings");
    user.refused().says("rootless container requires user namespaces");
}

#[test]
fn without_access_to_cgroups_a_container_runs_where_nothing_is_limited() {
    let mut user = User::alone();
    user.bundle.script("echo ran");
    user.run().ok().prints("ran");
    user.bundle.set("/linux/resources", json!({"pids": {"limit": 7}}));
    let cgroup = user.bundle.cgroup();
    user.bundle.set("/linux/cgroupsPath", json!(cgroup));
    user.refused();
}

#[test]
fn below_a_cgroup_that_is_the_users_limits_are_set() {
    let mut user = User::alone();
    let parent = format!("{}/user-{}", base::cgroup(), user.id);
    let Some(made) = Delegated::new(&parent, user.id) else { skip!("the pids controller is missing") };
    let inner = format!("{parent}/inner");
    let controller = if cgroup::has_v1("pids") { "pids" } else { "" };
    user.bundle.set("/linux/cgroupsPath", json!(inner));
    user.bundle.set("/linux/resources", json!({"pids": {"limit": 77}})).args(&["sleep", "1000"]);
    let create = user.run_by(&made.enter(), &user.bundle.command("create", &[]));
    let container = user.bundle.create_by(create);
    assert_eq!(cgroup::read(controller, &inner, "pids.max"), "77");
    assert_eq!(cgroup::read(controller, &inner, "cgroup.procs"), container.pid.to_string());
    container.kill("KILL").wait();
    user.call(&["delete", &user.bundle.id]).ok();
    assert!(cgroup::dirs(&inner).iter().all(|dir| !dir.exists()));
}

/// A cgroup given to a user in every hierarchy, as systemd gives one to a user's manager.
struct Delegated(Vec<PathBuf>);

impl Delegated {
    /// `None` where there is no controller for the number of processes.
    fn new(path: &str, id: u32) -> Option<Self> {
        let v1 = cgroup::has_v1("pids");
        if !v1 && !cgroup::has_v2("pids") {
            return None;
        }
        let made = Self(cgroup::dirs(path));
        for dir in &made.0 {
            fs::create_dir_all(dir.join("commands")).expect("cgroup");
            // From the top down to the one that is given away: what is below needs it.
            let commands = dir.join("commands");
            let exists = |dir: &&Path| dir.join("cgroup.procs").exists();
            let mut above: Vec<&Path> = commands.ancestors().take_while(exists).collect();
            above.reverse();
            for pair in above.windows(2) {
                for file in ["cpuset.cpus", "cpuset.mems"].iter().filter(|_| v1) {
                    if fs::read_to_string(pair[1].join(file)).is_ok_and(|text| text.trim().is_empty()) {
                        fs::copy(pair[0].join(file), pair[1].join(file)).expect("cpuset");
                    }
                }
            }
            for dir in above.iter().filter(|dir| !v1 && **dir != commands) {
                fs::write(dir.join("cgroup.subtree_control"), "+pids").expect("cgroup.subtree_control");
            }
            let files = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"];
            for path in [dir, &commands] {
                for path in files.iter().map(|file| path.join(file)).chain([path.clone()]).filter(|path| path.exists())
                {
                    chown(path, Some(id), Some(id)).expect("chown");
                }
            }
        }
        Some(made)
    }

    /// What the user's commands have to be in: on v2 a process is moved only below what is the user's.
    fn enter(&self) -> String {
        self.0.iter().map(|dir| format!("echo $$ > {}/commands/cgroup.procs\n", dir.display())).collect()
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for dir in &self.0 {
            fs::remove_dir(dir.join("commands")).ok();
            fs::remove_dir(dir).ok();
        }
    }
}

#[test]
fn binds_devices_and_hidden_paths_are_as_for_root() {
    for mut user in users() {
        let volume = user.bundle.host_dir("volume");
        fs::write(volume.join("file"), "text\n").unwrap();
        let sub = user.bundle.host_dir("volume/sub");
        let _below = HostMount::tmpfs(&sub);
        user.bundle.bind(&volume, "/vol", &["rbind", "rro", "nosuid"]);
        user.bundle.set("/linux/maskedPaths", json!(["/proc/kcore", "/proc/acpi", "/etc/group"]));
        user.bundle.script(
            "cat /vol/file; touch /vol/sub/x 2>/dev/null || echo read-only; echo text > /dev/null; head -c 3 /dev/zero | wc -c
             wc -c < /etc/group; touch /proc/sys/kernel/domainname 2>/dev/null; stat -c %t:%T /dev/null; readlink /dev/fd
             cat /proc/self/mountinfo",
        );
        let output = user.run().ok();
        let said = ["text", "read-only", "3", "0", "1:3", "/proc/self/fd"];
        assert_eq!(output.lines()[..6], said, "{output}");
        let table = MountTable::parse(&output.stdout);
        assert!(table.at("/vol").has("nosuid") && table.at("/proc/sys").has("ro"), "{output}");
        // The host's node, bound: nobody without privileges makes one.
        assert!(table.has("/dev/null"), "{output}");
    }
}

#[test]
fn without_a_network_namespace_sysfs_is_the_hosts_and_read_only_to_its_last_mount() {
    differs!("runc", "runc fails to mount it");
    differs!("crun", "crun 1.8.1 leaves it writable");
    for cgroup_namespace in [true, false] {
        let mut user = User::alone();
        user.bundle.no_namespace("network").unmount("/sys/fs/cgroup");
        if !cgroup_namespace {
            user.bundle.no_namespace("cgroup");
        }
        user.bundle.script(
            "ls -d /sys/kernel /sys/class/net; find /sys/fs/cgroup -maxdepth 2 -type d | while read d; do
             mkdir $d/oarlock-cve 2>/dev/null && echo made $d; done; mkdir /sys/fs/cgroup/new 2>&1; cat /proc/self/mountinfo",
        );
        let output = user.run().ok();
        assert_eq!(output.lines()[..2], ["/sys/class/net", "/sys/kernel"], "{output}");
        assert!(output.stdout.contains("Read-only file system") && !output.stdout.contains("made"), "{output}");
        for mount in MountTable::parse(&output.stdout).0.iter().filter(|mount| mount.point.starts_with("/sys")) {
            assert!(mount.has("ro") || mount.point == "/sys/firmware", "{mount:?}");
        }
    }
}

#[test]
fn without_a_pid_namespace_proc_is_the_hosts() {
    differs!("runc", "runc fails to mount it");
    differs!("crun", "crun fails to mount it");
    let mut user = User::alone();
    user.bundle.no_namespace("pid").script("ls -d /proc/self; [ $$ != 1 ] && echo shared; cat /proc/self/comm");
    let output = user.run().ok();
    assert_eq!(output.lines(), ["/proc/self", "shared", "cat"], "{output}");
}

/// The user's own cgroups on the host must not be writable from a container that has no cgroup namespace.
#[test]
fn cve_2023_25809_the_cgroups_of_the_host_cannot_be_written() {
    differs!("runc", "runc 1.1.5 leaves them writable on v1");
    let mut user = User::alone();
    let parent = format!("{}/cve-{}", base::cgroup(), user.id);
    let Some(made) = Delegated::new(&parent, user.id) else { skip!("the pids controller is missing") };
    user.bundle.no_namespace("cgroup").unmount("/sys/fs/cgroup");
    user.bundle.mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw", "nosuid", "noexec", "nodev"]);
    user.bundle.set("/linux/cgroupsPath", json!(format!("{parent}/inner")));
    user.bundle.script(
        "find /sys/fs/cgroup -type d | while read d; do mkdir $d/evil 2>/dev/null && echo made $d/evil; done; echo end",
    );
    let run = user.run_by(&made.enter(), &user.bundle.command("run", &[]));
    user.bundle.rt.finish(run).ok().prints("end");
}

#[test]
fn the_starter_file_for_rootless_containers_runs() {
    differs!("runc", "runc 1.1.5 leaves the cgroups out of its file, and writable");
    differs!("crun", "crun leaves the cgroups out of its file, and writable");
    let user = User::alone();
    // Written by the user, for whose id it is.
    let path = user.bundle.path("");
    user.call(&["spec", "--rootless", "--bundle", path.to_str().unwrap()]).ok();
    let config = fs::read_to_string(user.bundle.path("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["process"]["args"] = json!(["sh", "-c", "id -u; mkdir /sys/fs/cgroup/evil 2>&1 | grep -c Read-only"]);
    config["process"]["terminal"] = json!(false);
    fs::write(user.bundle.path("config.json"), config.to_string()).unwrap();
    let run = user.bundle.rt.command(["run", "--bundle", path.to_str().unwrap(), &user.bundle.id]);
    user.bundle.rt.finish(user.run_by("", &run)).ok().prints("0\n1");
}

#[test]
fn the_state_is_below_xdg_runtime_dir_and_marked_to_be_kept() {
    only_oarlock!("the directory's name is the runtime's own");
    let mut user = User::alone();
    let run = user.bundle.host_dir("run");
    user.bundle.args(&["true"]).write();
    let program = crate::harness::runtime::binary();
    let id = user.bundle.id.clone();
    let call = |args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args);
        let mut command = user.run_by("", &command);
        command.env("XDG_RUNTIME_DIR", &run);
        user.bundle.rt.finish(command)
    };
    call(&["create", "--bundle", user.bundle.path("").to_str().unwrap(), &id]).ok();
    let root = run.join("oarlock");
    assert!(root.join(&id).exists());
    // systemd-tmpfiles leaves alone what is sticky.
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o7777, 0o1700);
    call(&["delete", "--force", &id]).ok();
    assert!(!root.join(&id).exists());
}

#[test]
fn what_only_privileges_could_lower_or_raise_is_let_go_or_refused_by_name() {
    differs!("runc", "runc 1.1.5 insists on the lower oomScoreAdj");
    differs!("crun", "crun insists on the lower oomScoreAdj");
    let mut user = User::alone();
    user.bundle.set("/process/oomScoreAdj", -100).script("cat /proc/self/oom_score_adj");
    let output = user.run().ok();
    assert!(output.stdout.trim().parse::<i32>().unwrap() >= 0, "{output}");
    user.bundle.set("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 10_000_000, "hard": 10_000_000}]));
    user.refused().names("process.rlimits[0]");
}

#[test]
fn a_seccomp_agent_is_served_and_sendmsg_cannot_be_asked_about() {
    differs!("crun", "crun 1.8.1 keeps the connection open, whose end the agent waits for");
    differs!("runc", "runc refuses write");
    let mut user = User::alone();
    let agent = Agent::new(user.bundle.host_dir("").join("agent"), |call, _| match call.number {
        libc::SYS_mkdir => Answer::Errno(42),
        _ => Answer::Continue,
    });
    fs::set_permissions(&agent.path, fs::Permissions::from_mode(0o777)).unwrap();
    for no_new_privileges in [false, true] {
        user.bundle.set("/process/noNewPrivileges", no_new_privileges).add_probe();
        user.bundle.args(&["/probe", "syscall", "83", "0", "0"]);
        let calls = ["mkdir", "write", "close", "prctl", "capset", "execve"];
        user.bundle.set(
            "/linux/seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": agent.path,
                   "syscalls": [{"names": calls, "action": "SCMP_ACT_NOTIFY"}]}),
        );
        let output = user.run().ok();
        assert_eq!(output.field("rc=-1 errno="), "42", "{output}");
        agent.told();
    }
    user.bundle.set("/linux/seccomp/syscalls/0/names", json!(["sendmsg"]));
    user.refused().names("linux.seccomp").names("sendmsg");
}
