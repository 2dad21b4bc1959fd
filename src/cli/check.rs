//! `oarlock check BUNDLE`: is the configuration right, can this host carry it out, and how well does it isolate?

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{ExitCode, Global, plan};
use crate::error::InputError;
use crate::host;
use crate::review::{Finding, Severity, review};

/// Review a bundle: is it valid, can this host run it, how well is it isolated
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Configuration to use in place of the bundle's config.json
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Form of the output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Directory of the bundle
    #[arg(value_name = "BUNDLE", default_value = ".")]
    bundle: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What was found, in the order in which it is printed.
#[derive(Debug, Serialize)]
struct Report {
    /// `create` would refuse it for these.
    problems: Vec<InputError>,
    findings: Vec<Finding>,
}

/// The exit status tells the worst: 0 notes at most, 1 `create` would refuse it, 2 a warning, 3 a danger.
pub fn run(args: Check, global: &Global) -> Result<ExitCode> {
    let report = match plan::compile(&args.bundle, args.config.as_deref(), global) {
        Ok(plan) => Report { findings: review(&plan, host::security_modules()), problems: plan.obstacles },
        // A mistake in the document is a finding; that there is none to read is a failure.
        Err(error) => match error.downcast_ref::<InputError>() {
            Some(mistake) if !mistake.at.starts_with("--") => {
                Report { problems: vec![mistake.clone()], findings: Vec::new() }
            }
            _ => return Err(error.context(format!("check {}", args.bundle.display()))),
        },
    };
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&report).context("check")? + "\n",
        Format::Text => report.text(),
    };
    std::io::stdout().write_all(text.as_bytes()).context("stdout")?;
    Ok(report.status().into())
}

impl Report {
    fn status(&self) -> u8 {
        match self.findings.first().map(|finding| finding.severity) {
            _ if !self.problems.is_empty() => 1,
            None | Some(Severity::Note) => 0,
            Some(Severity::Warning) => 2,
            Some(Severity::Danger) => 3,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for problem in &self.problems {
            let _ = writeln!(text, "refused  {problem}");
        }
        for Finding { severity, at, what, hint, .. } in &self.findings {
            let _ = writeln!(text, "{:<8} {at}: {what} (hint: {hint})", severity.name());
        }
        let count = |severity| self.findings.iter().filter(|finding| finding.severity == severity).count();
        let [danger, warning, note] = [Severity::Danger, Severity::Warning, Severity::Note].map(count);
        let _ = writeln!(text, "{} refused, {danger} danger, {warning} warning, {note} note", self.problems.len());
        text
    }
}
