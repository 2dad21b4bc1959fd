//! What the program inherits from the runtime's caller, and what it must not: descriptors, signals, sockets.

use std::io::Write;
use std::os::fd::OwnedFd;

use crate::harness::sockets::NotifySocket;
use crate::harness::{Bundle, Fifo, sys};

/// Read ends of pipes that hold `text-3`, `text-4`, ….
fn pipes(count: usize) -> Vec<OwnedFd> {
    (0..count)
        .map(|index| {
            let (read, mut write) = std::io::pipe().unwrap();
            write!(write, "text-{}", index + 3).unwrap();
            OwnedFd::from(read)
        })
        .collect()
}

#[test]
fn only_the_three_standard_descriptors_are_open() {
    for verb in ["run", "create"] {
        let mut bundle = Bundle::new();
        bundle.probe(&["fds"]);
        let mut command = bundle.command(verb, &[]);
        sys::pass_fds(&mut command, pipes(4));
        let output = if verb == "run" {
            bundle.rt.finish(command).ok()
        } else {
            let container = bundle.create_by(command);
            container.start().output().ok()
        };
        let fds: Vec<&str> = output.lines().iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(fds, ["0", "1", "2"], "{output}");
    }
}

#[test]
fn preserve_fds_keeps_as_many_as_asked() {
    let mut bundle = Bundle::new();
    bundle.add_probe().script("/probe fds; /probe read 3; echo; /probe read 4");
    let mut command = bundle.command("run", &["--preserve-fds", "2"]);
    sys::pass_fds(&mut command, pipes(4));
    let output = bundle.rt.finish(command).ok();
    assert!(output.stdout.ends_with("text-3\ntext-4"), "{output}");
    assert!(!output.lines().iter().any(|line| line.starts_with("5 ")), "{output}");
}

#[test]
fn preserve_fds_of_a_descriptor_that_is_not_open_is_refused() {
    differs!("runc", "runc looks among its own open descriptors, of which there are always some");
    differs!("crun", "crun does not look");
    let bundle = Bundle::waiting();
    bundle.refused_with(&["--preserve-fds", "3"]).names("--preserve-fds");
}

/// What systemd sets for the process that it hands two sockets to.
const ACTIVATED: &str = "export LISTEN_FDS=2 LISTEN_PID=$$";

#[test]
fn listen_fds_are_passed_with_the_pid_of_the_container() {
    differs!("crun", "crun 1.8.1 passes the descriptors but not LISTEN_FDS");
    let mut bundle = Bundle::new();
    bundle.add_probe().script("echo $LISTEN_FDS $LISTEN_PID; /probe fds; /probe read 4");
    let mut command = bundle.rt.after(ACTIVATED, &bundle.command("run", &[]));
    sys::pass_fds(&mut command, pipes(3));
    let output = bundle.rt.finish(command).ok();
    assert_eq!(output.lines()[0], "2 1", "{output}");
    assert!(output.stdout.ends_with("text-4"), "{output}");
    assert!(!output.lines().iter().any(|line| line.starts_with("5 ")), "{output}");
}

#[test]
fn the_names_of_listen_fds_are_passed_with_them() {
    only_oarlock!("no other runtime forwards LISTEN_FDNAMES");
    let bundle = Bundle::sh("echo $LISTEN_FDS \"$LISTEN_FDNAMES\"; sleep 1000");
    let names = format!("{ACTIVATED} LISTEN_FDNAMES=web:admin");
    let mut command = bundle.rt.after(&names, &bundle.command("create", &[]));
    sys::pass_fds(&mut command, pipes(2));
    let container = bundle.create_by(command);
    container.start();
    // To a program of exec they are told of its own sockets, not of the container's.
    let exec = bundle.rt.command(["exec", &bundle.id, "sh", "-c", "echo $LISTEN_FDS \"$LISTEN_FDNAMES\""]);
    let mut with = bundle.rt.after("export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=log", &exec);
    sys::pass_fds(&mut with, pipes(1));
    bundle.rt.finish(with).ok().prints("1 log");
    bundle.rt.finish(exec).ok().prints("");
    container.kill("KILL");
    container.output().prints("2 web:admin");
}

