//! `oarlock completion SHELL`: the completions that are installed with packages, for those who have the binary alone.

use std::io::Write;

use anyhow::{Context, Result};

use super::{ExitCode, Global};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
pub struct Completion {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shell {
    Bash,
    Fish,
    Zsh,
}

pub fn run(args: Completion, _global: &Global) -> Result<ExitCode> {
    let text = match args.shell {
        Shell::Bash => include_str!("../../contrib/completions/oarlock.bash"),
        Shell::Fish => include_str!("../../contrib/completions/oarlock.fish"),
        Shell::Zsh => include_str!("../../contrib/completions/_oarlock"),
    };
    std::io::stdout().write_all(text.as_bytes()).context("stdout")?;
    Ok(ExitCode::SUCCESS)
}
