//! `oarlock exec ID PROGRAM…`: run a further program in a running container.

use std::os::fd::AsFd;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::{ExitCode, Global, making};
use crate::bundle;
use crate::error::InputError;
use crate::join::{self, Request};
use crate::launch::run::Foreground;
use crate::launch::terminal::Terminal;
use crate::launch::{console, signals};
use crate::plan::exec::{self, Flags};
use crate::plan::process::Process;
use crate::state::Container;

/// The exit status of a failure of our own: smaller ones are the program's.
const FAILURE: u8 = 255;

/// Run a further program in a running container
///
/// Without --process it is like the container's own: environment, working directory, user, capabilities, limits. Flags
/// overrule that, and --process too. The exit status is the program's, 128 + n after signal n, and 255 when it could not
/// be run.
#[derive(Debug, clap::Args)]
pub struct Exec {
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// Return once it runs
    #[arg(short, long)]
    detach: bool,
    /// Set an environment variable (any number of times)
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Run it as this user, by number
    #[arg(short, long, value_name = "UID[:GID]", allow_hyphen_values = true)]
    user: Option<String>,
    /// Add a group, by number (any number of times)
    #[arg(short = 'g', long, value_name = "GID", allow_hyphen_values = true)]
    additional_gids: Vec<String>,
    /// Working directory in the container
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Give it a capability: bounding, effective and permitted (any number of times)
    #[arg(short, long, value_name = "CAP")]
    cap: Vec<String>,
    /// File with the process as JSON, as in config.json
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// It and what it executes gain no privileges
    #[arg(long)]
    no_new_privs: bool,
    /// Unix socket that receives the terminal's master
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Unix socket that receives its pidfd
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// File to write its pid to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Run it in a cgroup below the container's, on v1 for some controllers only (any number of times)
    #[arg(long, value_name = "[CONTROLLERS:]PATH")]
    cgroup: Vec<String>,
    /// Enter a paused container, too; the program runs when it is resumed
    #[arg(long)]
    ignore_paused: bool,
    /// Pass on N open descriptors from 3 up, after those of LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    #[command(flatten)]
    trace: making::Trace,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// The program and its arguments: all that follows the container's name
    #[arg(value_name = "PROGRAM", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

pub fn run(args: Exec, global: &Global) -> Result<ExitCode> {
    match exec(&args, global).context("exec failed") {
        Ok(code) => Ok(ExitCode::from(code)),
        Err(error) => {
            global.log.error(&format!("{error:#}"));
            Ok(ExitCode::from(FAILURE))
        }
    }
}

fn exec(args: &Exec, global: &Global) -> Result<u8> {
    let container = Container::load(&global.root, &args.id)?;
    let listen_fds = making::listen_fds();
    let process = match args.compile(&container, listen_fds, global) {
        // That comes first; where all is well, `join` says so.
        Err(_) if container.init()?.is_none() => bail!(join::STOPPED),
        process => process?,
    };
    let cgroup = exec::sub_cgroup(&args.cgroup, &container.record.cgroup)?;
    let mut console = console::connect(process.terminal, args.console_socket.as_deref(), args.detach)?;
    let mut ours = None;
    if process.terminal && !args.detach {
        let (receiver, sender) = console::local()?;
        (ours, console) = (Some(receiver), Some(sender));
    }
    let preserve_fds = making::shield(args.preserve_fds, listen_fds, global)?;
    let request = Request {
        console,
        pid_file: args.pid_file.clone(),
        pidfd_socket: args.pidfd_socket.clone(),
        preserve_fds,
        listen_fds,
        cgroup,
        ignore_paused: args.ignore_paused,
    };
    let joined = args.trace.of("exec", || join::join(&container, &process, request))?;
    if args.detach {
        joined.execute()?;
        return Ok(0);
    }
    // Blocked from here on, so that none is lost before the program runs; it starts with a mask of its own.
    let signals = signals::all()?;
    let master = ours.map(|socket| console::receive_master(socket.as_fd())).transpose()?;
    let terminal = master.map(Terminal::new).transpose()?;
    let child = joined.execute()?;
    Foreground { pid: child.pid, pidfd: child.pidfd, signals, terminal, notify: None }
        .wait(&|text| global.log.warning(&text))
}

impl Exec {
    /// Decides what the process is to be.
    fn compile(&self, container: &Container, listen_fds: u32, global: &Global) -> Result<Process> {
        let mut warnings = Vec::new();
        let document = self.process.as_deref().map(|path| bundle::load_process(path, &mut warnings)).transpose()?;
        let listen_fd_names = making::listen_fd_names();
        let flags = Flags {
            tty: self.tty,
            env: &self.env,
            user: self.user.as_deref(),
            additional_gids: &self.additional_gids,
            cwd: self.cwd.as_deref(),
            caps: &self.cap,
            process_label: self.process_label.as_ref(),
            apparmor: self.apparmor.as_ref(),
            no_new_privs: self.no_new_privs,
            args: &self.args,
            listen_fds,
            listen_fd_names: listen_fd_names.as_deref(),
        };
        let process = exec::compile(&container.record.exec, document.as_ref(), &flags);
        for warning in warnings {
            global.log.warning(&warning);
        }
        process.map_err(|error: InputError| error.into())
    }
}
