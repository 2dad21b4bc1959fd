//! The annotations `run.oci.*`: what they change is seen from inside, and what is not honoured is refused.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Command, Stdio};

use crate::harness::sockets::FdReceiver;
use crate::harness::{Bundle, Fifo, Output, cgroup, json};

/// Sets `run.oci.NAME`.
fn annotate(bundle: &mut Bundle, name: &str, value: &str) {
    bundle.at("/annotations")[format!("run.oci.{name}")] = value.into();
}

/// Runs a command of the runtime's as a member of `groups`.
#[track_caller]
fn as_member(bundle: &Bundle, groups: &str, command: &Command) -> Output {
    let mut member = Command::new("setpriv");
    member.args(["--groups", groups, "--"]).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    member.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
    bundle.rt.finish(member)
}

#[test]
fn the_callers_groups_are_kept() {
    differs!("runc", "runc has no run.oci annotations");
    let mut bundle = Bundle::sh("sed -n 's/^Groups:[[:space:]]*//p' /proc/self/status");
    bundle.set("/process/user/additionalGids", json!([7, 8]));
    let command = bundle.command("run", &[]);
    as_member(&bundle, "4242,4243", &command).ok().prints("7 8");
    annotate(&mut bundle, "keep_original_groups", "1");
    let command = bundle.command("run", &[]);
    as_member(&bundle, "4242,4243", &command).ok().prints("4242 4243");
}

#[test]
fn a_program_of_exec_keeps_its_callers_groups() {
    differs!("runc", "runc has no run.oci annotations");
    let mut bundle = Bundle::waiting();
    annotate(&mut bundle, "keep_original_groups", "1");
    let _container = bundle.started();
    let command = bundle.rt.command(["exec", &bundle.id, "grep", "Groups", "/proc/self/status"]);
    let output = as_member(&bundle, "4242", &command).ok();
    assert_eq!(output.field("Groups:"), "4242");
}

