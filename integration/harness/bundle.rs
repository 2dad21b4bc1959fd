//! A bundle to edit and to run: a busybox root file system and a config.json like the one that Docker writes.
//! Dropping it removes what it made and fails the test when anything of its containers is left on the host.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::runtime::Running;
use super::{Container, Output, Runtime, Value, base, json, leak, mounts};

/// One test's bundle, runtime state directory and container id.
pub struct Bundle {
    /// Holds `bundle/`, `state/` and the streams of the commands.
    dir: PathBuf,
    pub id: String,
    pub config: Value,
    pub rt: Runtime,
}

impl Bundle {
    pub fn new() -> Self {
        let id = base::unique();
        let dir = base::dir().join(&id);
        fs::create_dir_all(dir.join("bundle")).expect("bundle directory");
        base::make_rootfs(&dir.join("bundle/rootfs"));
        let rt = Runtime::new(dir.join("state"), dir.clone());
        let config = docker_like(&format!("{}/{id}", base::cgroup()));
        Self { dir, id, config, rt }
    }

    /// A bundle whose program is a shell script.
    pub fn sh(script: &str) -> Self {
        let mut bundle = Self::new();
        bundle.script(script);
        bundle
    }

    /// A bundle whose program waits to be killed.
    pub fn waiting() -> Self {
        let mut bundle = Self::new();
        bundle.args(&["sleep", "1000"]);
        bundle
    }

