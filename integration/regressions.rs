//! Defects that were found by looking rather than by the other tests: each once went wrong in oarlock.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::harness::sockets::FdReceiver;
use crate::harness::{Bundle, Fifo, json, sys};

#[test]
fn a_device_is_never_made_through_a_symlink_on_a_shared_volume() {
    differs!("runc", "runc 1.1.5 refuses where something else is in the device's place");
    differs!("crun", "crun 1.8.1 changes nothing where something else is in the device's place");
    let mut bundle = Bundle::sh("stat -c '%t,%T %a' /vol/d");
    let volume = bundle.host_dir("volume");
    let victim = bundle.file("host/victim", "secret", 0o600);
    std::os::unix::fs::symlink(&victim, volume.join("d")).unwrap();
    bundle.bind(&volume, "/vol", &["rbind"]);
    bundle.push("/linux/devices", json!({"path": "/vol/d", "type": "c", "major": 1, "minor": 5, "fileMode": 0o644}));
    bundle.run().ok().prints("1,5 644");
    assert_eq!(std::fs::metadata(&victim).unwrap().permissions().mode() & 0o7777, 0o600, "the host's file");
}

#[test]
fn in_a_user_namespace_a_source_out_of_reach_is_the_hosts_not_the_images() {
    differs!("runc", "runc 1.1.5 needs every source within reach of the container's root");
    differs!("crun", "crun 1.8.1 needs the root within reach of the container's root");
    let mut bundle = Bundle::sh("cat /vol/f");
    let source = bundle.path("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("f"), "the host's").unwrap();
    // What a resolution inside the image would find.
    let inside = bundle.rootfs(source.join("f").to_str().unwrap().trim_start_matches('/'));
    std::fs::create_dir_all(inside.parent().unwrap()).unwrap();
    std::fs::write(&inside, "the image's").unwrap();
    bundle.user_namespace().bind(&source, "/vol", &["rbind"]);
    std::fs::set_permissions(bundle.path(""), PermissionsExt::from_mode(0o700)).unwrap();
    bundle.run().ok().prints("the host's");
}

#[test]
fn a_read_only_tmpfs_takes_mount_points_for_what_is_mounted_below() {
    let mut bundle = Bundle::sh("cat /vol/sub/f; touch /vol/new; echo code $?");
    let source = bundle.host_dir("source");
    std::fs::write(source.join("f"), "below\n").unwrap();
    bundle.mount("/vol", "tmpfs", "tmpfs", &["ro"]).bind(&source, "/vol/sub", &["rbind", "ro"]);
    let output = bundle.run().ok();
    assert_eq!(output.lines(), ["below", "code 1"], "{output}");
}

#[test]
fn a_mount_with_a_long_value_keeps_its_options() {
    let mut bundle = Bundle::sh("touch /ro/f; echo code $?; cat /etc/kept; touch /etc/new; echo code $?");
    std::fs::write(bundle.rootfs("etc/kept"), "kept\n").unwrap();
    let long = "x".repeat(300);
    bundle.mount("/ro", "tmpfs", &long, &["ro"]).mount("/etc", "tmpfs", &long, &["tmpcopyup"]);
    let output = bundle.run().ok();
    assert_eq!(output.lines(), ["code 1", "kept", "code 0"], "{output}");
}

#[test]
fn a_created_container_heeds_sigterm() {
    differs!("crun", "crun's init ignores it, as pid 1 of its namespace");
    let bundle = Bundle::waiting();
    let container = bundle.create();
    container.kill("TERM").wait_end();
    assert_eq!(container.status(), "stopped");
}

#[test]
fn without_a_pid_namespace_a_signal_still_reaches_init_alone() {
    let mut bundle = Bundle::new();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.no_namespace("pid");
    bundle.script(
        "trap 'echo init > /said; exit 0' USR1; (trap 'echo child > /said; exit 0' USR1; while :; do sleep 0.1; done) & \
         echo ready > /said; while :; do sleep 0.1; done",
    );
    let container = bundle.started();
    assert_eq!(said.line(), "ready");
    container.kill("USR1");
    assert_eq!(said.line(), "init");
    container.wait_end();
    assert!(said.is_empty(), "the child heard it too");
    container.call("kill", &["-a", "KILL"]);
}

#[test]
fn a_timeout_beyond_all_time_is_none() {
    differs!("runc", "in runc 1.1.5 such a timeout overflows and has passed at once");
    differs!("crun", "crun 1.8.1 refuses the number");
    let mut bundle = Bundle::sh("true");
    bundle.push("/hooks/createRuntime", json!({"path": "/bin/true", "timeout": i64::MAX}));
    bundle.run().ok();
}

#[test]
fn a_pidfd_socket_that_closes_leaves_no_container() {
    differs!("runc", "--pidfd-socket came with runc 1.2");
    differs!("crun", "crun has no --pidfd-socket");
    let mut bundle = Bundle::new();
    let mut asked = Fifo::new(&bundle.host_dir("h").join("asked"));
    let mut told = Fifo::new(&bundle.host_dir("h").join("told"));
    let script = format!("echo x > {0}/asked; read line < {0}/told", bundle.host_dir("h").display());
    bundle.push("/hooks/createRuntime", json!({"path": "/bin/sh", "args": ["sh", "-c", script]}));
    let receiver = FdReceiver::new(bundle.host_dir("s").join("pidfd"));
    bundle.write();
    let creating = bundle.rt.spawn(bundle.command("create", &["--pidfd-socket", receiver.path.to_str().unwrap()]));
    asked.line();
    drop(receiver);
    told.tell("go");
    bundle.nothing_left(creating.wait()).failed();
}

#[test]
fn a_filter_may_refuse_what_only_the_runtime_needs() {
    let mut bundle = Bundle::sh("echo ran");
    let names = ["close_range", "umask", "sendmsg", "recvmsg"];
    bundle.set("/process/noNewPrivileges", false).set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": names, "action": "SCMP_ACT_ERRNO"}]}),
    );
    bundle.run().ok().prints("ran");
}

