//! `run`: create, start, wait and delete in one, in the foreground or detached.

use std::os::fd::AsFd;

use crate::harness::{Bundle, Fifo, Runtime, sys};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn run_exits_with_the_programs_code() {
    for code in [0, 1, 7, 126, 255] {
        Bundle::sh(&format!("exit {code}")).run().code_is(code);
    }
}

#[test]
fn run_exits_with_128_and_the_signal_that_ended_the_program() {
    let mut bundle = Bundle::new();
    let mut ready = Fifo::new(&bundle.rootfs("ready"));
    // Pid 1 of a pid namespace would ignore what it has no handler for.
    bundle.no_namespace("pid").script("echo in > /ready; exec sleep 1000");
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("SEGV", 139)] {
        let running = bundle.start_run(&[]);
        ready.line();
        bundle.rt.call(["kill", &bundle.id, signal]).ok();
        running.wait().code_is(code);
    }
}

#[test]
fn run_passes_the_programs_streams_through() {
    let output = Bundle::sh("echo to-stdout; echo to-stderr >&2").run().ok();
    assert_eq!(output.stdout, "to-stdout\n");
    assert_eq!(output.stderr, "to-stderr\n");
}

#[test]
fn run_gives_the_program_its_own_stdin() {
    let bundle = Bundle::sh("cat");
    let file = bundle.host_dir("in").join("text");
    std::fs::write(&file, "from the caller\n").unwrap();
    let mut command = bundle.command("run", &[]);
    command.stdin(std::fs::File::open(&file).unwrap());
    bundle.rt.finish(command).ok().prints("from the caller");
}

#[test]
fn run_removes_the_container_when_it_ends() {
    let bundle = Bundle::sh("exit 3");
    bundle.run().code_is(3);
    bundle.rt.call(["state", &bundle.id]).failed().says_as_runc("does not exist");
}

#[test]
fn run_keep_leaves_a_stopped_container() {
    differs!("crun", "--keep came with crun 1.9");
    let bundle = Bundle::sh("exit 3");
    bundle.run_with(&["--keep"]).code_is(3);
    assert_eq!(bundle.rt.status(&bundle.id), "stopped");
    bundle.rt.call(["delete", &bundle.id]).ok();
}

#[test]
fn run_detach_returns_while_the_program_runs() {
    for flag in ["--detach", "-d"] {
        let bundle = Bundle::waiting();
        let container = bundle.create_by(bundle.command("run", &[flag]));
        assert_eq!(container.status(), "running");
        container.kill("KILL");
        assert_eq!(container.wait(), 137);
        assert_eq!(container.status(), "stopped", "a detached container is not deleted");
        container.delete();
    }
}

#[test]
fn run_detach_writes_the_pid_file() {
    let bundle = Bundle::waiting();
    let file = bundle.host_dir("pid").join("pid");
    let flags = ["--detach", "--pid-file", file.to_str().unwrap()];
    let container = bundle.create_by(bundle.command("run", &flags));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), container.pid.to_string());
}

#[test]
fn run_forwards_signals_to_the_program() {
    let mut bundle = Bundle::new();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.script(
        "trap 'echo usr1 > /said' USR1; trap 'exit 9' TERM
         echo ready > /said; while :; do sleep 1000 & wait; done",
    );
    let running = bundle.start_run(&[]);
    assert_eq!(said.line(), "ready");
    let runtime = Pid::from_raw(running.child.id() as i32);
    kill(runtime, Signal::SIGUSR1).unwrap();
    assert_eq!(said.line(), "usr1");
    kill(runtime, Signal::SIGTERM).unwrap();
    running.wait().code_is(9);
}

#[test]
fn run_ends_with_its_program_even_if_a_child_of_it_lives_on() {
    let mut bundle = Bundle::new();
    bundle.script("sleep 1000 & exit 4");
    bundle.run().code_is(4);
}

#[test]
fn run_without_a_pid_namespace_leaves_no_process_behind() {
    differs!("crun", "crun waits, as subreaper, for every process that the program left");
    let mut bundle = Bundle::new();
    bundle.no_namespace("pid").script("sleep 1000 >/dev/null 2>&1 & exit 4");
    bundle.run().code_is(4);
}

#[test]
fn run_of_a_program_that_does_not_exist_leaves_no_container() {
    let mut bundle = Bundle::new();
    bundle.args(&["/no/such/program"]);
    let output = bundle.run();
    bundle.nothing_left(output).says_as_runc("no such file or directory");
}

#[test]
fn no_subreaper_is_accepted_in_the_spelling_of_go_runc() {
    differs!("crun", "crun's argp knows long options with two dashes only");
    // RestoreOpts emits it with one dash.
    Bundle::sh("exit 5").run_with(&["-no-subreaper"]).code_is(5);
}

#[test]
fn no_subreaper_is_accepted() {
    Bundle::sh("exit 5").run_with(&["--no-subreaper"]).code_is(5);
}

#[test]
fn the_bundle_defaults_to_the_current_directory() {
    let bundle = Bundle::sh("echo here");
    bundle.write();
    let mut command = bundle.rt.command(["run", &bundle.id]);
    command.current_dir(bundle.path(""));
    bundle.rt.finish(command).ok().prints("here");
}

#[test]
fn a_relative_bundle_path_is_resolved_for_later_commands() {
    let bundle = Bundle::waiting();
    bundle.write();
    let mut command = bundle.rt.command(["create", "--bundle", "bundle", &bundle.id]);
    command.current_dir(bundle.path("").parent().unwrap());
    let container = bundle.create_by(command);
    let state = container.state();
    let path = std::path::PathBuf::from(state["bundle"].as_str().unwrap());
    assert!(path.is_absolute(), "{state}");
    assert_eq!(path.canonicalize().unwrap(), bundle.path("").canonicalize().unwrap());
}

/// Creates, starts, kills and deletes one container by command line alone.
fn one_life(rt: &Runtime, bundle: &Bundle, id: &str) {
    let mut create = rt.command(["create", "--bundle"]);
    create.arg(bundle.path("")).arg(id);
    rt.finish(create).ok();
    let pid = rt.state(id)["pid"].as_i64().unwrap() as i32;
    let pidfd = sys::pidfd_open(pid).unwrap();
    rt.call(["start", id]).ok();
    assert_eq!(rt.status(id), "running");
    rt.call(["kill", id, "KILL"]).ok();
    assert!(sys::wait_readable(pidfd.as_fd(), sys::DEADLINE));
    nix::sys::wait::waitpid(Pid::from_raw(pid), None).unwrap();
    rt.call(["delete", id]).ok();
}

#[test]
fn two_hundred_containers_eight_at_a_time_leave_nothing() {
    let total = if crate::harness::is_oarlock() { 200 } else { 40 };
    let mut bundle = Bundle::waiting();
    // One bundle for all: each container has a cgroup of its own, below that of this test.
    bundle.remove("/linux/cgroupsPath");
    bundle.write();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let prefix = bundle.id.clone();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= total {
                        break;
                    }
                    one_life(&bundle.rt, &bundle, &format!("{prefix}-{number}"));
                }
            });
        }
    });
    bundle.rt.call(["list", "--quiet"]).ok().prints("");
    for number in 0..total {
        let id = format!("{prefix}-{number}");
        let left = crate::harness::leak::find(&id, &format!("/{id}"), &bundle.path(""), &bundle.rt.root);
        assert!(left.is_empty(), "{left:?}");
    }
}
