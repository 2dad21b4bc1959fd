//! The runtime under test as a command: which binary, with which state directory, and what came back. Knows
//! nothing of bundles.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::sys;

/// The binary: `RUNTIME` (a path, or a name on PATH), else the one that cargo built with these tests.
pub fn binary() -> &'static str {
    static BINARY: OnceLock<String> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var("RUNTIME") {
        Ok(name) if !name.is_empty() => name,
        _ => option_env!("CARGO_BIN_EXE_oarlock").map(str::to_owned).expect("set RUNTIME to the runtime to test"),
    })
}

/// Which runtime this is, by its file name: known differences are marked per name.
pub fn name() -> &'static str {
    let file = Path::new(binary()).file_name().and_then(OsStr::to_str).unwrap_or_default();
    ["crun", "runc", "youki"].into_iter().find(|name| file.contains(name)).unwrap_or("oarlock")
}

/// Is it ours? Some promises (one-line errors, `plan`) are ours alone.
pub fn is_oarlock() -> bool {
    name() == "oarlock"
}

/// What a finished command left: its streams and its exit code (128 + n when a signal ended it).
#[derive(Debug, Clone)]
pub struct Output {
    pub command: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(f, "{command}\nexit code {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}

impl Output {
    /// Demands exit code 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code_is(0)
    }

    #[track_caller]
    pub fn code_is(self, code: i32) -> Self {
        assert_eq!(self.code, code, "wrong exit code: {self}");
        self
    }

    /// Demands failure as runc reports it: exit code 1 and something on stderr.
    #[track_caller]
    pub fn failed(self) -> Self {
        assert_eq!(self.code, 1, "should have failed with 1: {self}");
        assert!(!self.stderr.trim().is_empty(), "failed without a word: {self}");
        self
    }

    /// Demands that stderr contains `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        // runc's log lines quote with backslashes; clients see them unquoted.
        let words = self.stderr.replace("\\\"", "\"");
        assert!(words.contains(text), "stderr lacks {text:?}: {self}");
        self
    }

    /// Demands one of the texts of runc that its clients match; crun has words of its own.
    #[track_caller]
    pub fn says_as_runc(self, text: &str) -> Self {
        if name() == "crun" { self } else { self.says(text) }
    }

    /// Demands our form of an error: one line that names `at`, a JSON path or flag. Other runtimes only have to
    /// fail.
    #[track_caller]
    pub fn names(self, at: &str) -> Self {
        let this = self.failed();
        if is_oarlock() {
            let lines: Vec<&str> = this.stderr.lines().collect();
            assert_eq!(lines.len(), 1, "an error is one line: {this}");
            assert!(lines[0].starts_with("oarlock: "), "an error begins with our name: {this}");
            assert!(lines[0].contains(at), "the error does not name {at:?}: {this}");
        }
        this
    }

    /// The stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The stdout's lines.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }

    /// What follows `key` on the stdout line that begins with it, trimmed.
    #[track_caller]
    pub fn field(&self, key: &str) -> &str {
        let line = self.stdout.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("no line begins with {key:?}: {self}")).trim()
    }

    /// Demands that stdout, without the white space at its ends, is `text`.
    #[track_caller]
    pub fn prints(self, text: &str) -> Self {
        assert_eq!(self.stdout.trim(), text, "wrong output: {self}");
        self
    }
}

/// The runtime with a state directory of its own.
#[derive(Debug)]
pub struct Runtime {
    pub root: PathBuf,
    /// Where the streams of the commands are kept.
    files: PathBuf,
    /// Global flags put before every verb.
    pub global: Vec<String>,
    count: AtomicUsize,
}

/// A command that still runs.
pub struct Running {
    pub child: Child,
    command: String,
    pub stdout: PathBuf,
    pub stderr: PathBuf,
}

impl Runtime {
    pub fn new(root: PathBuf, files: PathBuf) -> Self {
        Self { root, files, global: Vec::new(), count: AtomicUsize::new(0) }
    }

    /// `RUNTIME --root ROOT ARGS…`, to be run by [`Runtime::spawn`] or [`Runtime::finish`].
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(binary());
        command.arg("--root").arg(&self.root).args(&self.global).args(args);
        command.stdin(Stdio::null()).env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS");
        command
    }

    /// The same command started by a shell that does something to itself first.
    pub fn after(&self, prelude: &str, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{prelude}; exec \"$@\"")).arg("sh");
        shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        shell.env_remove("NOTIFY_SOCKET");
        shell
    }

    /// Starts a command with its streams in files: a container that outlives it may hold them open for as long
    /// as it likes.
    pub fn spawn(&self, mut command: Command) -> Running {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let stdout = self.files.join(format!("stdout.{number}"));
        let stderr = self.files.join(format!("stderr.{number}"));
        command.stdout(File::create(&stdout).expect("stdout file"));
        command.stderr(File::create(&stderr).expect("stderr file"));
        let text = format!("{command:?}");
        let child = command.spawn().unwrap_or_else(|error| panic!("{text}: {error}"));
        Running { child, command: text, stdout, stderr }
    }

    /// Starts a command on a terminal, whose other end is the test's.
    pub fn spawn_on(&self, mut command: Command, terminal: OwnedFd) -> Running {
        let text = format!("{command:?}");
        command.stdout(terminal.try_clone().expect("dup")).stderr(terminal);
        let child = command.spawn().unwrap_or_else(|error| panic!("{text}: {error}"));
        Running { child, command: text, stdout: PathBuf::new(), stderr: PathBuf::new() }
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn finish(&self, command: Command) -> Output {
        self.spawn(command).wait()
    }

    /// Runs a verb to its end.
    #[track_caller]
    pub fn call<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        self.finish(self.command(args))
    }

    /// `delete --force ID` on the way out of a test, whatever comes of it: a failure shows as what is left.
    pub fn clean_up(&self, id: &str) {
        self.spawn(self.command(["delete", "--force", id])).end();
    }

    /// `state ID`, parsed.
    #[track_caller]
    pub fn state(&self, id: &str) -> Value {
        self.call(["state", id]).ok().json()
    }

    /// `state ID`'s status.
    #[track_caller]
    pub fn status(&self, id: &str) -> String {
        self.state(id)["status"].as_str().expect("status").to_owned()
    }
}

impl Drop for Running {
    /// A test that failed in between leaves no runtime behind.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

impl Running {
    /// Waits for the end; a command that outlives the deadline is killed and the test fails.
    #[track_caller]
    pub fn wait(self) -> Output {
        let (output, ended) = self.end();
        assert!(ended, "hangs: {output}");
        output
    }

    /// Waits for the end, or ends it at the deadline: what it left, and whether it ended by itself.
    fn end(mut self) -> (Output, bool) {
        let pidfd = sys::pidfd_open(self.child.id() as i32).expect("pidfd of our own child");
        let ended = sys::wait_readable(pidfd.as_fd(), sys::DEADLINE);
        if !ended {
            self.child.kill().ok();
        }
        let status = self.child.wait().expect("wait");
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        let (stdout, stderr) = (read(&self.stdout), read(&self.stderr));
        let output = Output { command: std::mem::take(&mut self.command), code, stdout, stderr };
        (output, ended)
    }
}
