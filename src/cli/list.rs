//! `oarlock list`: all containers below the state root.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context, Result};

use super::{ExitCode, Global};
use crate::state::Container;
use crate::state::view::StateView;

/// List the containers
#[derive(Debug, clap::Args)]
pub struct List {
    /// Form of the list
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Print only the names
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

pub fn run(args: List, global: &Global) -> Result<ExitCode> {
    let containers = Container::list(&global.root, |text| global.log.warning(&format!("list: {text}")))?;
    let mut stdout = std::io::stdout().lock();
    if args.quiet {
        for container in &containers {
            writeln!(stdout, "{}", container.record.id).context("stdout")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut views = Vec::with_capacity(containers.len());
    for container in &containers {
        let owner = container.dir.owner().map(user_name).unwrap_or_default();
        views.push(StateView::of(container, owner)?);
    }
    let text = match args.format {
        Format::Table => table(&views),
        // runc prints Go's empty slice.
        Format::Json if views.is_empty() => "null".to_owned(),
        Format::Json => serde_json::to_string(&views).context("list")?,
    };
    // As runc: the table ends its lines, the JSON has none.
    stdout.write_all(text.as_bytes()).context("stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// Columns as runc's (text/tabwriter: at least 12 wide, a padding of 3).
fn table(views: &[StateView<'_>]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(header)
        .chain(views.iter().map(|view| {
            [
                view.id.to_owned(),
                view.pid.to_string(),
                view.status.to_owned(),
                view.bundle.display().to_string(),
                view.created.to_owned(),
                view.owner.clone(),
            ]
        }))
        .collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            if column + 1 == row.len() {
                text.push_str(cell);
                continue;
            }
            let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            let width = (longest + 3).max(12);
            // Writing to a String cannot fail.
            let _ = write!(text, "{cell:width$}");
        }
        text.push('\n');
    }
    text
}

/// The name of `uid` on this host, `#uid` if it has none (passwd(5); a static binary cannot ask NSS).
fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    name.map_or_else(|| format!("#{uid}"), str::to_owned)
}
