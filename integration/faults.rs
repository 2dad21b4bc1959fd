//! What goes wrong around a container: verbs that are killed, interrupted or refused something by the kernel half way (a
//! few points of the many that `hack/faults` tries), and containers that are not as the runtime left them.

use std::fs::{self, FileTimes};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::harness::{Bundle, Output, cgroup, json, runtime};

/// The command under strace, which lets system calls go wrong as `inject` says (strace(1)).
pub fn injected(command: &Command, inject: &[&str]) -> Command {
    let mut strace = Command::new("strace");
    // Signals go to the runtime, and what it leaves running is let go of.
    strace.args(["-I", "2", "-qq", "-o", "/dev/null"]);
    for expression in inject {
        strace.args(["-e", &format!("inject={expression}")]);
    }
    strace.arg(command.get_program()).args(command.get_args());
    strace.stdin(std::process::Stdio::null());
    strace
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_interrupted_system_call_is_made_again() {
    only_oarlock!("it is our promise");
    let bundle = Bundle::waiting();
    let interrupt = ["openat,openat2,read,write,pread64,poll,flock,wait4,connect,sendmsg,recvmsg:error=EINTR:when=2+3"];
    let verb = |words: &[&str]| bundle.rt.finish(injected(&bundle.rt.command(words), &interrupt)).ok();
    bundle.rt.finish(injected(&bundle.command("create", &[]), &interrupt)).ok();
    let id = bundle.id.as_str();
    verb(&["start", id]);
    assert_eq!(verb(&["state", id]).json()["status"], "running");
    verb(&["exec", id, "echo", "ran"]).prints("ran");
    verb(&["pause", id]);
    verb(&["resume", id]);
    verb(&["update", "--pids-limit", "50", id]);
    verb(&["events", "--stats", id]);
    verb(&["ps", id]);
    verb(&["list"]);
    verb(&["kill", id, "KILL"]);
    verb(&["delete", "--force", id]);
}

/// The child waits for each of the parent's words: one that the parent could not send must not leave both waiting.
#[test]
fn a_write_that_fails_ends_the_creation_and_never_hangs_it() {
    let bundle = Bundle::waiting();
    let mut successes = 0;
    for at in 1..300 {
        let command = injected(&bundle.command("create", &[]), &[&format!("write:error=ENOSPC:when={at}")]);
        let output = bundle.rt.finish(command);
        if output.code != 0 {
            successes = 0;
            bundle.nothing_left(output).failed();
            continue;
        }
        bundle.rt.call(["delete", "--force", &bundle.id]).ok();
        successes += 1;
        // Past the last write, and not one that can be done without.
        if successes == 5 {
            return;
        }
    }
    panic!("more writes than expected");
}

/// The runtime is in another mount namespace for the moment of the clone. Should it not get back, the container is not to be
/// found from there; it must be from elsewhere.
#[test]
fn what_a_create_that_lost_its_way_back_has_made_is_found_by_delete_force() {
    let bundle = Bundle::waiting();
    for at in 1..4 {
        bundle.rt.finish(injected(&bundle.command("create", &[]), &[&format!("setns:error=EPERM:when={at}")]));
        bundle.rt.call(["delete", "--force", &bundle.id]).ok();
        let left = cgroup::dirs(&bundle.cgroup()).into_iter().filter(|dir| dir.exists()).count();
        assert_eq!(left, 0, "cgroups, after setns number {at}");
    }
}

#[test]
fn a_create_that_is_killed_leaves_no_temporary_file() {
    let mut bundle = Bundle::waiting();
    bundle.set(
        "/linux/seccomp",
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]}),
    );
    let pids = bundle.host_dir("pids");
    let pid_file = pids.join("pid");
    for (call, last) in [("linkat", 3), ("renameat", 4), ("rename", 2), ("write", 30)] {
        for at in 1..=last {
            let command = bundle.command("create", &["--pid-file", pid_file.to_str().unwrap()]);
            bundle.rt.finish(injected(&command, &[&format!("{call}:signal=KILL:when={at}")]));
            bundle.rt.call(["delete", "--force", &bundle.id]).ok();
            assert!(files(&pids).iter().all(|name| name == "pid"), "{call} {at}: {:?}", files(&pids));
            let cache = bundle.rt.root.join(".cache/seccomp");
            if cache.exists() {
                assert!(files(&cache).iter().all(|name| !name.contains('.')), "{call} {at}: {:?}", files(&cache));
            }
            fs::remove_file(&pid_file).ok();
            fs::remove_dir_all(bundle.rt.root.join(".cache")).ok();
        }
    }
}

/// A pid namespace's init does not end before those in it are reaped, and a process of `exec --detach` is reaped by whoever
/// became its parent.
#[test]
fn delete_force_does_not_wait_for_ever_for_an_init_that_cannot_end() {
    differs!("crun", "crun does not wait for init's end");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let pid_file = bundle.path("exec.pid");
    container.call("exec", &["--detach", &format!("--pid-file={}", pid_file.display()), "true"]).ok();
    let output = bundle.rt.call(["delete", "--force", &bundle.id]);
    let pid = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    let state = bundle.rt.call(["state", &bundle.id]).ok();
    bundle.rt.call(["list"]).ok();
    waitpid(Pid::from_raw(pid), None).expect("the zombie is ours");
    output.failed();
    assert_eq!(state.json()["id"], bundle.id.as_str());
    container.delete_force();
}