#[test]
fn kept_groups_open_files_of_theirs_to_a_user_namespace() {
    differs!("runc", "runc has no run.oci annotations");
    let mut bundle = Bundle::sh("cat /shared/file");
    bundle.user_namespace();
    let shared = bundle.host_dir("shared");
    fs::write(shared.join("file"), "for members").unwrap();
    chown(shared.join("file"), Some(0), Some(4242)).unwrap();
    fs::set_permissions(shared.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
    bundle.bind(&shared, "/shared", &[]);
    let command = bundle.command("run", &[]);
    as_member(&bundle, "4242", &command).failed();
    annotate(&mut bundle, "keep_original_groups", "1");
    let command = bundle.command("run", &[]);
    as_member(&bundle, "4242", &command).ok().prints("for members");
}

#[test]
fn hooks_of_every_kind_write_to_the_files_that_are_named() {
    differs!("runc", "runc has no run.oci annotations");
    differs!("crun", "crun 1.8.1 makes startContainer hooks look for the files in the container");
    let mut bundle = Bundle::sh("true");
    let kinds = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    for kind in kinds {
        let script = format!("echo {kind} says; echo {kind} errs >&2");
        bundle.push(&format!("/hooks/{kind}"), json!({"path": "/bin/sh", "args": ["sh", "-c", script]}));
    }
    let (out, err) = (bundle.path("hooks.out"), bundle.path("hooks.err"));
    annotate(&mut bundle, "hooks.stdout", out.to_str().unwrap());
    annotate(&mut bundle, "hooks.stderr", err.to_str().unwrap());
    fs::write(&out, "before\n").unwrap();
    let output = bundle.run().ok();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
    let lines = |verb: &str| kinds.map(|kind| format!("{kind} {verb}\n")).concat();
    assert_eq!(fs::read_to_string(&out).unwrap(), format!("before\n{}", lines("says")));
    assert_eq!(fs::read_to_string(&err).unwrap(), lines("errs"));
    assert_eq!(fs::metadata(&err).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_failed_hook_is_quoted_as_far_as_it_does_not_write_to_a_file() {
    only_oarlock!("crun quotes nothing");
    let mut bundle = Bundle::sh("true");
    let script = json!({"path": "/bin/sh", "args": ["sh", "-c", "echo to the file; echo to you >&2; exit 3"]});
    bundle.push("/hooks/createRuntime", script);
    let out = bundle.path("hooks.out");
    annotate(&mut bundle, "hooks.stdout", out.to_str().unwrap());
    bundle.refused().names("hooks.createRuntime[0]").says("exit status 3, after saying: to you");
    assert_eq!(fs::read_to_string(&out).unwrap(), "to the file\n");
    annotate(&mut bundle, "hooks.stdout", "/no/such/directory/file");
    bundle.refused().names("run.oci.hooks.stdout: open(\"/no/such/directory/file\")");
}

#[test]
fn the_kind_of_label_that_mounts_get_can_be_chosen() {
    only_oarlock!("plan is ours: no host here has SELinux to show it otherwise");
    let mut bundle = Bundle::sh("true");
    bundle.set("/linux/mountLabel", "system_u:object_r:x:s0");
    for kind in ["context", "rootcontext", "fscontext", "defcontext"] {
        annotate(&mut bundle, "mount_context_type", kind);
        bundle.write();
        let plan = bundle.rt.call(["plan", "--format=json", bundle.path("").to_str().unwrap()]).ok().json();
        let param = json!({"key": kind, "value": "system_u:object_r:x:s0"});
        let params = plan["mounts"][1]["kind"]["filesystem"]["params"].as_array().expect("parameters of /dev");
        assert!(params.contains(&param), "{params:?}");
    }
    annotate(&mut bundle, "mount_context_type", "none");
    bundle.refused().names("annotations[\"run.oci.mount_context_type\"]: \"none\"");
}

/// A filter that answers mkdir(2) and mkdirat(2) with EXDEV and allows everything else, in base64.
fn no_mkdir() -> String {
    let (mkdir, mkdirat) = (libc_number("mkdir"), libc_number("mkdirat"));
    let program: [(u16, u8, u8, u32); 5] = [
        (0x20, 0, 0, 0), // the call's number
        (0x15, 1, 0, mkdir),
        (0x15, 0, 1, mkdirat),
        (0x06, 0, 0, 0x0005_0000 | 18),
        (0x06, 0, 0, 0x7fff_0000),
    ];
    let bytes: Vec<u8> = program
        .iter()
        .flat_map(|(code, jt, jf, k)| [&code.to_ne_bytes()[..], &[*jt, *jf], &k.to_ne_bytes()].concat())
        .collect();
    let mut base64 = Command::new("base64").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("base64");
    base64.stdin.take().unwrap().write_all(&bytes).unwrap();
    String::from_utf8(base64.wait_with_output().unwrap().stdout).unwrap()
}

fn libc_number(name: &str) -> u32 {
    let number = match name {
        "mkdirat" => libc::SYS_mkdirat,
        #[cfg(target_arch = "x86_64")]
        "mkdir" => libc::SYS_mkdir,
        // Other machines have no call of the old name.
        _ => libc::SYS_mkdirat,
    };
    u32::try_from(number).unwrap()
}

#[test]
fn a_filter_given_as_bpf_takes_the_place_of_the_profile() {
    differs!("runc", "runc has no run.oci annotations");
    let mut bundle = Bundle::sh("mkdir /tmp/x 2>&1; mkdir /tmp/y 2>&1; exec sleep 1000");
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ERRNO"}));
    annotate(&mut bundle, "seccomp_bpf_data", &no_mkdir());
    let container = bundle.started();
    // exec's programs get the container's filter, too.
    let output = bundle.rt.call(["exec", &bundle.id, "mkdir", "/tmp/z"]);
    assert!(output.code == 1 && output.stderr.contains("cross-device"), "{output}");
    container.kill("KILL");
    assert_eq!(container.output().stdout.matches("cross-device").count(), 2);
}

#[test]
fn bpf_that_is_no_program_is_refused() {
    only_oarlock!("crun leaves it to the kernel");
    let mut bundle = Bundle::sh("true");
    for value in ["%%%", "AAAA", ""] {
        annotate(&mut bundle, "seccomp_bpf_data", value);
        bundle.refused().names("annotations[\"run.oci.seccomp_bpf_data\"]");
    }
    // Eight bytes, but no filter that the kernel would take.
    annotate(&mut bundle, "seccomp_bpf_data", "AAAAAAAAAAA=");
    bundle.refused().names("seccomp");
}

#[test]
fn system_calls_that_are_not_known_can_be_made_an_error() {
    differs!("runc", "runc has no run.oci annotations");
    let mut bundle = Bundle::sh("echo ran");
    let rules = json!([{"names": ["mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO"}]);
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    bundle.run().ok().prints("ran");
    annotate(&mut bundle, "seccomp_fail_unknown_syscall", "1");
    bundle.refused().names("linux.seccomp.syscalls[0].names[1]: \"no_such_call\"");
}

#[test]
fn a_socket_can_be_named_for_inits_pidfd() {
    differs!("runc", "runc has no run.oci annotations");
    let mut bundle = Bundle::waiting();
    let receiver = FdReceiver::new(bundle.path("pidfd.sock"));
    annotate(&mut bundle, "pidfd_receiver", receiver.path.to_str().unwrap());
    let container = bundle.create();
    let (pidfd, _) = receiver.receive();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", std::os::fd::AsRawFd::as_raw_fd(&pidfd))).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:")).expect("a pidfd").trim();
    assert_eq!(pid, container.pid.to_string());
}

#[test]
fn what_is_not_honoured_is_refused_and_others_are_passed_on() {
    only_oarlock!("crun honours some of them");
    let mut bundle = Bundle::sh("echo ran");
    for name in ["handler", "seccomp.plugins", "systemd.force_cgroup_v1", "timens_offset"] {
        annotate(&mut bundle, name, "/x");
        bundle.refused().names(&format!("annotations[\"run.oci.{name}\"]: is not supported"));
        // crun's way to say none.
        annotate(&mut bundle, name, "");
    }
    annotate(&mut bundle, "of.somebody.else", "x");
    bundle.run().ok().prints("ran");
    let features = bundle.rt.call(["features"]).ok().json();
    let unsafe_ones = features["potentiallyUnsafeConfigAnnotations"].as_array().expect("annotations");
    assert!(unsafe_ones.contains(&json!("run.oci.")), "{unsafe_ones:?}");
}

#[test]
fn a_cgroup_below_the_containers_can_be_its_own_to_manage() {
    differs!("runc", "runc has no run.oci annotations");
    differs!("crun", "crun 1.8.1 does so with the systemd driver alone");
    if !cgroup::is_v2() {
        skip!("only cgroup v2 can be delegated");
    }
    for user_namespace in [false, true] {
        let mut bundle = Bundle::new();
        if user_namespace {
            bundle.user_namespace();
        } else {
            bundle.set("/process/user/uid", 1234);
        }
        bundle.unmount("/sys/fs/cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup", &["rw"]);
        annotate(&mut bundle, "delegate-cgroup", "own/below");
        let mut said = Fifo::new(&bundle.rootfs("said"));
        bundle.script(
            "{ grep ^0:: /proc/self/cgroup; mkdir /sys/fs/cgroup/own/below/x; echo $?; } >/said; exec sleep 1000",
        );
        let container = bundle.started();
        // Its root is the container's cgroup, with the limits: it is in the one below.
        assert_eq!((said.line().as_str(), said.line().as_str()), ("0::/own/below", "0"));
        let place = format!("{}/own/below", bundle.cgroup());
        assert_eq!(cgroup::read("", &place, "cgroup.procs"), container.pid.to_string());
        let owner = fs::metadata(cgroup::file("", &place, "cgroup.procs")).unwrap().uid();
        assert_eq!(owner, if user_namespace { 100_000 } else { 1234 });
        let exec = bundle.rt.call(["exec", &bundle.id, "echo", "joined"]);
        exec.ok().prints("joined");
        container.kill("KILL").wait();
        container.delete();
    }
}

#[test]
fn no_cgroup_of_v1_is_delegated() {
    only_oarlock!("crun has words of its own");
    let mut bundle = Bundle::sh("true");
    for value in ["..", "/top"] {
        annotate(&mut bundle, "delegate-cgroup", value);
        bundle.refused().names("annotations[\"run.oci.delegate-cgroup\"]");
    }
    annotate(&mut bundle, "delegate-cgroup", "own");
    if !cgroup::is_v2() {
        bundle.refused().names("annotations[\"run.oci.delegate-cgroup\"]: needs cgroup v2");
    }
}
