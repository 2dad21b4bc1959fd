//! `oarlock create ID`: make the container; its program waits for `start`.

use anyhow::{Context, Result};

use super::making::Making;
use super::{ExitCode, Global};
use crate::launch::console;

/// Make a container, whose program waits for start
#[derive(Debug, clap::Args)]
pub struct Create {
    #[command(flatten)]
    making: Making,
    /// Of no meaning here; crun takes it
    #[arg(long, hide = true)]
    no_subreaper: bool,
}

pub fn run(args: Create, global: &Global) -> Result<ExitCode> {
    let making = args.making;
    let create = || {
        let plan = making.compile(global)?;
        let console = console::connect(plan.wants_terminal(), making.console_socket.as_deref(), true)?;
        making.create(&plan, console, global)
    };
    let created = making.trace.of("create", create).with_context(|| format!("create {}", making.id))?;
    global.log.debug(&format!("created {} with init {}", making.id, created.pid));
    // What is open closes when we end, in a moment.
    std::mem::forget(created);
    Ok(ExitCode::SUCCESS)
}
