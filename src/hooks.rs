//! Runs hooks: the state on stdin, a timeout that kills, an error that says what the hook said.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::plan::hooks::{Hook, Output as Paths};
use crate::sys::process::{pidfd_open, pidfd_send_signal};
use crate::sys::{Named, SysError};

/// How much of a failed hook's output an error quotes.
const QUOTED: usize = 1000;

/// Where hooks write, opened: no file asked for, then the runtime reads it and quotes it if the hook fails.
#[derive(Debug, Default)]
pub struct Output {
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

impl Output {
    /// # Errors
    /// If a file cannot be opened to append to, or made.
    pub fn open(paths: &Paths) -> Result<Self> {
        let open = |path: &Option<PathBuf>, annotation: &str| -> Result<Option<OwnedFd>> {
            let Some(path) = path else { return Ok(None) };
            let mut options = OpenOptions::new();
            let file = options.append(true).create(true).mode(0o600).open(path);
            Ok(Some(file.named(|| format!("open({path:?})")).with_context(|| annotation.to_owned())?.into()))
        };
        Ok(Self {
            stdout: open(&paths.stdout, "run.oci.hooks.stdout")?,
            stderr: open(&paths.stderr, "run.oci.hooks.stderr")?,
        })
    }
}

/// Runs the hooks in order, each with `state` (JSON) on stdin, in `dir` if given; stops at the first that fails.
///
/// # Errors
/// Names the hook by its JSON path and quotes the end of its output.
pub fn run_all(hooks: &[Hook], output: &Output, state: &str, dir: Option<&Path>) -> Result<()> {
    hooks.iter().try_for_each(|hook| run(hook, output, state, dir))
}

/// The same, where a failure must not stop the rest (poststop: runtime-spec, lifecycle 13); not even of the files.
pub fn run_each(
    hooks: &[Hook],
    output: &Paths,
    state: &str,
    dir: Option<&Path>,
    mut failed: impl FnMut(anyhow::Error),
) {
    if hooks.is_empty() {
        return;
    }
    let output = Output::open(output).unwrap_or_else(|error| {
        failed(error);
        Output::default()
    });
    for hook in hooks {
        if let Err(error) = run(hook, &output, state, dir) {
            failed(error);
        }
    }
}

fn run(hook: &Hook, output: &Output, state: &str, dir: Option<&Path>) -> Result<()> {
    start_and_wait(hook, output, state, dir).with_context(|| format!("{} ({})", hook.at, hook.path.display()))
}

fn start_and_wait(hook: &Hook, files: &Output, state: &str, dir: Option<&Path>) -> Result<()> {
    let (output, output_write) = nix::unistd::pipe2(OFlag::O_CLOEXEC).named(|| "pipe2()".to_owned())?;
    let dup = |file: &Option<OwnedFd>| file.as_ref().unwrap_or(&output_write).try_clone().named(|| "dup()".to_owned());
    let mut command = Command::new(&hook.path);
    command
        .args(hook.args.iter().skip(1))
        .env_clear()
        .envs(hook.env.iter().filter_map(|variable| variable.split_once('=')))
        .stdin(state_file(state)?)
        .stdout(dup(&files.stdout)?)
        .stderr(dup(&files.stderr)?);
    drop(output_write);
    if let Some(name) = hook.args.first() {
        command.arg0(name);
    }
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    let child = command.spawn().named(|| format!("execve({:?})", hook.path))?;
    drop(command); // and with it our copies of the pipe's write end
    watch(child, output, hook.timeout.map(Duration::from_secs))
}

/// The state as a file: unlike a pipe it neither blocks us nor kills anyone when a hook does not read it.
fn state_file(state: &str) -> Result<File> {
    let mut file =
        File::from(memfd_create(c"state", MFdFlags::MFD_CLOEXEC).named(|| "memfd_create(\"state\")".to_owned())?);
    file.write_all(state.as_bytes()).and_then(|()| file.rewind()).named(|| "write(state)".to_owned())?;
    Ok(file)
}

/// Reads the hook's output until the hook itself ends: what a daemon that it left behind still writes is not waited for.
fn watch(mut child: Child, output: OwnedFd, timeout: Option<Duration>) -> Result<()> {
    // A timeout past the end of time is none.
    let deadline = timeout.and_then(|timeout| Some((Instant::now().checked_add(timeout)?, timeout)));
    let pidfd = pidfd_open(child.id() as i32)?;
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).named(|| "fcntl(O_NONBLOCK)".to_owned())?;
    let mut output = File::from(output);
    let mut said = Vec::new();
    let mut open = true;
    loop {
        let wait = match deadline {
            None => PollTimeout::NONE,
            Some((at, timeout)) => {
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL)?;
                    child.wait().named(|| "waitpid(hook)".to_owned())?;
                    return Err(anyhow!("killed: still running after its timeout of {} s", timeout.as_secs()));
                }
                // Rounded up, or the last millisecond would be a busy loop.
                PollTimeout::try_from(left.saturating_add(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN), PollFd::new(output.as_fd(), PollFlags::POLLIN)];
        let watched = if open { &mut fds[..] } else { &mut fds[..1] };
        match poll(watched, wait) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(SysError::new("poll(hook)", errno).into()),
        }
        let ended = fds[0].any().unwrap_or(false);
        if open {
            open = drain(&mut output, &mut said);
        }
        if ended {
            let status = child.wait().named(|| "waitpid(hook)".to_owned())?;
            if status.success() {
                return Ok(());
            }
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (None, signal) => format!("killed by signal {}", signal.unwrap_or_default()),
            };
            let said = String::from_utf8_lossy(&said);
            let said = said.trim().replace('\n', "; ");
            return Err(if said.is_empty() { anyhow!(how) } else { anyhow!("{how}, after saying: {said}") });
        }
    }
}

/// Reads what is there, keeping the end of it; false once the writers are gone.
fn drain(output: &mut File, said: &mut Vec<u8>) -> bool {
    let mut buffer = [0u8; 4096];
    loop {
        match output.read(&mut buffer) {
            Ok(0) => return false,
            Ok(n) => {
                said.extend_from_slice(&buffer[..n]);
                let excess = said.len().saturating_sub(QUOTED);
                said.drain(..excess);
            }
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}
