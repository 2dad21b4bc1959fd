//! create, start, kill, delete and what `state` says in between.

use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use crate::harness::sockets::FdReceiver;
use crate::harness::{Bundle, Fifo, json, sys};

#[test]
fn a_created_container_has_not_run_its_program_yet() {
    let mut bundle = Bundle::sh("echo ran > /tmp/ran");
    bundle.set("/annotations", json!({"org.example": "value"}));
    let container = bundle.create();
    assert_eq!(container.status(), "created");
    assert!(!bundle.rootfs("tmp/ran").exists());
    assert!(Path::new(&format!("/proc/{}", container.pid)).exists());
    container.start();
    assert_eq!(container.wait(), 0);
    assert!(bundle.rootfs("tmp/ran").exists());
    container.delete();
}

#[test]
fn the_status_goes_from_created_to_running_to_stopped() {
    let mut bundle = Bundle::new();
    let mut ready = Fifo::new(&bundle.rootfs("ready"));
    bundle.script("echo in > /ready; sleep 1000");
    let container = bundle.create();
    assert_eq!(container.status(), "created");
    container.start();
    assert_eq!(ready.line(), "in");
    assert_eq!(container.status(), "running");
    container.kill("KILL");
    assert_eq!(container.wait(), 137);
    assert_eq!(container.status(), "stopped");
    assert_eq!(container.state()["pid"].as_i64().unwrap_or(0), 0);
    container.delete();
}

#[test]
fn start_returns_when_the_program_has_been_executed() {
    differs!("crun", "crun's start returns before it executes the program (a race)");
    differs!("runc", "runc's start returns when init has opened the fifo, before it executes the program (a race)");
    let bundle = Bundle::waiting();
    let container = bundle.started();
    // No waiting: after `start` the init is the program, not the runtime.
    assert_eq!(container.proc("comm").trim(), "sleep");
    assert_eq!(container.status(), "running");
}

#[test]
fn the_status_is_creating_while_create_is_at_work() {
    differs!("crun", "crun writes its state after the hooks: until then there is no such container");
    differs!("runc", "runc writes its state after the hooks: until then there is no such container");
    let mut bundle = Bundle::waiting();
    let mut reached = Fifo::new(&bundle.path("reached"));
    let mut go_on = Fifo::new(&bundle.path("go-on"));
    let hook = format!("echo at-hook > {0}/reached; read line < {0}/go-on", bundle.path("").display());
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", hook]}]));
    let creating = bundle.rt.spawn(bundle.command("create", &[]));
    reached.line();
    assert_eq!(bundle.rt.status(&bundle.id), "creating");
    go_on.tell("go");
    creating.wait().ok();
    assert_eq!(bundle.rt.status(&bundle.id), "created");
}

#[test]
fn delete_removes_a_stopped_container_and_then_it_does_not_exist() {
    let bundle = Bundle::sh("exit 0");
    let container = bundle.started();
    container.wait();
    container.delete();
    bundle.rt.call(["state", &bundle.id]).failed().says_as_runc("does not exist");
    bundle.rt.call(["delete", &bundle.id]).failed().says_as_runc("does not exist");
}

#[test]
fn delete_refuses_a_running_container_in_runcs_words() {
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let text = format!("cannot delete container {} that is not stopped: running", bundle.id);
    container.call("delete", &[]).failed().says_as_runc(&text);
    assert_eq!(container.status(), "running", "and leaves it alone");
}

#[test]
fn delete_force_ends_a_running_container() {
    let mut bundle = Bundle::new();
    bundle.probe(&["ignore-term"]);
    let container = bundle.started();
    let pid = container.pid;
    container.delete_force();
    assert!(sys::pidfd_open(pid).is_none(), "init {pid} is still there");
}

#[test]
fn delete_force_of_a_created_container_works() {
    let bundle = Bundle::waiting();
    bundle.create().delete_force();
    bundle.rt.call(["state", &bundle.id]).failed();
}

#[test]
fn delete_force_of_a_missing_container_is_success() {
    let bundle = Bundle::new();
    bundle.rt.call(["delete", "--force", "there-is-none"]).ok();
    bundle.rt.call(["delete", "-f", "there-is-none"]).ok();
}

#[test]
fn a_second_start_is_refused() {
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let text = "cannot start an already running container";
    container.call("start", &[]).failed().says_as_runc(text);
    assert_eq!(container.status(), "running");
}

#[test]
fn a_stopped_container_cannot_be_started_again() {
    let bundle = Bundle::sh("exit 0");
    let container = bundle.started();
    container.wait();
    let text = "cannot start a container that has stopped";
    container.call("start", &[]).failed().says_as_runc(text);
}