    pub fn script(&mut self, script: &str) -> &mut Self {
        self.args(&["sh", "-c", script])
    }

    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.set("/process/args", json!(args))
    }

    /// The program is `probe ARGS…` (helpers/probe.c).
    pub fn probe(&mut self, args: &[&str]) -> &mut Self {
        self.add_probe();
        let args: Vec<&str> = std::iter::once("/probe").chain(args.iter().copied()).collect();
        self.args(&args)
    }

    /// Puts `/probe` into the root file system.
    pub fn add_probe(&mut self) -> &mut Self {
        let link = self.rootfs("probe");
        if !link.exists() {
            fs::hard_link(base::probe(), link).expect("link the probe");
        }
        self
    }

    /// The value at a JSON pointer; objects on the way are made, `-` is a new last element.
    pub fn at(&mut self, pointer: &str) -> &mut Value {
        let mut value = &mut self.config;
        for key in pointer.split('/').skip(1) {
            let key = key.replace("~1", "/");
            if key == "-" && value.is_null() {
                *value = json!([]);
            }
            value = match value {
                Value::Array(array) => {
                    let index = key.parse().unwrap_or(array.len());
                    if index == array.len() {
                        array.push(Value::Null);
                    }
                    &mut array[index]
                }
                other => &mut other[key],
            };
        }
        value
    }

    pub fn set(&mut self, pointer: &str, to: impl Into<Value>) -> &mut Self {
        *self.at(pointer) = to.into();
        self
    }

    /// Appends to the array at the pointer.
    pub fn push(&mut self, pointer: &str, item: Value) -> &mut Self {
        self.set(&format!("{pointer}/-"), item)
    }

    /// Removes a key of an object.
    pub fn remove(&mut self, pointer: &str) -> &mut Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        if let Value::Object(object) = self.at(parent) {
            object.remove(key);
        }
        self
    }

    /// Adds a mount.
    pub fn mount(&mut self, to: &str, kind: &str, source: &str, options: &[&str]) -> &mut Self {
        let mount = json!({"destination": to, "type": kind, "source": source, "options": options});
        self.push("/mounts", mount)
    }

    /// Adds a bind mount of a host path.
    pub fn bind(&mut self, from: &Path, to: &str, options: &[&str]) -> &mut Self {
        let options: Vec<&str> = std::iter::once("bind").chain(options.iter().copied()).collect();
        self.mount(to, "bind", from.to_str().expect("UTF-8"), &options)
    }

    /// Drops the mount at a destination.
    pub fn unmount(&mut self, destination: &str) -> &mut Self {
        let mounts = self.at("/mounts").as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != destination);
        self
    }

    /// Makes a namespace new (`None`) or joined by path, in place of what the config said of its type.
    pub fn namespace(&mut self, kind: &str, path: Option<&Path>) -> &mut Self {
        self.no_namespace(kind);
        let entry = match path {
            Some(path) => json!({"type": kind, "path": path}),
            None => json!({"type": kind}),
        };
        self.push("/linux/namespaces", entry)
    }

    /// Leaves the container in the host's namespace of this type.
    pub fn no_namespace(&mut self, kind: &str) -> &mut Self {
        let namespaces = self.at("/linux/namespaces").as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != kind);
        self
    }

    /// Gives the program CAP_SYS_ADMIN, for tests that mount inside.
    pub fn allow_sys_admin(&mut self) -> &mut Self {
        for set in ["bounding", "effective", "permitted"] {
            self.push(&format!("/process/capabilities/{set}"), json!("CAP_SYS_ADMIN"));
        }
        self
    }

    /// A new user namespace in which ids 0–65535 are the host's 100000–165535, with the root file system given
    /// to them.
    pub fn user_namespace(&mut self) -> &mut Self {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        self.namespace("user", None).set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
        self.own_rootfs(100_000)
    }

    /// Gives the root file system's directories to a host id.
    pub fn own_rootfs(&mut self, id: u32) -> &mut Self {
        let root = self.rootfs("");
        for name in ["", "bin", "dev", "proc", "sys", "tmp", "etc", "root", "run", "var", "mnt"] {
            std::os::unix::fs::chown(root.join(name), Some(id), Some(id)).expect("chown");
        }
        self
    }

    /// A path in the bundle; `""` is the bundle itself.
    pub fn path(&self, name: &str) -> PathBuf {
        let bundle = self.dir.join("bundle");
        if name.is_empty() { bundle } else { bundle.join(name) }
    }

    /// A path in the root file system, from the host; `""` is the root.
    pub fn rootfs(&self, name: &str) -> PathBuf {
        self.path(Path::new("rootfs").join(name).to_str().expect("UTF-8").trim_end_matches('/'))
    }

    /// A host directory of this test, outside the bundle.
    pub fn host_dir(&self, name: &str) -> PathBuf {
        let path = self.dir.join("host").join(name);
        fs::create_dir_all(&path).expect("host directory");
        path
    }

    /// Writes a file into the root file system.
    pub fn file(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.rootfs(name);
        fs::create_dir_all(path.parent().expect("parent")).expect("parent directory");
        fs::write(&path, content).expect("file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
        path
    }

    /// The container's cgroup as `linux.cgroupsPath` spells it.
    pub fn cgroup(&self) -> String {
        format!("{}/{}", base::cgroup(), self.id)
    }

    /// Writes config.json.
    pub fn write(&self) -> &Self {
        let text = serde_json::to_vec_pretty(&self.config).expect("JSON");
        fs::write(self.path("config.json"), text).expect("config.json");
        self
    }

    /// `VERB --bundle … FLAGS… ID` with the config written.
    pub fn command(&self, verb: &str, flags: &[&str]) -> Command {
        self.write();
        let mut command = self.rt.command([verb, "--bundle"]);
        command.arg(self.path("")).args(flags).arg(&self.id);
        command
    }

    /// `run` to the container's end.
    #[track_caller]
    pub fn run(&self) -> Output {
        self.run_with(&[])
    }

    #[track_caller]
    pub fn run_with(&self, flags: &[&str]) -> Output {
        self.rt.finish(self.command("run", flags))
    }

    /// `run` that stays in the foreground while the test goes on.
    pub fn start_run(&self, flags: &[&str]) -> Running {
        self.rt.spawn(self.command("run", flags))
    }

    /// `create`, which must succeed.
    #[track_caller]
    pub fn create(&self) -> Container<'_> {
        self.create_with(&[])
    }

    #[track_caller]
    pub fn create_with(&self, flags: &[&str]) -> Container<'_> {
        self.create_by(self.command("create", flags))
    }

    /// A `create` command that the test prepared.
    #[track_caller]
    pub fn create_by(&self, command: Command) -> Container<'_> {
        let running = self.rt.spawn(command);
        let (stdout, stderr) = (running.stdout.clone(), running.stderr.clone());
        running.wait().ok();
        Container::new(self, stdout, stderr)
    }

    /// `create` and `start`.
    #[track_caller]
    pub fn started(&self) -> Container<'_> {
        let container = self.create();
        container.start();
        container
    }

    /// `create`, which must fail with 1 and leave nothing on the host.
    #[track_caller]
    pub fn refused(&self) -> Output {
        self.refused_with(&[])
    }

    #[track_caller]
    pub fn refused_with(&self, flags: &[&str]) -> Output {
        let output = self.rt.finish(self.command("create", flags));
        self.nothing_left(output)
    }

    /// `run`, which must fail with 1 and leave nothing on the host: for what is only found at `start`.
    #[track_caller]
    pub fn run_refused(&self) -> Output {
        let output = self.run();
        self.nothing_left(output)
    }

    #[track_caller]
    pub fn nothing_left(&self, output: Output) -> Output {
        let output = output.failed();
        let left = leak::find(&self.id, &self.cgroup(), &self.path(""), &self.rt.root);
        assert!(left.is_empty(), "left behind by a refusal: {left:?}: {output}");
        output
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if self.rt.root.join(&self.id).exists() {
            self.rt.clean_up(&self.id);
        }
        let left = leak::find(&self.id, &self.cgroup(), &self.path(""), &self.rt.root);
        leak::clear(&self.id, &self.cgroup(), &self.dir);
        // The mount namespace that oarlock keeps for the next container of this state directory.
        mounts::detach_all(&self.rt.root);
        fs::remove_dir_all(&self.dir).ok();
        if !left.is_empty() {
            let text = format!("{} left on the host: {left:#?}", self.id);
            if std::thread::panicking() {
                eprintln!("{text}");
            } else {
                panic!("{text}");
            }
        }
    }
}

/// A config in the shape of Docker's: six namespaces, its mounts, capabilities and masked paths.
fn docker_like(cgroup: &str) -> Value {
    let capabilities = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE"
    ]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            }
        },
        "root": {"path": "rootfs"},
        "hostname": "oarlock-test",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
             "options": ["ro", "nosuid", "noexec", "nodev"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]}
        ],
        "linux": {
            "cgroupsPath": cgroup,
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "mount"}, {"type": "network"}, {"type": "uts"}, {"type": "pid"},
                {"type": "ipc"}, {"type": "cgroup"}
            ],
            "maskedPaths": [
                "/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi",
                "/sys/firmware"
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
            ]
        }
    })
}
