//! `exec` with a terminal: the foreground's, or one sent over `--console-socket`.

use crate::exec::{command, reap};
use crate::harness::sockets::FdReceiver;
use crate::harness::terminal::Terminal;
use crate::harness::{Bundle, Output, json, sys};

/// A started container in the foreground of whose `exec` a terminal stands.
fn on_terminal(bundle: &Bundle, flags: &[&str], script: &str) -> (Terminal, crate::harness::runtime::Running) {
    let mut command = command(bundle, &[&["--tty"], flags].concat(), &["sh", "-c", script]);
    let (terminal, slave) = Terminal::open(&mut command, 25, 90);
    let running = bundle.rt.spawn_on(command, slave);
    (terminal, running)
}

#[track_caller]
fn refused(output: Output) {
    output.code_is(255).says("cannot ");
}

#[test]
fn the_program_gets_a_terminal_of_the_users_size_and_follows_its_changes() {
    differs!("crun", "crun 1.8.1 sets no size until it changes");
    let mut bundle = Bundle::waiting();
    bundle.add_probe();
    let _container = bundle.started();
    let (mut terminal, running) =
        on_terminal(&bundle, &[], "/probe tty; /probe resize; read line; echo got $line; exit 3");
    let text = terminal.read_until("ready");
    assert!(text.contains("isatty=111 rows=25 cols=90") && text.contains("controlling=1"), "{text}");
    assert!(text.contains("name=/dev/pts/"), "{text}");
    sys::set_window_size(&terminal.master, 50, 132);
    terminal.read_until("resized=50x132");
    terminal.type_line("typed");
    terminal.read_until("got typed");
    running.wait().code_is(3);
}

#[test]
fn the_users_terminal_is_put_back_as_it_was() {
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let mut command = command(&bundle, &["-t"], &["sh", "-c", "exit 7"]);
    let (terminal, slave) = Terminal::open(&mut command, 24, 80);
    let before = nix::sys::termios::tcgetattr(&terminal.master).unwrap();
    bundle.rt.spawn_on(command, slave).wait().code_is(7);
    let after = nix::sys::termios::tcgetattr(&terminal.master).unwrap();
    assert_eq!(before.local_flags, after.local_flags);
    assert_eq!(before.input_flags, after.input_flags);
}

#[test]
fn the_terminal_belongs_to_the_programs_user() {
    differs!("crun", "crun leaves it to root");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let (mut terminal, running) =
        on_terminal(&bundle, &["-u", "1000:1000"], "stat -Lc 'owner %u' /proc/self/fd/0; echo ok >/dev/tty");
    let text = terminal.read_all();
    assert!(text.contains("owner 1000") && text.contains("ok"), "{text}");
    running.wait().ok();
}

#[test]
fn an_interrupt_typed_at_the_terminal_reaches_the_program() {
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let (mut terminal, running) =
        on_terminal(&bundle, &[], "trap 'exit 5' INT; echo ready; while :; do sleep 1000 & wait; done");
    terminal.read_until("ready");
    std::io::Write::write_all(&mut terminal.master, b"\x03").unwrap();
    running.wait().code_is(5);
}

#[test]
fn nothing_is_lost_when_the_program_ends_at_once() {
    differs!("runc", "runc needs a terminal of its own to give one");
    differs!("crun", "crun needs a terminal of its own to give one");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= 40 {
                        break;
                    }
                    // The runtime's own output goes to a file, the program's passes through its terminal.
                    let command = command(&bundle, &["--tty"], &["sh", "-c", &format!("seq 3000; exit {number}")]);
                    let output = bundle.rt.finish(command).code_is(number as i32);
                    assert_eq!(output.lines().len(), 3000, "{output}");
                    assert_eq!(output.lines()[2999], "3000", "{output}");
                }
            });
        }
    });
}

#[test]
fn the_console_socket_receives_the_master() {
    let mut bundle = Bundle::waiting();
    bundle.add_probe();
    let _container = bundle.started();
    let socket = FdReceiver::new(bundle.host_dir("c").join("console"));
    let path = socket.path.to_str().unwrap().to_owned();
    let pid = bundle.path("pid");
    let command = command(
        &bundle,
        &["-t", "-d", "--pid-file", pid.to_str().unwrap(), "--console-socket", &path],
        &["sh", "-c", "/probe tty; read line; echo got $line"],
    );
    let running = bundle.rt.spawn(command);
    let (master, name) = socket.receive();
    if crate::harness::runtime::name() != "crun" {
        assert_eq!(name, "/dev/ptmx");
    }
    running.wait().ok();
    let mut terminal = Terminal::new(master);
    let text = terminal.read_until("sid=");
    assert!(text.contains("isatty=111") && text.contains("controlling=1"), "{text}");
    terminal.type_line("hello");
    terminal.read_until("got hello");
    reap(&pid);
}

#[test]
fn a_document_gives_the_terminal_its_size() {
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let document = json!({ "terminal": true, "consoleSize": { "height": 33, "width": 111 }, "cwd": "/",
        "user": { "uid": 0, "gid": 0 }, "args": ["sh", "-c", "read line"], "env": ["PATH=/bin"] });
    let file = bundle.path("process.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let socket = FdReceiver::new(bundle.host_dir("c").join("console"));
    let pid = bundle.path("pid");
    let flags = [
        "-d",
        "--pid-file",
        pid.to_str().unwrap(),
        "--console-socket",
        socket.path.to_str().unwrap(),
        "--process",
        file.to_str().unwrap(),
    ];
    let running = bundle.rt.spawn(command(&bundle, &flags, &[]));
    let (master, _) = socket.receive();
    assert_eq!(sys::window_size(&master), (33, 111));
    running.wait().ok();
    drop(master);
    reap(&pid);
}

#[test]
fn a_terminal_works_in_a_user_namespace() {
    let mut bundle = Bundle::waiting();
    bundle.user_namespace().add_probe();
    bundle.set("/mounts/2/options", json!(["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]));
    let _container = bundle.started();
    let (mut terminal, running) = on_terminal(&bundle, &[], "/probe tty");
    let text = terminal.read_until("sid=");
    assert!(text.contains("isatty=111") && text.contains("controlling=1"), "{text}");
    running.wait().ok();
}

#[test]
fn a_terminal_and_a_place_for_it_go_together() {
    differs!("crun", "crun has other rules");
    let bundle = Bundle::waiting();
    let _container = bundle.started();
    let socket = FdReceiver::new(bundle.host_dir("c").join("console"));
    let path = socket.path.to_str().unwrap();
    for flags in [&["-t", "-d"][..], &["-t", "--console-socket", path], &["-d", "--console-socket", path]] {
        refused(bundle.rt.finish(command(&bundle, flags, &["true"])));
    }
}
