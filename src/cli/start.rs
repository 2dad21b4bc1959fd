//! `oarlock start ID`: let the created container run its program.

use std::os::fd::AsFd;

use anyhow::{Context, Result};

use super::{ExitCode, Global, making};
use crate::launch;
use crate::launch::notify::Notify;
use crate::state::Container;
use crate::sys::process::{CloseRange, close_from};

/// Run the program of a created container
#[derive(Debug, clap::Args)]
pub struct Start {
    #[command(flatten)]
    trace: making::Trace,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

pub fn run(args: Start, global: &Global) -> Result<ExitCode> {
    // Hooks get nothing of what we were started with.
    close_from(3, CloseRange::OnExec)?;
    let start = || {
        let container = Container::load_locked(&global.root, &args.id)?;
        let waiting = launch::start::waiting(&container)?;
        let notify = Notify::listen(&container.dir, making::notify_socket().as_deref())?;
        let pid = container.record.init.map_or(0, |init| init.pid);
        let init = waiting.start(&container)?;
        if let Err(error) = launch::start::poststart(&container) {
            container.end(|text| global.log.warning(&text));
            return Err(error);
        }
        // Others may act on the container while we wait for it to be ready.
        drop(container);
        match notify {
            Some(notify) => notify.forward_ready(pid, init.as_fd()),
            None => Ok(()),
        }
    };
    args.trace.of("start", start).with_context(|| format!("start {}", args.id))?;
    Ok(ExitCode::SUCCESS)
}
