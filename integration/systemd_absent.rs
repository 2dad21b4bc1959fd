//! The systemd driver where systemd is not there, is something else, or is silent.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::systemd::{running, scoped};
use crate::harness::{Bundle, sys};

#[test]
fn without_systemd_the_driver_is_refused() {
    if running() {
        skip!("systemd runs here");
    }
    let bundle = scoped(Bundle::waiting());
    bundle.refused().names("--systemd-cgroup");
    bundle.rt.call(["features"]).ok();
}

/// The runtime where systemd's private socket is one of the test's.
fn before(socket: &Path, bundle: &Bundle) -> Command {
    let prelude = format!(
        "mount -t tmpfs tmpfs /run && mkdir /run/systemd && touch /run/systemd/private && mount --bind {} /run/systemd/private",
        socket.display()
    );
    let inner = bundle.rt.after(&prelude, &bundle.command("create", &[]));
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(inner.get_program()).args(inner.get_args());
    command.stdin(Stdio::null());
    command
}

#[test]
fn a_systemd_that_talks_nonsense_is_named() {
    only_oarlock!("the words are ours");
    let bundle = scoped(Bundle::waiting());
    let socket = bundle.path("private");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
    for (answer, words) in [
        (&b""[..], "closed the connection"),
        (b"REJECTED EXTERNAL\r\n", "does not know us"),
        (b"DATA\r\nOK 0123\r\nHTTP/1.1 400 Bad Request\r\n", "no message of D-Bus"),
        (
            b"DATA\r\nOK 0123\r\nl\x02\x00\x01\xff\xff\xff\xff\x01\x00\x00\x00\xff\xff\xff\xff",
            "longer than D-Bus allows",
        ),
    ] {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                use std::io::{Read, Write};
                let (mut stream, _) = listener.accept().expect("accept");
                // All that it says before it hears an answer.
                let mut said = [0; b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".len()];
                stream.read_exact(&mut said).ok();
                stream.write_all(answer).ok();
                stream.shutdown(std::net::Shutdown::Write).ok();
                std::io::copy(&mut stream, &mut std::io::sink()).ok();
            });
            let output = bundle.rt.finish(before(&socket, &bundle));
            bundle.nothing_left(output).names("systemd").says(words);
        });
    }
}

#[test]
fn a_systemd_that_does_not_answer_is_given_up() {
    only_oarlock!("runc waits for ever for a socket that does not answer");
    let bundle = scoped(Bundle::waiting());
    let socket = bundle.path("private");
    // Bound, and never listened to by anybody but the kernel.
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
    let command = bundle.rt.spawn(before(&socket, &bundle));
    let pidfd = sys::pidfd_open(command.child.id() as i32).expect("pidfd of our own child");
    assert!(sys::wait_readable(std::os::fd::AsFd::as_fd(&pidfd), sys::DEADLINE * 2), "it waits for ever");
    let output = command.wait();
    bundle.nothing_left(output).names("systemd").says("did not answer within 30 s");
}