#[test]
fn a_container_killed_before_its_start_is_stopped_and_cannot_start() {
    let bundle = Bundle::waiting();
    let container = bundle.create();
    container.kill("KILL");
    assert_eq!(container.wait(), 137);
    assert_eq!(container.status(), "stopped");
    container.call("start", &[]).failed();
    container.delete();
}

#[test]
fn two_starts_at_once_run_the_program_once() {
    differs!("runc", "two starts at once can leave one of them waiting in the fifo's open for ever (a race)");
    let bundle = Bundle::sh("echo ran >> /tmp/ran; sleep 1000");
    let container = bundle.create();
    let starts: Vec<_> = (0..4).map(|_| bundle.rt.spawn(bundle.rt.command(["start", &bundle.id]))).collect();
    let codes: Vec<i32> = starts.into_iter().map(|start| start.wait().code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(container.status(), "running");
}

#[test]
fn an_id_in_use_is_refused_and_its_container_untouched() {
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let second = bundle.rt.finish(bundle.command("create", &[])).failed();
    second.says_as_runc("container with given ID already exists");
    assert_eq!(container.status(), "running");
    assert_eq!(container.state()["pid"], container.pid);
}

#[test]
fn ids_are_checked_before_they_become_paths() {
    let bundle = Bundle::waiting();
    bundle.write();
    for id in ["", ".", "..", "a/b", "../escape", "a b", "ü", "a\nb", "x:y", "*"] {
        let mut command = bundle.rt.command(["create", "--bundle"]);
        command.arg(bundle.path("")).arg(id);
        let output = bundle.rt.finish(command);
        assert_ne!(output.code, 0, "{id:?} was accepted");
        for verb in ["start", "state", "kill", "delete"] {
            assert_ne!(bundle.rt.call([verb, id]).code, 0, "{verb} {id:?}");
        }
    }
    assert!(!bundle.rt.root.join("../escape").exists());
}

#[test]
fn a_bad_id_is_refused_in_runcs_words() {
    differs!("crun", "crun has words of its own");
    let bundle = Bundle::new();
    bundle.write();
    let mut command = bundle.rt.command(["create", "--bundle"]);
    command.arg(bundle.path("")).arg("a b");
    bundle.rt.finish(command).failed().says("invalid container ID format");
}

#[test]
fn every_byte_that_an_id_may_have_works() {
    let mut bundle = Bundle::sh("exit 0");
    bundle.id = format!("Az09_+-.{}", bundle.id);
    bundle.create().delete_force();
}

#[test]
fn the_pid_file_holds_the_pid_without_a_newline() {
    let bundle = Bundle::waiting();
    let file = bundle.host_dir("pid").join("init.pid");
    let container = bundle.create_with(&["--pid-file", file.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), container.pid.to_string());
    let siblings = std::fs::read_dir(file.parent().unwrap()).unwrap().count();
    assert_eq!(siblings, 1, "no temporary file stays beside it");
}

#[test]
fn the_pidfd_socket_receives_a_pidfd_of_init() {
    differs!("runc", "--pidfd-socket came with runc 1.2");
    differs!("crun", "crun has no --pidfd-socket");
    let bundle = Bundle::waiting();
    let receiver = FdReceiver::new(bundle.host_dir("s").join("pidfd"));
    let container = bundle.create_with(&["--pidfd-socket", receiver.path.to_str().unwrap()]);
    let (pidfd, _) = receiver.receive();
    let info = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let info = std::fs::read_to_string(info).unwrap();
    assert!(info.contains(&format!("Pid:\t{}\n", container.pid)), "{info}");
    container.start().kill("KILL");
    assert!(sys::wait_readable(pidfd.as_fd(), sys::DEADLINE), "it fires at the end");
}

#[test]
fn a_container_whose_create_was_killed_midway_can_be_deleted_by_force() {
    let mut bundle = Bundle::waiting();
    let mut reached = Fifo::new(&bundle.path("reached"));
    let _never = Fifo::new(&bundle.path("never"));
    let hook = format!("echo at-hook > {0}/reached; read line < {0}/never", bundle.path("").display());
    bundle.set("/hooks/createRuntime", json!([{"path": "/bin/sh", "args": ["sh", "-c", hook]}]));
    let mut creating = bundle.rt.spawn(bundle.command("create", &[]));
    reached.line();
    creating.child.kill().unwrap();
    creating.wait().code_is(137);
    // The hook was the runtime's child, not the container's: whoever killed the one ends the other.
    crate::harness::leak::kill_by_command_line(bundle.path("never").to_str().unwrap());
    bundle.rt.call(["delete", "--force", &bundle.id]).ok();
    bundle.remove("/hooks");
    bundle.create().start().kill("KILL");
}
