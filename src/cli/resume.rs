//! `oarlock resume ID`: let the processes of a paused container go on.

use anyhow::{Context, Result, bail};

use super::{ExitCode, Global};
use crate::state::{Container, Status};

/// Thaw the processes of a paused container
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

pub fn run(args: Resume, global: &Global) -> Result<ExitCode> {
    let resume = || {
        let container = Container::load_locked(&global.root, &args.id)?;
        if container.status()? != Status::Paused {
            bail!("container not paused");
        }
        container.record.cgroup().thaw()
    };
    resume().with_context(|| format!("resume {}", args.id))?;
    Ok(ExitCode::SUCCESS)
}
