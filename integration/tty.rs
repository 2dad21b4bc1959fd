//! Terminals: sent over `--console-socket`, or driven by a foreground `run`.

use std::os::unix::net::UnixListener;

use crate::harness::sockets::FdReceiver;
use crate::harness::terminal::Terminal;
use crate::harness::{Bundle, json, sys};

/// A bundle with a terminal and a socket to send it to.
fn with_terminal() -> (Bundle, FdReceiver) {
    let mut bundle = Bundle::new();
    bundle.set("/process/terminal", true);
    let receiver = FdReceiver::new(bundle.host_dir("c").join("console"));
    (bundle, receiver)
}

/// Proves: process.terminal
#[test]
fn the_console_socket_receives_the_master_of_the_terminal() {
    let (mut bundle, socket) = with_terminal();
    bundle.add_probe().script("/probe tty; read line; echo got $line");
    let container = bundle.create_with(&["--console-socket", socket.path.to_str().unwrap()]);
    let (master, name) = socket.receive();
    if crate::harness::runtime::name() != "crun" {
        assert_eq!(name, "/dev/ptmx");
    }
    let mut terminal = Terminal::new(master);
    container.start();
    let text = terminal.read_until("sid=");
    assert!(text.contains("isatty=111"), "all three streams: {text}");
    assert!(text.contains("controlling=1"), "{text}");
    assert!(text.contains("name=/dev/pts/0") || text.contains("name=/dev/console"), "{text}");
    terminal.type_line("hello");
    terminal.read_until("got hello");
    assert_eq!(container.wait(), 0);
}

/// Proves: process.consoleSize.{height,width}
#[test]
fn the_console_has_the_size_asked_for() {
    let (mut bundle, socket) = with_terminal();
    bundle.probe(&["tty"]).set("/process/consoleSize", json!({"height": 33, "width": 111}));
    let container = bundle.create_with(&["--console-socket", socket.path.to_str().unwrap()]);
    let (master, _) = socket.receive();
    assert_eq!(sys::window_size(&master), (33, 111));
    let mut terminal = Terminal::new(master);
    container.start();
    let text = terminal.read_until("sid=");
    assert!(text.contains("rows=33 cols=111"), "{text}");
}

#[test]
fn the_console_is_also_dev_console() {
    let (mut bundle, socket) = with_terminal();
    bundle.script("stat -c '%F %a' /dev/console; echo by-name > /dev/console; grep /dev/console /proc/self/mountinfo");
    let container = bundle.create_with(&["--console-socket", socket.path.to_str().unwrap()]);
    let mut terminal = Terminal::new(socket.receive().0);
    container.start();
    let text = terminal.read_all();
    assert!(text.contains("character special file"), "{text}");
    assert!(text.contains("by-name"), "{text}");
    assert!(text.contains("devpts"), "{text}");
    assert_eq!(container.wait(), 0);
}

#[test]
fn the_terminal_belongs_to_the_containers_user() {
    let (mut bundle, socket) = with_terminal();
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    bundle.script("stat -Lc '%u' /proc/self/fd/0; echo writable > /dev/tty");
    let container = bundle.create_with(&["--console-socket", socket.path.to_str().unwrap()]);
    let mut terminal = Terminal::new(socket.receive().0);
    container.start();
    let text = terminal.read_all();
    assert!(text.contains("1000") && text.contains("writable"), "{text}");
}

#[test]
fn resizing_the_master_tells_the_program() {
    let (mut bundle, socket) = with_terminal();
    bundle.probe(&["resize"]);
    let container = bundle.create_with(&["--console-socket", socket.path.to_str().unwrap()]);
    let mut terminal = Terminal::new(socket.receive().0);
    container.start();
    terminal.read_until("ready");
    sys::set_window_size(&terminal.master, 44, 99);
    terminal.read_until("resized=44x99");
}

#[test]
fn closing_the_master_hangs_the_program_up() {
    let (mut bundle, socket) = with_terminal();
    bundle.script("trap 'exit 42' HUP; echo ready; while :; do sleep 1000 & wait; done");
    let container = bundle.create_with(&["--console-socket", socket.path.to_str().unwrap()]);
    let mut terminal = Terminal::new(socket.receive().0);
    container.start();
    terminal.read_until("ready");
    drop(terminal);
    assert_eq!(container.wait(), 42);
}

