//! `exec`: a further program in a running container: what it is given, what it is, how its end is told.

use std::os::fd::AsFd;

use crate::harness::sockets::FdReceiver;
use crate::harness::{Bundle, Fifo, Output, cgroup, json, sys};

/// `exec FLAGS… ID PROGRAM…`, to its end.
#[track_caller]
pub fn exec(bundle: &Bundle, flags: &[&str], program: &[&str]) -> Output {
    bundle.rt.finish(command(bundle, flags, program))
}

pub fn command(bundle: &Bundle, flags: &[&str], program: &[&str]) -> std::process::Command {
    bundle.rt.command([&["exec"], flags, &[bundle.id.as_str()], program].concat())
}

/// `exec` of a shell script.
#[track_caller]
pub fn sh(bundle: &Bundle, flags: &[&str], script: &str) -> Output {
    exec(bundle, flags, &["sh", "-c", script])
}

/// Waits for the end of a detached program and takes it off the list: until then its container's end waits, too.
#[track_caller]
pub fn reap(pid_file: &std::path::Path) {
    let pid: i32 = std::fs::read_to_string(pid_file).unwrap().parse().unwrap();
    let pidfd = sys::pidfd_open(pid).expect("the pid file names the process");
    assert!(sys::wait_readable(pidfd.as_fd(), sys::DEADLINE), "the program does not end");
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).expect("our own, as subreaper");
}

/// A failure of the runtime's own: exit code 255 and, from us, one line.
#[track_caller]
pub fn refused(output: Output, text: &str) {
    if crate::harness::is_oarlock() {
        assert_eq!(output.stderr.lines().count(), 1, "an error is one line: {output}");
    }
    output.code_is(255).says(text);
}

#[test]
fn its_exit_code_and_output_are_the_programs() {
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    sh(&bundle, &[], "echo out; echo err >&2; exit 7").code_is(7).says("err").prints("out");
    exec(&bundle, &[], &["true"]).ok();
    sh(&bundle, &[], "kill -KILL $$").code_is(137);
    sh(&bundle, &[], "kill -TERM $$").code_is(143);
}

#[test]
fn standard_input_reaches_the_program_and_ends() {
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let input = bundle.path("input");
    let text: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    std::fs::write(&input, &text).unwrap();
    let mut command = command(&bundle, &[], &["cat"]);
    command.stdin(std::fs::File::open(&input).unwrap());
    assert_eq!(bundle.rt.finish(command).ok().stdout, text);
}

#[test]
fn what_follows_the_container_is_the_programs() {
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let words = ["echo", "-n", "--tty", "-root", "-e", "--", "--help"];
    exec(&bundle, &[], &words).ok().prints("--tty -root -e -- --help");
}

#[test]
fn it_runs_in_every_namespace_of_init() {
    let mut bundle = Bundle::waiting();
    bundle.namespace("user", None).user_namespace();
    let container = bundle.started();
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let output = sh(&bundle, &[], &kinds.map(|kind| format!("readlink /proc/self/ns/{kind};")).concat()).ok();
    let inits: Vec<String> = kinds.iter().map(|kind| container.namespace(kind)).collect();
    assert_eq!(output.lines(), inits);
    sh(&bundle, &[], "cat /proc/1/cmdline | tr '\\0' ' '").ok().prints("sleep 1000");
}

#[test]
fn it_sees_the_root_of_a_container_without_a_mount_namespace() {
    differs!("runc", "runc needs a mount namespace to change the root");
    differs!("crun", "crun enters the host's root");
    let mut bundle = Bundle::waiting();
    bundle.no_namespace("mount").set("/mounts", json!([]));
    for paths in ["maskedPaths", "readonlyPaths"] {
        bundle.remove(&format!("/linux/{paths}"));
    }
    bundle.file("marker", "inside", 0o644);
    let _container = bundle.started();
    exec(&bundle, &[], &["cat", "/marker"]).ok().prints("inside");
}

#[test]
fn it_is_in_every_cgroup_of_the_container() {
    let bundle = Bundle::waiting();
    let container = bundle.started();
    let mut fifo = Fifo::new(&bundle.rootfs("fifo"));
    let file = bundle.path("pid");
    exec(&bundle, &["--detach", "--pid-file", file.to_str().unwrap()], &["sh", "-c", "read line </fifo"]).ok();
    let pid = std::fs::read_to_string(&file).unwrap();
    let places = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(places(&pid), places(&container.pid.to_string()));
    fifo.tell("end");
    reap(&file);
}

#[test]
fn a_program_that_cannot_be_run_is_told_in_runcs_words() {
    differs!("crun", "crun has words of its own");
    let bundle = Bundle::waiting();
    bundle.file("data", "", 0o644);
    let _container = bundle.started();
    for (program, text) in [
        ("missing", "executable file not found in $PATH"),
        ("/missing", "stat /missing: no such file or directory"),
        ("/data", "permission denied"),
        ("/tmp", "permission denied"),
    ] {
        // So runc 1.1 says; newer ones say that it is a directory, for which Podman has no rule.
        if program == "/tmp" && !crate::harness::is_oarlock() {
            continue;
        }
        let text = format!("exec failed: unable to start container process: exec: \"{program}\": {text}");
        refused(exec(&bundle, &[], &[program]), &text);
        refused(exec(&bundle, &["--detach"], &[program]), &text);
    }
    refused(exec(&bundle, &[], &[]), "args");
}

