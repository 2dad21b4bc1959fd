//! `oarlock pause ID`: stop every process of a container where it stands.

use anyhow::{Context, Result, bail};

use super::{ExitCode, Global};
use crate::state::{Container, Status};

/// Freeze all processes of a container
#[derive(Debug, clap::Args)]
pub struct Pause {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

pub fn run(args: Pause, global: &Global) -> Result<ExitCode> {
    let pause = || {
        let container = Container::load_locked(&global.root, &args.id)?;
        match container.status()? {
            Status::Created | Status::Running => {
                container.needs_cgroup("pausing")?;
                let cgroup = container.record.cgroup();
                cgroup.freeze()?;
                // `kill` first kills and then looks whether it has to thaw: one of the two sees the other.
                if container.was_killed()? {
                    cgroup.thaw()?;
                    bail!("container not running");
                }
                Ok(())
            }
            // runc says this of a paused one, too.
            _ => bail!("container not running"),
        }
    };
    pause().with_context(|| format!("pause {}", args.id))?;
    Ok(ExitCode::SUCCESS)
}