#[test]
fn a_terminal_works_in_a_user_namespace() {
    let (mut bundle, socket) = with_terminal();
    bundle.user_namespace().probe(&["tty"]);
    bundle.set("/mounts/2/options", json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]));
    let container = bundle.create_with(&["--console-socket", socket.path.to_str().unwrap()]);
    let mut terminal = Terminal::new(socket.receive().0);
    container.start();
    let text = terminal.read_until("sid=");
    assert!(text.contains("isatty=111") && text.contains("controlling=1"), "{text}");
}

#[test]
fn a_terminal_without_a_console_socket_is_refused_for_create() {
    let mut bundle = Bundle::waiting();
    bundle.set("/process/terminal", true);
    bundle.refused().names("--console-socket");
}

#[test]
fn a_console_socket_without_a_terminal_is_refused() {
    differs!("crun", "crun ignores the flag");
    let (mut bundle, socket) = with_terminal();
    bundle.set("/process/terminal", false).args(&["sleep", "1000"]);
    bundle.refused_with(&["--console-socket", socket.path.to_str().unwrap()]).names("--console-socket");
}

#[test]
fn a_console_socket_that_does_not_exist_is_refused() {
    let (mut bundle, _socket) = with_terminal();
    bundle.args(&["sleep", "1000"]);
    bundle.refused_with(&["--console-socket", "/no/such/socket"]).names("--console-socket");
}

#[test]
fn a_console_socket_that_nobody_listens_on_is_refused() {
    let (mut bundle, _socket) = with_terminal();
    bundle.args(&["sleep", "1000"]);
    let path = bundle.host_dir("c").join("dead");
    drop(UnixListener::bind(&path).unwrap());
    bundle.refused_with(&["--console-socket", path.to_str().unwrap()]).names("--console-socket");
}

#[test]
fn run_gives_the_program_a_terminal_of_the_users_size_and_follows_its_changes() {
    differs!("runc", "runc 1.1.5 may set the size after the program has started (a race)");
    differs!("crun", "crun 1.8.1 sets no size until it changes");
    let mut bundle = Bundle::new();
    bundle.set("/process/terminal", true);
    bundle.add_probe().script("/probe tty; /probe resize; read line; echo got $line");
    let mut command = bundle.command("run", &[]);
    let (mut terminal, slave) = Terminal::open(&mut command, 25, 90);
    let running = bundle.rt.spawn_on(command, slave);
    let text = terminal.read_until("ready");
    assert!(text.contains("isatty=111 rows=25 cols=90"), "{text}");
    sys::set_window_size(&terminal.master, 50, 132);
    terminal.read_until("resized=50x132");
    terminal.type_line("typed");
    let text = terminal.read_until("got typed");
    assert!(text.contains("typed"), "{text}");
    running.wait().ok();
}

#[test]
fn run_puts_the_users_terminal_back_as_it_was() {
    let mut bundle = Bundle::sh("exit 7");
    bundle.set("/process/terminal", true);
    let mut command = bundle.command("run", &[]);
    let (terminal, slave) = Terminal::open(&mut command, 24, 80);
    let before = nix::sys::termios::tcgetattr(&terminal.master).unwrap();
    bundle.rt.spawn_on(command, slave).wait().code_is(7);
    let after = nix::sys::termios::tcgetattr(&terminal.master).unwrap();
    assert_eq!(before.local_flags, after.local_flags);
    assert_eq!(before.input_flags, after.input_flags);
    assert_eq!(before.output_flags, after.output_flags);
}

#[test]
fn an_interrupt_typed_at_the_terminal_reaches_the_program() {
    let mut bundle = Bundle::new();
    bundle.set("/process/terminal", true);
    bundle.script("trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 1000 & wait; done");
    let mut command = bundle.command("run", &[]);
    let (mut terminal, slave) = Terminal::open(&mut command, 24, 80);
    let running = bundle.rt.spawn_on(command, slave);
    terminal.read_until("ready");
    std::io::Write::write_all(&mut terminal.master, b"\x03").unwrap();
    terminal.read_until("interrupted");
    running.wait().code_is(5);
}

#[test]
fn run_detached_with_a_terminal_needs_a_console_socket() {
    let mut bundle = Bundle::waiting();
    bundle.set("/process/terminal", true);
    let output = bundle.run_with(&["--detach"]);
    bundle.nothing_left(output).names("--console-socket");
}
