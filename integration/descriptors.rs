//! What a program finds open: 0, 1 and 2, and nothing of the runtime's, of its caller's or of the host's.

use crate::harness::sockets::FdReceiver;
use crate::harness::{Bundle, Output};

/// Makes the runtime's caller careless: descriptors of the host that are not close-on-exec.
const CARELESS: &str = "exec 7</etc/passwd 9</ 8<>/dev/null";

/// The numbers that `probe fds` prints, one line each.
#[track_caller]
fn only_stdio(output: &Output) {
    let numbers: Vec<&str> = output.lines().iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(numbers, ["0", "1", "2"], "{output}");
}

#[test]
fn a_containers_program_has_stdio_and_nothing_else() {
    let mut bundle = Bundle::new();
    bundle.probe(&["fds"]);
    only_stdio(&bundle.rt.finish(bundle.rt.after(CARELESS, &bundle.command("run", &[]))).ok());
    let container = bundle.create_by(bundle.rt.after(CARELESS, &bundle.command("create", &[])));
    container.start();
    only_stdio(&container.output().ok());
}

#[test]
fn a_program_of_exec_has_stdio_and_nothing_else_nor_does_init_get_any() {
    let mut bundle = Bundle::waiting();
    bundle.add_probe();
    let container = bundle.create_by(bundle.rt.after(CARELESS, &bundle.command("create", &[])));
    container.start();
    for flags in [&[][..], &["--tty"]] {
        if !flags.is_empty() && !crate::harness::is_oarlock() {
            // The others give a terminal only where they have one themselves.
            continue;
        }
        let exec = bundle.rt.command([&["exec"], flags, &[&bundle.id, "/probe", "fds"]].concat());
        let output = bundle.rt.finish(bundle.rt.after(CARELESS, &exec)).ok();
        only_stdio(&Output { stdout: output.stdout.replace('\r', ""), ..output });
    }
    let output = bundle.rt.call(["exec", &bundle.id, "ls", "/proc/1/fd"]).ok();
    assert_eq!(output.lines(), ["0", "1", "2"], "{output}");
}

#[test]
fn neither_is_there_more_with_a_terminal_that_went_to_a_socket() {
    let mut bundle = Bundle::waiting();
    bundle.set("/process/terminal", true);
    let receiver = FdReceiver::new(bundle.path("console.sock"));
    let socket = receiver.path.to_str().unwrap().to_owned();
    let container =
        bundle.create_by(bundle.rt.after(CARELESS, &bundle.command("create", &["--console-socket", &socket])));
    let _master = receiver.receive();
    container.start();
    let output = bundle.rt.call(["exec", &bundle.id, "ls", "/proc/1/fd"]).ok();
    assert_eq!(output.lines(), ["0", "1", "2"], "{output}");
}
