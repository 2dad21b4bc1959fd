//! `--log` into the host's own logs, the journal and syslog, and into files by crun's form. `cli.rs` has the plain file.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Bundle, Output, sys};

/// A host whose log is the test's: `script` puts a link to the socket where the runtime looks for it, in a mount namespace
/// that only the runtime sees.
struct Host {
    socket: UnixDatagram,
    path: PathBuf,
    script: &'static str,
}

const JOURNAL: &str =
    "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && ln -s \"$0\" /run/systemd/journal/socket";
const SYSLOG: &str = "d=$(mktemp -d) && mount -t tmpfs -o mode=755 tmpfs $d && cp -a /dev/null /dev/zero /dev/full /dev/random \
    /dev/urandom /dev/tty $d && mkdir $d/shm && ln -s \"$0\" $d/log && mount --move $d /dev && rmdir $d";

impl Host {
    fn new(bundle: &Bundle, script: &'static str) -> Self {
        let path = bundle.path("log.sock");
        Self { socket: UnixDatagram::bind(&path).expect("bind"), path, script }
    }

    fn run(&self, bundle: &Bundle, command: &Command) -> Output {
        let mut inside = Command::new("unshare");
        inside.args(["--mount", "--propagation=private", "sh", "-c"]);
        inside.arg(format!("{} && exec \"$@\"", self.script)).arg(&self.path);
        inside.arg(command.get_program()).args(command.get_args()).env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
        bundle.rt.finish(inside)
    }

    #[track_caller]
    fn message(&self) -> String {
        assert!(sys::wait_readable(self.socket.as_fd(), sys::DEADLINE), "nothing is logged");
        let mut text = [0; 8192];
        let length = self.socket.recv(&mut text).expect("recv");
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    fn is_silent(&self) -> bool {
        !sys::wait_readable(self.socket.as_fd(), std::time::Duration::ZERO)
    }
}

/// A bundle that warns (of an unknown capability) and fails (for want of a program), logging to `destination`.
fn bundle(flags: &[&str]) -> Bundle {
    let mut bundle = Bundle::new();
    bundle.rt.global = flags.iter().map(ToString::to_string).collect();
    bundle.args(&["/missing"]).push("/process/capabilities/bounding", "CAP_NEVER".into());
    bundle
}

/// Nothing but the error itself is told outside of the log.
#[track_caller]
fn only_the_error(output: &Output) {
    assert_eq!(output.stdout, "", "{output}");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert!(output.stderr.contains("/missing"), "{output}");
}

#[test]
fn the_journal_gets_each_message_with_its_priority_and_our_name() {
    only_oarlock!("crun's journal fields are others, and runc knows files only");
    let bundle = bundle(&["--log=journald:web one"]);
    let host = Host::new(&bundle, JOURNAL);
    let output = host.run(&bundle, &bundle.command("run", &[])).failed();
    only_the_error(&output);
    let warning = host.message();
    let fields: Vec<&str> = warning.lines().collect();
    assert_eq!(fields[..2], ["PRIORITY=4", "SYSLOG_IDENTIFIER=web one"], "{warning}");
    assert!(fields[3].starts_with("MESSAGE=") && fields[3].contains("CAP_NEVER"), "{warning}");
    let error = host.message();
    assert!(error.starts_with("PRIORITY=3\nSYSLOG_IDENTIFIER=web one\nSYSLOG_PID="), "{error}");
    assert!(error.lines().any(|line| line.starts_with("MESSAGE=run ") && line.contains("/missing")), "{error}");
    assert!(error.ends_with('\n') && host.is_silent());
}

#[test]
fn syslog_gets_each_message_with_its_priority_and_our_name() {
    only_oarlock!("crun says it in its own words, and runc knows files only");
    let bundle = bundle(&["--log=syslog:web"]);
    let host = Host::new(&bundle, SYSLOG);
    let output = host.run(&bundle, &bundle.command("run", &[])).failed();
    only_the_error(&output);
    let warning = host.message();
    assert!(warning.starts_with("<28>") && warning.contains("CAP_NEVER"), "{warning}");
    // RFC 3164: <PRI>Mmm dd hh:mm:ss TAG[PID]: text
    let error = host.message();
    assert!(error.starts_with("<27>") && error[19..].starts_with(" web["), "{error}");
    let (month, clock) = (&error[4..7], &error[11..19]);
    assert!(month.chars().all(char::is_alphabetic) && clock.matches(':').count() == 2, "{error}");
    assert!(error.contains("]: run ") && error.contains("/missing") && !error.contains('\n'), "{error}");
    assert!(host.is_silent());
}

#[test]
fn a_level_and_json_hold_for_the_hosts_log_too() {
    only_oarlock!("runc knows files only, and crun 1.8.1 no level");
    let bundle = bundle(&["--log=journald:web", "--log-format=json", "--log-level=error"]);
    let host = Host::new(&bundle, JOURNAL);
    host.run(&bundle, &bundle.command("run", &[])).failed();
    let error = host.message();
    let json = error.lines().find_map(|line| line.strip_prefix("MESSAGE=")).expect("a message");
    let json: crate::harness::Value = serde_json::from_str(json).expect("JSON");
    assert_eq!(json["level"], "error");
    assert!(json["msg"].as_str().unwrap().contains("/missing") && host.is_silent());
}

#[test]
fn a_container_runs_as_ever_and_its_program_keeps_no_connection() {
    only_oarlock!("runc knows files only");
    let mut bundle = bundle(&["--log=journald:web"]);
    bundle.script("for fd in /proc/self/fd/*; do readlink $fd; done; true");
    let host = Host::new(&bundle, JOURNAL);
    let output = host.run(&bundle, &bundle.command("run", &[])).ok();
    assert!(!output.stdout.contains("socket:"), "{output}");
    assert_eq!(output.stderr, "");
}

#[test]
fn a_log_that_cannot_be_reached_is_refused() {
    only_oarlock!("crun goes on without");
    if Path::new("/run/systemd/journal/socket").exists() {
        skip!("this host has a journal");
    }
    let mut bundle = Bundle::sh("true");
    for (destination, text) in [
        ("journald:web", "--log: journald cannot be reached: connect(\"/run/systemd/journal/socket\"): no such file"),
        ("journald:", "--log: journald: needs an identifier"),
        ("syslog:a\nb", "--log: syslog: needs an identifier"),
    ] {
        bundle.rt.global = vec!["--log".to_owned(), destination.to_owned()];
        bundle.refused().names(text);
    }
}

#[test]
fn a_file_may_be_said_to_be_one() {
    differs!("runc", "runc takes the prefix for a part of the name");
    let mut bundle = Bundle::new();
    let file = bundle.path("journald:x");
    bundle.rt.global = vec![format!("--log=file:{}", file.display())];
    bundle.args(&["/missing"]).run().failed();
    assert!(fs::read_to_string(file).unwrap().contains("/missing"));
}
