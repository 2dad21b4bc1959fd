//! `oarlock features`: what this binary can do, as JSON. Docker and containerd read it when they start.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::PrettyFormatter;

use super::ExitCode;
use crate::cli::Global;

/// Print what this binary can do, as JSON
#[derive(Debug, clap::Args)]
pub struct Features {}

pub fn run(_args: Features, _global: &Global) -> Result<ExitCode> {
    // Four blanks, like runc: people compare the two by eye and with diff.
    let mut json = Serializer::with_formatter(Vec::new(), PrettyFormatter::with_indent(b"    "));
    crate::features::Features::of_this_binary().serialize(&mut json)?;
    let mut text = json.into_inner();
    text.push(b'\n');
    io::stdout().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}
