//! `oarlock mounts add|remove ID FILE`: change the mounts of a container that exists.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::{ExitCode, Global};
use crate::bundle;
use crate::join::mounts;
use crate::plan::mounts::hot;
use crate::state::{Container, Status};

/// Add mounts to a container, or remove some
///
/// FILE is a JSON array of mounts like those of config.json. Of several either all are added or none.
#[derive(Debug, clap::Args)]
pub struct Mounts {
    #[arg(value_name = "ACTION")]
    action: Action,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// File with the mounts as JSON
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Action {
    /// Mount them in the order of the file
    Add,
    /// Unmount what is at their destinations, the last of the file first
    Remove,
}

pub fn run(args: Mounts, global: &Global) -> Result<ExitCode> {
    let change = || {
        let container = Container::load_locked(&global.root, &args.id)?;
        if matches!(container.status()?, Status::Creating | Status::Stopped) {
            bail!("container not running");
        }
        let mut warnings = Vec::new();
        let given = bundle::load_mounts(&args.file)?;
        let mounts = hot::compile(&given, &container.record.bundle, &mut warnings)?;
        warnings.iter().for_each(|text| global.log.warning(text));
        match args.action {
            Action::Add => mounts::add(&container, &mounts),
            Action::Remove => mounts::remove(&container, &mounts),
        }
    };
    change().with_context(|| format!("mounts {}", args.id))?;
    Ok(ExitCode::SUCCESS)
}
