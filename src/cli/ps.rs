//! `oarlock ps ID`: the processes of a container.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{ExitCode, Global};
use crate::bundle::io_text;
use crate::program;
use crate::state::Container;
use crate::sys::process::{CloseRange, close_from};

/// Show the processes of a container
#[derive(Debug, clap::Args)]
pub struct Ps {
    /// Form of the list
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
    /// Options for ps(1), which must have it print a column PID (default: -ef)
    #[arg(value_name = "PS-OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

pub fn run(args: Ps, global: &Global) -> Result<ExitCode> {
    // ps gets nothing of what we were started with.
    close_from(3, CloseRange::OnExec)?;
    let text = || {
        let container = Container::load(&global.root, &args.id)?;
        let pids = container.pids()?;
        match args.format {
            // runc prints Go's empty slice.
            Format::Json if pids.is_empty() => Ok("null\n".to_owned()),
            Format::Json => Ok(format!("{}\n", serde_json::to_string(&pids)?)),
            Format::Table => table(&pids, &args.options),
        }
    };
    let text = text().with_context(|| format!("ps {}", args.id))?;
    std::io::stdout().write_all(text.as_bytes()).context("stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// The header of what ps(1) prints, and the lines of our processes.
fn table(pids: &[i32], options: &[String]) -> Result<String> {
    let mut ps = Command::new("ps");
    if options.is_empty() {
        ps.arg("-ef");
    }
    let output = match program::output(ps.args(options)) {
        Ok(output) => output,
        Err(error) => bail!("exec \"ps\": {} (hint: --format json needs no program)", io_text(&error)),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        bail!("ps: {}: {}", output.status, said.trim());
    }
    let mut lines = text.lines();
    let header = lines.next().unwrap_or_default();
    let Some(column) = header.split_whitespace().position(|title| title == "PID") else {
        bail!("couldn't find PID field in ps output");
    };
    let ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|field| field.parse().ok());
        pid.is_some_and(|pid| pids.binary_search(&pid).is_ok())
    };
    Ok(std::iter::once(header).chain(lines.filter(ours)).map(|line| format!("{line}\n")).collect())
}