#[test]
fn names_without_sockets_are_passed_to_nobody() {
    let bundle = Bundle::sh("env");
    let output = bundle.rt.finish(bundle.rt.after("export LISTEN_FDNAMES=web", &bundle.command("run", &[]))).ok();
    assert!(!output.stdout.contains("LISTEN"), "{output}");
}

#[test]
fn listen_fds_and_preserve_fds_add_up() {
    let mut bundle = Bundle::new();
    bundle.add_probe().script("/probe fds; /probe read 5");
    let mut command = bundle.rt.after(ACTIVATED, &bundle.command("run", &["--preserve-fds", "1"]));
    sys::pass_fds(&mut command, pipes(4));
    let output = bundle.rt.finish(command).ok();
    assert!(output.stdout.ends_with("text-5"), "{output}");
    assert!(!output.lines().iter().any(|line| line.starts_with("6 ")), "{output}");
}

#[test]
fn signals_have_their_default_action_and_none_is_blocked() {
    differs!("runc", "runc 1.1.5 hands down the mask, and SIGQUIT as it was");
    for verb in ["run", "create"] {
        let mut bundle = Bundle::new();
        bundle.args(&["grep", "Sig", "/proc/self/status"]);
        let mut command = bundle.command(verb, &[]);
        // A caller that ignores SIGPIPE (every Rust and many a Python program), and more.
        sys::ignore_and_block(&mut command, libc::SIGPIPE);
        sys::ignore_and_block(&mut command, libc::SIGUSR2);
        sys::ignore_and_block(&mut command, libc::SIGQUIT);
        let output = if verb == "run" {
            bundle.rt.finish(command).ok()
        } else {
            let container = bundle.create_by(command);
            container.start().output().ok()
        };
        assert_eq!(output.field("SigBlk:"), "0000000000000000", "{verb}: {output}");
        assert_eq!(output.field("SigIgn:"), "0000000000000000", "{verb}: {output}");
    }
}

#[test]
fn a_broken_pipe_ends_the_program_as_it_should() {
    let mut bundle = Bundle::new();
    bundle.script("yes | head -n 1; echo ${PIPESTATUS:-done}");
    let output = bundle.run().ok();
    assert_eq!(output.lines(), ["y", "done"]);
    assert!(!output.stderr.contains("roken pipe"), "{output}");
}

#[test]
fn a_service_tells_its_manager_that_it_is_ready() {
    differs!("crun", "crun tells the manager READY=1 without a MAINPID");
    let mut bundle = Bundle::new();
    let mut said = Fifo::new(&bundle.rootfs("said"));
    bundle.add_probe().script("/probe notify READY=1 > /said; sleep 1000");
    let manager = NotifySocket::new(&bundle.host_dir("n").join("notify"));
    let mut create = bundle.command("create", &[]);
    create.env("NOTIFY_SOCKET", &manager.path);
    let container = bundle.create_by(create);
    let mut start = bundle.rt.command(["start", &bundle.id]);
    start.env("NOTIFY_SOCKET", &manager.path);
    let starting = bundle.rt.spawn(start);
    assert!(said.line().starts_with("sent=7"));
    let mut messages = String::new();
    while !(messages.contains("READY=1") && messages.contains("MAINPID=")) {
        messages += &manager.message();
        messages.push('\n');
    }
    assert!(messages.contains(&format!("MAINPID={}", container.pid)), "{messages}");
    starting.wait().ok();
}

#[test]
fn without_a_manager_there_is_no_notify_socket() {
    let mut bundle = Bundle::new();
    bundle.args(&["env"]);
    let output = bundle.run().ok();
    assert!(!output.stdout.contains("NOTIFY_SOCKET"), "{output}");
}

#[test]
fn the_program_does_not_keep_the_runtimes_directory_busy() {
    let bundle = Bundle::waiting();
    let container = bundle.started();
    for link in ["cwd", "root", "exe"] {
        let target = std::fs::read_link(format!("/proc/{}/{link}", container.pid)).unwrap();
        assert!(!target.starts_with(&bundle.rt.root), "{link} -> {target:?}");
    }
    let maps = container.proc("maps");
    assert!(!maps.contains(crate::harness::runtime::name()), "{maps}");
}
