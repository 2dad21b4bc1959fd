//! The end of the runtime's life in the container: find the program, wait for `start`, become it.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::sys::stat::{SFlag, stat};
use nix::unistd::{AccessFlags, access};

use super::wire::Wire;
use super::{Init, identity};
use crate::hooks;
use crate::plan::process::Process;
use crate::plan::seccomp::{Filter, Loading};
use crate::safe::rootfs::file_type;
use crate::sys::again::{read, write};
use crate::sys::process::{self, exit_now, reset_signals};
use crate::sys::{SysError, errno_text};
use crate::trace;

/// What execve(2) gets.
pub struct Program {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    /// Finds the program as a shell would, in the container's PATH and with the user's own permissions.
    ///
    /// # Errors
    /// In runc's words, which Docker and Podman turn into exit codes 126 and 127.
    pub fn find(process: &Process, home: String) -> Result<Self> {
        let name = &process.args[0];
        let path = look_up(name, &process.env)
            .map_err(|reason| anyhow!("unable to start container process: exec: {name:?}: {reason}"))?;
        let mut env = process.env.clone();
        if !env.iter().any(|variable| variable.starts_with("HOME=") && variable.len() > "HOME=".len()) {
            env.retain(|variable| variable != "HOME=");
            env.push(format!("HOME={home}"));
        }
        let strings = |texts: Vec<String>| texts.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
        Ok(Self { path: CString::new(path)?, args: strings(process.args.clone())?, env: strings(env)? })
    }

    /// Becomes the program: what could not be done before, and execve(2).
    pub fn run(&self, process: &Process, seccomp: Option<Loading>, wire: &mut Wire) -> Result<Infallible> {
        reset_signals();
        for limit in process.rlimits.iter().filter(|limit| limit.resource == libc::RLIMIT_FSIZE) {
            process::set_rlimit(0, limit.resource, limit.soft, limit.hard).with_context(|| limit.at.clone())?;
        }
        identity::load_filter(seccomp, wire)?;
        let error = self.execute();
        Err(anyhow!(
            "unable to start container process: exec {}: {}",
            self.path.to_string_lossy(),
            errno_text(error.errno)
        ))
    }

    /// Returns only on failure.
    fn execute(&self) -> SysError {
        let pointers = |strings: &[CString]| {
            strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let (argv, envp) = (pointers(&self.args), pointers(&self.env));
        process::execve(&self.path, &argv, &envp)
    }
}

fn look_up(name: &str, env: &[String]) -> Result<String, String> {
    if name.contains('/') {
        return executable(name).map(|()| name.to_owned());
    }
    let path = env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default();
    path.split(':')
        .filter(|directory| !name.is_empty() && directory.starts_with('/'))
        .map(|directory| format!("{}/{name}", directory.trim_end_matches('/')))
        .find(|candidate| executable(candidate).is_ok())
        .ok_or_else(|| "executable file not found in $PATH".to_owned())
}

fn executable(path: &str) -> Result<(), String> {
    let stat = stat(path).map_err(|errno| format!("stat {path}: {}", errno_text(errno)))?;
    if file_type(&stat) == SFlag::S_IFDIR {
        // What execve says, and runc 1.1 with it. Podman and Docker before 23 know no rule for "is a directory".
        return Err(format!("{} (hint: {path} is a directory)", errno_text(Errno::EACCES)));
    }
    // Root may execute a file only if somebody may; access(2) says so too. Ids are real ids here: both were set.
    access(Path::new(path), AccessFlags::X_OK).map_err(errno_text)
}

/// The last phase: tells the parent that the container is made, waits for `start`, executes the program. Its errors
/// after that go to the exec log (`launch/start.rs` reads it).
pub fn wait_for_start(init: &mut Init<'_>) -> Result<()> {
    // What comes now, comes after `create` has ended.
    trace::end();
    init.inherited.wire.ready()?;
    let start = read(&init.inherited.exec_fifo, &mut [0u8; 1]);
    let log = init.inherited.exec_log.as_fd();
    if let Err(errno) = start.and_then(|_| write(log, b"A").map(drop)) {
        // Nobody has been told anything yet: an empty log says that we died before the start.
        exit_now(errno as i32);
    }
    // The parent of the creation is gone; the log is where words go now.
    let error = match execute(init) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    process::ignore_file_size_signal();
    let _ = write(&init.inherited.exec_log, format!("{error:#}").as_bytes());
    exit_now(1)
}

fn execute(init: &mut Init<'_>) -> Result<Infallible> {
    let Some(process) = &init.plan.process else {
        bail!("process: is required to start a container (hint: the bundle's config.json has none)");
    };
    let hooks = &init.plan.hooks.start_container;
    if !hooks.is_empty() {
        hooks::run_all(hooks, &init.inherited.hook_output, &init.hook_state("created"), None)?;
    }
    let program = init.program.take().context("internal error: no program")?;
    let loading = init.plan.seccomp.as_ref().map(Filter::loading);
    program.run(process, loading, &mut init.inherited.wire)
}
