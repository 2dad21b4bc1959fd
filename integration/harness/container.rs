//! A created container: the verbs on it, and ways to wait for what happens inside. Dropping it deletes it.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, mkfifo};

use super::{Bundle, Output, Value, sys};

/// A container that `create` (or `run --detach`) made.
pub struct Container<'b> {
    bundle: &'b Bundle,
    /// Pid of its init in our pid namespace.
    pub pid: i32,
    pidfd: OwnedFd,
    code: Cell<Option<i32>>,
    deleted: Cell<bool>,
    stdout: PathBuf,
    stderr: RefCell<PathBuf>,
}

impl<'b> Container<'b> {
    #[track_caller]
    pub fn new(bundle: &'b Bundle, stdout: PathBuf, stderr: PathBuf) -> Self {
        let state = bundle.rt.state(&bundle.id);
        let pid = state["pid"].as_i64().expect("pid in the state") as i32;
        let pidfd = sys::pidfd_open(pid).unwrap_or_else(|| panic!("no such init: {state}"));
        let stderr = RefCell::new(stderr);
        Self { bundle, pid, pidfd, code: None.into(), deleted: false.into(), stdout, stderr }
    }

    /// Calls `VERB FLAGS… ID ARGS…`: runc takes flags before the id only.
    #[track_caller]
    pub fn call(&self, verb: &str, args: &[&str]) -> Output {
        let (flags, rest): (Vec<&str>, Vec<&str>) = args.iter().partition(|arg| arg.starts_with('-'));
        let all = [&[verb], flags.as_slice(), &[&self.bundle.id], rest.as_slice()].concat();
        self.bundle.rt.call(all)
    }

    #[track_caller]
    pub fn start(&self) -> &Self {
        self.call("start", &[]).ok();
        self
    }

    #[track_caller]
    pub fn kill(&self, signal: &str) -> &Self {
        self.call("kill", &[signal]).ok();
        self
    }

    #[track_caller]
    pub fn state(&self) -> Value {
        self.bundle.rt.state(&self.bundle.id)
    }

    #[track_caller]
    pub fn status(&self) -> String {
        self.bundle.rt.status(&self.bundle.id)
    }

    #[track_caller]
    pub fn delete(self) {
        self.call("delete", &[]).ok();
        self.deleted.set(true);
    }

    #[track_caller]
    pub fn delete_force(self) {
        self.bundle.rt.call(["delete", "--force", &self.bundle.id]).ok();
        self.deleted.set(true);
    }

    /// Waits for the program's end; its exit code, 128 + n when a signal ended it.
    #[track_caller]
    pub fn wait(&self) -> i32 {
        if let Some(code) = self.code.get() {
            return code;
        }
        assert!(sys::wait_readable(self.pidfd.as_fd(), sys::DEADLINE), "the container does not end");
        let code = match waitpid(Pid::from_raw(self.pid), None) {
            Ok(WaitStatus::Exited(_, code)) => code,
            Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
            other => panic!("waiting for the container: {other:?}"),
        };
        self.code.set(Some(code));
        code
    }

    /// Waits for the end without taking the exit status: for when somebody else reaps.
    #[track_caller]
    pub fn wait_end(&self) {
        assert!(sys::wait_readable(self.pidfd.as_fd(), sys::DEADLINE), "the container does not end");
    }

    /// Waits for the end; what the program printed.
    #[track_caller]
    pub fn output(&self) -> Output {
        let code = self.wait();
        let read = |path: &Path| std::fs::read(path).expect("streams of the container");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let command = format!("the program of {}", self.bundle.id);
        let (stdout, stderr) = (text(read(&self.stdout)), text(read(&self.stderr.borrow())));
        Output { command, code, stdout, stderr }
    }

    /// A file of the init's /proc directory, from the host.
    #[track_caller]
    pub fn proc(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.pid);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The namespace of a type that init is in: `pid:[4026531836]`.
    #[track_caller]
    pub fn namespace(&self, file: &str) -> String {
        namespace_of(self.pid, file)
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if !self.deleted.get() {
            self.bundle.rt.clean_up(&self.bundle.id);
        }
        if self.code.get().is_none() {
            // Reaped, so that a long run does not gather zombies; not ours if the runtime still lives.
            if sys::wait_readable(self.pidfd.as_fd(), std::time::Duration::ZERO) {
                waitpid(Pid::from_raw(self.pid), None).ok();
            }
        }
    }
}

/// The namespace that a process of the host is in, by the name of its file in `/proc/PID/ns`.
#[track_caller]
pub fn namespace_of(pid: i32, file: &str) -> String {
    let link = std::fs::read_link(format!("/proc/{pid}/ns/{file}")).expect("namespace");
    link.to_str().expect("UTF-8").to_owned()
}

/// A fifo in the root file system: how a program inside says that it has come so far, or is told to go on.
pub struct Fifo {
    file: File,
}

impl Fifo {
    pub fn new(path: &Path) -> Self {
        mkfifo(path, Mode::from_bits_truncate(0o666)).expect("mkfifo");
        nix::sys::stat::fchmodat(
            nix::fcntl::AT_FDCWD,
            path,
            Mode::from_bits_truncate(0o666),
            nix::sys::stat::FchmodatFlags::FollowSymlink,
        )
        .expect("chmod");
        // Both ends, so that neither side's opening waits for the other's and the end is never read.
        let file = File::options().read(true).write(true).custom_flags(libc::O_CLOEXEC).open(path);
        Self { file: file.expect("open the fifo") }
    }

    /// The next line; fails the test when none comes.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            assert!(sys::wait_readable(self.file.as_fd(), sys::DEADLINE), "nothing came: {line:?}");
            let mut byte = [0];
            self.file.read_exact(&mut byte).expect("read the fifo");
            line.push(byte[0]);
        }
        String::from_utf8(line).expect("UTF-8").trim_end().to_owned()
    }

    /// Nothing has come, as far as one can tell without waiting.
    pub fn is_empty(&self) -> bool {
        !sys::wait_readable(self.file.as_fd(), std::time::Duration::ZERO)
    }

    /// Writes one line.
    pub fn tell(&mut self, text: &str) {
        writeln!(self.file, "{text}").expect("write to the fifo");
    }
}
