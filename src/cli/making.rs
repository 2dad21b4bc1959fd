//! What `create` and `run` share: their flags, and the way from a bundle to a created container.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Global;
use crate::bundle;
use crate::error::InputError;
use crate::launch::{self, Created, Request};
use crate::plan::{self, Options, Plan};
use crate::rdt;
use crate::state::validate_id;
use crate::sys::process::{CloseRange, close_from, set_undumpable};
use crate::trace;

#[derive(Debug, clap::Args)]
pub struct Making {
    /// Directory of the bundle
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub bundle: PathBuf,
    /// Configuration to use in place of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Unix socket that receives the terminal's master
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<PathBuf>,
    /// Unix socket that receives a pidfd of init
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<PathBuf>,
    /// File to write init's pid to
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// Change the root by a mount and chroot, for a host that runs from a ramdisk
    #[arg(long)]
    pub no_pivot: bool,
    /// Keep the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Pass on N open descriptors from 3 up, after those of LISTEN_FDS
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub preserve_fds: u32,
    #[command(flatten)]
    pub trace: Trace,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    pub id: String,
}

/// `--trace`, of the verbs that have it.
#[derive(Debug, clap::Args)]
pub struct Trace {
    /// File to append the time that each phase took to, as Chrome trace events
    #[arg(long = "trace", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Trace {
    /// Traces from here on, if that is wanted.
    pub fn begin(&self, verb: &'static str) -> Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| trace::begin(file, verb)).context("--trace")
    }

    /// Does the verb's `work`, traced if that is wanted.
    pub fn of<T>(&self, verb: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.begin(verb)?;
        let result = trace::span(verb, work);
        trace::end();
        result
    }
}

impl Making {
    /// Compiles the Plan. Nothing exists on the host yet.
    pub fn compile(&self, global: &Global) -> Result<Plan> {
        validate_id(&self.id)?;
        let plan = compile(global, &self.bundle, self.config.as_deref(), |bundle| Options {
            id: self.id.clone(),
            bundle,
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            rootless: global.rootless,
            cgroup_manager: global.cgroup_manager,
            listen_fds: listen_fds(),
            listen_fd_names: listen_fd_names(),
            state_dir: global.root.join(&self.id),
            notify_socket: notify_socket(),
        })?;
        match plan.obstacles.first() {
            Some(obstacle) => Err(obstacle.clone().into()),
            None => Ok(plan),
        }
    }

    /// Makes the container and leaves its init waiting; `console` is where its terminal goes.
    pub fn create(&self, plan: &Plan, console: Option<OwnedFd>, global: &Global) -> Result<Created> {
        let preserve_fds = shield(self.preserve_fds, listen_fds(), global)?;
        let request = Request {
            root: global.root.clone(),
            sticky_root: global.sticky_root,
            pid_file: self.pid_file.clone(),
            pidfd_socket: self.pidfd_socket.clone(),
            console,
            preserve_fds,
            notify: notify_socket().is_some(),
        };
        launch::create(plan, request, &mut |text| global.log.warning(&text))
    }
}

/// From a bundle to a Plan, with what is to be warned about in the log.
pub fn compile(
    global: &Global,
    bundle: &Path,
    config: Option<&Path>,
    options: impl FnOnce(PathBuf) -> Options,
) -> Result<Plan> {
    let mut warnings = Vec::new();
    let bundle = trace::span("read config.json", || bundle::load(bundle, config, &mut warnings))?;
    let options = options(bundle.dir);
    let facts = trace::span("look at the host", || global.facts())?;
    let plan = trace::span("compile", || plan::compile(&bundle.spec, &options, &facts, &mut warnings));
    for warning in warnings {
        global.log.warning(&warning);
    }
    let mut plan = plan?;
    // Looked for only here: hardly any container asks for it.
    plan.obstacles.extend(plan.intel_rdt.as_ref().and_then(|_| rdt::obstacle()));
    global.log.debug(&format!("compiled {}", bundle.config_path.display()));
    Ok(plan)
}

/// Before a container is made or entered: hides this process, and keeps to itself what it was started with beyond the
/// descriptors that the container is to have. How many those are.
pub fn shield(preserve_fds: u32, listen_fds: u32, global: &Global) -> Result<u32> {
    let Some(count) = preserve_fds.checked_add(listen_fds).filter(|count| *count < 1 << 20) else {
        bail!(InputError::new("--preserve-fds", "is more than a process can have"));
    };
    if !global.rootless {
        // An unprivileged parent could not open the files of an undumpable child to map its ids.
        set_undumpable()?;
    }
    // What else we were started with is for neither hooks nor the container.
    close_from(3 + count as i32, CloseRange::OnExec)?;
    Ok(count)
}

/// How many sockets a service manager passed to us for the container (sd_listen_fds(3)). Those of another process, as
/// LISTEN_PID says, are not ours; without LISTEN_PID they are taken for ours, as crun does.
pub fn listen_fds() -> u32 {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    if number("LISTEN_PID").is_some_and(|pid| pid != std::process::id()) {
        return 0;
    }
    number("LISTEN_FDS").unwrap_or(0)
}

/// What those sockets are called (sd_listen_fds_with_names(3)).
pub fn listen_fd_names() -> Option<String> {
    std::env::var("LISTEN_FDNAMES").ok()
}

/// Where our caller wants to hear that the container is ready (sd_notify(3)).
pub fn notify_socket() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}