/// Frozen by others, with a cgroup above: on v1 not even SIGKILL ends it, and the verbs say so.
#[test]
fn a_container_that_others_have_frozen_can_be_asked_about_and_deleted_later() {
    differs!("crun", "crun waits until it is thawed");
    let mut bundle = Bundle::waiting();
    let above = format!("{}-above", bundle.cgroup());
    let path = format!("{above}/{}", bundle.id);
    bundle.set("/linux/cgroupsPath", path.as_str());
    let container = bundle.started();
    let v1 = Path::new("/sys/fs/cgroup/freezer").join(above.trim_start_matches('/')).join("freezer.state");
    let v2 = Path::new("/sys/fs/cgroup").join(above.trim_start_matches('/')).join("cgroup.freeze");
    let (file, on, off) = if v1.exists() { (v1, "FROZEN", "THAWED") } else { (v2, "1", "0") };
    if !file.exists() {
        skip!("there is no freezer here");
    }
    fs::write(&file, on).unwrap();
    let state = bundle.rt.call(["state", &bundle.id]);
    let deleted = bundle.rt.call(["delete", "--force", &bundle.id]);
    fs::write(&file, off).unwrap();
    state.ok();
    // On v2 a frozen process can be killed.
    if deleted.code != 0 {
        let deleted = deleted.failed();
        if runtime::name() == "oarlock" {
            let deleted = deleted.says("it is frozen with a cgroup above");
            assert!(!deleted.stderr.contains("uninterruptible sleep"), "{deleted}");
        }
    }
    container.delete_force();
    for dir in cgroup::dirs(&above) {
        fs::remove_dir(dir).ok();
    }
}

/// Refused: what the record told of may be running.
#[test]
fn a_damaged_record_is_said_to_be_and_hides_no_other_container() {
    only_oarlock!("others find other words, and other ends");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let record = bundle.rt.root.join(&bundle.id).join("state.json");
    let whole = fs::read(&record).unwrap();
    let neighbour = bundle.rt.root.join("neighbour");
    fs::create_dir(&neighbour).unwrap();
    fs::write(neighbour.join("state.json"), &whole).unwrap();
    for part in [0, 1, whole.len() / 2, whole.len() - 1] {
        fs::write(&record, &whole[..part]).unwrap();
        for verb in ["state", "start", "pause", "ps", "kill", "delete"] {
            bundle.rt.call([verb, &bundle.id]).names("damaged");
        }
        bundle.rt.call(["exec", &bundle.id, "true"]).code_is(255).says("damaged");
        bundle.rt.call(["delete", "--force", &bundle.id]).names("damaged");
        let list = bundle.rt.call(["list", "-q"]).ok().says("damaged");
        assert_eq!(list.lines().len(), 1, "{list}");
    }
    fs::remove_dir_all(&neighbour).unwrap();
    fs::write(&record, &whole).unwrap();
    assert_eq!(container.status(), "running");
    container.delete_force();
}

/// A host that lost its power: nothing runs, and the file may be empty.
#[test]
fn a_damaged_record_from_before_the_host_was_started_is_removed_by_force() {
    only_oarlock!("runc keeps it");
    let bundle = Bundle::waiting();
    let dir = bundle.rt.root.join(&bundle.id);
    fs::create_dir_all(&dir).unwrap();
    for content in [&b""[..], b"{\"ociVersion\":", b"\0\0\0\0"] {
        fs::create_dir_all(&dir).unwrap();
        let record = dir.join("state.json");
        fs::write(&record, content).unwrap();
        bundle.rt.call(["delete", "--force", &bundle.id]).names("damaged");
        let long_ago = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        fs::File::options().write(true).open(&record).unwrap().set_times(long_ago).unwrap();
        bundle.rt.call(["delete", &bundle.id]).names("damaged");
        bundle.rt.call(["delete", "--force", &bundle.id]).ok();
        assert!(!dir.exists());
    }
}

#[test]
fn a_container_whose_bundle_has_vanished_can_be_asked_about_killed_and_deleted() {
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let (here, there) = (bundle.path(""), bundle.path("").with_file_name("elsewhere"));
    fs::rename(&here, &there).unwrap();
    let verbs = |words: &[&str]| bundle.rt.call(words);
    let outputs: Vec<Output> = vec![
        verbs(&["state", &bundle.id]),
        verbs(&["list"]),
        verbs(&["ps", &bundle.id]),
        verbs(&["exec", &bundle.id, "true"]),
        verbs(&["kill", &bundle.id, "KILL"]),
    ];
    container.wait_end();
    let deleted = verbs(&["delete", &bundle.id]);
    fs::rename(&there, &here).unwrap();
    for output in outputs {
        output.ok();
    }
    deleted.ok();
}

/// No container is what a list that could not be read must not show.
#[test]
fn a_list_that_cannot_be_read_is_an_error() {
    let bundle = Bundle::waiting();
    let _container = bundle.create();
    let list = bundle.rt.command(["list"]);
    bundle.rt.finish(injected(&list, &["getdents64:error=EIO:when=1"])).failed();
    bundle.rt.finish(list).ok();
}