#[test]
fn containers_that_cannot_be_entered_are_told_in_runcs_words() {
    differs!("crun", "crun has words of its own, and exits with 1");
    let bundle = Bundle::waiting();
    refused(exec(&bundle, &[], &["true"]), "container does not exist");
    let container = bundle.create();
    sh(&bundle, &[], "echo in a created one").ok().prints("in a created one");
    container.start().kill("KILL").wait();
    refused(exec(&bundle, &[], &["true"]), "cannot exec in a stopped container");
}

#[test]
fn detached_it_returns_when_the_program_runs() {
    differs!("crun", "crun may return before the program is executed (a race)");
    let bundle = Bundle::waiting();
    let mut fifo = Fifo::new(&bundle.rootfs("fifo"));
    let _container = bundle.started();
    let pid_file = bundle.path("pid");
    let socket = FdReceiver::new(bundle.host_dir("s").join("pidfd"));
    let mut flags = vec!["--detach", "--pid-file", pid_file.to_str().unwrap()];
    if crate::harness::is_oarlock() {
        flags.extend(["--pidfd-socket", socket.path.to_str().unwrap()]);
    }
    exec(&bundle, &flags, &["sh", "-c", "read line </fifo; echo $line >/result"]).ok();
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(comm.trim(), "sh");
    if crate::harness::is_oarlock() {
        let (sent, name) = socket.receive();
        assert_eq!(name, "setns");
        assert!(!sys::wait_readable(sent.as_fd(), std::time::Duration::ZERO));
        fifo.tell("done");
        assert!(sys::wait_readable(sent.as_fd(), sys::DEADLINE));
    } else {
        fifo.tell("done");
    }
    reap(&pid_file);
    assert_eq!(std::fs::read_to_string(bundle.rootfs("result")).unwrap(), "done\n");
}

#[test]
fn signals_are_passed_on_to_the_program() {
    differs!("runc", "runc 1.1.5 now and then does not pass on a signal that comes at once (a race)");
    let bundle = Bundle::waiting();
    let mut fifo = Fifo::new(&bundle.rootfs("fifo"));
    let _container = bundle.started();
    let running = bundle.rt.spawn(command(
        &bundle,
        &[],
        &["sh", "-c", "trap 'kill $!; exit 9' TERM; echo up >/fifo; while :; do sleep 1000 & wait; done"],
    ));
    fifo.line();
    let runtime = nix::unistd::Pid::from_raw(running.child.id() as i32);
    nix::sys::signal::kill(runtime, nix::sys::signal::Signal::SIGTERM).unwrap();
    running.wait().code_is(9);
}

/// Freezes the container, or thaws it.
fn freeze(bundle: &Bundle, frozen: bool) {
    if cgroup::has_v1("freezer") {
        let state = if frozen { "FROZEN" } else { "THAWED" };
        std::fs::write(cgroup::file("freezer", &bundle.cgroup(), "freezer.state"), state).unwrap();
    } else {
        std::fs::write(cgroup::file("", &bundle.cgroup(), "cgroup.freeze"), if frozen { "1" } else { "0" }).unwrap();
    }
}

#[test]
fn a_paused_container_is_refused_unless_asked_otherwise() {
    differs!("crun", "crun has no --ignore-paused, and exits with 1");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    freeze(&bundle, true);
    refused(exec(&bundle, &[], &["true"]), "cannot exec in a paused container");
    let running = bundle.rt.spawn(command(&bundle, &["--ignore-paused"], &["sh", "-c", "exit 4"]));
    freeze(&bundle, false);
    running.wait().code_is(4);
}

#[test]
fn a_pause_during_the_join_is_never_a_hang() {
    differs!("runc", "runc waits until the container is resumed");
    differs!("crun", "crun waits until the container is resumed");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let file = bundle.path("pid");
    let mut refusals = 0;
    for round in 0..60 {
        std::fs::remove_file(&file).ok();
        let flags = ["--detach", "--pid-file", file.to_str().unwrap()];
        let running = bundle.rt.spawn(command(&bundle, &flags, &["true"]));
        // A little later each time.
        for _ in 0..round * 10 {
            std::hint::black_box(std::fs::read("/proc/self/stat").unwrap());
        }
        freeze(&bundle, true);
        // It ends while the container is still paused.
        let output = running.wait();
        freeze(&bundle, false);
        match output.code {
            0 => reap(&file),
            _ => {
                refused(output, "cannot exec in a paused container");
                assert!(!file.exists(), "a pid file of a process that is none");
                refusals += 1;
            }
        }
    }
    assert!(refusals > 0, "no pause came in time");
    let output = sh(&bundle, &[], "for p in /proc/[0-9]*/comm; do cat $p; done 2>/dev/null; true").ok();
    assert!(!output.stdout.contains("oarlock"), "{output}");
}

/// How many programs the storm runs.
const STORM: usize = 1000;

#[test]
fn a_storm_loses_neither_output_nor_exit_codes() {
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    // The others give a terminal only where they have one themselves.
    let terminals = crate::harness::is_oarlock();
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= STORM {
                        break;
                    }
                    // Every other one on a terminal, whose driver ends lines with a carriage return.
                    let (flags, end) =
                        if terminals && number % 2 == 1 { (&["-t"][..], "\r\n") } else { (&[][..], "\n") };
                    let code = number % 100;
                    let output = sh(&bundle, flags, &format!("echo {number}; exit {code}"));
                    assert_eq!(
                        (output.code, output.stdout.as_str()),
                        (code as i32, &*format!("{number}{end}")),
                        "{output}"
                    );
                }
            });
        }
    });
}
