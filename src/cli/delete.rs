//! `oarlock delete ID`: remove a container that has stopped, or any with `--force`.

use anyhow::{Context, Result, bail};

use super::{ExitCode, Global, making, matching};
use crate::state::{Container, Dir, Record, Status, record, validate_id};
use crate::sys::process::{CloseRange, close_from};

/// Remove a container
#[derive(Debug, clap::Args)]
pub struct Delete {
    /// Kill it first if it is not stopped; no error if there is none
    #[arg(short, long)]
    force: bool,
    /// Take the name as a regular expression: every container that it matches
    #[arg(short, long)]
    regex: bool,
    #[command(flatten)]
    trace: making::Trace,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

pub fn run(args: Delete, global: &Global) -> Result<ExitCode> {
    // Hooks get nothing of what we were started with.
    close_from(3, CloseRange::OnExec)?;
    let delete = |id: &str| if args.force { force(id, global) } else { stopped(id, global) };
    if args.regex {
        return args.trace.of("delete", || matching::each(&args.id, "delete", global, delete)).context("delete");
    }
    args.trace.of("delete", || delete(&args.id)).with_context(|| format!("delete {}", args.id))?;
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
    container.destroy(false, |text| global.log.warning(&text))
}

/// Also what a killed `create` has left: a directory without a record. One with a record that cannot be read is kept: what
/// it tells of may be running. Not so after a loss of power, which is what leaves half a file.
fn force(id: &str, global: &Global) -> Result<()> {
    validate_id(id)?;
    let Some(mut dir) = Dir::open(&global.root, id)? else { return Ok(()) };
    if !dir.try_lock()? {
        // Another verb waits for the container, a `start` for its hooks perhaps: without init it comes to an end.
        if let Some(container) =
            Container::load(&global.root, id).ok().filter(|container| container.record.init.is_some())
        {
            container.kill_and_wait()?;
        }
        dir.lock()?;
    }
    if !dir.exists()? {
        return Ok(());
    }
    let record = match Record::read(&dir) {
        Ok(Some(record)) => record,
        Ok(None) => return dir.remove(),
        Err(_) if dir.is_of_an_earlier_boot(record::FILE) => return dir.remove(),
        Err(error) => return Err(error),
    };
    let container = Container { dir, record };
    container.kill_and_wait()?;
    container.destroy(true, |text| global.log.warning(&text))
}