#[test]
fn delete_force_does_not_wait_for_a_start_that_hangs_in_a_hook() {
    let mut bundle = Bundle::new();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    let _never = Fifo::new(&bundle.rootfs("never"));
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo hook > /said; read line < /never"]});
    bundle.push("/hooks/startContainer", hook);
    let container = bundle.create();
    let starting = bundle.rt.spawn(bundle.rt.command(["start", &bundle.id]));
    assert_eq!(said.line(), "hook");
    container.call("delete", &["--force"]).ok();
    starting.wait();
}

#[test]
fn a_failed_poststart_hook_ends_the_container() {
    differs!("runc", "runc 1.1.5 runs poststart hooks at the end of `create`");
    differs!("crun", "crun 1.8.1 does not mind");
    let mut bundle = Bundle::waiting();
    bundle.push("/hooks/poststart", json!({"path": "/bin/sh", "args": ["sh", "-c", "cat > /dev/null; exit 1"]}));
    let poststop = bundle.host_dir("h").join("poststop");
    let script = format!("cat > /dev/null; touch {}", poststop.display());
    bundle.push("/hooks/poststop", json!({"path": "/bin/sh", "args": ["sh", "-c", script]}));
    let container = bundle.create();
    let output = container.call("start", &[]);
    bundle.nothing_left(output).failed();
    assert!(poststop.exists(), "the poststop hooks belong to the end (runtime-spec, lifecycle 12 and 13)");
}

#[test]
fn sockets_that_were_passed_to_another_process_are_not_ours() {
    let mut bundle = Bundle::new();
    bundle.args(&["env"]).write();
    let mut run = bundle.command("run", &[]);
    run.env("LISTEN_FDS", "3").env("LISTEN_PID", "1");
    let output = bundle.rt.finish(run).ok();
    assert!(!output.stdout.contains("LISTEN_FDS=3"), "{output}");
}

