//! `oarlock delete ID`: remove a container that has stopped, or any with `--force`.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use super::Global;
use crate::state::{Container, Dir, Status, validate_id};
use crate::sys::process::{CloseRange, close_from};

/// Remove a container
#[derive(Debug, clap::Args)]
pub struct Delete {
    /// Kill it first if it is not stopped; no error if there is none
    #[arg(short, long)]
    force: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

pub fn run(args: Delete, global: &Global) -> Result<ExitCode> {
    // Hooks get nothing of what we were started with.
    close_from(3, CloseRange::OnExec)?;
    let delete = || if args.force { force(&args.id, global) } else { stopped(&args.id, global) };
    delete().with_context(|| format!("delete {}", args.id))?;
    Ok(ExitCode::SUCCESS)
}

fn stopped(id: &str, global: &Global) -> Result<()> {
    let container = Container::load_locked(&global.root, id)?;
    let status = container.status()?;
    if status != Status::Stopped {
        bail!("cannot delete container {id} that is not stopped: {}", status.name());
    }
    // Processes that share the host's pid namespace, or that init left behind, end with their container.
    container.record.cgroup().kill(libc::SIGKILL)?;
    container.destroy(|text| global.log.warning(&text))
}

/// Also what a killed `create` has left: a directory without a record, or with one that cannot be read.
fn force(id: &str, global: &Global) -> Result<()> {
    validate_id(id)?;
    let Some(mut dir) = Dir::open(&global.root, id)? else { return Ok(()) };
    if !dir.lock()? {
        return Ok(());
    }
    drop(dir);
    match Container::load_locked(&global.root, id) {
        Ok(container) => {
            container.kill_and_wait()?;
            container.destroy(|text| global.log.warning(&text))
        }
        Err(error) => {
            let Some(dir) = Dir::open(&global.root, id)? else { return Ok(()) };
            global.log.warning(&format!("delete {id}: {error:#}; removing what is left of its state"));
            dir.remove()
        }
    }
}
