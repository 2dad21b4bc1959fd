//! `oarlock doctor`: what this host can do for containers, what it lacks, and what that costs.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context, Result};

use super::{ExitCode, Global};
use crate::doctor::{Finding, State, examine};

/// Print what this host supports, what is missing, and what that costs
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Fails only where no container could be made at all.
pub fn run(args: Doctor, _global: &Global) -> Result<ExitCode> {
    let findings = examine().context("doctor")?;
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&findings).context("doctor")? + "\n",
        Format::Text => text(&findings),
    };
    std::io::stdout().write_all(text.as_bytes()).context("stdout")?;
    let broken = findings.iter().any(|finding| finding.state == State::Broken);
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A heading for each section, a line for each finding.
fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut section = "";
    for finding in findings {
        if finding.section != section {
            section = finding.section;
            let _ = writeln!(text, "{section}");
        }
        let _ = write!(text, "  {:<8}{:<width$}  {}", finding.state.name(), finding.name, finding.detail);
        let _ = match finding.cost {
            Some(cost) => writeln!(text, ": {cost}"),
            None => writeln!(text),
        };
    }
    text
}
