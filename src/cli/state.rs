//! `oarlock state ID`: print the container's state.

use std::io::Write;

use anyhow::{Context, Result};

use super::{ExitCode, Global};
use crate::state::Container;
use crate::state::view::StateView;

/// Print the state of a container
#[derive(Debug, clap::Args)]
pub struct State {
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

pub fn run(args: State, global: &Global) -> Result<ExitCode> {
    let state = || {
        let container = Container::load(&global.root, &args.id)?;
        // runc leaves the owner to `list`, and ends without a newline.
        let view = StateView::of(&container, String::new())?;
        serde_json::to_string_pretty(&view).context("state")
    };
    let text = state().with_context(|| format!("state {}", args.id))?;
    std::io::stdout().write_all(text.as_bytes()).context("stdout")?;
    Ok(ExitCode::SUCCESS)
}