#[test]
fn a_process_that_was_in_the_cgroup_before_survives_a_refused_create_and_its_delete() {
    differs!("crun", "crun 1.8.1 takes any cgroup, and ends what is in it");
    let bundle = Bundle::waiting();
    let mut stranger = Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
    let pidfd = sys::pidfd_open(stranger.id() as i32).unwrap();
    for dir in crate::harness::cgroup::dirs(&bundle.cgroup()) {
        std::fs::create_dir_all(&dir).unwrap();
        // v1 alone wants them set before anyone joins.
        for name in ["cpus", "mems"] {
            let file = dir.join(format!("cpuset.{name}"));
            if file.exists() && crate::harness::cgroup::has_v1("cpuset") {
                let above = std::fs::read_to_string(format!("/sys/fs/cgroup/cpuset/cpuset.{name}")).unwrap();
                std::fs::write(dir.parent().unwrap().join(format!("cpuset.{name}")), above.trim()).unwrap();
                std::fs::write(&file, above.trim()).unwrap();
            }
        }
        std::fs::write(dir.join("cgroup.procs"), stranger.id().to_string()).unwrap();
    }
    bundle.write();
    let refused = bundle.rt.finish(bundle.command("create", &[]));
    bundle.rt.call(["delete", "--force", &bundle.id]);
    let alive = !sys::wait_readable(pidfd.as_fd(), std::time::Duration::ZERO);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    for dir in crate::harness::cgroup::dirs(&bundle.cgroup()) {
        std::fs::remove_dir(dir).ok();
    }
    assert!(alive, "a process that was never the container's: {refused}");
}

#[test]
fn a_descriptor_of_the_runtimes_own_is_none_that_can_be_preserved() {
    differs!("runc", "runc 1.1.5 counts its own descriptors too");
    differs!("crun", "crun 1.8.1 does not look");
    let bundle = Bundle::new();
    let log = bundle.file("host/log", "", 0o644);
    bundle.write();
    let mut create = bundle.rt.command(["--log", log.to_str().unwrap(), "create", "--preserve-fds", "1", "--bundle"]);
    create.arg(bundle.path("")).arg(&bundle.id);
    let refused = bundle.rt.finish(create).failed();
    assert!(refused.stderr.contains("descriptor 3 is not open"), "{refused}");
    bundle.nothing_left(refused);
}

/// Runs a script as root of a user namespace that owns none of the host's other namespaces, as Podman runs its runtime
/// for everyone but root. `$runtime`, `$bundle` and `$id` are set; what it prints is returned.
fn as_podman_without_root(bundle: &Bundle, script: &str) -> crate::harness::Output {
    bundle.write();
    let mut inside = Command::new("unshare");
    inside.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script]).env_remove("NOTIFY_SOCKET");
    let call = bundle.rt.command([""]);
    let root = call.get_args().nth(1).expect("--root DIR").to_str().unwrap().to_owned();
    let program = call.get_program().to_str().unwrap().to_owned();
    inside.env("runtime", format!("{program} --root {root} --rootless=true"));
    inside.env("bundle", bundle.path("")).env("id", &bundle.id);
    bundle.rt.finish(inside)
}

#[test]
fn without_root_a_pid_namespace_is_entered_that_cannot_be_left() {
    differs!("crun", "crun 1.8.1 does not work beside a v2 hierarchy with controllers");
    let mut bundle = Bundle::waiting();
    bundle.remove("/linux/resources").no_namespace("cgroup").unmount("/sys/fs/cgroup").unmount("/dev/pts");
    let script = "$runtime run --detach --bundle $bundle $id >/dev/null
        $runtime exec $id sh -c 'echo pid 1 is $(cat /proc/1/comm)'
        $runtime exec $id sh -c 'exit 7' || echo code $?
        $runtime delete --force $id";
    assert_eq!(as_podman_without_root(&bundle, script).ok().lines(), ["pid 1 is sleep", "code 7"]);
}

#[test]
fn without_root_a_pid_namespace_can_be_joined() {
    differs!("crun", "crun 1.8.1 does not work beside a v2 hierarchy with controllers");
    let mut bundle = Bundle::sh("readlink /proc/self/ns/pid");
    let held = bundle.path("held");
    bundle.namespace("pid", Some(&held));
    bundle.remove("/linux/resources").no_namespace("cgroup").unmount("/sys/fs/cgroup").unmount("/dev/pts");
    let script = "mkfifo $bundle/fifo
        unshare --pid --fork --kill-child \\
            sh -c 'read pid rest </proc/self/stat; echo $pid >$bundle/fifo; exec sleep 1000' &
        read pid <$bundle/fifo
        ln -s /proc/$pid/ns/pid $bundle/held
        readlink /proc/$pid/ns/pid
        $runtime run --bundle $bundle $id
        kill -9 $!";
    let output = as_podman_without_root(&bundle, script).ok();
    assert_eq!(output.lines()[0], output.lines()[1], "{output}");
}
